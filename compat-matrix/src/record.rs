//! What a guest says: one JSON object per line, taken in one by one. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What results begin with where they share the console with the kernel's log.
const MARKER: &str = "@@waybill-matrix ";

/// More results than this are a guest gone wild.
const MOST: usize = 10_000;

/// One line.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Ready { release: String },
    Doctor { doctor: Value },
    Running(Running),
    Check(Check),
    Verifier(Verified),
    Measure { name: String, value: u64 },
    Stats(Stats),
    Done { complete: Option<bool> },
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What of the product is checked.
    pub family: String,
    /// `<group>/<shape>/<mode>`
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// Why not, in words; empty when it passed.
    #[serde(default)]
    pub reason: String,
    /// How many of the expected things were found.
    #[serde(default)]
    pub found: u64,
    /// How many should have been.
    #[serde(default)]
    pub expected: u64,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it must be.
    Pass,
    /// Not as it must be.
    Fail,
    /// This kernel cannot show it.
    Skip,
}

impl Status {
    /// As it is written in results and goldens.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// What the verifier counted for one program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Name of the program.
    pub program: String,
    /// Instructions that it walked through.
    pub insns: u64,
    /// States that it kept.
    #[serde(default)]
    pub states: u64,
    /// Milliseconds that it took.
    #[serde(default)]
    pub ms: f64,
}

/// What an agent says of itself when it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Mode in force.
    pub mode: String,
    /// What it does, or why it does not, with what the kernel refused.
    #[serde(default)]
    pub plan: Vec<(String, String)>,
}

/// Run time of one program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Name of the program.
    pub program: String,
    /// How often it ran.
    #[serde(default)]
    pub runs: u64,
    /// Nanoseconds per run.
    pub run_ns_avg: u64,
}

/// Everything that a guest said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The kernel's release, once the guest was ready.
    pub release: Option<String>,
    /// The agent's own report.
    pub doctor: Option<Value>,
    /// What an agent said of itself when it ran.
    pub running: Option<Running>,
    /// Checks in their order.
    pub checks: Vec<Check>,
    /// What the verifier counted.
    pub verifier: Vec<Verified>,
    /// Other numbers.
    pub measures: BTreeMap<String, u64>,
    /// Run times.
    pub stats: Vec<Stats>,
    /// Whether it came to its end, and whether everything ordered was done by then.
    pub done: Option<bool>,
    /// Lines on the port for results that are none.
    pub strange: u64,
}

/// What happened with a line, for whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The guest has booted.
    Ready(String),
    /// A check came to its end.
    Check(Check),
    /// The guest is done.
    Done,
    /// Something that is only recorded.
    Other,
}

impl Record {
    /// Takes in a line of the port for results.
    pub fn line(&mut self, line: &str) -> News {
        let line = line.trim();
        if line.is_empty() {
            return News::Other;
        }
        let line = line.strip_prefix(MARKER).unwrap_or(line);
        match serde_json::from_str(line) {
            Ok(line) if self.checks.len() < MOST => self.take(line),
            _ => {
                self.strange += 1;
                News::Other
            }
        }
    }

    /// Takes in the results that stand between other lines of a console.
    pub fn console(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(at) = line.find(MARKER) {
                self.line(&line[at..]);
            }
        }
    }

    fn take(&mut self, line: Line) -> News {
        match line {
            Line::Ready { release } => {
                self.release = Some(release.clone());
                return News::Ready(release);
            }
            Line::Doctor { doctor } => self.doctor = Some(doctor),
            Line::Running(running) => self.running = Some(running),
            Line::Check(check) => {
                self.checks.push(check.clone());
                return News::Check(check);
            }
            Line::Verifier(program) => self.verifier.push(program),
            Line::Measure { name, value } => {
                self.measures.insert(name, value);
            }
            Line::Stats(stats) => self.stats.push(stats),
            Line::Done { complete } => {
                self.done = Some(complete.unwrap_or(true));
                return News::Done;
            }
        }
        News::Other
    }
}

#[cfg(test)]
mod tests {
    use super::{News, Record, Status};

    #[test]
    fn results_are_recorded_and_the_rest_is_counted() {
        let mut record = Record::default();
        let ready = record.line("{\"type\":\"ready\",\"release\":\"6.1\"}\r");
        assert_eq!(ready, News::Ready("6.1".into()));
        let check = r#"{"type":"check","family":"agent","name":"jail/x/auto","status":"fail","reason":"r","found":0,"expected":0,"seconds":0.5}"#;
        assert!(matches!(record.line(check), News::Check(c) if c.status == Status::Fail));
        record.line(r#"{"type":"verifier","program":"p","insns":5,"states":1,"ms":0.1}"#);
        record.line(r#"{"type":"stats","program":"p","runs":2,"run_ns_avg":300}"#);
        record.line(r#"{"type":"measure","name":"agent_peak_rss_kb","value":7}"#);
        record.line("noise");
        record.line("");
        record.line(r#"{"type":"surprise"}"#);
        assert_eq!(
            record.line(r#"{"type":"done","complete":false}"#),
            News::Done
        );
        assert_eq!((record.done, record.strange), (Some(false), 2));
        assert_eq!(record.measures["agent_peak_rss_kb"], 7);
        assert_eq!((record.verifier.len(), record.stats.len()), (1, 1));
    }

    #[test]
    fn results_on_a_console_are_found_behind_their_marker() {
        let mut record = Record::default();
        record.console(
            "[1.0] Run /init\r\n[2.0] x@@waybill-matrix {\"type\":\"ready\",\"release\":\"4.9\"}\r\n\
             {\"type\":\"done\"}\n@@waybill-matrix {\"type\":\"done\"}\n",
        );
        assert_eq!(record.release.as_deref(), Some("4.9"));
        assert_eq!((record.done, record.strange), (Some(true), 0));
    }
}
