//! Connections that a test steers one by one, through the `talk` program.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::host::Host;

/// Longer than any single step may take, time-outs of the program included.
const STEP_DEADLINE: Duration = Duration::from_secs(40);

/// A running `talk` program.
#[derive(Debug)]
pub struct Session {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

/// One of the session's connections.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    id: u64,
    /// The client's own address.
    pub local: SocketAddr,
}

impl Connection {
    fn of(answer: &Value) -> Result<Self> {
        let local = answer["local"].as_str().context("no local address")?;
        Ok(Self {
            id: answer["id"].as_u64().context("no id")?,
            local: local.parse()?,
        })
    }
}

impl Session {
    /// Starts a session in `host`; each of its steps fails after `timeout`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(host: &Host, timeout: Duration) -> Result<Self> {
        let mut command = host.lab_program("talk");
        let mut child = command
            .args(["--timeout-ms", &timeout.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("start session")?;
        let commands = child.stdin.take().context("standard input is piped")?;
        let output = child.stdout.take().context("standard output is piped")?;
        let (sender, answers) = sync_channel(16);
        // Ends with the program's output; one answer follows one command, so it never fills.
        std::thread::Builder::new()
            .name("session".into())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            child,
            commands,
            answers,
        })
    }

    /// Gives one command and returns its answer.
    ///
    /// # Errors
    /// When the step failed, or the program is gone or hangs.
    pub fn step(&mut self, command: &str) -> Result<Value> {
        self.begin(command)?;
        self.answer(command)
    }

    fn begin(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}").context("session ended")
    }

    fn answer(&mut self, command: &str) -> Result<Value> {
        let line = self
            .answers
            .recv_timeout(STEP_DEADLINE)
            .with_context(|| format!("no answer to {command:?}"))?;
        let answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{command}: {error}");
        }
        Ok(answer)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When it is refused or times out.
    pub fn open(&mut self, to: SocketAddr) -> Result<Connection> {
        Connection::of(&self.step(&format!("open {to}"))?)
    }

    /// Begins to connect from `own`, where `other` may be calling just now.
    ///
    /// # Errors
    /// When the program is gone.
    pub fn call(&mut self, own: SocketAddr, other: SocketAddr) -> Result<()> {
        self.begin(&format!("meet {own} {other}"))
    }

    /// The connection that [`Session::call`] began.
    ///
    /// # Errors
    /// When it is refused or times out.
    pub fn met(&mut self) -> Result<Connection> {
        Connection::of(&self.answer("meet")?)
    }

    /// Sends pattern bytes, and nothing before them.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send(&mut self, on: &Connection, bytes: u64) -> Result<()> {
        self.step(&format!("send {} {bytes}", on.id)).map(drop)
    }

    /// Sends `up` pattern bytes after a header and reads `down` back.
    ///
    /// # Errors
    /// When the connection fails or a byte is wrong.
    pub fn exchange(&mut self, on: &Connection, up: u64, down: u64) -> Result<()> {
        self.step(&format!("exchange {} {up} {down}", on.id))
            .map(drop)
    }

    /// Reads the greeting of a server that speaks first.
    ///
    /// # Errors
    /// When the connection fails or a byte is wrong.
    pub fn greeting(&mut self, on: &Connection, bytes: u64) -> Result<()> {
        self.step(&format!("greeting {} {bytes}", on.id)).map(drop)
    }

    /// Closes in order.
    ///
    /// # Errors
    /// When there is no such connection.
    pub fn close(&mut self, on: Connection) -> Result<()> {
        self.step(&format!("close {}", on.id)).map(drop)
    }

    /// Resets.
    ///
    /// # Errors
    /// When there is no such connection.
    pub fn reset(&mut self, on: Connection) -> Result<()> {
        self.step(&format!("reset {}", on.id)).map(drop)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
