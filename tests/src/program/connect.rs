//! Many connections whose number, bytes and ends are known exactly.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use serde::{Deserialize, Serialize};

use super::pattern::{self, Header, ServerEnd};
use super::serve::reset_on_close;

/// What to send to whom, how often, and how to end it.
#[derive(clap::Args, Clone)]
pub struct Arguments {
    /// Address and port of the server.
    #[arg(long)]
    to: SocketAddr,
    /// Number of connections.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How many are open side by side; 1 opens them in a row.
    #[arg(long, default_value_t = 1)]
    parallel: u64,
    /// Pattern bytes that each connection sends.
    #[arg(long, default_value_t = 100)]
    up: u64,
    /// Pattern bytes that each connection receives.
    #[arg(long, default_value_t = 100)]
    down: u64,
    /// Bytes of greeting that the server sends first.
    #[arg(long, default_value_t = 0)]
    greet: u64,
    /// How each connection ends.
    #[arg(long, value_enum, default_value_t = Ending::Close)]
    end: Ending,
    /// Connections begun per second, at most; 0 begins them as fast as they end.
    #[arg(long, default_value_t = 0)]
    per_second: u32,
    /// Opens all, sends nothing, says "holding" and keeps them until it is killed.
    #[arg(long)]
    hold: bool,
    /// Milliseconds after which connecting, reading or writing fails.
    #[arg(long, default_value_t = 20_000)]
    timeout_ms: u64,
}

/// Who ends a connection and how.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closes after the answer.
    Close,
    /// The client ends its direction before it reads the answer.
    Half,
    /// The client resets after the answer.
    Reset,
    /// The server closes first.
    ServerClose,
    /// The server resets.
    ServerReset,
}

/// One connection as its client saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connected {
    /// The client's own address; absent when it never connected.
    pub local: Option<SocketAddr>,
    /// Payload bytes written, header included.
    pub sent: u64,
    /// Payload bytes read.
    pub received: u64,
    /// Empty when all went as asked.
    pub error: String,
}

/// Runs all connections and writes one JSON line for each.
///
/// # Errors
/// Only when the report cannot be written; a failed connection is part of the report.
pub fn run(arguments: &Arguments, report: &mut (impl Write + Send)) -> Result<()> {
    if arguments.hold {
        return hold(arguments, report);
    }
    let report = Mutex::new(report);
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= arguments.count {
                return Ok(());
            }
            pace(begun, number, arguments.per_second);
            let mut line = serde_json::to_vec(&one(arguments))?;
            line.push(b'\n');
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.write_all(&line).context("write report")?;
        }
    };
    if arguments.parallel <= 1 {
        // In a row, in the main thread: the thread that connects is the process itself.
        return work();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.parallel)
            .map(|_| {
                std::thread::Builder::new()
                    .name("connections".into())
                    .spawn_scoped(scope, work)
            })
            .collect();
        for thread in threads {
            if let Ok(result) = thread?.join() {
                result?;
            }
        }
        Ok(())
    })
}

fn hold(arguments: &Arguments, report: &mut impl Write) -> Result<()> {
    let files = arguments.count + 64;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).context("allow as many descriptors")?;
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let open = (0..arguments.count).map(|_| open(arguments.to, timeout));
    let _held: Vec<TcpStream> = open.collect::<io::Result<_>>().context("connect")?;
    writeln!(report, "holding").context("write report")?;
    report.flush().context("write report")?;
    loop {
        std::thread::park();
    }
}

/// Waits until connection `number` is due.
fn pace(begun: Instant, number: u64, per_second: u32) {
    let Some(nanoseconds) = number
        .saturating_mul(1_000_000_000)
        .checked_div(u64::from(per_second))
    else {
        return;
    };
    let due = begun + Duration::from_nanos(nanoseconds);
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

fn one(arguments: &Arguments) -> Connected {
    let mut seen = Connected {
        local: None,
        sent: 0,
        received: 0,
        error: String::new(),
    };
    if let Err(error) = converse(arguments, &mut seen) {
        seen.error = error.to_string();
    }
    seen
}

fn converse(arguments: &Arguments, seen: &mut Connected) -> io::Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let mut stream = open(arguments.to, timeout)?;
    seen.local = Some(stream.local_addr()?);
    pattern::read_bytes(&mut stream, arguments.greet, &mut seen.received)?;
    let header = Header {
        up: arguments.up,
        down: arguments.down,
        end: match arguments.end {
            Ending::Close | Ending::Half | Ending::Reset => ServerEnd::Stay,
            Ending::ServerClose => ServerEnd::Close,
            Ending::ServerReset => ServerEnd::Reset,
        },
    };
    seen.sent += ask(&mut stream, &header)?;
    if arguments.end == Ending::Half {
        stream.shutdown(Shutdown::Write)?;
    }
    pattern::read_bytes(&mut stream, header.down, &mut seen.received)?;
    match arguments.end {
        Ending::Close => Ok(()),
        Ending::Reset => reset_on_close(&stream),
        Ending::Half | Ending::ServerClose => read_end(&mut stream, false),
        Ending::ServerReset => {
            pattern::write_bytes(&mut stream, 1)?;
            seen.sent += 1;
            read_end(&mut stream, true)
        }
    }
}

/// Connects within `timeout`, which then also bounds each read and write.
///
/// # Errors
/// Those of `connect`.
pub fn open(to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// The same from an address of its own choice, where somebody may be calling it just now.
///
/// # Errors
/// Those of `bind` and `connect`.
pub fn meet(local: SocketAddr, other: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let family = match other.is_ipv4() {
        true => AddressFamily::Inet,
        false => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let own = socket(family, SockType::Stream, flags, SockProtocol::Tcp)?;
    bind(own.as_raw_fd(), &SockaddrStorage::from(local))?;
    // It bounds connect(2) as well.
    let bound = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&own, sockopt::SendTimeout, &TimeVal::milliseconds(bound))?;
    connect(own.as_raw_fd(), &SockaddrStorage::from(other))?;
    let stream = TcpStream::from(own);
    stream.set_read_timeout(Some(timeout))?;
    Ok(stream)
}

/// Sends a header and its bytes and returns how many bytes that were.
///
/// # Errors
/// Those of the connection.
pub fn ask(stream: &mut TcpStream, header: &Header) -> io::Result<u64> {
    let mut first = header.encode().to_vec();
    // Header and short bodies leave in one segment, as programs usually write them.
    if header.up <= 1000 {
        pattern::write_bytes(&mut first, header.up)?;
        stream.write_all(&first)?;
    } else {
        stream.write_all(&first)?;
        pattern::write_bytes(stream, header.up)?;
    }
    Ok(Header::LENGTH as u64 + header.up)
}

/// Waits for the end of the connection and checks that it is the expected one.
///
/// # Errors
/// When it ends otherwise.
pub fn read_end(stream: &mut TcpStream, reset: bool) -> io::Result<()> {
    match stream.read(&mut [0; 16]) {
        Ok(0) if !reset => Ok(()),
        Err(error) if reset && error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Ok(read) => Err(io::Error::other(format!(
            "{read} more bytes where the end was expected"
        ))),
        Err(error) => Err(error),
    }
}
