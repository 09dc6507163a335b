//! `doctor`: facts, plan, reasons, what the jail leaves, and what a running agent says.
//!
//! It never fails because something is missing: that is what it is there to say.

mod report;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::abi;
use crate::cli::{Format, ReportArgs};
use crate::config::{Config, Key, Secret};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::files;
use crate::host::{self, Fact, HostFacts};
use crate::jail::SandboxState;
use crate::plan::Plan;
use crate::reports;
use crate::spool;
use crate::status::{self, Helper, Status};
use crate::{VERSION, family, setup, startup};
use report::{ConfigPart, JailPart, Report};

/// Prints the report.
///
/// # Errors
/// Only when the output cannot be written.
pub fn run(args: &ReportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let report = examine(&args.file.config);
    match args.output.format {
        Format::Human => reports::print_lines(out, &report.lines()),
        Format::Json => reports::print_json(out, &report),
    }
    .or_exit(Exit::Runtime)
}

fn examine(file: &Path) -> Report {
    let (config, problems) = match setup::load(file) {
        Ok(config) => (config, Vec::new()),
        Err(error) => (assumed(), error.problems),
    };
    let facts = host::probe(&config);
    let plan = family::decide(&facts, &config);
    let (running, unreadable) = match running(&config.agent.rootfs) {
        Ok(running) => (running, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let confined = running.as_ref().map(|status| SandboxState::of(status.pid));
    let mut warnings = warnings(&config, &problems, &facts, &plan, running.as_ref());
    warnings.extend(unconfined(running.as_ref(), confined.as_ref()));
    warnings.extend(unreadable);
    let path = reports::spool_path(&config.agent.rootfs);
    let spool = spool::read_only(&path).and_then(|reader| reader.stat());
    if let (Err(error), true) = (&spool, path.symlink_metadata().is_ok()) {
        let causes = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let cause = causes.unwrap_or_default();
        warnings.push(format!("the spool is not read: {error}{cause}"));
    }
    let spool = spool.ok();
    Report {
        version: VERSION,
        minimal_kernel: abi::minimal_kernel(),
        warnings,
        config: ConfigPart {
            file: file.to_owned(),
            problems,
        },
        facts: facts.rows().into_iter().collect(),
        plan: plan.rows(),
        jail: JailPart::of(&config, &plan, running.as_ref()),
        keeper: seen(running.as_ref().and_then(|status| status.keeper.as_ref())),
        reader: outside(running.as_ref().and_then(|status| status.reader.as_ref())),
        running,
        confined: confined.and_then(Result::ok),
        spool,
    }
}

/// What the kernel shows of a process beside the agent.
fn seen(helper: Option<&Helper>) -> Option<SandboxState> {
    SandboxState::of(helper?.pid.try_into().ok()?).ok()
}

/// The same of one that is not in the jail: what it sees is what the host has.
fn outside(helper: Option<&Helper>) -> Option<SandboxState> {
    Some(SandboxState {
        mounts: Vec::new(),
        ..seen(helper)?
    })
}

/// Facts and plan, and nothing of the configuration: what is gathered for others to look at.
pub(crate) fn facts_and_plan() -> impl Serialize {
    let config = assumed();
    let facts = host::probe(&config);
    let plan = family::decide(&facts, &config);
    FactsAndPlan {
        version: VERSION,
        arch: facts.arch.clone(),
        facts: facts.rows().into_iter().collect(),
        plan: plan.rows(),
    }
}

/// What the kernel says to the programs of the plan that the defaults give.
///
/// # Errors
/// They cannot even be tried.
pub(crate) fn try_programs() -> anyhow::Result<String> {
    let config = assumed();
    family::try_programs(&host::probe(&config), &config)
}

#[derive(Debug, Serialize)]
struct FactsAndPlan {
    version: &'static str,
    arch: String,
    facts: BTreeMap<String, String>,
    plan: Vec<(String, String)>,
}

/// What the report is about without a configuration: the defaults, and that there is a fleet key.
fn assumed() -> Config {
    let mut config = Config::defaults();
    config.keys = vec![Key {
        epoch: 0,
        secret: Secret::new([0; 16]),
    }];
    config
}

/// The status of the agent in this root directory, if it still runs.
fn running(rootfs: &Path) -> anyhow::Result<Option<Status>> {
    /// Far above every status: counters, and peers by the dozen.
    const MAX_STATUS: u64 = 4 << 20;
    let path = rootfs.join("run").join(status::FILE);
    let text = match files::read_own(&path, MAX_STATUS) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("status not read: {}", path.display()))?,
    };
    let Ok(status) = serde_json::from_slice::<Status>(&text) else {
        return Ok(None);
    };
    let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", status.pid)).ok();
    // A process that ended but was not waited for has a name still, and no command line.
    let named = read("comm").is_some_and(|comm| comm == b"waybill-agent\n");
    let runs = named && read("cmdline").is_some_and(|line| !line.is_empty());
    Ok(runs.then_some(status))
}

