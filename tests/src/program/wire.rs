//! TCP segments in Ethernet frames, as a bridge reads and counts them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Ethernet header.
const LINK: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xDD];
const TCP: u8 = 6;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Kind of the option that is looked for (RFC 4727).
const OPTION: u8 = 253;

/// What became of frames, and the handshakes of which an ACK arrived.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// TCP segments lost on purpose.
    pub lost: u64,
    /// TCP segments made late on purpose.
    pub late: u64,
    /// Frames that could not be taken or sent: the lab's own fault.
    pub dropped: u64,
    /// Handshakes per IP version: IPv4 and IPv6.
    pub handshakes: [Handshakes; 2],
    /// Connections of which a segment with the option arrived that makes a listener which defers,
    /// or its client, read it: one with data from the client, or any one from the server.
    pub carried: u64,
    #[serde(skip)]
    flows: HashMap<Flow, State>,
}

/// Handshakes by what arrived first behind the SYN, from the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// A bare ACK.
    pub acknowledged: u64,
    /// Data: the ACK was lost or overtaken, or never sent.
    pub by_data: u64,
}

/// Addresses and ports of one direction, as they stand in the packet.
type Flow = Vec<u8>;

/// A connection between its SYN and what comes next.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Sequence number behind the SYN.
    next: u32,
    done: bool,
    carried: bool,
}

/// Where a TCP segment lies in a frame.
struct Segment {
    v6: bool,
    at: usize,
    end: usize,
    /// Addresses, as they stand in the packet.
    addresses: std::ops::Range<usize>,
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let kind: [u8; 2] = frame.get(12..LINK)?.try_into().ok()?;
    let (v6, at, length, protocol, addresses) = match kind {
        IPV4 => {
            let header = usize::from(frame.get(LINK)? & 15) * 4;
            let length = usize::from(pair(frame, LINK + 2)?);
            (false, LINK + header, length, LINK + 9, LINK + 12..LINK + 20)
        }
        IPV6 => {
            let length = 40 + usize::from(pair(frame, LINK + 4)?);
            (true, LINK + 40, length, LINK + 6, LINK + 8..LINK + 40)
        }
        _ => return None,
    };
    let end = LINK + length;
    let whole = *frame.get(protocol)? == TCP && at + 20 <= end && end <= frame.len();
    whole.then_some(Segment {
        v6,
        at,
        end,
        addresses,
    })
}

/// Whether a frame is a whole TCP segment.
#[must_use]
pub fn is_tcp(frame: &[u8]) -> bool {
    segment(frame).is_some()
}

fn sum(bytes: &[u8]) -> u32 {
    let pairs = bytes.chunks(2);
    pairs
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}

/// Writes the TCP checksum (RFC 9293 section 3.1), which a virtual device leaves to the next one.
pub fn complete_sum(frame: &mut [u8]) {
    let Some(segment) = segment(frame) else {
        return;
    };
    let (at, end) = (segment.at, segment.end);
    frame[at + 16..at + 18].fill(0);
    let length = u32::try_from(end - at).unwrap_or(0);
    let mut total = sum(&frame[segment.addresses]) + sum(&frame[at..end]) + length + u32::from(TCP);
    while total > 0xFFFF {
        total = (total & 0xFFFF) + (total >> 16);
    }
    let folded = u16::try_from(total).unwrap_or(0);
    frame[at + 16..at + 18].copy_from_slice(&(!folded).to_be_bytes());
}

impl Tally {
    /// Counts a frame that leaves the bridge.
    pub fn arrived(&mut self, frame: &[u8]) {
        self.count(frame);
    }

