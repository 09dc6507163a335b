//! Packets become segments. Pure.

use wire::Endpoint;

/// Flags of a TCP header, RFC 9293 section 3.1.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// The largest headers: IPv4 and TCP with all their options.
pub(crate) const SNAP_BYTES: usize = 120;
/// A waybill.
pub(crate) const OPTION_BYTES: usize = 16;

pub(crate) const TCP: u8 = 6;
const V6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;

/// How a waybill begins, by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionPrefix {
    /// TCP option kind.
    pub(crate) kind: u8,
    /// Experiment id.
    pub(crate) exid: u16,
}

impl OptionPrefix {
    /// Its first bytes.
    pub(crate) fn bytes(self) -> [u8; 4] {
        let [high, low] = self.exid.to_be_bytes();
        [self.kind, 16, high, low]
    }
}

/// One TCP segment, without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where it comes from.
    pub(crate) source: Endpoint,
    /// Where it goes.
    pub(crate) destination: Endpoint,
    /// Sequence number.
    pub(crate) sequence: u32,
    /// Acknowledgement number.
    pub(crate) acknowledged: u32,
    /// `FIN`, `SYN`, `RST`, `ACK`.
    pub(crate) flags: u8,
    /// Bytes of payload; `None` where the network header does not say (jumbograms).
    pub(crate) payload: Option<u32>,
    /// A waybill at the end of the header, not verified.
    pub(crate) option: Option<[u8; OPTION_BYTES]>,
}

impl Segment {
    /// Whether all of these flags are set.
    pub(crate) const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads a packet that begins with its network header; `None` for what is no whole TCP header.
pub(crate) fn parse(bytes: &[u8], prefix: OptionPrefix) -> Option<Segment> {
    let (addresses, header, length) = match bytes.first()? >> 4 {
        4 => parse_v4(bytes)?,
        6 => parse_v6(bytes)?,
        _ => return None,
    };
    let tcp = bytes.get(header..)?;
    let tcp_bytes = usize::from(tcp.get(12)? >> 4) * 4;
    if tcp_bytes < TCP_HEADER {
        return None;
    }
    let tcp = tcp.get(..tcp_bytes)?;
    let option = (tcp_bytes >= TCP_HEADER + OPTION_BYTES)
        .then(|| tcp.last_chunk::<OPTION_BYTES>())
        .flatten()
        .filter(|option| option.starts_with(&prefix.bytes()));
    let payload = length.and_then(|length| length.checked_sub(tcp_bytes));
    let [source, destination] = addresses;
    Some(Segment {
        source: Endpoint {
            addr: source,
            port: u16_at(tcp, 0)?,
        },
        destination: Endpoint {
            addr: destination,
            port: u16_at(tcp, 2)?,
        },
        sequence: u32_at(tcp, 4)?,
        acknowledged: u32_at(tcp, 8)?,
        flags: *tcp.get(13)?,
        payload: payload.and_then(|bytes| u32::try_from(bytes).ok()),
        option: option.copied(),
    })
}

/// Addresses, bytes of the network header, and bytes behind it if it says so.
type Network = ([[u8; 16]; 2], usize, Option<usize>);

fn parse_v4(bytes: &[u8]) -> Option<Network> {
    let header = usize::from(bytes.first()? & 0xf) * 4;
    let fragment = u16_at(bytes, 6)? & 0x1fff;
    if header < 20 || *bytes.get(9)? != TCP || fragment != 0 {
        return None;
    }
    let mapped = |at: usize| {
        let mut address = [0; 16];
        address[10..12].fill(0xff);
        address[12..].copy_from_slice(bytes.get(at..at + 4)?);
        Some(address)
    };
    let total = usize::from(u16_at(bytes, 2)?);
    let length = total.checked_sub(header).filter(|_| total != 0);
    Some(([mapped(12)?, mapped(16)?], header, length))
}

fn parse_v6(bytes: &[u8]) -> Option<Network> {
    if *bytes.get(6)? != TCP {
        return None;
    }
    let address = |at: usize| bytes.get(at..at + 16)?.try_into().ok();
    let length = usize::from(u16_at(bytes, 4)?);
    let length = (length != 0).then_some(length);
    Some(([address(8)?, address(24)?], V6_HEADER, length))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
