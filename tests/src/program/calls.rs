//! Calls that no agent has anything to do with, timed: what they cost beside one is its tax.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bpf::packet;
use nix::sched::CpuSet;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Where and how long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Run on this processor only: both ends of every round trip.
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Batches of each call; the first percentile of them is told.
    #[arg(long, default_value_t = 400)]
    batches: usize,
    /// Beside a packet socket of all protocols whose filter lets nothing through.
    #[arg(long)]
    beside_packet_socket: bool,
}

/// Short enough that most batches are not interrupted, long enough for the clock.
const BATCH: Duration = Duration::from_micros(400);

/// Nanoseconds of one call: the first percentile of its batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// `getppid(2)`.
    pub getppid: f64,
    /// One byte of `/dev/zero`.
    pub read_zero: f64,
    /// A byte to another thread and back through two pipes.
    pub pipe: f64,
    /// A datagram to another thread and back over loopback.
    pub udp: f64,
}

/// Measures and prints one line of JSON.
///
/// # Errors
/// When the processor is not there, or a call fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(arguments.cpu).context("processor number")?;
    // Threads that are started later inherit it.
    nix::sched::sched_setaffinity(Pid::from_raw(0), &cpus).context("pin")?;
    let _closed_at_the_end = arguments
        .beside_packet_socket
        .then(packet_socket)
        .transpose()?;
    let costs = Costs {
        getppid: measure(arguments.batches, || {
            nix::unistd::getppid();
            Ok(())
        })?,
        read_zero: read_zero(arguments.batches)?,
        pipe: pipe(arguments.batches)?,
        udp: udp(arguments.batches)?,
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&costs)?)?;
    Ok(())
}

/// The least that anybody can have who is to see what leaves a host, and does not load programs.
fn packet_socket() -> Result<OwnedFd> {
    // `BPF_RET | BPF_K` of nothing, linux/bpf_common.h.
    let nothing = packet::Instruction {
        code: 0x06,
        yes: 0,
        no: 0,
        operand: 0,
    };
    let socket = packet::open(&[nothing]).context("open a packet socket")?;
    packet::receive_all(socket.as_fd()).context("begin to receive packets")?;
    Ok(socket)
}

fn read_zero(batches: usize) -> Result<f64> {
    let mut zero = File::open("/dev/zero")?;
    let mut byte = [0];
    measure(batches, || zero.read_exact(&mut byte))
}

fn pipe(batches: usize) -> Result<f64> {
    let ((theirs, ours), (back, answers)) = (io::pipe()?, io::pipe()?);
    std::thread::scope(|scope| {
        // Both ends move into this thread, which ends when the other closes its own.
        let echo = move || -> io::Result<()> {
            let (mut from, mut to, mut byte) = (theirs, answers, [0]);
            while from.read(&mut byte)? > 0 {
                to.write_all(&byte)?;
            }
            Ok(())
        };
        let echo = std::thread::Builder::new().spawn_scoped(scope, echo)?;
        let (mut ours, mut back, mut byte) = (ours, back, [0]);
        let cost = measure(batches, || {
            ours.write_all(&byte)?;
            back.read_exact(&mut byte)
        });
        drop(ours);
        echo.join().ok().context("the echo died")??;
        cost
    })
}

fn udp(batches: usize) -> Result<f64> {
    let (client, server) = (
        UdpSocket::bind("127.0.0.1:0")?,
        UdpSocket::bind("127.0.0.1:0")?,
    );
    client.connect(server.local_addr()?)?;
    server.connect(client.local_addr()?)?;
    std::thread::scope(|scope| {
        // An empty datagram ends it.
        let echo = move || -> io::Result<()> {
            let mut byte = [0];
            while server.recv(&mut byte)? > 0 {
                server.send(&byte)?;
            }
            Ok(())
        };
        let echo = std::thread::Builder::new().spawn_scoped(scope, echo)?;
        let mut byte = [0];
        let cost = measure(batches, || {
            client.send(&byte)?;
            client.recv(&mut byte).map(drop)
        });
        client.send(&[])?;
        echo.join().ok().context("the echo died")??;
        cost
    })
}

/// Nanoseconds of one call.
fn measure(batches: usize, mut call: impl FnMut() -> io::Result<()>) -> Result<f64> {
    let mut batch = |calls: u32| -> io::Result<Duration> {
        let begun = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        Ok(begun.elapsed())
    };
    let mut calls = 1;
    while batch(calls)? < BATCH {
        calls = calls.saturating_mul(2);
    }
    let mut took: Vec<Duration> = (0..batches)
        .map(|_| batch(calls))
        .collect::<io::Result<_>>()?;
    took.sort_unstable();
    let first = took.get(batches / 100).context("no batches")?;
    Ok(first.as_secs_f64() * 1e9 / f64::from(calls))
}
