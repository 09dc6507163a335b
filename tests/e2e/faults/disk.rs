//! Disks that are full or can only be read.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::residue::{Residue, wait_no_orphans};
use tests::lab::wait::wait_for;

use crate::case::SOON;

/// A small file system of the lab's own on a directory of the agent.
pub(crate) struct Small(pub(crate) PathBuf);

impl Small {
    pub(crate) fn on(path: PathBuf, bytes: u64) -> Result<Self> {
        let (kind, options) = (Some("tmpfs"), format!("size={bytes},mode=0700"));
        mount(kind, &path, kind, MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self(path))
    }

    pub(crate) fn make_read_only(&self) -> Result<()> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        Ok(mount(
            None::<&str>,
            &self.0,
            None::<&str>,
            flags,
            None::<&str>,
        )?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).ok();
    }
}

/// Starts an agent that must refuse, and returns its exit code and what it said in this run.
pub(crate) fn refuses(agent: &mut Agent) -> Result<(i32, String)> {
    agent.start_unready()?;
    let running = agent.running_mut()?;
    let status = running.wait(STOP_DEADLINE)?;
    let said = running.errors()?;
    let code = status.code().with_context(|| format!("{status}: {said}"))?;
    let last = said.lines().last().unwrap_or_default().to_owned();
    ensure!(
        last.starts_with("waybill-agent: ") && !said.contains("panicked"),
        "{said}"
    );
    Ok((code, last))
}

pub(crate) fn full_disk(lab: &Lab) -> Result<()> {
    const PAGE: u64 = 4096;
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    let state = agent.rootfs().join("var/lib/waybill");
    let before = Residue::snapshot(lab, &[&host])?;
    let (mut refused, mut ran) = (0, 0);
    // Nothing, the host's id, parts of the database, the database, some batches.
    for pages in [1, 2, 3, 8, 16, 32, 64, 96] {
        let small = Small::on(state.clone(), pages * PAGE)?;
        if pages == 1 {
            std::fs::write(state.join("filler"), [0; 4096])?;
        }
        agent.start_unready()?;
        let outcome = wait_for(SOON, "an end or a loss", || {
            let running = agent.running_mut()?;
            if let Some(status) = running.ended()? {
                let said = running.errors()?;
                ensure!(status.code() == Some(5), "{pages} pages: {status}: {said}");
                let last = said.lines().last().unwrap_or_default();
                ensure!(last.contains("/var/lib/waybill"), "{pages} pages: {last}");
                return Ok(());
            }
            // A signal before it is ready would end it.
            let ready = agent
                .status()
                .is_ok_and(|status| agent.pid().ok() == Some(status.pid));
            ensure!(ready, "{pages} pages: not ready");
            agent.flush()?;
            let status = agent.status()?;
            let lost = status.counter("spool_dropped_error_total")?
                + status.counter("spool_evicted_disk_total")?;
            ensure!(lost > 0, "{pages} pages: nothing is lost yet");
            Ok(())
        });
        outcome?;
        match agent.running_mut()?.ended()? {
            Some(_) => refused += 1,
            None => {
                ran += 1;
                // With a full disk it ends as it should all the same.
                agent.stop()?;
            }
        }
        drop(small);
        before.wait_same(lab, &[&host])?;
    }
    ensure!(refused > 0 && ran > 0, "{refused} refused, {ran} ran");
    // Nor is there room for the lock.
    let small = Small::on(agent.rootfs().join("run"), PAGE)?;
    std::fs::write(agent.rootfs().join("run/filler"), [0; 4096])?;
    let (code, said) = refuses(&mut agent)?;
    ensure!(
        code == 1 && said.contains("/run/waybill-agent.lock"),
        "{code}: {said}"
    );
    drop(small);
    before.wait_same(lab, &[&host])?;
    agent.start()?;
    agent.stop()
}

pub(crate) fn read_only(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    let before = Residue::snapshot(lab, &[&host])?;
    let small = Small::on(agent.rootfs().join("var/lib/waybill"), 1 << 20)?;
    small.make_read_only()?;
    let (code, said) = refuses(&mut agent)?;
    ensure!(
        code == 5 && said.contains("/var/lib/waybill"),
        "{code}: {said}"
    );
    let log = agent.running()?.errors()?;
    ensure!(log.contains("Read-only file system"), "{log}");
    drop(small);
    before.wait_same(lab, &[&host])?;
    wait_no_orphans()
}

/// As on hosts whose root file system is read-only: what is written has file systems of its own.
pub(crate) fn read_only_root(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    let before = Residue::snapshot(lab, &[&host])?;
    let root = agent.rootfs().to_owned();
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(&root), &root, none, bind, none)?;
    let whole = Small(root.clone());
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | bind;
    mount(none, &root, none, read_only, none)?;
    let state = Small::on(root.join("var/lib/waybill"), 16 << 20)?;
    let run = Small::on(root.join("run"), 1 << 20)?;
    agent.start()?;
    wait_for(SOON, "batches in the spool of its own", || {
        agent.flush()?;
        let stored = agent.status()?.counter("spool_stored_total")?;
        ensure!(
            stored > 0 && state.0.join("spool.db").exists(),
            "{stored} stored"
        );
        Ok(())
    })?;
    let said = agent.running()?.errors()?;
    ensure!(said.contains("names of hosts: "), "{said}");
    agent.stop()?;
    drop((run, state, whole));
    before.wait_same(lab, &[&host])?;
    wait_no_orphans()
}
