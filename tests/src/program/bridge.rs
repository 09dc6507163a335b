//! A wire between two devices that delays, loses and reorders, for kernels without netem.
//!
//! It also is the witness of what arrived: a handshake's ACK is counted when it leaves the bridge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
    setsockopt, socket, sockopt,
};

use super::wire::{Tally, complete_sum, is_tcp};

/// Frames on their way at a time; what comes beyond is dropped and counted.
const ON_THE_WAY: usize = 65_536;

/// Bytes of frames that the kernel keeps for a bridge that is late.
const RECEIVE_BUFFER: usize = 64 << 20;

/// Longer than every frame of devices with an MTU of 1500.
const FRAME_BYTES: usize = 2048;

/// What to do to frames between which devices.
#[derive(clap::Args)]
pub struct Arguments {
    /// The two devices.
    #[arg(long, num_args = 2, required = true)]
    devices: Vec<String>,
    /// Milliseconds that every frame takes.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// TCP segments in a thousand that are lost, each way.
    #[arg(long, default_value_t = 0)]
    lost: u64,
    /// TCP segments in a thousand that take up to half as long again, so that others overtake them.
    #[arg(long, default_value_t = 0)]
    late: u64,
    /// Seed of all choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A frame and when it is due where.
type Due = Reverse<(Instant, u64, usize, Vec<u8>)>;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    fn hits(&mut self, thousandths: u64) -> bool {
        self.next() % 1000 < thousandths
    }
}

/// Bridges until SIGTERM, then prints a [`Tally`] as one line of JSON.
///
/// # Errors
/// Without `CAP_NET_RAW`, or when a device is not there.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    // Before any thread is made, so that none of them gets it.
    ends.thread_block().context("block SIGTERM")?;
    let bridge = Arc::new(Bridge::open(arguments)?);
    let (sender, receiver) = sync_channel(ON_THE_WAY);
    let (taking, giving) = (Arc::clone(&bridge), Arc::clone(&bridge));
    let random = Random(arguments.seed);
    std::thread::Builder::new()
        .name("take".into())
        .spawn(move || taking.take(random, &sender))?;
    std::thread::Builder::new()
        .name("give".into())
        .spawn(move || giving.give(&receiver))?;
    let mut output = std::io::stdout();
    writeln!(output, "bridging")?;
    ends.wait().context("wait for SIGTERM")?;
    writeln!(output, "{}", serde_json::to_string(&*bridge.tally())?)?;
    Ok(())
}

struct Bridge {
    socket: std::os::fd::OwnedFd,
    devices: [LinkAddr; 2],
    delay: Duration,
    lost: u64,
    late: u64,
    tally: Mutex<Tally>,
}

impl Bridge {
    fn open(arguments: &Arguments) -> Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .context("open a packet socket")?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        let device = |name: &String| -> Result<LinkAddr> {
            getifaddrs()?
                .filter(|one| one.interface_name == *name)
                .find_map(|one| one.address?.as_link_addr().copied())
                .with_context(|| format!("no device {name}"))
        };
        let (near, far) = (&arguments.devices[0], &arguments.devices[1]);
        Ok(Self {
            socket,
            devices: [device(near)?, device(far)?],
            delay: Duration::from_millis(arguments.delay_ms),
            lost: arguments.lost,
            late: arguments.late,
            tally: Mutex::default(),
        })
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives frames and decides about each.
    fn take(&self, mut random: Random, on: &SyncSender<Due>) {
        let mut buffer = [0; FRAME_BYTES];
        let mut number = 0;
        loop {
            let (length, from) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) => (length, from),
                Ok(_) | Err(Errno::EINTR | Errno::ENETDOWN) => continue,
                Err(_) => return,
            };
            // Also what this bridge sends is shown to it.
            if from.pkttype() == libc::PACKET_OUTGOING {
                continue;
            }
            let side = |one: &LinkAddr| one.ifindex() == from.ifindex();
            let Some(side) = self.devices.iter().position(side) else {
                continue;
            };
            let mut frame = buffer[..length].to_vec();
            let mut due = Instant::now() + self.delay;
            if is_tcp(&frame) {
                complete_sum(&mut frame);
                if random.hits(self.lost) {
                    self.tally().lost += 1;
                    continue;
                }
                if random.hits(self.late) {
                    self.tally().late += 1;
                    due += self.delay * (random.next() % 500) as u32 / 1000;
                }
            }
            number += 1;
            match on.try_send(Reverse((due, number, 1 - side, frame))) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.tally().dropped += 1,
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    /// Sends each frame when it is due.
    fn give(&self, from: &Receiver<Due>) {
        let mut waiting: BinaryHeap<Due> = BinaryHeap::new();
        loop {
            let now = Instant::now();
            while waiting.peek().is_some_and(|Reverse(first)| first.0 <= now) {
                let Some(Reverse((_, _, to, frame))) = waiting.pop() else {
                    break;
                };
                let address = &self.devices[to];
                match sendto(self.socket.as_raw_fd(), &frame, address, MsgFlags::empty()) {
                    Ok(_) => self.tally().arrived(&frame),
                    Err(_) => self.tally().dropped += 1,
                }
            }
            let first = waiting.peek().map(|Reverse(first)| first.0);
            let patience = first.map_or(Duration::from_secs(1), |due| {
                due.saturating_duration_since(Instant::now())
            });
            match from.recv_timeout(patience) {
                Ok(frame) => waiting.push(frame),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
