//! A running program of a lab: ended when it is dropped, its output kept in files.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::command;
use super::wait::wait_until;

/// A program that runs, or has run, in a lab.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    output: PathBuf,
    errors: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command` in a process group of its own; its output goes to `<stem>.out` and `.err`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, stem: &Path) -> Result<Self> {
        let (output, errors) = (stem.with_extension("out"), stem.with_extension("err"));
        // Appended: what an earlier run under the same name said stays readable.
        let open = |path: &Path| File::options().create(true).append(true).open(path);
        let child = command
            .stdin(Stdio::null())
            .stdout(open(&output)?)
            .stderr(open(&errors)?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command::line(&command)))?;
        Ok(Self {
            child,
            line: command::line(&command),
            output,
            errors,
            ended: None,
        })
    }

    /// Process id, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("the kernel's pids are positive i32"))
    }

    /// Everything it wrote to standard output so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn output(&self) -> Result<String> {
        std::fs::read_to_string(&self.output).context("read program output")
    }

    /// Everything it wrote to standard error so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn errors(&self) -> Result<String> {
        std::fs::read_to_string(&self.errors).context("read program errors")
    }

    /// Its exit status, if it ended.
    ///
    /// # Errors
    /// Those of `waitpid`.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("wait for program")?;
        }
        Ok(self.ended)
    }

    /// Waits until it ended, whatever its status.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.line);
        wait_until(deadline, &what, || self.ended())
    }

    /// Waits until it ended and returns its standard output.
    ///
    /// # Errors
    /// When it still runs after `deadline`, or its status is not 0; then with its standard error.
    pub fn succeed(mut self, deadline: Duration) -> Result<String> {
        let status = self.wait(deadline)?;
        if !status.success() {
            bail!(
                "{} ended with {status}: {}",
                self.line,
                self.errors()?.trim()
            );
        }
        self.output()
    }

    /// Waits until its standard output contains `text`.
    ///
    /// # Errors
    /// When it ends before, or `deadline` passes.
    pub fn wait_for_output(&mut self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("{text:?} from {}", self.line);
        wait_until(deadline, &what, || {
            if self.output()?.contains(text) {
                return Ok(Some(()));
            }
            if let Some(status) = self.ended()? {
                bail!(
                    "{} ended with {status}: {}",
                    self.line,
                    self.errors()?.trim()
                );
            }
            Ok(None)
        })
    }

    /// Sends `signal` to the program alone, not to its children.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("signal {}", self.line))
    }

    /// Asks it to end with SIGTERM and returns its status.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub fn stop(&mut self, deadline: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(deadline)
    }

    /// Kills it and its children with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// Those of `waitpid`.
    pub fn kill(&mut self) -> Result<()> {
        // The group id is ours as long as the leader has not been waited for.
        if self.ended.is_none() {
            match killpg(self.pid(), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).context("kill process group"),
            }
            self.ended = Some(self.child.wait().context("wait for program")?);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whatever escapes here is killed with the lab's cgroup.
        self.kill().ok();
    }
}
