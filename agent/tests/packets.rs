//! A ring of packets has what passes its filter, in order and with the time at which it did, round
//! after round; what it has no room for is counted.

#![forbid(unsafe_code)]

use std::net::UdpSocket;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use agent::sandbox::{self, Capability};
use anyhow::{Context as _, Result, ensure};
use bpf::packet::{self, Instruction};
use bpf::packet_ring::Ring;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// As much of a packet as the filter lets through: an IPv4 and a UDP header and eight bytes more.
const SNAP: u8 = 36;
const HEADERS: usize = 28;
/// `linux/if_packet.h`
const PACKET_HOST: u8 = 0;
const PACKET_OUTGOING: u8 = 4;

fn main() -> ExitCode {
    let trials = vec![
        Trial::ignorable_test(
            "a_ring_has_each_packet_with_its_time_round_after_round",
            || run(rounds),
        ),
        Trial::ignorable_test("what_a_ring_has_no_room_for_is_counted", || run(overflow)),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn run(trial: fn() -> Result<()>) -> Result<Completion, Failed> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root"));
    }
    let kept = [Capability::NET_ADMIN, Capability::NET_RAW];
    let tried = sandbox::in_spare_network(&kept, trial).and_then(|outcome| outcome);
    tried.map_err(|error| format!("{error:#}"))?;
    Ok(Completion::Completed)
}

/// UDP alone, cut.
fn filter() -> Vec<Instruction> {
    let code = |code, yes, no, operand| Instruction {
        code,
        yes,
        no,
        operand,
    };
    vec![
        code(0x30, 0, 0, 9),
        code(0x15, 0, 1, 17),
        code(0x06, 0, 0, SNAP.into()),
        code(0x06, 0, 0, 0),
    ]
}

struct Scene {
    ring: Ring,
    sender: UdpSocket,
    /// Never read.
    _receiver: UdpSocket,
}

impl Scene {
    fn new() -> Result<Self> {
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        ensure!(up.context("run ip")?.success(), "lo is not up");
        let ring = Ring::open(&filter(), SNAP.into(), 0).context("open a ring")?;
        packet::receive_all(ring.socket()).context("begin to receive")?;
        let receiver = UdpSocket::bind("127.0.0.1:0")?;
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        sender.connect(receiver.local_addr()?)?;
        Ok(Self {
            ring,
            sender,
            _receiver: receiver,
        })
    }

    /// Sends a number, which is longer than what the filter lets through.
    fn send(&self, number: u64) -> Result<()> {
        let mut datagram = number.to_be_bytes().to_vec();
        datagram.extend([0xff; 100]);
        self.sender.send(&datagram)?;
        Ok(())
    }

    /// Reads so many packets: their directions, times and numbers.
    fn take(&mut self, most: usize) -> Vec<(u8, Duration, u64)> {
        let mut read = Vec::new();
        let count = self.ring.take(most, |packet| {
            let number = packet.bytes.get(HEADERS..).unwrap_or_default();
            let number = number.try_into().map_or(u64::MAX, u64::from_be_bytes);
            read.push((packet.kind, packet.at, number));
        });
        assert_eq!(count, read.len(), "packets given and counted");
        read
    }
}

fn since_1970() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?)
}

fn rounds() -> Result<()> {
    let mut scene = Scene::new()?;
    let capacity = scene.ring.capacity();
    ensure!(scene.take(1).is_empty(), "nothing was sent");
    let mut number = 0;
    // Five times around, with a rest that moves where a round begins.
    while number < 5 * capacity as u64 {
        let before = since_1970()?;
        let first = number;
        for _ in 0..capacity / 3 {
            scene.send(number)?;
            number += 1;
        }
        let after = since_1970()?;
        let read = scene.take(capacity);
        let expected: Vec<_> = (first..number)
            .flat_map(|number| [(PACKET_OUTGOING, number), (PACKET_HOST, number)])
            .collect();
        let seen: Vec<_> = read
            .iter()
            .map(|(kind, _, number)| (*kind, *number))
            .collect();
        ensure!(seen == expected, "sent {expected:?}, read {seen:?}");
        let mut times = vec![before];
        times.extend(read.iter().map(|(_, at, _)| *at));
        times.push(after);
        ensure!(times.is_sorted(), "times go back: {times:?}");
    }
    let counted = packet::statistics(scene.ring.socket())?;
    ensure!(
        (u64::from(counted.packets), counted.drops) == (2 * number, 0),
        "{counted:?} of twice {number}"
    );
    Ok(())
}

fn overflow() -> Result<()> {
    let mut scene = Scene::new()?;
    let capacity = scene.ring.capacity();
    for number in 0..capacity as u64 {
        scene.send(number)?;
    }
    let counted = packet::statistics(scene.ring.socket())?;
    let sent = 2 * capacity;
    ensure!(
        counted.packets as usize == sent && counted.drops as usize == sent - capacity,
        "{counted:?} of {sent} into {capacity}"
    );
    // In parts: each gives its room back.
    let mut read = scene.take(capacity / 2);
    scene.send(u64::MAX - 1)?;
    read.extend(scene.take(sent));
    let numbers: Vec<u64> = read.iter().map(|(_, _, number)| *number).collect();
    let (old, new) = numbers.split_at(capacity);
    ensure!(
        old.iter()
            .enumerate()
            .all(|(at, number)| *number == at as u64 / 2),
        "of those that came first: {old:?}"
    );
    ensure!(new == [u64::MAX - 1; 2], "what came later: {new:?}");
    Ok(())
}
