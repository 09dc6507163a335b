//! What `doctor` reports, and how people read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::calls::Caller;
use crate::config::Config;
use crate::family;
use crate::jail::SandboxState;
use crate::plan::{Plan, Until};
use crate::reports;
use crate::spool::Stat;
use crate::status::{self, Helper, Status};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    /// The oldest kernel that the program itself runs on.
    pub(super) minimal_kernel: Option<String>,
    pub(super) config: ConfigPart,
    pub(super) facts: BTreeMap<String, String>,
    pub(super) plan: Vec<(String, String)>,
    pub(super) jail: JailPart,
    /// What a running agent last said of itself.
    pub(super) running: Option<Status>,
    /// What confines it, as the kernel shows it now.
    pub(super) confined: Option<SandboxState>,
    /// The same of the process that keeps its packet filters.
    pub(super) keeper: Option<SandboxState>,
    pub(super) reader: Option<SandboxState>,
    pub(super) spool: Option<Stat>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ConfigPart {
    pub(super) file: PathBuf,
    /// Empty when the configuration is right; else the plan is that of the defaults.
    pub(super) problems: Vec<String>,
}

/// What the jail leaves: to the running agent, or else what is planned.
#[derive(Debug, Serialize)]
pub(super) struct JailPart {
    pub(super) rootfs: PathBuf,
    /// Whether this is of the running agent.
    pub(super) running: bool,
    pub(super) capabilities: Vec<Kept>,
    pub(super) mounts: Vec<Mounted>,
    pub(super) seccomp: SeccompPart,
    /// What is left to the process that keeps packet filters, where there is one.
    pub(super) keeper: Option<HelperPart>,
    pub(super) reader: Option<HelperPart>,
}

#[derive(Debug, Serialize)]
pub(super) struct HelperPart {
    pub(super) capabilities: Vec<Kept>,
    pub(super) allowed: Vec<AllowedCall>,
}

#[derive(Debug, Serialize)]
pub(super) struct SeccompPart {
    pub(super) mode: &'static str,
    pub(super) reason: String,
    /// What the running agent may do, whoever needs it; empty without a filter.
    pub(super) allowed: Vec<AllowedCall>,
}

#[derive(Debug, Serialize)]
pub(super) struct AllowedCall {
    pub(super) call: &'static str,
    pub(super) by: &'static str,
    pub(super) why: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) why: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Mounted {
    pub(super) target: String,
    pub(super) source: String,
    pub(super) until: &'static str,
    pub(super) why: &'static str,
}

impl JailPart {
    pub(super) fn of(config: &Config, plan: &Plan, running: Option<&Status>) -> Self {
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
    pub(super) fn lines(&self) -> Vec<String> {
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
