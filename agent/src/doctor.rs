//! `doctor`: facts, plan, reasons, what the jail leaves, and what a running agent says.
//!
//! It never fails because something is missing: that is what it is there to say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::abi;
use crate::calls::Caller;
use crate::cli::{Format, ReportArgs};
use crate::config::{Config, Key, Secret};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::files;
use crate::host::{self, Fact, HostFacts};
use crate::jail::SandboxState;
use crate::plan::{Plan, Until};
use crate::reports;
use crate::spool::{self, Stat};
use crate::status::{self, Helper, Status};
use crate::{VERSION, family, setup, startup};

#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    /// The oldest kernel that the program itself runs on.
    minimal_kernel: Option<String>,
    config: ConfigPart,
    facts: BTreeMap<String, String>,
    plan: Vec<(String, String)>,
    jail: JailPart,
    /// What a running agent last said of itself.
    running: Option<Status>,
    /// What confines it, as the kernel shows it now.
    confined: Option<SandboxState>,
    /// The same of the process that keeps its packet filters.
    keeper: Option<SandboxState>,
    reader: Option<SandboxState>,
    spool: Option<Stat>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ConfigPart {
    file: PathBuf,
    /// Empty when the configuration is right; else the plan is that of the defaults.
    problems: Vec<String>,
}

/// What the jail leaves: to the running agent, or else what is planned.
#[derive(Debug, Serialize)]
struct JailPart {
    rootfs: PathBuf,
    /// Whether this is of the running agent.
    running: bool,
    capabilities: Vec<Kept>,
    mounts: Vec<Mounted>,
    seccomp: SeccompPart,
    /// What is left to the process that keeps packet filters, where there is one.
    keeper: Option<HelperPart>,
    reader: Option<HelperPart>,
}

#[derive(Debug, Serialize)]
struct HelperPart {
    capabilities: Vec<Kept>,
    allowed: Vec<AllowedCall>,
}

#[derive(Debug, Serialize)]
struct SeccompPart {
    mode: &'static str,
    reason: String,
    /// What the running agent may do, whoever needs it; empty without a filter.
    allowed: Vec<AllowedCall>,
}

#[derive(Debug, Serialize)]
struct AllowedCall {
    call: &'static str,
    by: &'static str,
    why: &'static str,
}

#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Mounted {
    target: String,
    source: String,
    until: &'static str,
    why: &'static str,
}

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
        .neighbours
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

impl JailPart {
    fn of(config: &Config, plan: &Plan, running: Option<&Status>) -> Self {
        let mounts = plan.jail.mounts.iter().map(|mount| Mounted {
            target: format!("/{}", mount.target),
            source: mount.source.name(),
            until: match mount.until {
                Until::End => "the end",
                Until::Loaded => "programs are loaded",
            },
            why: mount.why,
        });
        // What runs may be less than what is planned: a kernel refuses in spite of the facts.
        let helpers = |status: &Status| (status.keeper.clone(), status.reader.clone());
        let said = running.and_then(|status| Some((status.kept.clone()?, helpers(status))));
        let is_running = said.is_some();
        let planned = || {
            (
                status::Kept::of(&plan.jail),
                (
                    plan.jail.keeper.as_ref().map(|needs| Helper::of(needs, 0)),
                    Some(Helper::of(&plan.jail.reader, 0)),
                ),
            )
        };
        let (kept, (keeper, reader)) = said.unwrap_or_else(planned);
        let part = |helper: Helper| HelperPart {
            capabilities: capabilities(&helper.kept),
            allowed: allowed(&helper.kept),
        };
        Self {
            rootfs: config.agent.rootfs.clone(),
            running: is_running,
            capabilities: capabilities(&kept),
            mounts: mounts.collect(),
            seccomp: SeccompPart {
                mode: plan.jail.seccomp.mode.value.name(),
                reason: plan.jail.seccomp.mode.reason.clone(),
                allowed: allowed(&kept),
            },
            keeper: keeper.map(part),
            reader: reader.map(part),
        }
    }
}

fn capabilities(kept: &status::Kept) -> Vec<Kept> {
    let named = |(name, why): &(String, String)| Kept {
        name: name.clone(),
        why: why.clone(),
    };
    kept.capabilities.iter().map(named).collect()
}

fn allowed(kept: &status::Kept) -> Vec<AllowedCall> {
    let named = |caller: &Caller| kept.callers.iter().any(|name| name == caller.name);
    let callers = family::callers().filter(named);
    let allowed = callers.flat_map(|caller| {
        caller.calls().map(move |call| AllowedCall {
            call: call.name,
            by: caller.name,
            why: call.why,
        })
    });
    allowed.collect()
}

