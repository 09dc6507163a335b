//! The checks, in the order in which they are asked for.

mod doctor;
mod edges;
mod gateway;
mod harm;
mod jail;
mod loss;
mod memory;
mod residue;
mod stage;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Error, Result, ensure};
use serde_json::Value;
use tests::lab::agent::Settings;
use tests::lab::binaries::Binaries;
use tests::lab::needs::Skip;
use tests::lab::{End, Lab};

use crate::order::{Check, Order};
use crate::report::{Checked, Line, Report, Status};
use crate::{kernel, say};

/// How long the last report may take through interval, spool, upload and store, emulated.
const SETTLE: Duration = Duration::from_secs(40);

/// Most characters of a reason: the whole story is on the console.
const MAX_REASON: usize = 2000;

/// Everything that the checks share.
struct Run {
    order: Order,
    payload: PathBuf,
    report: Report,
    binaries: Binaries,
    /// Runs as an ordinary program: the kernel is not ours.
    here: bool,
    /// What the shipped agent says about this kernel.
    doctor: Value,
    /// Why no lab can be built on this kernel, if that is so.
    labless: Option<String>,
    /// The most memory that any agent ever used.
    peak: memory::Used,
}

/// What a check found of what it expected.
struct Found {
    found: u64,
    expected: u64,
}

impl Found {
    /// A check without anything to count.
    const ALL: Self = Self {
        found: 1,
        expected: 1,
    };
}

/// Runs what is ordered.
///
/// # Errors
/// When nothing can be reported; a failed check is a result.
pub(crate) fn run(payload: &Path, here: bool) -> Result<()> {
    let order = Order::read(payload)?;
    let report = if here {
        Report::standard()?
    } else {
        kernel::measure_run_times();
        Report::serial()?
    };
    let mut run = Run {
        order,
        payload: payload.to_owned(),
        report,
        binaries: Binaries {
            agent: payload.join("rootfs").join(tests::lab::agent::AGENT),
            collector: payload.join("bin/waybill-collector"),
        },
        here,
        doctor: Value::Null,
        labless: None,
        peak: memory::Used::default(),
    };
    // Every other check reads what the agent promises on this kernel.
    let examined = doctor::examine(&run);
    match examined {
        Ok(doctor) => run.doctor = doctor,
        Err(error) => run.put("agent", "doctor/report", Duration::ZERO, Err(error))?,
    }
    run.labless = memory::too_small();
    if run.labless.is_some() && !here {
        // Nobody will start it, and here every file takes memory.
        std::fs::remove_file(&run.binaries.collector).ok();
    } else if run.order.checks.iter().any(|check| *check != Check::Doctor) {
        run.labless = try_lab(&run.binaries).err().map(|error| {
            say(&format!("no labs: {error:#}"));
            error.to_string()
        });
    }
    for check in run.order.checks.clone() {
        match check {
            Check::Doctor => doctor::run(&mut run)?,
            Check::Edges => edges::run(&mut run)?,
            Check::Harm => harm::run(&mut run)?,
            Check::Jail => jail::run(&mut run)?,
            Check::Loss => loss::run(&mut run)?,
            Check::Residue => residue::run(&mut run)?,
        }
    }
    for (name, value) in run.peak.measures() {
        run.report.line(&Line::Measure { name, value })?;
    }
    run.report.line(&Line::Done { complete: true })
}

impl Run {
    /// Runs one check and reports how it went.
    fn check(
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
    fn put(
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
    fn lab(&self) -> Result<Lab> {
        self.need_labs()?;
        Lab::new(&self.binaries)
    }

    /// Whether labs can be built.
    ///
    /// # Errors
    /// A skip with the reason why not.
    fn need_labs(&self) -> Result<()> {
        match &self.labless {
            Some(reason) => Err(Skip(format!("no labs here: {reason}")).into()),
            None => Ok(()),
        }
    }

    /// What the agent decided for one row of its plan, such as `mode`.
    fn planned(&self, name: &str) -> &str {
        row(&self.doctor["plan"], name).unwrap_or("")
    }

    /// What the agent found out about the host by this name.
    fn fact(&self, name: &str) -> &str {
        self.doctor["facts"][name].as_str().unwrap_or("")
    }

    /// Whether the agent measures connections on this kernel.
    ///
    /// # Errors
    /// A skip with the agent's own reason.
    fn need_connections(&self) -> Result<()> {
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
    fn need_programs(&self) -> Result<()> {
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
    fn need_tokens(&self) -> Result<()> {
        self.need_connections()?;
        match self.planned("mode").strip_prefix("observe: ") {
            Some(reason) => Err(Skip(format!("no tokens: {reason}")).into()),
            None => Ok(()),
        }
    }
}

/// Builds the smallest lab: two hosts and a link, by which hosts are joined everywhere.
fn try_lab(binaries: &Binaries) -> Result<()> {
    let kinds = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    ensure!(
        kinds.contains("cgroup2"),
        "the kernel has no cgroup2, in which a lab's hosts are branches"
    );
    let lab = Lab::new(binaries)?;
    let (one, other) = (lab.host("one")?, lab.host("other")?);
    let end = |host, addresses| End {
        host,
        device: "eth0",
        addresses,
    };
    lab.link(
        &end(&one, &["10.0.0.1/30", "fd00::1/64"]),
        &end(&other, &["10.0.0.2/30", "fd00::2/64"]),
    )?;
    lab.close()
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
struct Incomplete {
    found: u64,
    expected: u64,
    reason: String,
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

/// Settings of one mode: what the operator would write to force it.
fn mode_settings(mode: &str) -> Result<Settings> {
    let mut settings = Settings::default();
    for (key, value) in memory::limits() {
        settings = settings.with(key, value)?;
    }
    match mode {
        "auto" => Ok(settings),
        "observe" => settings.with("option.enabled", "false"),
        "kprobes" | "sockets" => settings.with("agent.hooks", &format!("'{mode}'")),
        other => settings.with("option.mode", &format!("'{other}'")),
    }
}
