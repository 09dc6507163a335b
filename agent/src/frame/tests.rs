//! What is no whole TCP header is nothing; what is, comes out as it went in.

use std::net::{IpAddr, SocketAddr};

use bpf::packet::Instruction;
use proptest::prelude::*;

use super::*;
use crate::frame::filter;

const PREFIX: OptionPrefix = OptionPrefix {
    kind: 253,
    exid: 0x5742,
};

/// A packet with these ends, flags, TCP options and bytes of payload.
pub(crate) fn packet(
    source: SocketAddr,
    destination: SocketAddr,
    flags: u8,
    options: &[u8],
    payload: u16,
) -> Vec<u8> {
    let tcp_bytes = 20 + options.len();
    let mut tcp = Vec::new();
    tcp.extend(source.port().to_be_bytes());
    tcp.extend(destination.port().to_be_bytes());
    tcp.extend(1000_u32.to_be_bytes());
    tcp.extend(2000_u32.to_be_bytes());
    tcp.extend([u8::try_from(tcp_bytes / 4).unwrap() << 4, flags]);
    tcp.extend([0; 6]);
    tcp.extend(options);
    let behind = u16::try_from(tcp_bytes).unwrap() + payload;
    let mut packet = Vec::new();
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend((behind + 20).to_be_bytes());
            packet.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(behind.to_be_bytes());
            packet.extend([TCP, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("one family"),
    }
    packet.extend(tcp);
    packet
}

fn option() -> Vec<u8> {
    [&[253, 16, 0x57, 0x42][..], &[9; 12]].concat()
}

fn v4(flags: u8, options: &[u8], payload: u16) -> Vec<u8> {
    let (from, to) = ("10.0.0.1:4000", "10.0.0.2:80");
    packet(
        from.parse().unwrap(),
        to.parse().unwrap(),
        flags,
        options,
        payload,
    )
}

fn v6(flags: u8, options: &[u8], payload: u16) -> Vec<u8> {
    let (from, to) = ("[fd00::1]:4000", "[fd00::2]:80");
    packet(
        from.parse().unwrap(),
        to.parse().unwrap(),
        flags,
        options,
        payload,
    )
}

#[test]
fn ends_numbers_payload_and_waybill_come_out_as_they_went_in() {
    for bytes in [v4(ACK, &option(), 7), v6(ACK, &option(), 7)] {
        let segment = parse(&bytes, PREFIX).unwrap();
        assert_eq!((segment.source.port, segment.destination.port), (4000, 80));
        assert_eq!((segment.sequence, segment.acknowledged), (1000, 2000));
        assert_eq!(segment.payload, Some(7));
        assert_eq!(segment.option.unwrap()[4..], [9; 12]);
    }
    let segment = parse(&v4(SYN, &[], 0), PREFIX).unwrap();
    assert_eq!(segment.source.ip().to_string(), "10.0.0.1");
    assert_eq!(segment.option, None);
}

#[test]
fn a_length_of_zero_leaves_the_payload_unknown() {
    let mut jumbo = v6(FIN, &[], 0);
    jumbo[4..6].fill(0);
    assert_eq!(parse(&jumbo, PREFIX).unwrap().payload, None);
}

#[test]
fn torn_headers_other_protocols_and_later_fragments_are_nothing() {
    for whole in [v4(SYN, &[], 0), v6(SYN, &[], 0)] {
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut], PREFIX), None, "{cut}");
        }
    }
    let mut datagram = v4(SYN, &[], 0);
    datagram[9] = 17;
    assert_eq!(parse(&datagram, PREFIX), None);
    let mut fragment = v4(SYN, &[], 0);
    fragment[7] = 1;
    assert_eq!(parse(&fragment, PREFIX), None);
}

/// Runs the filter as the kernel does: what it returns, 0 for a load beyond the packet.
fn run(program: &[Instruction], protocol: u32, packet: &[u8]) -> u32 {
    let load = |at: u32, bytes: u32| {
        let at = at as usize;
        let found = packet.get(at..at + bytes as usize)?;
        Some(
            found
                .iter()
                .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
        )
    };
    let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
    loop {
        let Instruction {
            code,
            yes,
            no,
            operand,
        } = program[at];
        at += 1;
        let jump = |when: bool| usize::from(if when { yes } else { no });
        let loaded = match code {
            0x20 if operand == 0xffff_f000 => Some(protocol),
            0x28 => load(operand, 2),
            0x30 => load(operand, 1),
            0x48 => load(x + operand, 2),
            0x50 => load(x + operand, 1),
            0xb1 => load(operand, 1).map(|byte| (byte & 0xf) * 4),
            _ => Some(0),
        };
        let Some(loaded) = loaded else { return 0 };
        match code {
            0x20 | 0x28 | 0x30 | 0x48 | 0x50 => a = loaded,
            0x01 => x = operand,
            0xb1 => x = loaded,
            0x54 => a &= operand,
            0x74 => a >>= operand,
            0x0c => a = a.wrapping_add(x),
            0x14 => a = a.wrapping_sub(operand),
            0x07 => x = a,
            0x05 => at += operand as usize,
            0x15 => at += jump(a == operand),
            0x35 => at += jump(a >= operand),
            0x45 => at += jump(a & operand != 0),
            0x06 => return operand,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

#[test]
fn the_filter_takes_what_opens_ends_or_carries_and_nothing_else() {
    let program = filter(PREFIX);
    let other_option = [&[253, 16, 0x57, 0x43][..], &[9; 12]].concat();
    for (packet, protocol) in [(v4 as fn(u8, &[u8], u16) -> Vec<u8>, 0x0800), (v6, 0x86dd)] {
        for (flags, options, taken) in [
            (SYN, vec![], true),
            (SYN | ACK, vec![1; 20], true),
            (FIN | ACK, vec![], true),
            (RST, vec![], true),
            (ACK, vec![], false),
            (ACK, vec![1; 12], false),
            (ACK, option(), true),
            (ACK, [vec![1; 12], option()].concat(), true),
            (ACK, other_option.clone(), false),
        ] {
            let bytes = packet(flags, &options, 100);
            let kept = run(&program, protocol, &bytes);
            assert_eq!(kept != 0, taken, "{flags:#x} {options:?}");
            assert_eq!(run(&program, 0x8100, &bytes) != 0, taken);
            assert_eq!(run(&program, 0x0806, &bytes), 0, "another protocol");
        }
    }
    let mut datagram = v4(SYN, &[], 0);
    datagram[9] = 17;
    assert_eq!(run(&program, 0x0800, &datagram), 0);
    let mut fragment = v4(SYN, &[], 0);
    fragment[7] = 1;
    assert_eq!(run(&program, 0x0800, &fragment), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_a_segment_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
        let _ignored = parse(&bytes, PREFIX);
        run(&filter(PREFIX), 0x0800, &bytes);
    }
}
