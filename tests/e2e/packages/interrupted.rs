//! Installation, upgrade and removal, killed at each step and done again: the end is the same.
//!
//! Steps are the programs that maintainer scripts, package managers and `install.sh` call. They are
//! found by scripts of the same names that come first in the path, count, and at one number kill the
//! whole process group: package manager and scripts, as a closed terminal or a power cut does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tests::lab::Lab;
use tests::lab::agent::FLEET_KEY;
use tests::lab::collector::write_secret;

use super::given::{release, unpack};
use super::installed::{Installed, Way, words};
use super::root::{Files, Root, changes};

/// Programs that are steps. What the shell does by itself lies between two of them.
const STEPS: [&str; 23] = [
    "rm",
    "mv",
    "cp",
    "mkdir",
    "rmdir",
    "chmod",
    "chown",
    "cat",
    "find",
    "id",
    "cmp",
    "sort",
    "sed",
    "tar",
    "gzip",
    "useradd",
    "userdel",
    "update-rc.d",
    "invoke-rc.d",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "insserv",
    "chkconfig",
];
/// Where they come first: `PATH` of the tool.
const FIRST: &str = "usr/local/sbin";
/// More steps than anything here has; a loop that never ends would reach it.
const MOST: usize = 1000;
/// Files of an archive get their places, and go, one by one in the same way: one in so many is tried.
const STRIDE: usize = 29;
/// What may be installed together.
pub(super) const AGENT: &str = "waybill-agent";
pub(super) const COLLECTOR: &str = "waybill-collector";

/// A tool's call: whether it runs inside the file system, and its words.
type Call = (bool, Vec<String>);

impl Installed<'_> {
    /// Installs or upgrades these packages at once.
    fn install_call(&self, revision: usize, names: &[&str]) -> Result<Call> {
        let files = |end: &str| {
            let files = names.iter().map(|name| self.package(revision, name, end));
            files.collect::<Result<Vec<_>>>()
        };
        Ok(match self.way {
            Way::Deb => {
                let line =
                    ["dpkg", "--force-unsafe-io", "--force-confold", "-i"].map(str::to_owned);
                (true, [&line[..], &files(".deb")?].concat())
            }
            Way::Rpm => {
                // As install.sh calls it: what was interrupted may count as installed.
                let files = files(".rpm")?;
                let options = ["-U", "--oldpackage", "--replacepkgs", "--define"];
                let path = format!("_install_script_path /{FIRST}:/usr/sbin:/usr/bin:/sbin:/bin");
                let options = [&options[..], &[&path], &words(&files)].concat();
                (false, self.rpm_line(&options))
            }
            Way::Archive => {
                let names = names.iter().map(|name| name.trim_start_matches("waybill-"));
                let options = ["--with", "tar"]
                    .into_iter()
                    .chain(names)
                    .collect::<Vec<_>>();
                (true, self.script_line(revision, &options))
            }
        })
    }

    /// Removes them, with all state where `purge` is given.
    fn remove_call(&self, names: &[&str], purge: bool) -> Call {
        match self.way {
            Way::Deb => {
                let option = if purge { "-P" } else { "-r" };
                let line = ["dpkg", "--force-unsafe-io", option];
                (
                    true,
                    line.iter().chain(names).map(ToString::to_string).collect(),
                )
            }
            Way::Rpm => {
                let path = format!("_install_script_path /{FIRST}:/usr/sbin:/usr/bin:/sbin:/bin");
                let options = [&["-e", "--define", &path], names].concat();
                let purged = if purge { "1" } else { "" };
                let mut line = vec!["env".to_owned(), format!("WAYBILL_PURGE={purged}")];
                line.extend(self.rpm_line(&options));
                (false, line)
            }
            Way::Archive => {
                let option = if purge { "--purge" } else { "--uninstall" };
                let names = names.iter().map(|name| name.trim_start_matches("waybill-"));
                let options: Vec<&str> = std::iter::once(option).chain(names).collect();
                (true, self.script_line(0, &options))
            }
        }
    }

    fn call(&self, (inside, line): &Call) -> Result<()> {
        let (success, said) = self.root.attempt(*inside, &words(line))?;
        ensure!(success, "{}: {said}", line.join(" "));
        Ok(())
    }

    /// What of these packages rpm still knows: a removal that was killed behind the last file may be
    /// complete for it.
    fn remove_again(&self, call: &Call) -> Result<()> {
        if self.way == Way::Rpm {
            let mut call = call.clone();
            let known = |name: &str| {
                let mut ask = self.rpm_line(&["-q", name]);
                ask.retain(|word| word != "--nodeps");
                self.root
                    .attempt(false, &words(&ask))
                    .map(|(known, _)| known)
            };
            for name in [AGENT, COLLECTOR] {
                if !known(name)? {
                    call.1.retain(|word| word != name);
                }
            }
            if !call.1.iter().any(|word| word == AGENT || word == COLLECTOR) {
                return Ok(());
            }
            return self.call(&call);
        }
        self.call(call)
    }
}

