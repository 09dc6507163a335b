//! Hostile options from a raw-socket sender: counted, ignored, and no connection is harmed.

use std::hash::Hasher;

use anyhow::{Context, Result, ensure};
use siphasher::sip::SipHasher24;
use tests::lab::Lab;
use tests::lab::agent::{Agent, FLEET_KEY, Settings, Status};
use tests::lab::host::{Host, TOOL_DEADLINE};
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::case::{Case, case};
use crate::clone::CLONE;
use crate::scene::SETTLE;

pub(crate) const CASES: &[Case] = &[
    case(
        "badinput::hostile_options_are_counted_and_harm_no_connection",
        |lab| hostile(lab, Reader::Stack),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "badinput::hostile_options_harm_no_connection_that_filters_read",
        |lab| hostile(lab, Reader::Filters),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "badinput::hostile_options_harm_no_connection_that_packet_sockets_read",
        |lab| hostile(lab, Reader::Packets),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "badinput::copies_that_come_late_or_twice_are_read_once",
        |lab| {
            late(lab, "sockops")?;
            late(&Lab::new(lab.binaries())?, CLONE)
        },
    )
    .needing(&[Need::Program("python3")]),
];

/// Who reads the option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The kernel's TCP stack, which walks all options.
    Stack,
    /// Packet filters, which look at the last 16 bytes of the header and at nothing else.
    Filters,
    /// Packet sockets without any program, which look there, too.
    Packets,
}

impl Reader {
    fn settings(self) -> Result<Settings> {
        crate::clone::mode(match self {
            Self::Stack => "sockops",
            Self::Filters => CLONE,
            Self::Packets => return crate::observe::sockets(),
        })
    }

    /// What becomes of a case that the stack would call malformed: filters do not see options of
    /// another length.
    fn fate(self, name: &str, fate: Fate) -> Fate {
        match self {
            Self::Filters | Self::Packets if fate == MALFORMED && !WHOLE.contains(&name) => IGNORED,
            _ => fate,
        }
    }

    /// Valid options in bytes that no parser can walk: one stands behind the end of options, at
    /// the end of the header, complete and signed.
    fn read_in_broken(self) -> u64 {
        u64::from(self != Self::Stack)
    }
}

/// Flags of a plain waybill of key epoch 1: version 1, epoch 1.
pub(crate) const FLAGS: u8 = 1 << 6 | 1 << 4;

/// The counters that tell what became of an option.
const COUNTERS: [&str; 4] = [
    "option_read_total",
    "option_bad_mac_total",
    "option_malformed_total",
    "option_unknown_epoch_total",
];

/// Cases that are malformed although their length is right.
const WHOLE: [&str; 2] = ["version of the future", "right MAC for no token"];

/// What must become of a case's options, in the order of [`COUNTERS`].
type Fate = [u64; 4];
const READ: Fate = [1, 0, 0, 0];
const BAD_MAC: Fate = [0, 1, 0, 0];
const MALFORMED: Fate = [0, 0, 1, 0];
const UNKNOWN_EPOCH: Fate = [0, 0, 0, 1];
const IGNORED: Fate = [0, 0, 0, 0];

/// A complete option, its MAC right for `token`, `flags` and `epoch`.
pub(crate) fn option(token: u64, flags: u8, epoch: u64) -> Result<[u8; 16]> {
    let half = |text: &str| -> Result<u64> {
        // The key's bytes in order are little-endian words.
        Ok(u64::from_str_radix(text, 16)?.swap_bytes())
    };
    let (first, second) = FLEET_KEY.split_at(16);
    let mut hasher = SipHasher24::new_with_keys(half(first)?, half(second)?);
    hasher.write(&token.to_be_bytes());
    hasher.write(&(u64::from(flags) | epoch << 8).to_le_bytes());
    let mac = hasher.finish().to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&[253, 16, 0x57, 0x42]);
    bytes[4..12].copy_from_slice(&token.to_be_bytes());
    bytes[12] = flags;
    bytes[13..].copy_from_slice(&mac[..3]);
    Ok(bytes)
}

/// Name, options on the handshake ACK, and what must become of them.
fn cases() -> Result<Vec<(&'static str, Vec<u8>, Fate)>> {
    let good = option(0x1122_3344_5566_7788, FLAGS, 1)?;
    let other = option(0x99AA_BBCC_DDEE_FF00, FLAGS, 1)?;
    let changed = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        bytes
    };
    let cut = |length: u8| {
        let mut bytes = good[..usize::from(length)].to_vec();
        bytes[1] = length;
        bytes
    };
    let long = {
        let mut bytes = good.to_vec();
        bytes[1] = 36;
        bytes.extend([7; 20]);
        bytes
    };
    Ok(vec![
        ("valid", good.to_vec(), READ),
        ("changed MAC", changed(15, good[15] ^ 1), BAD_MAC),
        ("changed token", changed(4, 0xEE), BAD_MAC),
        (
            "right MAC for another epoch",
            option(5, FLAGS, 5)?.to_vec(),
            BAD_MAC,
        ),
        (
            "epoch without a key",
            option(6, 1 << 6 | 2 << 4, 2)?.to_vec(),
            UNKNOWN_EPOCH,
        ),
        (
            "version of the future",
            option(7, 2 << 6 | 1 << 4, 1)?.to_vec(),
            MALFORMED,
        ),
        (
            "right MAC for no token",
            option(0, FLAGS, 1)?.to_vec(),
            MALFORMED,
        ),
        ("only kind, length and ExID", cut(4), MALFORMED),
        ("cut to 12 bytes", cut(12), MALFORMED),
        ("cut to 15 bytes", cut(15), MALFORMED),
        ("longer than any option of ours", long, MALFORMED),
        ("other ExID", changed(2, 0x99), IGNORED),
        ("other kind", changed(0, 254), IGNORED),
        (
            "TOA of IPv6, kind 253 length 20",
            [&[253, 20][..], &[9; 18]].concat(),
            IGNORED,
        ),
        (
            "TOA of IPv4, kind 254 length 8",
            vec![254, 8, 0, 80, 10, 0, 0, 1],
            IGNORED,
        ),
        ("two valid ones", [good, other].concat(), READ),
        ("nothing", Vec::new(), IGNORED),
    ])
}

