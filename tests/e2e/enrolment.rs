//! A host gets its own certificate, renews it without a restart, and is locked out.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{Collector, write_secret};
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "enrolment::an_agent_gets_its_certificate_renews_it_and_is_locked_out",
        whole_life,
    ),
    case(
        "enrolment::the_command_gets_the_certificate_before_the_agent_starts",
        by_command,
    ),
];

/// A collector that signs certificates for so long.
fn enrolling(lab: &Lab, lifetime: &str) -> Result<Collector> {
    let mut collector = Collector::prepare(lab, "")?;
    let place = collector.host.directory().display().to_string();
    let config = std::fs::read_to_string(collector.config_file())?;
    let enroll = format!(
        "[enroll]\nca_cert_file = \"{place}/enroll.crt\"\nca_key_file = \"{place}/enroll.key\"\n\
         lifetime = \"{lifetime}\"\n"
    );
    std::fs::write(collector.config_file(), format!("{enroll}{config}"))?;
    collector.ask(&["ca", "init"])?;
    collector.start()?;
    Ok(collector)
}

/// A batch came under the name of the certificate.
fn speaks(agent: &Agent, collector: &Collector) -> Result<()> {
    wait_for(SOON, "a batch under the certificate", || {
        agent.flush()?;
        let list = json(collector, &["credential", "list"])?;
        let bound = list.iter().find(|one| one["name"] == "db.example");
        bound.map(drop).context("nothing was stored under the name")
    })
}

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
    let collector = enrolling(lab, "15s")?;
    let host = lab.host("db")?;
    let file = host.directory().join("enroll-token");
    let token = collector.ask(&["enroll", "token", "--for", "db.example"])?;
    write_secret(&file, &token)?;
    let settings = Settings::default()
        .without("upload.token_file")
        .with("upload.enroll_token_file", &format!("{file:?}"))?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    let pid = agent.pid()?;
    speaks(&agent, &collector)?;
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

fn by_command(lab: &Lab) -> Result<()> {
    let collector = enrolling(lab, "1h")?;
    let host = lab.host("db")?;
    let (gone, file) = (
        host.directory().join("no-such-file"),
        host.directory().join("token"),
    );
    let settings = Settings::default()
        .without("upload.token_file")
        .with("upload.enroll_token_file", &format!("{gone:?}"))?;
    let mut agent = Agent::prepare(lab, &host, Some(&collector), &settings)?;
    let enroll = |token: &str| -> Result<(Option<i32>, String)> {
        write_secret(&file, token)?;
        let path = file.display().to_string();
        let output = agent.ask(&["enroll", "--token-file", &path])?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let kept = agent.rootfs().join("var/lib/waybill/enrolled.json");
    let (code, said) = enroll("wbe_no-token-of-anybody")?;
    ensure!(
        code == Some(1) && said.contains("unknown"),
        "{code:?} {said}"
    );
    ensure!(!kept.exists(), "kept without a certificate");
    let token = collector.ask(&["enroll", "token", "--for", "db.example"])?;
    let (code, said) = enroll(&token)?;
    ensure!(
        code == Some(0) && said.contains("enrolled as db.example"),
        "{code:?} {said}"
    );
    let mode = std::fs::metadata(&kept)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{mode:o}");
    // Once, and what there is stays.
    let first = std::fs::read(&kept)?;
    let (code, said) = enroll(&token)?;
    ensure!(code == Some(1) && said.contains("used"), "{code:?} {said}");
    ensure!(
        std::fs::read(&kept)? == first,
        "the certificate is another one"
    );
    agent.start()?;
    speaks(&agent, &collector)?;
    ensure!(done(&collector, "enrolment.done")? == 1, "enrolled once");
    agent.stop()
}