/// The scripts that count and kill.
fn put_steps(root: &Root<'_>) -> Result<()> {
    fs::create_dir_all(root.path(FIRST))?;
    for step in STEPS {
        let real = ["usr/bin", "usr/sbin", "bin", "sbin"]
            .into_iter()
            .map(|folder| format!("{folder}/{step}"))
            .find(|path| root.path(path).exists());
        let Some(real) = real else { continue };
        // Reading and counting take no program, so none of these scripts calls another.
        let text = format!(
            "#!/bin/sh\nif read -r at 2>/dev/null </steps/kill-at; then\n\
             count=0\nread -r count 2>/dev/null </steps/count\ncount=$((count + 1))\n\
             echo $count >/steps/count\n\
             if [ $count -eq $at ]; then\necho \"{step} $*\" >/steps/killed\nkill -9 0\nfi\nfi\n\
             exec /{real} \"$@\"\n"
        );
        root.program(&format!("{FIRST}/{step}"), &text)?;
    }
    fs::create_dir_all(root.path("steps")).context("make the folder of steps")
}

/// Kills `call` at step `at`; what was killed, or nothing where it ended before.
fn killed_at(on: &Installed<'_>, call: &Call, at: usize) -> Result<Option<String>> {
    let steps = on.root.path("steps");
    for old in ["killed", "count"] {
        fs::remove_file(steps.join(old)).ok();
    }
    fs::write(steps.join("kill-at"), format!("{at}\n"))?;
    let (success, said) = on.root.attempt(call.0, &words(&call.1))?;
    fs::remove_file(steps.join("kill-at"))?;
    match fs::read_to_string(steps.join("killed")) {
        Ok(step) => Ok(Some(format!("step {at}, {}", step.trim()))),
        Err(_) if success => Ok(None),
        Err(_) => bail!("{}: {said}", call.1.join(" ")),
    }
}

/// Kills `call` at each step in turn; after each, `again` must lead to what `right` accepts, and
/// `reset` back to where it began. Returns the number of steps.
fn each_step(
    on: &Installed<'_>,
    call: &Call,
    again: impl Fn() -> Result<()>,
    right: impl Fn() -> Result<()>,
    reset: impl Fn() -> Result<()>,
) -> Result<usize> {
    let mut at = 1;
    while at < MOST {
        let Some(step) = killed_at(on, call, at)? else {
            return Ok(at - 1);
        };
        at = next(on.way, at, &step);
        again().with_context(|| format!("again after {step}"))?;
        right().with_context(|| format!("killed at {step}, and done again"))?;
        reset().with_context(|| format!("reset after {step}"))?;
    }
    bail!("{MOST} steps and no end: {}", call.1.join(" "))
}

/// The step to try after this one.
fn next(way: Way, at: usize, step: &str) -> usize {
    let alike = [".waybill.new", "rm -f /", "rmdir /", "chmod 0755 /"];
    if way == Way::Archive && alike.iter().any(|word| step.contains(word)) {
        at + STRIDE
    } else {
        at + 1
    }
}

/// All files but those of the trial itself, logs, and what a killed rpm keeps of its scripts.
fn looked(on: &Installed<'_>) -> Result<Files> {
    let mut files = on.root.files()?;
    files.retain(|path, _| {
        let not_ours = ["steps", "var/log", "var/tmp"];
        !not_ours.iter().any(|folder| path.starts_with(folder))
    });
    Ok(files)
}

fn same(expected: &Files, found: &Files) -> Result<()> {
    let differ = changes(expected, found);
    ensure!(differ.is_empty(), "not as without a kill: {differ:#?}");
    Ok(())
}

fn open<'a>(
    lab: &'a Lab,
    host: &'a tests::lab::host::Host,
    name: &str,
    way: Way,
) -> Result<Installed<'a>> {
    let root = Root::open(lab, host, &release(name)?)?;
    root.let_services_start()?;
    put_steps(&root)?;
    let bundles = [unpack(lab, "first")?, unpack(lab, "second")?];
    Ok(Installed { root, way, bundles })
}

