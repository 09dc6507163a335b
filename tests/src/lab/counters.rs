//! What the kernel counted in one network namespace.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::host::Host;

/// Kernel counters by name, such as `Tcp.RetransSegs` or `TcpExt.TCPTimeouts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads all counters of `host`.
    ///
    /// # Errors
    /// When /proc/net cannot be read there.
    pub fn of(host: &Host) -> Result<Self> {
        let mut counters = Self::default();
        counters.add_paired(&host.read("/proc/net/snmp")?);
        counters.add_paired(&host.read("/proc/net/netstat")?);
        counters.add_listed(&host.read("/proc/net/snmp6")?);
        Ok(counters)
    }

    /// How much each counter grew since `before`; counters that did not are left out.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().filter_map(|(name, now)| {
            let growth = now.saturating_sub(before.value(name));
            (growth > 0).then(|| (name.clone(), growth))
        });
        Self(grown.collect())
    }

    /// One counter; 0 when it is not there.
    #[must_use]
    pub fn value(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Those of `names` that are not 0.
    #[must_use]
    pub fn among<'a>(&self, names: &[&'a str]) -> Vec<(&'a str, u64)> {
        names
            .iter()
            .map(|name| (*name, self.value(name)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// Lines in pairs: `Tcp: names...`, then `Tcp: values...`.
    fn add_paired(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (Some((group, names)), Some((_, values))) =
                (pair[0].split_once(':'), pair[1].split_once(':'))
            else {
                continue;
            };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                // Negative values are settings (MaxConn), not counts.
                self.0
                    .insert(format!("{group}.{name}"), value.parse().unwrap_or(0));
            }
        }
    }

    /// One counter per line: `Ip6InReceives 17`.
    fn add_listed(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(value)) = (words.next(), words.next()) {
                self.0.insert(name.to_owned(), value.parse().unwrap_or(0));
            }
        }
    }
}

/// Counters that any harm to traffic would move: retransmission, resets, errors, fragmentation.
pub const HARM: [&str; 14] = [
    "Tcp.RetransSegs",
    "Tcp.OutRsts",
    "Tcp.EstabResets",
    "Tcp.AttemptFails",
    "Tcp.InErrs",
    "Tcp.InCsumErrors",
    "Ip.FragFails",
    "Ip.FragCreates",
    "Ip6FragFails",
    "Ip6FragCreates",
    "Ip.InHdrErrors",
    "TcpExt.TCPTimeouts",
    "TcpExt.TCPAbortOnTimeout",
    "TcpExt.TCPChallengeACK",
];

/// Numbers that `ss -ti` shows for one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketNumbers {
    /// Local address and port, as printed.
    pub local: String,
    /// Remote address and port, as printed.
    pub remote: String,
    /// Payload bytes acknowledged by the peer (plus one once the connection is closing).
    pub bytes_acked: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments sent.
    pub segs_out: u64,
    /// Segments received.
    pub segs_in: u64,
    /// Segments retransmitted over the socket's whole life.
    pub retransmits: u64,
    /// Segments that were sent and not yet acknowledged.
    pub unacked: u64,
}

/// Established sockets of `host` with their numbers.
///
/// # Errors
/// Those of `ss`.
pub fn sockets(host: &Host) -> Result<Vec<SocketNumbers>> {
    let text = host.run("ss", &["-tinH", "state", "established"])?;
    parse_sockets(&text)
}

fn parse_sockets(text: &str) -> Result<Vec<SocketNumbers>> {
    let mut found: Vec<SocketNumbers> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with(char::is_whitespace) {
            let (&local, &remote) = (
                words.get(2).context("local address")?,
                words.get(3).context("remote address")?,
            );
            found.push(SocketNumbers {
                local: local.to_owned(),
                remote: remote.to_owned(),
                ..SocketNumbers::default()
            });
            continue;
        }
        let Some(socket) = found.last_mut() else {
            continue;
        };
        for word in words {
            let Some((name, value)) = word.split_once(':') else {
                continue;
            };
            match name {
                "bytes_acked" => socket.bytes_acked = value.parse()?,
                "bytes_received" => socket.bytes_received = value.parse()?,
                "segs_out" => socket.segs_out = value.parse()?,
                "segs_in" => socket.segs_in = value.parse()?,
                "unacked" => socket.unacked = value.parse()?,
                // "retrans:<now>/<whole life>"
                "retrans" => {
                    let total = value.rsplit('/').next().unwrap_or(value);
                    socket.retransmits = total.parse()?;
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_paired_with_their_names_and_compared() {
        let mut before = Counters::default();
        before.add_paired("Tcp: MaxConn RetransSegs\nTcp: -1 4\n");
        let mut after = before.clone();
        after.add_paired("Tcp: MaxConn RetransSegs\nTcp: -1 9\n");
        after.add_listed("Ip6FragFails 2\n");
        let grown = after.since(&before);
        assert_eq!(
            grown.among(&HARM),
            [("Tcp.RetransSegs", 5), ("Ip6FragFails", 2)]
        );
    }

    #[test]
    fn sockets_are_read_with_the_line_that_follows() {
        let text = "0 0 10.1.1.2:4242 10.9.0.100:80\n\
                    \t cubic bytes_sent:9 bytes_acked:10 bytes_received:77 segs_out:5 segs_in:4 \
                    unacked:2 retrans:0/3\n";
        let sockets = parse_sockets(text).unwrap();
        assert_eq!(sockets.len(), 1);
        assert_eq!((sockets[0].bytes_received, sockets[0].retransmits), (77, 3));
        assert_eq!(sockets[0].unacked, 2);
        assert_eq!(sockets[0].remote, "10.9.0.100:80");
    }
}