    fn count(&mut self, frame: &[u8]) -> Option<()> {
        let segment = segment(frame)?;
        let at = segment.at;
        let flags = *frame.get(at + 13)?;
        let seq = word(frame, at + 4)?;
        let header = usize::from(frame.get(at + 12)? >> 4) * 4;
        let mut flow = frame.get(segment.addresses)?.to_vec();
        flow.extend(frame.get(at..at + 4)?);
        if flags & (SYN | ACK) == SYN {
            let state = State {
                next: seq.wrapping_add(1),
                done: false,
                carried: false,
            };
            // A SYN that is repeated is no new connection.
            match self.flows.get(&flow) {
                Some(known) if known.next == state.next => {}
                _ => drop(self.flows.insert(flow, state)),
            }
            return Some(());
        }
        let is_marked = has_option(frame.get(at + 20..at + header)?);
        if is_marked && flags & RST == 0 {
            let has_data = segment.end - at > header;
            let from_client = has_data.then(|| flow.clone());
            let flows = [from_client, Some(reversed(&flow))].into_iter().flatten();
            for flow in flows {
                if let Some(state) = self.flows.get_mut(&flow)
                    && !state.carried
                {
                    state.carried = true;
                    self.carried += 1;
                }
            }
        }
        let state = self.flows.get_mut(&flow)?;
        if state.done || flags & RST != 0 || flags & ACK == 0 {
            return None;
        }
        state.done = true;
        let bare = segment.end - at == header && flags & FIN == 0 && seq == state.next;
        let counts = &mut self.handshakes[usize::from(segment.v6)];
        match bare {
            true => counts.acknowledged += 1,
            false => counts.by_data += 1,
        }
        Some(())
    }
}

/// The other direction: each address and each port in the place of the other.
fn reversed(flow: &[u8]) -> Flow {
    let (addresses, ports) = flow.split_at(flow.len() - 4);
    let swapped = [addresses, ports].map(|both| {
        let (one, other) = both.split_at(both.len() / 2);
        [other, one].concat()
    });
    swapped.concat()
}

/// Whether the option is among the options of a header (RFC 9293 section 3.1).
fn has_option(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        let length = match (kind, rest.first()) {
            (0, _) => return false,
            (1, _) => 1,
            (&OPTION, _) => return true,
            (_, Some(length)) if *length >= 2 => usize::from(*length),
            _ => return false,
        };
        options = options.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment from port 1000 to 80 over IPv4.
    fn frame(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(IPV4);
        let length = u16::try_from(40 + payload.len()).unwrap();
        let [high, low] = length.to_be_bytes();
        frame.extend([0x45, 0, high, low, 0, 0, 0, 0, 64, TCP, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 3, 232, 0, 80]);
        frame.extend(seq.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_handshake_is_counted_once_by_what_comes_first() {
        let mut tally = Tally::default();
        for (seq, flags, payload) in [
            (7, SYN, &b""[..]),
            (7, SYN, b""),
            (8, ACK, b""),
            (8, ACK, b"data"),
            (12, ACK, b""),
            // The port is used again, and the ACK is overtaken.
            (90, SYN, b""),
            (91, ACK, b"data"),
            (91, ACK, b""),
        ] {
            tally.arrived(&frame(seq, flags, payload));
        }
        let expected = Handshakes {
            acknowledged: 1,
            by_data: 1,
        };
        assert_eq!(tally.handshakes, [expected, Handshakes::default()]);
    }

    /// The same with the option behind a no-operation, and from the server if so.
    fn marked(seq: u32, payload: &[u8], from_server: bool) -> Vec<u8> {
        let mut frame = frame(seq, ACK, payload);
        frame.splice(LINK + 40..LINK + 40, [1, OPTION, 7, 0x57, 0x42, 0, 0, 0]);
        frame[LINK + 3] += 8;
        frame[LINK + 32] = 0x70;
        if from_server {
            frame[LINK + 12..LINK + 20].rotate_left(4);
            frame[LINK + 20..LINK + 24].rotate_left(2);
        }
        frame
    }

    #[test]
    fn a_connection_is_carried_by_data_of_its_client_or_by_anything_of_its_server() {
        let mut tally = Tally::default();
        tally.arrived(&frame(7, SYN, b""));
        tally.arrived(&marked(8, b"", false));
        assert_eq!((tally.carried, tally.handshakes[0].acknowledged), (0, 1));
        tally.arrived(&marked(8, b"data", false));
        tally.arrived(&marked(70, b"", true));
        assert_eq!(tally.carried, 1);
        tally.arrived(&frame(90, SYN, b""));
        tally.arrived(&frame(91, ACK, b"data"));
        assert_eq!(tally.carried, 1);
        tally.arrived(&marked(70, b"", true));
        assert_eq!(tally.carried, 2);
    }

    #[test]
    fn a_completed_checksum_adds_up_to_nothing() {
        let mut frame = frame(1, ACK, b"odd");
        complete_sum(&mut frame);
        let mut total = sum(&frame[26..34]) + sum(&frame[34..]) + u32::from(TCP) + 23;
        while total > 0xFFFF {
            total = (total & 0xFFFF) + (total >> 16);
        }
        assert_eq!(total, 0xFFFF);
    }
}
