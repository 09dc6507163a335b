//! Deliberate faults, so that the runner's own tests can see a check turn red.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use libbpf_rs::ObjectBuilder;
use rusqlite::Connection;
use tests::lab::host::Host;

use crate::order::{Fault, Order};
use crate::say::say;

/// First argument by which this binary knows that it shall leak.
const MARKER: &str = "matrix-fault";

/// A process that holds what the fault leaves behind; it is killed with this value.
#[derive(Debug)]
pub(crate) struct Leak(Child);

impl Leak {
    /// Leaves behind what the order asks for, in the cgroup of `host`; `None` for no fault.
    ///
    /// # Errors
    /// When the fault cannot be made: then the runner's test must not pass.
    pub(crate) fn ordered(order: &Order, host: &Host) -> Result<Option<Self>> {
        let what = match (
            order.has(Fault::LeakedFilter),
            order.has(Fault::LeakedProgram),
        ) {
            (true, _) => "filter",
            (false, true) => "program",
            (false, false) => return Ok(None),
        };
        let mut leak = Command::new("/proc/self/exe");
        let mut child = leak
            .arg(MARKER)
            .arg(what)
            .arg(host.cgroup())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the leak")?;
        let mut ready = child.stdout.take().context("standard output is piped")?;
        let mut said = [0; 1];
        ready.read_exact(&mut said).context("the leak failed")?;
        Ok(Some(Self(child)))
    }
}

impl Drop for Leak {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a fault if this process was started as one.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, what, cgroup] = arguments.as_slice() else {
        return None;
    };
    if first != MARKER {
        return None;
    }
    Some(match leak(what, Path::new(cgroup)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{MARKER}: {error:#}"));
            ExitCode::FAILURE
        }
    })
}

/// Holds a loaded program, and for a filter its place in the cgroup, until killed.
fn leak(what: &str, cgroup: &Path) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let wanted = if what == "filter" {
        "wb_conn_option"
    } else {
        "wb_conn_state"
    };
    let mut object = ObjectBuilder::default().open_memory(bpf::CONNECTION_RING)?;
    for mut program in object.progs_mut() {
        let this = program.name() == wanted;
        program.set_autoload(this);
    }
    let object = object.load().context("load the program to leak")?;
    let mut links = Vec::new();
    for program in object
        .progs_mut()
        .filter(|program| program.name() == wanted)
    {
        if what == "filter" {
            let cgroup = File::open(cgroup).context("open the cgroup")?;
            links.push(program.attach_cgroup(cgroup.as_raw_fd())?);
        }
    }
    let mut out = std::io::stdout();
    out.write_all(b"!")?;
    out.flush()?;
    loop {
        nix::unistd::pause();
    }
}

/// Deletes what one connection to `target` left in the collector's store: a client's sighting.
///
/// # Errors
/// When there is none to delete.
pub(crate) fn lose_row(store: &Path, target: SocketAddr) -> Result<()> {
    let address = match target.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let store = Connection::open(store).context("open the collector's store")?;
    let deleted = store
        .execute(
            "DELETE FROM sighting WHERE (token, flow_id, part, port) IN (
               SELECT token, flow_id, part, port FROM sighting JOIN flow ON flow.id = flow_id
               WHERE role = 0 AND remote_addr = ?1 AND remote_port = ?2 LIMIT 1)",
            (address.octets(), target.port()),
        )
        .context("delete a row")?;
    anyhow::ensure!(deleted == 1, "there was no row to lose");
    Ok(())
}