fn warnings(
    config: &Config,
    problems: &[String],
    facts: &HostFacts,
    plan: &Plan,
    running: Option<&Status>,
) -> Vec<String> {
    let mut warnings = config.warnings.clone();
    warnings.extend(startup::shared_user(plan));
    if !problems.is_empty() {
        warnings.push(
            "the configuration is refused; this report assumes the defaults and a fleet key".into(),
        );
    }
    if let Fact::No { why } = &facts.private_mounts {
        warnings.push(format!(
            "an agent started like this would end with 4: {why}"
        ));
    }
    warnings.extend(plan.families.iter().flat_map(|one| one.shortfalls.clone()));
    warnings.extend(plan.warnings.iter().cloned());
    let changed = running.iter().flat_map(|status| &status.plan);
    let changed = changed.filter(|(name, _)| name.starts_with("changed_") || name == "scope");
    warnings.extend(changed.map(|(name, said)| format!("the running agent says {name}: {said}")));
    let foreign = facts
        .co_attached
        .iter()
        .flatten()
        .filter(|program| !program.is_ours());
    for program in foreign {
        warnings.push(format!(
            "{program} also is a sockops program on the scope's cgroup; both run, see OPERATIONS"
        ));
    }
    let lost = running.iter().flat_map(|status| &status.counters);
    let lost = lost.filter(|(name, count)| name.contains("_dropped_") && **count > 0);
    warnings
        .extend(lost.map(|(name, count)| format!("the running agent lost data: {name} {count}")));
    let strange = running.iter().flat_map(|status| &status.counters);
    let strange =
        strange.filter(|(name, count)| name.starts_with("upload_stranger_") && **count > 0);
    warnings.extend(strange.map(|(name, count)| {
        format!(
            "something between answers in the collector's place; batches are kept: {name} {count}"
        )
    }));
    for (peer, why) in running.iter().flat_map(|status| &status.paths_off) {
        warnings.push(format!("the option is off towards {peer}: {why}"));
    }
    warnings
}

/// What a running agent said of its jail, against what the kernel says now.
fn unconfined(
    running: Option<&Status>,
    confined: Option<&anyhow::Result<SandboxState>>,
) -> Vec<String> {
    match (running.and_then(|status| status.jail.as_ref()), confined) {
        (Some(said), Some(Ok(seen))) => {
            let differences = seen.differences(said).into_iter();
            differences
                .map(|one| {
                    format!("the running agent is confined otherwise than it said: it {one}")
                })
                .collect()
        }
        (_, Some(Err(error))) => {
            vec![format!(
                "what confines the running agent cannot be read: {error:#}"
            )]
        }
        (None, Some(Ok(_))) | (_, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{examine, running};
    use crate::status::Status;
    use std::path::Path;

    #[test]
    fn a_missing_configuration_is_reported_and_nothing_fails() {
        let report = examine(Path::new("/nonexistent/agent.toml"));
        assert!(report.config.problems[0].contains("cannot read"));
        assert!(report.plan.iter().any(|(name, _)| name == "connection"));
        let lines = report.lines().join("\n");
        for heading in ["plan", "warnings", "running agent", "facts", "jail"] {
            assert!(lines.contains(&format!("\n{heading}")), "{lines}");
        }
        assert!(
            serde_json::to_string(&report)
                .unwrap()
                .contains("\"facts\"")
        );
    }

    #[test]
    fn the_status_of_an_agent_that_ended_is_not_shown_as_running() {
        let rootfs = tempfile::tempdir().unwrap();
        std::fs::create_dir(rootfs.path().join("run")).unwrap();
        // A process that lives and is not an agent: this test.
        let status = Status {
            pid: std::process::id(),
            ..Status::default()
        };
        let text = status.text().unwrap();
        crate::status::write(&rootfs.path().join("run"), &text).unwrap();
        assert!(running(rootfs.path()).unwrap().is_none());
    }
}
