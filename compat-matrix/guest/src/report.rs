//! Results: one JSON object per line, on a serial port that carries nothing else.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use serde::Serialize;
use serde_json::Value;

/// The port for results alone.
const PORT: &str = "/dev/ttyS1";

/// The console, where results stand between other lines.
const CONSOLE: &str = "/dev/ttyS0";

/// What a result begins with where other lines may stand before it.
const MARKER: &str = "@@waybill-matrix ";

/// One result.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The guest has booted; what fails from here on is not the infrastructure.
    Ready {
        /// The kernel's own name of its version.
        release: String,
    },
    /// What `waybill-agent doctor --format json` printed.
    Doctor {
        /// The report, unchanged.
        doctor: Value,
    },
    /// What the agent said once it ran: mode and plan after loading.
    Running {
        /// Injection mode in force.
        mode: String,
        /// Family and decision, programs that the kernel refused among them.
        plan: Vec<(String, String)>,
    },
    /// One check.
    Check(Checked),
    /// What the verifier counted for one program.
    Verifier {
        /// Name of the program.
        program: String,
        /// Instructions that the verifier walked through.
        insns: u64,
        /// States that it kept.
        states: u64,
        /// Milliseconds that it took.
        ms: f64,
    },
    /// One number about the agent.
    Measure {
        /// What was measured, with its unit.
        name: &'static str,
        /// The number.
        value: u64,
    },
    /// Run time of one program under the traffic of the edge checks.
    Stats {
        /// Name of the program.
        program: String,
        /// How often it ran.
        runs: u64,
        /// Nanoseconds per run.
        run_ns_avg: u64,
    },
    /// Nothing comes after this.
    Done {
        /// Whether every check that was ordered came to its end.
        complete: bool,
    },
}

/// The outcome of one check.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// What of the product is checked: `agent` or the family of programs.
    pub(crate) family: &'static str,
    /// `<group>/<shape>/<mode>`
    pub(crate) name: String,
    /// `pass`, `fail` or `skip`.
    pub(crate) status: Status,
    /// Why not, in words; empty when it passed.
    pub(crate) reason: String,
    /// How many of the expected things were found.
    pub(crate) found: u64,
    /// How many should have been.
    pub(crate) expected: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// As it must be.
    Pass,
    /// Not as it must be.
    Fail,
    /// This kernel cannot show it.
    Skip,
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Report {
    out: File,
    prefix: &'static str,
}

impl Report {
    /// The serial port for results, or the console where there is only that.
    ///
    /// # Errors
    /// When there is neither.
    pub(crate) fn serial() -> Result<Self> {
        if let Ok(out) = open(PORT) {
            return Ok(Self { out, prefix: "" });
        }
        let out = open(CONSOLE).context("no serial port for results")?;
        Ok(Self {
            out,
            prefix: MARKER,
        })
    }

    /// Standard output.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn standard() -> Result<Self> {
        let out = OpenOptions::new()
            .append(true)
            .open("/proc/self/fd/1")
            .context("open standard output")?;
        Ok(Self { out, prefix: "" })
    }

    /// Writes one result at once.
    ///
    /// # Errors
    /// When the port is gone.
    pub(crate) fn line(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line).context("a result as JSON")?;
        // A line of its own, whatever the kernel wrote to the console in between.
        let begin = if self.prefix.is_empty() { "" } else { "\n" };
        writeln!(self.out, "{begin}{}{text}", self.prefix).context("write a result")?;
        self.out.flush().context("write a result")
    }
}

/// Opens a serial port if there is hardware behind it, without echo and translation.
fn open(path: &str) -> Result<File> {
    let no_terminal = nix::libc::O_NOCTTY;
    let out = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_terminal)
        .open(path)
        .with_context(|| format!("open {path}"))?;
    // The node of a port that is not there opens, too; its settings cannot be read.
    let mut settings = tcgetattr(&out).with_context(|| format!("no port {path}"))?;
    cfmakeraw(&mut settings);
    tcsetattr(&out, SetArg::TCSANOW, &settings).with_context(|| format!("set up {path}"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Checked, Line, Status};

    #[test]
    fn results_have_the_form_that_the_host_reads() {
        let line = Line::Check(Checked {
            family: "connection",
            name: "edges/fullnat-nft-v4/auto".into(),
            status: Status::Pass,
            reason: String::new(),
            found: 2,
            expected: 2,
            seconds: 1.5,
        });
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"type":"check","family":"connection","name":"edges/fullnat-nft-v4/auto","status":"pass","reason":"","found":2,"expected":2,"seconds":1.5}"#
        );
        let ready = serde_json::to_string(&Line::Ready {
            release: "6.1".into(),
        })
        .unwrap();
        assert_eq!(ready, r#"{"type":"ready","release":"6.1"}"#);
    }
}
