//! What the programs know: open connections, listeners, the negative cache.

use std::collections::HashSet;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use bpf::abi;
use libbpf_rs::{Iter, Link, MapCore, MapFlags, MapHandle};
use zerocopy::{FromBytes, IntoBytes as _};

use crate::family::connection::event::{self, Connection, RECORD_BYTES};

/// A table is walked through at most this often for one snapshot.
const WALKS: usize = 4;
/// Connections of a snapshot in memory at a time.
const PART: usize = 1024;
/// The same in bytes, a whole number of records.
pub const PART_BYTES: usize = PART * RECORD_BYTES;
/// Paths named in one report; the rest is given as a number.
const PATHS_SHOWN: usize = 64;

/// Every connection that is open now, some at a time: all of them together would be most of the
/// agent's memory.
#[derive(Debug)]
pub struct Snapshot<R = Iter> {
    records: R,
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Begins one with the iterator over the table of connections.
    ///
    /// # Errors
    /// The kernel refuses to run the iterator.
    pub fn begin(live: &Link) -> Result<Self> {
        let records = Iter::new(live).context("begin a snapshot of the connections")?;
        Ok(Self::of(records))
    }
}

impl<R: Read> Snapshot<R> {
    fn of(records: R) -> Self {
        Self {
            records,
            bytes: Vec::with_capacity(PART_BYTES),
        }
    }

    /// The next ones, and how many were not valid; `None` at the end.
    ///
    /// # Errors
    /// The kernel ends the iterator early: it did not show all.
    pub fn take(&mut self) -> Result<Option<(Vec<Connection>, u64)>> {
        self.bytes.clear();
        (&mut self.records)
            .take(PART_BYTES as u64)
            .read_to_end(&mut self.bytes)
            .context("take a snapshot of the connections")?;
        Ok((!self.bytes.is_empty()).then(|| decode_all(&self.bytes)))
    }
}

/// The table of connections, entry by entry, for kernels without iterators.
///
/// # Errors
/// The kernel refuses to read it.
pub fn entries(table: &MapHandle) -> Result<Vec<abi::wb_connection>> {
    let mut found = Vec::new();
    walk(table, |_, value| {
        found.extend(abi::wb_connection::read_from_bytes(value));
    })
    .context("read the table of connections")?;
    Ok(found)
}

/// Shows each key and value of a table once, while programs change it.
fn walk(table: &MapHandle, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
    let steps = (table.max_entries() as usize).saturating_mul(WALKS);
    for key in once(table.keys(), steps) {
        if let Some(value) = table.lookup(&key, MapFlags::ANY)? {
            each(&key, &value);
        }
    }
    Ok(())
}

/// The keys, each once. Behind one that was deleted meanwhile a walk begins anew: it must not end
/// there, as what a snapshot does not show counts as gone, nor go on for ever.
fn once(keys: impl Iterator<Item = Vec<u8>>, steps: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut seen = HashSet::new();
    keys.take(steps).filter(move |key| seen.insert(key.clone()))
}

/// Tells the programs who listens on a port, as the iterator over files does. What a program entered
/// since it runs is better and stays.
pub fn tell_listener(table: &MapHandle, netns: u32, port: u16, process: abi::wb_process) {
    let key = abi::wb_listener_key {
        netns,
        port,
        ..Default::default()
    };
    // Without the socket's address the programs do not ask it whether it defers.
    let value = abi::wb_listener { process, sock: 0 };
    table
        .update(key.as_bytes(), value.as_bytes(), MapFlags::NO_EXIST)
        .ok();
}

/// Decodes records that lie one after another; the number is of those that are not valid.
#[must_use]
pub fn decode_all(bytes: &[u8]) -> (Vec<Connection>, u64) {
    let mut invalid = 0;
    let events = bytes
        .chunks(RECORD_BYTES)
        .filter_map(|chunk| event::decode(chunk).map_err(|_| invalid += 1).ok())
        .collect();
    (events, invalid)
}

