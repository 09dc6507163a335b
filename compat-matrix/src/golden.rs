//! `expected/<id>.toml`: what a kernel showed when somebody last looked and blessed it. Pure.
//!
//! The comparison is by key, so a change of what the agent chooses shows as what it is.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{Record, Status};

/// Facts that differ between two boots of one kernel, or between two of its updates, or that are an
/// operator's setting.
const VOLATILE: [&str; 3] = ["conntrack_events", "kernel", "sockops_neighbours"];

/// What a file begins with.
const HEAD: &str = "# Written by `compat-matrix bless`. `release` is what was looked at and is not\n\
                    # compared; everything else is.\n";

/// What a kernel shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Release that was looked at; not compared.
    pub release: String,
    /// Mode, or `unsupported`.
    pub mode: String,
    /// Capabilities that the agent keeps.
    pub capabilities: Vec<String>,
    /// What the agent found.
    pub facts: BTreeMap<String, String>,
    /// What it chose, or why it did not.
    pub plan: BTreeMap<String, String>,
    /// How each check ended, with the reason of a skip.
    pub checks: BTreeMap<String, String>,
}

impl Golden {
    /// What a guest showed.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let doctor = record.doctor.as_ref();
        let release = record.release.as_deref().unwrap_or_default();
        let text = |value: &Value| lasting(value.as_str().unwrap_or_default(), release);
        let mut facts: BTreeMap<String, String> = doctor
            .and_then(|doctor| doctor["facts"].as_object())
            .map(|facts| facts.iter().map(|(k, v)| (k.clone(), text(v))).collect())
            .unwrap_or_default();
        facts.retain(|name, _| !VOLATILE.contains(&name.as_str()));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let capabilities = doctor
            .map(|doctor| list(&doctor["jail"]["capabilities"]))
            .unwrap_or_default();
        Self {
            release: record.release.clone().unwrap_or_default(),
            mode: mode(record),
            capabilities: capabilities
                .iter()
                .map(|kept| text(&kept["name"]))
                .collect(),
            facts,
            plan: plan(record)
                .into_iter()
                .map(|(name, value)| (name, lasting(&value, release)))
                .collect(),
            checks: record
                .checks
                .iter()
                .filter(|check| check.status != Status::Fail)
                .map(|check| {
                    let status = match check.status {
                        Status::Skip => format!("skip: {}", lasting(&check.reason, release)),
                        other => other.name().to_owned(),
                    };
                    (check.name.clone(), status)
                })
                .collect(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not as `bless` writes it.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("not a golden as `compat-matrix bless` writes it")
    }

    /// As it is written to a file.
    ///
    /// # Errors
    /// When it cannot be written as TOML, which a test rules out.
    pub fn text(&self) -> Result<String> {
        Ok(format!("{HEAD}{}", toml::to_string(self)?))
    }

    /// What is different now, one line each: `-` what was blessed, `+` what is.
    ///
    /// Checks that failed are not in it: they are red by themselves.
    #[must_use]
    pub fn difference(&self, now: &Self, failed: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        if self.mode != now.mode {
            lines.push(format!("- mode: {}", self.mode));
            lines.push(format!("+ mode: {}", now.mode));
        }
        if self.capabilities != now.capabilities {
            lines.push(format!("- capabilities: {}", self.capabilities.join(" ")));
            lines.push(format!("+ capabilities: {}", now.capabilities.join(" ")));
        }
        tables("facts", &self.facts, &now.facts, &[], &mut lines);
        tables("plan", &self.plan, &now.plan, &[], &mut lines);
        tables("checks", &self.checks, &now.checks, failed, &mut lines);
        lines
    }
}

/// A text without the release, which is written once, and without the id of one build.
fn lasting(text: &str, release: &str) -> String {
    /// Digits of a GNU build id.
    const DIGITS: usize = 40;
    let text = match release {
        "" => text.to_owned(),
        release => text.replace(release, "RELEASE"),
    };
    let words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    words
        .map(|word| {
            let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            match digits.len() {
                DIGITS => format!("BUILD-ID{}", &word[DIGITS..]),
                _ => word.to_owned(),
            }
        })
        .collect()
}

fn tables(
    name: &str,
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    without: &[&str],
    lines: &mut Vec<String>,
) {
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys
        .into_iter()
        .filter(|key| !without.contains(&key.as_str()))
    {
        let (old, new) = (before.get(key), now.get(key));
        if old != new {
            lines.extend(old.map(|value| format!("- {name}.{key}: {value}")));
            lines.extend(new.map(|value| format!("+ {name}.{key}: {value}")));
        }
    }
}

/// What the agent decided, in its order.
#[must_use]
pub fn plan(record: &Record) -> Vec<(String, String)> {
    let rows = record
        .doctor
        .as_ref()
        .and_then(|doctor| doctor["plan"].as_array())
        .into_iter()
        .flatten();
    rows.filter_map(|row| Some((row[0].as_str()?.to_owned(), row[1].as_str()?.to_owned())))
        .collect()
}

/// The mode that the agent's report promises; `?` without a report.
#[must_use]
pub fn promised(record: &Record) -> String {
    of_plan(&plan(record))
}

/// The supported mode: what an agent did when it ran, else what its report promises.
#[must_use]
pub fn mode(record: &Record) -> String {
    match &record.running {
        Some(running) if !running.plan.is_empty() => of_plan(&running.plan),
        Some(running) => running.mode.clone(),
        None => promised(record),
    }
}

/// The mode in a plan, or `unsupported` where connections are not measured at all.
fn of_plan(plan: &[(String, String)]) -> String {
    let row = |name: &str| {
        plan.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    match (row("connection"), row("mode")) {
        (Some(connection), _) if connection.starts_with("skipped") => "unsupported".into(),
        (_, Some(mode)) => mode.split(':').next().unwrap_or(mode).to_owned(),
        _ => "?".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Golden, mode, promised};
    use crate::record::Record;

    fn record(header_options: &str, connection: &str) -> Record {
        let mut record = Record::default();
        let doctor = json!({"type": "doctor", "doctor": {
            "facts": {"kernel": "6.1", "header_options": header_options},
            "plan": [["connection", connection], ["mode", "sockops: the stack writes"]],
            "jail": {"capabilities": [{"name": "CAP_SYS_PTRACE", "why": "x"}]},
        }});
        record.line(&doctor.to_string());
        record.line(
            &json!({"type": "check", "family": "f", "name": "edges/a/auto",
            "status": "skip", "reason": "no IPVS"})
            .to_string(),
        );
        record
    }

    #[test]
    fn what_was_blessed_is_read_back_and_is_no_difference() {
        let golden = Golden::of(&record("yes", "raw tracepoints: all"));
        let read = Golden::parse(&golden.text().unwrap()).unwrap();
        assert_eq!(read, golden);
        assert_eq!(read.difference(&golden, &[]), [""; 0]);
        assert_eq!(golden.capabilities, ["CAP_SYS_PTRACE"]);
        assert!(!golden.facts.contains_key("kernel"));
        assert_eq!(golden.checks["edges/a/auto"], "skip: no IPVS");
    }

    #[test]
    fn another_build_of_the_same_kernel_is_no_difference() {
        let pack = |id: &str, release: &str| {
            let name = format!("it would be {}.{release}.btf.zst", id.repeat(20));
            let mut record = record("yes", &format!("skipped: no BTF; {name}"));
            record.line(&format!("{{\"type\":\"ready\",\"release\":\"{release}\"}}"));
            Golden::of(&record)
        };
        let golden = pack("a7", "5.10.262-bare");
        assert_eq!(
            golden.difference(&pack("0c", "5.10.263-bare"), &[]),
            [""; 0]
        );
        assert_eq!(
            golden.plan["connection"],
            "skipped: no BTF; it would be BUILD-ID.RELEASE.btf.zst"
        );
        assert_eq!(golden.release, "5.10.262-bare");
    }

    #[test]
    fn a_change_of_what_is_chosen_shows_both_sides() {
        let before = Golden::of(&record("yes", "raw tracepoints: all"));
        let mut now = Golden::of(&record("no: EINVAL", "raw tracepoints: all"));
        now.checks.clear();
        let lines = before.difference(&now, &[]);
        assert_eq!(
            lines,
            [
                "- facts.header_options: yes",
                "+ facts.header_options: no: EINVAL",
                "- checks.edges/a/auto: skip: no IPVS",
            ]
        );
        assert_eq!(before.difference(&now, &["edges/a/auto"]).len(), 2);
    }

    #[test]
    fn a_kernel_on_which_connections_are_not_measured_is_unsupported() {
        assert_eq!(mode(&record("no", "skipped: no BTF")), "unsupported");
        assert_eq!(mode(&record("yes", "raw tracepoints: all")), "sockops");
        assert_eq!(mode(&Record::default()), "?");
    }

    #[test]
    fn what_an_agent_did_counts_more_than_what_its_report_promised() {
        let mut record = record("yes", "raw tracepoints: all");
        let skipped = "skipped: the kernel refuses the programs";
        record.line(
            &json!({"type": "running", "mode": "observe", "plan": [["connection", skipped]]})
                .to_string(),
        );
        assert_eq!(mode(&record), "unsupported");
        assert_eq!(promised(&record), "sockops");
    }
}