/// Options that no parser can walk: whatever is counted, nothing may be read.
fn broken() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let good = option(8, FLAGS, 1)?;
    let with_length = |length: u8| {
        let mut bytes = good.to_vec();
        bytes[1] = length;
        bytes
    };
    Ok(vec![
        ("length 0", with_length(0)),
        ("length 1", with_length(1)),
        ("length beyond the header", with_length(200)),
        (
            "behind the end of options",
            [&[0, 0, 0, 0][..], &good].concat(),
        ),
        ("kind without length at the end", vec![1, 1, 1, 253]),
    ])
}

fn send(host: &Host, site: &Site, options: &[u8]) -> Result<String> {
    handshake(host, site, &[], options)
}

/// One connection with these options, after words for the script.
fn handshake(host: &Host, site: &Site, words: &[&str], options: &[u8]) -> Result<String> {
    let script = host.directory().join("raw_client.py");
    std::fs::write(&script, include_str!("raw_client.py"))?;
    let target = site.backend(0, Family::V4);
    let hex: String = options.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = host.command(programs::python());
    command
        .arg(&script)
        .arg(site.client_ip(0, Family::V4).to_string());
    command.args([target.ip().to_string(), target.port().to_string()]);
    command.args(words).arg(hex);
    Ok(host
        .start("raw", command)?
        .succeed(TOOL_DEADLINE)?
        .trim()
        .to_owned())
}

/// The counters now, in the order of [`COUNTERS`].
fn fates(agent: &Agent) -> Result<Fate> {
    let read = |status: &Status| -> Result<Vec<u64>> {
        COUNTERS.iter().map(|name| status.counter(name)).collect()
    };
    read(&agent.status()?)?
        .try_into()
        .ok()
        .context("as many values as names")
}

/// A client whose kernel keeps quiet about connections that it does not know.
fn quiet(site: &Site) -> Result<&Host> {
    let client = &site.clients[0];
    client.nft(
        "table inet quiet { chain out { type filter hook output priority 0; policy accept;\n\
         tcp flags & rst == rst drop\n }\n}\n",
    )?;
    Ok(client)
}

fn late(lab: &Lab, mode: &str) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = quiet(&site)?;
    let agent = Agent::start_on(lab, &site.backends[0], None, &crate::clone::mode(mode)?)?;
    /// Flag of a copy.
    const COPY: u8 = 1;
    let mut token = 0x0101;
    let mut count = 0;
    for when in ["late", "twice", "last"] {
        token += 1;
        // The stack throws away an ACK older than data that it has, without a look at its options;
        // the server's answer joins such a connection.
        count += u64::from(when != "last" || mode == CLONE);
        let said = handshake(client, &site, &[when], &option(token, FLAGS | COPY, 1)?)?;
        ensure!(said == "ok", "{mode}, {when}: {said}");
        agent.flush()?;
        wait_for(SETTLE, "option read once", || {
            let seen = fates(&agent)?;
            ensure!(seen == [count, 0, 0, 0], "{mode}, {when}: {seen:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn hostile(lab: &Lab, reader: Reader) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = quiet(&site)?;
    let agent = Agent::start_on(lab, &site.backends[0], None, &reader.settings()?)?;
    let mut expected = fates(&agent)?;
    for (name, options, fate) in cases()? {
        let said = send(client, &site, &options)?;
        ensure!(said == "ok", "{name}: {said}");
        for (sum, more) in expected.iter_mut().zip(reader.fate(name, fate)) {
            *sum += more;
        }
        agent.flush()?;
        wait_for(SETTLE, "counted option", || {
            let seen = fates(&agent)?;
            ensure!(
                seen == expected,
                "{name}: {COUNTERS:?} are {seen:?}, expected {expected:?}"
            );
            Ok(())
        })?;
    }
    for (name, options) in broken()? {
        let said = send(client, &site, &options)?;
        ensure!(said == "ok", "{name}: {said}");
    }
    let all = (cases()?.len() + broken()?.len()) as u64;
    agent.flush()?;
    wait_for(SETTLE, "record of every connection", || {
        let decoded = agent.status()?.counter("record_decoded_total")?;
        ensure!(decoded >= all, "{decoded} of {all}");
        Ok(())
    })?;
    let seen = fates(&agent)?;
    ensure!(
        seen[0] == expected[0] + reader.read_in_broken(),
        "an option was read from bytes that no parser can walk"
    );
    ensure!(
        seen[1] == expected[1],
        "a MAC was looked at in bytes that no parser can walk"
    );
    Ok(())
}