/// Services and peers for which the option is off at `now_ns` (CLOCK_MONOTONIC), with reason and time left.
///
/// # Errors
/// The kernel refuses to read the table.
pub fn paths_off(map: &MapHandle, now_ns: u64) -> Result<Vec<(String, String)>> {
    let mut off = Vec::new();
    walk(map, |key, value| {
        let key = abi::wb_path_key::read_from_bytes(key);
        let path = abi::wb_path::read_from_bytes(value);
        if let (Ok(key), Ok(path)) = (key, path)
            && path.off_until_ns > now_ns
        {
            off.push(describe(&key, &path, now_ns));
        }
    })
    .context("read the paths")?;
    off.sort();
    let more = off.len().saturating_sub(PATHS_SHOWN);
    off.truncate(PATHS_SHOWN);
    if more > 0 {
        off.push((String::from("more"), more.to_string()));
    }
    Ok(off)
}

fn describe(key: &abi::wb_path_key, path: &abi::wb_path, now_ns: u64) -> (String, String) {
    let peer = Ipv6Addr::from(key.addr).to_canonical();
    let way = if u32::from(key.role) == abi::WB_ROLE_SERVER {
        format!("{peer} to port {} here", key.port)
    } else {
        SocketAddr::new(peer, key.port).to_string()
    };
    let reason = match path.reason {
        abi::WB_PATH_HANDSHAKE_LOST => "drops the option: the peer repeated its SYN-ACK",
        abi::WB_PATH_DATA_LOST => "drops the option: data that carried it was sent again",
        abi::WB_PATH_STRIPPED => "strips the option: the peer answered without having read it",
        abi::WB_PATH_ANSWER_LOST => "drops the option: the peer repeated what our answer took",
        _ => "unknown",
    };
    let left_s = (path.off_until_ns - now_ns).div_ceil(1_000_000_000);
    let times = path.times_off;
    (
        way,
        format!("{reason}; off for {left_s} s more (time {times})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives as little at a time as a kernel may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let most = into.len().min(1000);
            self.0.read(&mut into[..most])
        }
    }

    #[test]
    fn a_snapshot_comes_in_parts_of_whole_records_however_it_is_read() {
        let all = vec![0; (2 * PART + 5) * RECORD_BYTES];
        let mut snapshot = Snapshot::of(Slow(&all));
        let mut parts = Vec::new();
        while let Some((events, invalid)) = snapshot.take().unwrap() {
            // Zeros are no record; torn ones would be more.
            parts.push(events.len() as u64 + invalid);
        }
        let whole = PART as u64;
        assert_eq!(parts, [whole, whole, 5]);
    }

    #[test]
    fn a_torn_record_at_the_end_is_counted() {
        let (events, invalid) = decode_all(&[0; RECORD_BYTES + 3]);
        assert!(events.is_empty());
        assert_eq!(invalid, 2);
    }

    #[test]
    fn a_walk_that_begins_anew_shows_each_key_once_and_ends() {
        // What the kernel answers when the key behind which it was asked is gone.
        let keys = [1_u8, 2, 3].into_iter().cycle().map(|key| vec![key]);
        let shown: Vec<_> = once(keys, 12).collect();
        assert_eq!(shown, [[1], [2], [3]]);
    }

    #[test]
    fn a_path_is_described_by_service_reason_and_time_left() {
        let peer = std::net::Ipv4Addr::new(10, 0, 0, 7);
        let mut key = abi::wb_path_key {
            addr: peer.to_ipv6_mapped().octets(),
            port: 80,
            ..Default::default()
        };
        let path = abi::wb_path {
            off_until_ns: 61_000_000_000,
            reason: abi::WB_PATH_HANDSHAKE_LOST,
            times_off: 2,
            ..Default::default()
        };
        let (way, text) = describe(&key, &path, 1_000_000_000);
        assert_eq!(way, "10.0.0.7:80");
        assert!(text.contains("off for 60 s more (time 2)"), "{text}");
        key.role = 1;
        assert_eq!(describe(&key, &path, 0).0, "10.0.0.7 to port 80 here");
    }
}