impl SeccompPart {
    fn line(&self) -> String {
        let distinct: BTreeSet<&str> = self.allowed.iter().map(|allowed| allowed.call).collect();
        match distinct.len() {
            0 => format!("  system calls: {} ({})", self.mode, self.reason),
            count => format!(
                "  system calls: {}, {count} are allowed ({})",
                self.mode, self.reason
            ),
        }
    }
}

impl Report {
    /// For people: what matters first.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("waybill-agent {}", self.version)];
        let kernel = self.minimal_kernel.as_ref();
        lines.extend(kernel.map(|kernel| format!("runs on Linux {kernel} and later")));
        lines.push(format!("configuration {}", self.config.file.display()));
        lines.extend(
            self.config
                .problems
                .iter()
                .map(|problem| format!("  {problem}")),
        );
        section(
            &mut lines,
            "plan",
            self.plan.iter().map(|(name, what)| (name, what)),
        );
        section(
            &mut lines,
            "warnings",
            std::iter::empty::<(String, String)>(),
        );
        match self.warnings.is_empty() {
            true => lines.push("  none".into()),
            false => lines.extend(self.warnings.iter().map(|warning| format!("  {warning}"))),
        }
        self.push_running(&mut lines);
        section(&mut lines, "facts", &self.facts);
        lines.push(String::new());
        let whose = match self.jail.running {
            true => "as it is for the running agent",
            false => "as planned",
        };
        lines.push(format!("jail {}, {whose}", self.jail.rootfs.display()));
        if self.jail.capabilities.is_empty() {
            lines.push("  no capability is kept".into());
        }
        for kept in &self.jail.capabilities {
            lines.push(format!("  keeps {}: {}", kept.name, kept.why));
        }
        lines.push(self.jail.seccomp.line());
        let helpers = [
            ("keeps the packet filters", &self.jail.keeper),
            ("reads files again stays root and", &self.jail.reader),
        ];
        for (does, helper) in helpers {
            for kept in helper.iter().flat_map(|helper| &helper.capabilities) {
                lines.push(format!(
                    "  a process that {does} keeps {}: {}",
                    kept.name, kept.why
                ));
            }
        }
        for mount in &self.jail.mounts {
            let Mounted {
                target,
                source,
                until,
                why,
            } = mount;
            lines.push(format!("  {target}: {source}, until {until} ({why})"));
        }
        lines
    }

    fn push_running(&self, lines: &mut Vec<String>) {
        let counted = self.running.iter().flat_map(|status| &status.counters);
        section(
            lines,
            "running agent",
            counted.filter(|(_, count)| **count > 0),
        );
        lines.push(match &self.running {
            None => "  none".into(),
            Some(status) => format!(
                "  process {}, mode {}; every other counter is 0",
                status.pid, status.mode
            ),
        });
        let it = "what confines it now, as the kernel shows it";
        let keeper = "what confines the keeper of its packet filters";
        let reader = "what confines the reader of its files";
        for (heading, seen) in [
            (it, &self.confined),
            (keeper, &self.keeper),
            (reader, &self.reader),
        ] {
            if let Some(seen) = seen {
                push_confined(lines, heading, seen);
            }
        }
        if let Some(stat) = &self.spool {
            lines.push(String::new());
            lines.push("spool".into());
            lines.extend(
                reports::stat_lines(stat)
                    .into_iter()
                    .map(|line| format!("  {line}")),
            );
        }
    }
}

/// What the kernel shows of one process.
fn push_confined(lines: &mut Vec<String>, heading: &str, seen: &SandboxState) {
    let groups = match seen.groups.as_str() {
        "" => "none",
        groups => groups,
    };
    let rows = [
        ("user", format!("{}, further groups: {groups}", seen.uid)),
        ("capabilities", seen.capabilities.clone()),
        ("can gain", seen.gainable.clone()),
        ("no_new_privs", seen.no_new_privs.to_string()),
        ("system calls", seen.seccomp.clone()),
    ];
    let mounts = seen.mounts.iter();
    let mounts = mounts.map(|one| (one.at.as_str(), format!("{}, {}", one.kind, one.options)));
    section(lines, heading, rows.into_iter().chain(mounts));
}

/// A heading and aligned lines below it.
fn section<N: std::fmt::Display, V: std::fmt::Display>(
    lines: &mut Vec<String>,
    heading: &str,
    rows: impl IntoIterator<Item = (N, V)>,
) {
    lines.push(String::new());
    lines.push(heading.to_owned());
    let rows: Vec<(String, V)> = rows
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.extend(
        rows.iter()
            .map(|(name, value)| format!("  {name:<width$}  {value}")),
    );
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
