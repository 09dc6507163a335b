//! `doctor`: whether a collector can do what its configuration asks for, and what to do where it
//! cannot. It looks and changes nothing, works beside a running collector and without one, and
//! never fails because something is missing: that is what it is there to say.

mod alerts;
mod certificate;
mod clickhouse;
mod credentials;
mod finding;
mod listening;
mod machine;
mod outputs;
mod running;
mod store;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config;
use crate::{escape, time};
pub use finding::State;
use finding::{Finding, Part};
use running::Running;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// The configuration file.
    pub config: PathBuf,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The process that serves by this configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_pid: Option<u32>,
    /// The worst of all.
    pub state: State,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// Looks at everything that a configuration names.
#[must_use]
pub fn examine(file: &Path) -> Report {
    let at_ms = time::now_ms();
    let running = Running::find(file);
    let findings = match config::load(file) {
        Err(error) => vec![unreadable(anyhow::Error::new(error))],
        Ok(config) => {
            let mut findings = settings(&config);
            let (found, look) = store::examine(&config, at_ms);
            findings.extend(found);
            findings.extend(listening::examine(&config, running.as_ref()));
            findings.extend(certificate::examine(&config, at_ms));
            findings.extend(credentials::examine(&config));
            findings.extend(outputs::examine(&config, look.as_ref(), at_ms));
            findings.extend(alerts::examine(&config, running.as_ref(), at_ms));
            findings.extend(machine::examine(&config, running.as_ref()));
            findings.extend(machine::clock(&config, look.as_ref(), at_ms));
            findings
        }
    };
    let worst = findings.iter().map(|finding| finding.state).max();
    Report {
        version: env!("CARGO_PKG_VERSION"),
        config: file.to_owned(),
        at_ms,
        running_pid: running.map(|running| running.pid),
        state: worst.unwrap_or(State::Ok),
        findings,
    }
}

fn unreadable(error: anyhow::Error) -> Finding {
    let part = Part("configuration");
    part.failed(
        "file",
        format!("{error:#}"),
        "correct it; `waybill-collector check-config` reads it as `serve` does",
    )
}

fn settings(config: &config::Config) -> Vec<Finding> {
    let part = Part("configuration");
    let mut findings = vec![part.ok("file", "every key is known and has a value that can be")];
    for advice in config.auth.advice() {
        findings.push(part.warning("auth", advice, "see OPERATIONS, Credentials"));
    }
    findings
}

impl Report {
    /// What went wrong by its part, for the exit code; `None` where nothing did.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        let mut failed = self.findings.iter();
        let failed = failed.find(|finding| finding.state == State::Failed);
        failed.map(|finding| finding.part)
    }

    /// For people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn table(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let shown = escape::Shown;
        writeln!(out, "waybill-collector {}", self.version)?;
        match self.running_pid {
            Some(pid) => writeln!(out, "runs as process {pid}")?,
            None => writeln!(out, "does not run by this configuration")?,
        }
        let mut part = "";
        for finding in &self.findings {
            if finding.part != part {
                part = finding.part;
                writeln!(out, "{part}")?;
            }
            let (state, name) = (finding.state.name(), shown(&finding.name));
            writeln!(out, "  {state:<8} {name}: {}", shown(&finding.what))?;
            if let Some(advice) = &finding.advice {
                writeln!(out, "           -> {}", shown(advice))?;
            }
        }
        Ok(())
    }
}
