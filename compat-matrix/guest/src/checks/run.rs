//! What the checks share: what is known of this kernel, and how each says what it found.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, ensure};
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::binaries::Binaries;
use tests::lab::needs::Skip;

use super::memory;
use crate::order::Order;
use crate::report::{Checked, Line, Report, Status};
use crate::say::say;

/// How long the last report may take through interval, spool, upload and store, emulated.
pub(super) const SETTLE: Duration = Duration::from_secs(40);

/// Most characters of a reason: the whole story is on the console.
const MAX_REASON: usize = 2000;

/// Everything that the checks share.
pub(super) struct Run {
    pub(super) order: Order,
    pub(super) payload: PathBuf,
    pub(super) report: Report,
    pub(super) binaries: Binaries,
    /// Runs as an ordinary program: the kernel is not ours.
    pub(super) here: bool,
    /// What the shipped agent says about this kernel.
    pub(super) doctor: Value,
    /// Why no lab can be built on this kernel, if that is so.
    pub(super) labless: Option<String>,
    /// The most memory that any agent ever used.
    pub(super) peak: memory::Used,
}

/// What a check found of what it expected.
pub(super) struct Found {
    pub(super) found: u64,
    pub(super) expected: u64,
}

impl Found {
    /// A check without anything to count.
    pub(super) const ALL: Self = Self {
        found: 1,
        expected: 1,
    };
}

impl Run {
    /// Runs one check and reports how it went.
    pub(super) fn check(
        &mut self,
        family: &'static str,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<Found>,
    ) -> Result<()> {
        let begin = Instant::now();
        let result = work(self);
        self.put(family, name, begin.elapsed(), result)
    }

    /// Reports one outcome.
    pub(super) fn put(
        &mut self,
        family: &'static str,
        name: &str,
        took: Duration,
        result: Result<Found>,
    ) -> Result<()> {
        let (status, reason, found) = match result {
            Ok(found) => {
                let all = found.found == found.expected;
                let status = if all { Status::Pass } else { Status::Fail };
                (status, String::new(), found)
            }
            Err(error) => {
                let skipped = error.downcast_ref::<Skip>().map(ToString::to_string);
                let none = Found {
                    found: 0,
                    expected: 0,
                };
                match skipped {
                    Some(reason) => (Status::Skip, reason, none),
                    None => (Status::Fail, self.told(name, &error), found_of(&error)),
                }
            }
        };
        self.report.line(&Line::Check(Checked {
            family,
            name: name.to_owned(),
            status,
            reason,
            found: found.found,
            expected: found.expected,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        }))
    }

    /// The reason on one line; everything else goes to the console.
    fn told(&self, name: &str, error: &Error) -> String {
        let whole = error
            .chain()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ");
        say(&format!("{name}: {whole}"));
        whole.chars().take(MAX_REASON).collect()
    }

    /// A fresh lab.
    ///
    /// # Errors
    /// A skip on kernels where none can be built, which says nothing about the agent.
    pub(super) fn lab(&self) -> Result<Lab> {
        self.need_labs()?;
        Lab::new(&self.binaries)
    }

    /// Whether labs can be built.
    ///
    /// # Errors
    /// A skip with the reason why not.
    pub(super) fn need_labs(&self) -> Result<()> {
        match &self.labless {
            Some(reason) => Err(Skip(format!("no labs here: {reason}")).into()),
            None => Ok(()),
        }
    }

    /// What the agent decided for one row of its plan, such as `mode`.
    pub(super) fn planned(&self, name: &str) -> &str {
        row(&self.doctor["plan"], name).unwrap_or("")
    }

    /// What the agent found out about the host by this name.
    pub(super) fn fact(&self, name: &str) -> &str {
        self.doctor["facts"][name].as_str().unwrap_or("")
    }

    /// Whether the agent measures connections on this kernel.
    ///
    /// # Errors
    /// A skip with the agent's own reason.
    pub(super) fn need_connections(&self) -> Result<()> {
        let plan = self.planned("connection");
        ensure!(!plan.is_empty(), "the agent explained nothing");
        match plan.strip_prefix("skipped: ") {
            Some(reason) => Err(Skip(reason.to_owned()).into()),
            None => Ok(()),
        }
    }

    /// Whether the agent follows connections by programs on this kernel.
    ///
    /// # Errors
    /// A skip with the agent's own reason.
    pub(super) fn need_programs(&self) -> Result<()> {
        self.need_connections()?;
        match self.planned("connection").strip_prefix(BY_SOCKETS) {
            Some(reason) => Err(Skip(format!("no programs{reason}")).into()),
            None => Ok(()),
        }
    }

    /// Whether the agent writes tokens on this kernel.
    ///
    /// # Errors
    /// A skip with the agent's own reason.
    pub(super) fn need_tokens(&self) -> Result<()> {
        self.need_connections()?;
        match self.planned("mode").strip_prefix("observe: ") {
            Some(reason) => Err(Skip(format!("no tokens: {reason}")).into()),
            None => Ok(()),
        }
    }
}

/// What a plan calls connections that are followed without programs.
const BY_SOCKETS: &str = "packet and diagnostic sockets";

/// One row of a plan in JSON: `[["name", "decision"], ...]`.
fn row<'a>(plan: &'a Value, name: &str) -> Option<&'a str> {
    let rows = plan.as_array()?;
    rows.iter()
        .find(|row| row[0].as_str() == Some(name))
        .and_then(|row| row[1].as_str())
}

/// A failed check that counted something says so in its error.
#[derive(Debug)]
pub(super) struct Incomplete {
    pub(super) found: u64,
    pub(super) expected: u64,
    pub(super) reason: String,
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Incomplete {}

fn found_of(error: &Error) -> Found {
    error.downcast_ref::<Incomplete>().map_or(
        Found {
            found: 0,
            expected: 0,
        },
        |incomplete| Found {
            found: incomplete.found,
            expected: incomplete.expected,
        },
    )
}
