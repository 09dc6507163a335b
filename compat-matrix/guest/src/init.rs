//! Process 1: boots, starts the checks, buries the dead, and powers off whatever happens.

use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tests::lab::wait::wait_until;

use crate::boot;
use crate::order::Order;
use crate::report::{Checked, Line, Report, Status};
use crate::say::say;

/// Where the host side put everything.
const PAYLOAD: &str = "/payload";

/// Where programs are looked for.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/payload/bin";

/// Never returns: a first process that ends is a kernel panic.
pub(crate) fn main() -> ! {
    std::panic::set_hook(Box::new(panicked));
    if let Err(error) = supervise() {
        broken(&format!("{error:#}"));
    }
    power_off()
}

/// Boots and sees the checks through.
fn supervise() -> Result<()> {
    let problems = boot::boot()?;
    let mut report = Report::serial()?;
    let release = nix::sys::utsname::uname()?
        .release()
        .to_string_lossy()
        .into_owned();
    report.line(&Line::Ready { release })?;
    report.line(&Line::Check(Checked {
        family: "guest",
        name: "guest/boot".into(),
        // What a kernel lacks is no failure of its own: the checks that need it say so.
        status: if problems.is_empty() {
            Status::Pass
        } else {
            Status::Skip
        },
        reason: problems.join("; "),
        found: 0,
        expected: 0,
        seconds: 0.0,
    }))?;
    let order = Order::read(Path::new(PAYLOAD))?;
    say(&format!("checks for {}", order.kernel_id));
    let mut checks = Command::new("/proc/self/exe");
    checks
        .env_clear()
        .envs([("PATH", PATH), ("TMPDIR", "/tmp"), ("RUST_BACKTRACE", "0")])
        .env("WAYBILL_BTF_PACKS", "/payload/rootfs/usr/share/waybill/btf");
    let checks = checks.spawn().context("start the checks")?;
    let checks = i32::try_from(checks.id()).context("a process id")?;
    let deadline = Duration::from_secs(order.timeout_s);
    let status = wait_until(deadline, "end of the checks", || {
        reap(Pid::from_raw(checks))
    })?;
    if !status.success() {
        broken(&format!("the checks ended with {status}"));
    }
    Ok(())
}

/// Waits for everything that ended; returns the status of `awaited` if it is among them.
fn reap(awaited: Pid) -> Result<Option<ExitStatus>> {
    loop {
        let (pid, raw) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code << 8),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, signal as i32),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(error) => return Err(error).context("wait for children"),
        };
        if pid == awaited {
            return Ok(Some(ExitStatus::from_raw(raw)));
        }
    }
}

/// A result for what must not happen; best effort, because there may be no port either.
fn broken(reason: &str) {
    say(&format!("guest broken: {reason}"));
    if let Ok(mut report) = Report::serial() {
        let check = Checked {
            family: "guest",
            name: "guest/run".into(),
            status: Status::Fail,
            reason: reason.to_owned(),
            found: 0,
            expected: 0,
            seconds: 0.0,
        };
        report.line(&Line::Check(check)).ok();
        report.line(&Line::Done { complete: false }).ok();
    }
}

fn panicked(info: &PanicHookInfo<'_>) {
    broken(&format!("process 1: {info}"));
    power_off();
}

fn power_off() -> ! {
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Ok(never) => match never as Infallible {},
        // Without the right to power off there is nothing left to do but to wait for the host.
        Err(error) => say(&format!("cannot power off: {error}")),
    }
    loop {
        nix::unistd::pause();
    }
}
