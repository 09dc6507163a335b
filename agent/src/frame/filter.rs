//! The filter that lets only the few packets through that matter. Pure.

use bpf::packet::Instruction;

use super::segment::{FIN, OptionPrefix, RST, SNAP_BYTES, SYN, TCP};

// Codes of classic BPF, linux/bpf_common.h.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_X: u16 = 0x01;
const LOAD_X_HEADER: u16 = 0xb1;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const ADD_X: u16 = 0x0c;
const SUBTRACT: u16 = 0x14;
const TO_X: u16 = 0x07;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// `SKF_AD_OFF + SKF_AD_PROTOCOL`, linux/filter.h: the packet's EtherType.
const ETHER_TYPE: u32 = 0xffff_f000;

/// Where a jump goes.
#[derive(Clone, Copy)]
enum To {
    Next,
    At(usize),
    Accept,
    Drop,
}

/// Instruction, operand, and where to go when a comparison is true and when it is false.
type Line = (u16, u32, Option<To>, Option<To>);

/// The filter: TCP segments that open, end or reset a connection or carry a waybill, cut to their
/// headers. IPv4 without later fragments, IPv6 without extension headers.
///
/// Shapes proven on 4.14 and newer: no negative offset, the option is found by arithmetic on X.
pub(crate) fn filter(prefix: OptionPrefix) -> Vec<Instruction> {
    let lines = lines(prefix);
    let drop = lines.len() - 1;
    let distance = |from: usize, to: To| {
        let to = match to {
            To::Next => from + 1,
            To::At(line) => line,
            To::Accept => drop - 1,
            To::Drop => drop,
        };
        u8::try_from(to - from - 1).unwrap_or(u8::MAX)
    };
    let instruction = |(at, (code, operand, yes, no)): (usize, Line)| {
        let (yes, no) = (
            yes.map_or(0, |to| distance(at, to)),
            no.map_or(0, |to| distance(at, to)),
        );
        match code {
            // An unconditional jump has its distance in the operand.
            JUMP => Instruction {
                code,
                yes: 0,
                no: 0,
                operand: u32::from(yes),
            },
            _ => Instruction {
                code,
                yes,
                no,
                operand,
            },
        }
    };
    lines.into_iter().enumerate().map(instruction).collect()
}

fn lines(prefix: OptionPrefix) -> Vec<Line> {
    let [kind, length, high, low] = prefix.bytes();
    let snap = u32::try_from(SNAP_BYTES).unwrap_or(u32::MAX);
    let step = |code, operand: u32| (code, operand, None, None);
    let test = |code, operand: u32, yes, no| (code, operand, Some(yes), Some(no));
    vec![
        step(LOAD_WORD, ETHER_TYPE),
        test(IF_EQUAL, 0x0800, To::At(5), To::Next),
        test(IF_EQUAL, 0x86dd, To::At(5), To::Next),
        // Tags that are still in the packet: 802.1Q and 802.1ad.
        test(IF_EQUAL, 0x8100, To::At(5), To::Next),
        test(IF_EQUAL, 0x88a8, To::At(5), To::Drop),
        step(LOAD_BYTE, 0),
        step(AND, 0xf0),
        test(IF_EQUAL, 0x60, To::At(14), To::Next),
        test(IF_EQUAL, 0x40, To::Next, To::Drop),
        step(LOAD_BYTE, 9),
        test(IF_EQUAL, u32::from(TCP), To::Next, To::Drop),
        step(LOAD_HALF, 6),
        test(IF_ANY_BIT, 0x1fff, To::Drop, To::Next),
        test(JUMP, 0, To::At(17), To::At(17)),
        step(LOAD_BYTE, 6),
        test(IF_EQUAL, u32::from(TCP), To::Next, To::Drop),
        test(JUMP, 0, To::At(19), To::At(19)),
        step(LOAD_X_HEADER, 0),
        test(JUMP, 0, To::At(20), To::At(20)),
        step(LOAD_X, 40),
        step(LOAD_BYTE_AT_X, 13),
        test(IF_ANY_BIT, u32::from(FIN | SYN | RST), To::Accept, To::Next),
        step(LOAD_BYTE_AT_X, 12),
        step(AND, 0xf0),
        step(SHIFT_RIGHT, 2),
        test(IF_AT_LEAST, 36, To::Next, To::Drop),
        step(ADD_X, 0),
        step(SUBTRACT, 16),
        step(TO_X, 0),
        step(LOAD_HALF_AT_X, 0),
        test(
            IF_EQUAL,
            u32::from(u16::from_be_bytes([kind, length])),
            To::Next,
            To::Drop,
        ),
        step(LOAD_HALF_AT_X, 2),
        test(
            IF_EQUAL,
            u32::from(u16::from_be_bytes([high, low])),
            To::Accept,
            To::Drop,
        ),
        step(RETURN, snap),
        step(RETURN, 0),
    ]
}
