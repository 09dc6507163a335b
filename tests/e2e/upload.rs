//! Who may send to the collector, and what agents do when they may not.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::{Collector, write_secret};
use tests::lab::wait::wait_for;

use crate::case::Case;
use crate::scene::SETTLE;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "upload::a_client_certificate_is_as_good_as_a_token",
        needs: &[],
        alone: false,
        run: certificate,
    },
    Case {
        name: "upload::an_agent_that_is_not_let_in_keeps_its_batches",
        needs: &[],
        alone: false,
        run: not_let_in,
    },
    Case {
        name: "upload::a_collector_with_another_certificate_gets_nothing",
        needs: &[],
        alone: false,
        run: impostor,
    },
];

fn certificate(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let (certificate, key) = collector.client_files();
    let settings = Settings::default()
        .without("upload.token_file")
        .with(
            "upload.client_cert_file",
            &format!("'{}'", certificate.display()),
        )?
        .with("upload.client_key_file", &format!("'{}'", key.display()))?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    agent.flush()?;
    wait_for(SETTLE, "acknowledged batch", || {
        let acked = agent.status()?.counter("upload_acked_total")?;
        ensure!(acked > 0, "none acknowledged");
        let hosts = collector.hosts()?.to_string();
        ensure!(hosts.contains("\"host\""), "no host row in {hosts}");
        Ok(())
    })
}

/// Waits until uploads have failed, and demands that the batches are still there.
fn keeps(agent: &Agent, refused: &str) -> Result<()> {
    agent.flush()?;
    wait_for(SETTLE, "failed upload", || {
        let status = agent.status()?;
        ensure!(
            status.counter(refused)? > 0,
            "{refused} is 0: {:?}",
            status.counters
        );
        Ok(())
    })?;
    let status = agent.status()?;
    ensure!(status.counter("upload_acked_total")? == 0, "acknowledged");
    ensure!(
        status.counter("upload_dropped_refused_total")? == 0,
        "thrown away"
    );
    ensure!(status.counter("spool_depth")? > 0, "not kept");
    Ok(())
}

fn not_let_in(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    let wrong = lab.directory().join("wrong-token");
    write_secret(&wrong, "not-a-token-of-this-collector")?;
    let settings =
        Settings::default().with("upload.token_file", &format!("'{}'", wrong.display()))?;
    let host = lab.host("host")?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    keeps(&agent, "upload_unauthorized_total")?;
    // With the right token the same batches go out.
    agent.stop()?;
    write_secret(&wrong, tests::lab::collector::TOKEN)?;
    agent.start()?;
    wait_for(SETTLE, "empty spool", || {
        let status = agent.status()?;
        ensure!(
            status.counter("spool_found_total")? > 0,
            "the old batches are gone"
        );
        ensure!(
            status.counter("upload_acked_total")? > 0,
            "none acknowledged"
        );
        Ok(())
    })
}

fn impostor(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    // Agents trust another CA than the one that signed this collector's certificate.
    let other = Lab::new(lab.binaries())?;
    let trusted = Collector::prepare(&other, "")?;
    let settings = Settings::default().with(
        "upload.ca_file",
        &format!("'{}'", trusted.ca_file().display()),
    )?;
    let host = lab.host("host")?;
    let agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    keeps(&agent, "upload_retried_total")?;
    let hosts = collector.hosts()?.to_string();
    ensure!(
        !hosts.contains(&format!("\"{}\"", host.name())),
        "it reported: {hosts}"
    );
    other.close()
}
