//! A host gets its own certificate, renews it without a restart, and is locked out.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{Collector, write_secret};
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};

pub(crate) const CASES: &[Case] = &[case(
    "enrolment::an_agent_gets_its_certificate_renews_it_and_is_locked_out",
    whole_life,
)];

fn json(collector: &Collector, words: &[&str]) -> Result<Vec<Value>> {
    let text = collector.ask(&[words, &["--format", "json"]].concat())?;
    Ok(serde_json::from_str(&text)?)
}

/// Records of the audit log with this action.
fn done(collector: &Collector, action: &str) -> Result<usize> {
    let log = json(collector, &["audit"])?;
    Ok(log.iter().filter(|one| one["action"] == action).count())
}

fn whole_life(lab: &Lab) -> Result<()> {
    let mut collector = Collector::prepare(lab, "")?;
    let place = collector.host.directory().display().to_string();
    let config = std::fs::read_to_string(collector.config_file())?;
    let enroll = format!(
        "[enroll]\nca_cert_file = \"{place}/enroll.crt\"\nca_key_file = \"{place}/enroll.key\"\n\
         lifetime = \"15s\"\n"
    );
    std::fs::write(collector.config_file(), format!("{enroll}{config}"))?;
    collector.ask(&["ca", "init"])?;
    collector.start()?;
    let host = lab.host("db")?;
    let file = host.directory().join("enroll-token");
    let token = collector.ask(&["enroll", "token", "--for", "db.example"])?;
    write_secret(&file, &token)?;
    let settings = Settings::default()
        .without("upload.token_file")
        .with("upload.enroll_token_file", &format!("{file:?}"))?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    let pid = agent.pid()?;
    wait_for(SOON, "a batch under the certificate", || {
        agent.flush()?;
        let list = json(&collector, &["credential", "list"])?;
        let bound = list.iter().find(|one| one["name"] == "db.example");
        bound.map(drop).context("nothing was stored under the name")
    })?;
    wait_for(SOON, "a renewal", || {
        agent.flush()?;
        let renewed = done(&collector, "enrolment.renewed")?;
        ensure!(renewed >= 1, "no renewal");
        Ok(())
    })?;
    ensure!(agent.pid()? == pid, "the agent was started again");
    ensure!(done(&collector, "enrolment.done")? == 1, "enrolled once");
    let status = agent.report()?;
    let renewed = status.counter("upload_renewed_total")?;
    ensure!(renewed >= 1, "the agent counts no renewal");
    collector.ask(&[
        "credential",
        "revoke",
        "--host",
        "db.example",
        "--why",
        "trial",
    ])?;
    wait_for(SOON, "an agent that is locked out", || {
        agent.flush()?;
        let refused = agent.status()?.counter("upload_unauthorized_total")?;
        ensure!(refused > 0, "not refused yet");
        Ok(())
    })?;
    // Another token lets it in again, without a restart.
    let token = collector.ask(&["enroll", "token", "--for", "db.example"])?;
    write_secret(&file, &token)?;
    wait_for(SOON, "another certificate", || {
        agent.flush()?;
        ensure!(
            done(&collector, "enrolment.done")? == 2,
            "not enrolled again"
        );
        let depth = agent.status()?.counter("spool_depth")?;
        ensure!(depth == 0, "{depth} batches wait");
        Ok(())
    })?;
    ensure!(agent.pid()? == pid, "the agent was started again");
    agent.stop()
}