/// First installation and removal of these packages, killed at each step.
pub(super) fn comes_and_goes(lab: &Lab, name: &str, way: Way, names: &[&str]) -> Result<()> {
    let host = lab.host("host")?;
    let on = open(lab, &host, name, way)?;
    let nothing = looked(&on)?;
    let install = on.install_call(0, names)?;
    let (remove, purge) = (on.remove_call(names, false), on.remove_call(names, true));

    // Without any kill: what is right.
    on.call(&install)?;
    if names.contains(&AGENT) {
        on.modes()?;
    }
    let installed = looked(&on)?;
    on.call(&remove)?;
    let removed = looked(&on)?;
    if way != Way::Deb {
        on.call(&install)?;
    }
    on.call(&purge)?;
    same(&nothing, &looked(&on)?).context("a purge")?;

    let steps = each_step(
        &on,
        &install,
        || on.call(&install),
        || same(&installed, &looked(&on)?),
        || on.call(&purge),
    )?;
    ensure!(steps > 10, "only {steps} steps of an installation");
    on.call(&install)?;
    let steps = each_step(
        &on,
        &remove,
        || on.remove_again(&remove),
        || same(&removed, &looked(&on)?),
        || on.call(&install),
    )?;
    ensure!(steps > 3, "only {steps} steps of a removal");
    if way != Way::Deb {
        on.call(&install)?;
    }
    on.call(&purge)?;
    same(&nothing, &looked(&on)?).context("the last purge")
}

/// An upgrade beside a running agent, killed at each step: it runs afterwards, as it did before.
pub(super) fn upgrades(lab: &Lab, name: &str, way: Way) -> Result<()> {
    let host = lab.host("host")?;
    let on = open(lab, &host, name, way)?;
    on.call(&on.install_call(0, &[AGENT])?)?;
    configure(lab, &on)?;
    on.service("start")?;
    on.running()?;
    let calls = [on.install_call(0, &[AGENT])?, on.install_call(1, &[AGENT])?];
    let mut seen = BTreeSet::new();
    let (mut at, mut turn) = (1, 0);
    while at < MOST {
        // Forth and back, in turn.
        turn += 1;
        let call = &calls[turn % 2];
        let Some(step) = killed_at(&on, call, at)? else {
            ensure!(at > 3, "only {} steps of an upgrade", at - 1);
            return stays_stopped(&on, &calls);
        };
        at = next(way, at, &step);
        // Whatever was killed: there is a whole program.
        let whole = on.root.run(&["waybill-agent", "version"]);
        whole.with_context(|| format!("the program after {step}"))?;
        on.call(call)
            .with_context(|| format!("again after {step}"))?;
        let pid = on.running();
        let pid = pid.with_context(|| format!("killed at {step}, and done again"))?;
        ensure!(
            seen.insert(pid),
            "the agent was not started anew after {step}"
        );
        on.modes().context(step)?;
        for left in [
            "waybill-agent.upgrade",
            "waybill-unpack.waybill-agent",
            "waybill-bundle",
        ] {
            let left = on.root.path("var/lib").join(left);
            ensure!(!left.exists(), "{} is left", left.display());
        }
    }
    bail!("{MOST} steps and no end of an upgrade")
}

/// An agent that was stopped by its operator stays so, also where an upgrade is interrupted.
fn stays_stopped(on: &Installed<'_>, calls: &[Call; 2]) -> Result<()> {
    on.service("stop")?;
    for (at, call) in [(3, &calls[0]), (6, &calls[1])] {
        killed_at(on, call, at)?;
        on.call(call)?;
        ensure!(on.agent().is_err(), "an upgrade started a stopped agent");
    }
    // A full or missing /run and /var/run: the upgrade goes on, and the agent runs as before.
    on.service("start")?;
    on.running()?;
    let full = "rm -rf /var/run; mount -t tmpfs -o size=4k tmpfs /run && \
                { head -c 65536 /dev/zero >/run/full 2>/dev/null; true; }";
    on.root.run(&["sh", "-c", full])?;
    on.call(&calls[1])?;
    on.running().map(drop)
}

/// What an agent needs to run: a key, and a scope of its own.
fn configure(lab: &Lab, on: &Installed<'_>) -> Result<()> {
    let etc = on.root.path("etc/waybill");
    write_secret(&etc.join("fleet.key"), &format!("{FLEET_KEY}\n"))?;
    let scope = on.root.host.cgroup().strip_prefix(&lab.tree().root)?;
    let scope = Path::new("/").join(scope);
    let config = fs::read_to_string(etc.join("agent.toml"))?;
    let scope = format!("cgroup = {scope:?}");
    let config = config.replace("#cgroup = \"/\"", &scope);
    fs::write(etc.join("agent.toml"), config).context("write the configuration")
}
