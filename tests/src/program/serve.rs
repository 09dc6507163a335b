//! A server that does what each connection's headers ask and logs what really happened.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use super::marker::MARKER;
use super::pattern::{self, Header, ServerEnd};

/// Where to listen and how to greet.
#[derive(clap::Args)]
pub struct Arguments {
    /// Address and port; may be given several times.
    #[arg(long, required_unless_present = "inherit")]
    listen: Vec<SocketAddr>,
    /// Accept on the listener that standard input is, under this name.
    #[arg(long)]
    inherit: Option<String>,
    /// Accept nothing, but start this many processes that do, with the first listener.
    #[arg(long, default_value_t = 0)]
    workers: u32,
    /// Greet and close, without reading.
    #[arg(long)]
    deaf: bool,
    /// Stop to listen after so many connections, and go on with those.
    #[arg(long)]
    only: Option<usize>,
    /// File to which one JSON line per ended connection is appended.
    #[arg(long)]
    log: PathBuf,
    /// Pattern bytes sent before anything is read: a server that speaks first.
    #[arg(long, default_value_t = 0)]
    greet: u64,
}

/// How a connection ended, seen by one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The peer closed in order.
    Closed,
    /// This side closed in order.
    ClosedHere,
    /// The peer reset the connection.
    Reset,
    /// This side reset the connection.
    ResetHere,
    /// Anything else: wrong bytes, early end, time-out.
    Broken,
}

/// One ended connection as its server saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Served {
    /// The client as the server saw it.
    pub peer: SocketAddr,
    /// The address to which the client came.
    pub local: SocketAddr,
    /// Payload bytes read, headers included.
    pub received: u64,
    /// Payload bytes written, greeting included.
    pub sent: u64,
    /// How it ended.
    pub end: End,
    /// The error, if it ended by one.
    pub error: String,
}

/// Serves until it is killed.
///
/// # Errors
/// When it cannot listen or cannot open its log.
pub fn run(arguments: &Arguments) -> Result<()> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&arguments.log)
        .with_context(|| format!("open {}", arguments.log.display()))?;
    let log = Arc::new(log);
    let mut listeners = Vec::new();
    for &address in &arguments.listen {
        listeners.push(TcpListener::bind(address).with_context(|| format!("listen {address}"))?);
    }
    if let Some(name) = &arguments.inherit {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("set parent-death signal")?;
        nix::sys::prctl::set_name(&std::ffi::CString::new(name.as_str())?)?;
        let inherited = io::stdin().as_fd().try_clone_to_owned();
        listeners.push(TcpListener::from(inherited.context("take the listener")?));
    }
    if arguments.workers > 0 {
        return manage(listeners, arguments);
    }
    let mut accepting = Vec::new();
    for listener in listeners {
        let (log, greet, deaf) = (Arc::clone(&log), arguments.greet, arguments.deaf);
        let only = arguments.only.unwrap_or(usize::MAX);
        accepting.push(
            std::thread::Builder::new()
                .name("accept".into())
                .spawn(move || accept(&listener, &log, (greet, deaf), only))?,
        );
    }
    writeln!(io::stdout(), "listening")?;
    for thread in accepting {
        thread.join().ok();
    }
    loop {
        std::thread::park();
    }
}

/// Listens for others: servers that fork before they accept, and managers of services, do.
fn manage(listeners: Vec<TcpListener>, arguments: &Arguments) -> Result<()> {
    nix::sys::prctl::set_name(c"manager")?;
    let listener = OwnedFd::from(
        listeners
            .into_iter()
            .next()
            .context("nothing to listen on")?,
    );
    let mut workers = Vec::new();
    for number in 1..=arguments.workers {
        let mut worker = Command::new(std::env::current_exe().context("find this program")?);
        worker.args([MARKER, "serve", "--inherit", &format!("worker{number}")]);
        worker.args(["--greet", &arguments.greet.to_string(), "--log"]);
        worker.arg(&arguments.log);
        if arguments.deaf {
            worker.arg("--deaf");
        }
        worker.stdin(Stdio::from(listener.try_clone()?));
        worker.stdout(Stdio::null());
        workers.push(worker.spawn().context("start a worker")?);
    }
    writeln!(io::stdout(), "listening")?;
    for worker in &mut workers {
        worker.wait()?;
    }
    Ok(())
}

fn accept(listener: &TcpListener, log: &Arc<File>, (greet, deaf): (u64, bool), only: usize) {
    for mut stream in listener.incoming().flatten().take(only) {
        if deaf {
            // The client reports what it misses.
            pattern::write_bytes(&mut stream, greet).ok();
            continue;
        }
        let log = Arc::clone(log);
        let serving = std::thread::Builder::new().name("connection".into());
        // Without a thread the connection is dropped, which the client reports.
        serving.spawn(move || serve(stream, &log, greet)).ok();
    }
}

fn serve(mut stream: TcpStream, mut log: &File, greet: u64) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let mut entry = Served {
        peer: canonical(peer),
        local: canonical(local),
        received: 0,
        sent: 0,
        end: End::Broken,
        error: String::new(),
    };
    match exchange_all(&mut stream, greet, &mut entry) {
        Ok(end) => entry.end = end,
        Err(error) => {
            entry.end = if error.kind() == ErrorKind::ConnectionReset {
                End::Reset
            } else {
                End::Broken
            };
            entry.error = error.to_string();
        }
    }
    drop(stream);
    if let Ok(mut line) = serde_json::to_vec(&entry) {
        line.push(b'\n');
        // One write per line: appended lines of several threads do not mix.
        log.write_all(&line).ok();
    }
}

fn exchange_all(stream: &mut TcpStream, greet: u64, entry: &mut Served) -> io::Result<End> {
    pattern::write_bytes(stream, greet)?;
    entry.sent += greet;
    loop {
        let mut bytes = [0; Header::LENGTH];
        if !read_header(stream, &mut bytes, &mut entry.received)? {
            return Ok(End::Closed);
        }
        let header = Header::decode(&bytes).ok_or(ErrorKind::InvalidData)?;
        pattern::read_bytes(stream, header.up, &mut entry.received)?;
        pattern::write_bytes(stream, header.down)?;
        entry.sent += header.down;
        match header.end {
            ServerEnd::Stay => {}
            ServerEnd::Close => return Ok(End::ClosedHere),
            ServerEnd::Reset => {
                // A reset discards what the client has not read yet, so it says when it has.
                pattern::read_bytes(stream, 1, &mut entry.received)?;
                reset_on_close(stream)?;
                return Ok(End::ResetHere);
            }
        }
    }
}

/// Reads a whole header, or returns false when the peer closed before its first byte.
fn read_header(
    stream: &mut TcpStream,
    bytes: &mut [u8; Header::LENGTH],
    received: &mut u64,
) -> io::Result<bool> {
    let mut have = 0;
    while have < bytes.len() {
        match stream.read(&mut bytes[have..])? {
            0 if have == 0 => return Ok(false),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => {
                have += read;
                *received += read as u64;
            }
        }
    }
    Ok(true)
}

/// Makes the coming close send a reset instead of a FIN.
///
/// # Errors
/// When the option cannot be set.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(stream, sockopt::Linger, &linger).map_err(Into::into)
}

/// An IPv4-mapped IPv6 address as the IPv4 address it stands for.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
