//! Which side called `connect()`, where nobody saw it and neither the socket's numbers nor a listener
//! tell: ports that the host gives to who connects, and else nothing. Pure but for reading them.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bpf::abi;
use wire::{Endpoint, Role};

use crate::family::connection::event::Connection;

/// Ports that the kernel gives to sockets that connect.
#[derive(Debug)]
pub struct Direction {
    path: PathBuf,
    ports: Option<RangeInclusive<u16>>,
}

impl Direction {
    /// Reads the host's ports below `proc`, which is `/proc`.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        let mut new = Self {
            path: proc.join("sys/net/ipv4/ip_local_port_range"),
            ports: None,
        };
        new.refresh();
        new
    }

    /// Reads them again; what cannot be read stays as it was.
    pub fn refresh(&mut self) {
        let text = fs::read_to_string(&self.path).ok();
        self.ports = text
            .and_then(|text| parse(&text))
            .or_else(|| self.ports.take());
    }

    /// The connection with its role by ports if nothing better told it; `None` where it is as it was.
    #[must_use]
    pub fn settle(&self, event: &Connection) -> Option<Connection> {
        if !event.has(abi::WB_FLAG_ROLE_UNKNOWN) {
            return None;
        }
        let ports = self.ports.as_ref()?;
        let role = by_ports(ports, event.local, event.remote)?;
        Some(Connection {
            role,
            flags: event.flags & !abi::WB_FLAG_ROLE_UNKNOWN,
            ..event.clone()
        })
    }
}

/// `ip_local_port_range`: the first and the last port.
fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => Some(first..=last),
        _ => None,
    }
}

/// Nobody, where both ends have such a port or neither has.
fn by_ports(ports: &RangeInclusive<u16>, local: Endpoint, remote: Endpoint) -> Option<Role> {
    match (ports.contains(&local.port), ports.contains(&remote.port)) {
        (true, false) => Some(Role::Client),
        (false, true) => Some(Role::Server),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(local: u16, remote: u16, flags: u32) -> Connection {
        let end = |port| Endpoint {
            addr: [1; 16],
            port,
        };
        let mut event =
            crate::family::connection::event::open(1, (end(local), end(remote)), Role::Client, 1);
        event.flags |= flags;
        event
    }

    #[test]
    fn ports_decide_only_where_nothing_else_did_and_only_where_they_can() {
        let proc = tempfile::tempdir().unwrap();
        let file = proc.path().join("sys/net/ipv4/ip_local_port_range");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "32768\t60999\n").unwrap();
        let mut direction = Direction::new(proc.path());
        let unknown = abi::WB_FLAG_ROLE_UNKNOWN;
        let role = |direction: &Direction, local, remote| {
            let settled = direction.settle(&event(local, remote, unknown))?;
            assert!(!settled.has(unknown));
            Some(settled.role)
        };
        assert_eq!(role(&direction, 8080, 40_000), Some(Role::Server));
        assert_eq!(role(&direction, 40_000, 8080), Some(Role::Client));
        assert_eq!(
            role(&direction, 40_000, 50_000),
            None,
            "both may have connected"
        );
        assert_eq!(role(&direction, 80, 8080), None, "none need have");
        assert_eq!(
            direction.settle(&event(8080, 40_000, 0)),
            None,
            "it is known"
        );
        // The host's own ports, and as they are now.
        fs::write(&file, "1024 9000").unwrap();
        direction.refresh();
        assert_eq!(role(&direction, 8080, 40_000), Some(Role::Client));
        for broken in ["", "9000 1024", "x y", "70000 1"] {
            fs::write(&file, broken).unwrap();
            direction.refresh();
            assert_eq!(
                role(&direction, 8080, 40_000),
                Some(Role::Client),
                "{broken}"
            );
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(role(&Direction::new(proc.path()), 8080, 40_000), None);
    }
}
