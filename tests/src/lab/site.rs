//! The shape every lab shares: clients, one gateway with its NAT and middleboxes, backends.
//!
//! ```text
//! client1 10.1.1.2 ──┐            ┌── 10.2.1.2 backend1      VIP 10.9.0.100:80
//!                    ├─ gateway ──┤                          v6  fd00:9::100
//! client2 10.1.2.2 ──┘            └── 10.2.2.2 backend2
//! ```

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::Value;

use super::bridge::{self, Bridge};
use super::host::Host;
use super::needs::Skip;
use super::{End, Lab, command};

/// Port on which every backend serves.
pub const SERVICE_PORT: u16 = 8080;

/// Port of the virtual service.
pub const VIP_PORT: u16 = 80;

/// IP version of an address in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// What the gateway does to addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Nothing: it only routes.
    Direct,
    /// Clients appear with the gateway's address.
    Snat,
    /// The virtual address leads to the backends in turn.
    Dnat,
    /// Both.
    FullNat,
}

impl Nat {
    /// Whether clients use the virtual address.
    #[must_use]
    pub fn virtual_address(self) -> bool {
        matches!(self, Self::Dnat | Self::FullNat)
    }

    /// Whether backends see the gateway instead of the client.
    #[must_use]
    pub fn hides_client(self) -> bool {
        matches!(self, Self::Snat | Self::FullNat)
    }
}

/// What else the gateway does to packets it forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middlebox {
    /// Nothing.
    Plain,
    /// Drops every packet with TCP option 253.
    DropsOption,
    /// Removes TCP option 253.
    StripsOption,
    /// Drops one in this many data packets of at least 100 bytes.
    DropsEveryNth(u32),
    /// Answers SYNs itself and so gives connections other sequence numbers on its two sides.
    SynProxy,
}

/// Clients, gateway and backends, wired and configured.
#[derive(Debug)]
pub struct Site {
    /// Hosts `client1`, `client2`, ...
    pub clients: Vec<Host>,
    /// The gateway; it runs no agent.
    pub gateway: Host,
    /// Hosts `backend1`, `backend2`, ...
    pub backends: Vec<Host>,
    nat: Nat,
}

impl Site {
    /// Builds the hosts and the gateway's rules.
    ///
    /// # Errors
    /// Those of `ip` and `nft`.
    pub fn build(
        lab: &Lab,
        clients: usize,
        backends: usize,
        nat: Nat,
        middlebox: Middlebox,
    ) -> Result<Self> {
        let site = Self::wire(lab, clients, backends, nat)?;
        if middlebox == Middlebox::SynProxy {
            // As nft(8) says: what was not tracked from its SYN on must look invalid.
            site.gateway
                .sysctl("net.netfilter.nf_conntrack_tcp_loose", "0")?;
        }
        let loaded = site.gateway.nft(&rules(nat, middlebox, backends));
        if middlebox == Middlebox::StripsOption {
            // Kernel 5.18 and nft 1.0.2: the one rule here that a supported machine may lack.
            loaded.map_err(|error| Skip(format!("needs nft's `reset tcp option`: {error:#}")))?;
        } else {
            loaded?;
        }
        Ok(site)
    }

    /// Builds the hosts and a gateway that routes; the rules for `nat` are the caller's.
    ///
    /// # Errors
    /// Those of `ip`.
    pub fn wire(lab: &Lab, clients: usize, backends: usize, nat: Nat) -> Result<Self> {
        let gateway = lab.host("gateway")?;
        let mut site = Self {
            clients: Vec::new(),
            gateway,
            backends: Vec::new(),
            nat,
        };
        for number in 1..=clients {
            site.clients.push(site.attach(lab, "client", 1, number)?);
        }
        for number in 1..=backends {
            site.backends.push(site.attach(lab, "backend", 2, number)?);
        }
        site.gateway.sysctl("net.ipv4.ip_forward", "1")?;
        site.gateway.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        Ok(site)
    }

    /// Adds a leaf host in network `10.<side>.<number>.0/24` behind the gateway.
    fn attach(&self, lab: &Lab, kind: &str, side: u8, number: usize) -> Result<Host> {
        let host = lab.host(&format!("{kind}{number}"))?;
        self.connect(lab, &host, (side, number), None)?;
        Ok(host)
    }

    /// Puts a bridge into the link of backend `index` (from 0), which must not be used yet.
    ///
    /// # Errors
    /// Those of `ip` and of the bridge.
    pub fn bridge(&self, lab: &Lab, index: usize, options: &[&str]) -> Result<Bridge> {
        let (backend, between) = (&self.backends[index], lab.host("bridge")?);
        self.gateway
            .ip(&format!("link delete {}\n", backend.name()))?;
        self.connect(lab, backend, (2, index + 1), Some(&between))?;
        // What passes a bridge has the size of a frame.
        let ends = [(&self.gateway, backend.name()), (backend, "eth0")];
        let clients = self.clients.iter().map(|client| (client, "eth0"));
        for (host, device) in ends.into_iter().chain(clients) {
            host.ip(&format!("link set {device} gso_max_segs 1\n"))?;
        }
        Bridge::start(between, options)
    }

    /// Links a leaf host to the gateway, straight or `through` a host with the devices of a bridge.
    fn connect(
        &self,
        lab: &Lab,
        host: &Host,
        (side, number): (u8, usize),
        through: Option<&Host>,
    ) -> Result<()> {
        let gateway = End {
            host: &self.gateway,
            device: host.name(),
            addresses: &[
                &format!("10.{side}.{number}.1/24"),
                &format!("fd00:{side}:{number}::1/64"),
            ],
        };
        let leaf = End {
            host,
            device: "eth0",
            addresses: &[
                &format!("10.{side}.{number}.2/24"),
                &format!("fd00:{side}:{number}::2/64"),
            ],
        };
        match through {
            None => lab.link(&gateway, &leaf)?,
            Some(bridge) => {
                let [near, far] = bridge::DEVICES.map(|device| End {
                    host: bridge,
                    device,
                    addresses: &[],
                });
                lab.link(&gateway, &near)?;
                lab.link(&far, &leaf)?;
            }
        }
        host.ip(&format!(
            "route add default via 10.{side}.{number}.1\n\
             route add ::/0 via fd00:{side}:{number}::1\n"
        ))
    }

    /// Address of client `index` (from 0).
    #[must_use]
    pub fn client_ip(&self, index: usize, family: Family) -> IpAddr {
        leaf(1, index, family, 2)
    }

    /// Address of backend `index` (from 0).
    #[must_use]
    pub fn backend_ip(&self, index: usize, family: Family) -> IpAddr {
        leaf(2, index, family, 2)
    }

    /// The gateway's address on the side of backend `index`.
    #[must_use]
    pub fn gateway_ip(&self, index: usize, family: Family) -> IpAddr {
        leaf(2, index, family, 1)
    }

    /// Where backend `index` serves.
    #[must_use]
    pub fn backend(&self, index: usize, family: Family) -> SocketAddr {
        SocketAddr::new(self.backend_ip(index, family), SERVICE_PORT)
    }

    /// Where clients connect to: the virtual address, or backend 0 where there is none.
    #[must_use]
    pub fn target(&self, family: Family) -> SocketAddr {
        if self.nat.virtual_address() {
            vip(family)
        } else {
            self.backend(0, family)
        }
    }

    /// Packets that the gateway's connection tracking called invalid.
    ///
    /// # Errors
    /// Those of nft.
    pub fn conntrack_invalid(&self) -> Result<u64> {
        self.packets("invalid")
    }

    /// Packets that the middlebox dropped.
    ///
    /// # Errors
    /// Those of nft.
    pub fn dropped(&self) -> Result<u64> {
        self.packets("dropped")
    }

    /// Packets with TCP option 253 that reached the gateway.
    ///
    /// # Errors
    /// Those of nft.
    pub fn options_seen(&self) -> Result<u64> {
        self.packets("options")
    }

    fn packets(&self, counter: &str) -> Result<u64> {
        let mut list = self.gateway.command_beside("nft");
        list.args(["-j", "list", "counter", "inet", TABLE, counter]);
        let listed: Value = serde_json::from_str(&command::run(&mut list)?)?;
        listed["nftables"]
            .as_array()
            .and_then(|entries| {
                entries
                    .iter()
                    .find_map(|e| e["counter"]["packets"].as_u64())
            })
            .with_context(|| format!("no counter {counter} in {listed}"))
    }
}

/// The virtual service.
#[must_use]
pub fn vip(family: Family) -> SocketAddr {
    let address = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x100)),
    };
    SocketAddr::new(address, VIP_PORT)
}

/// Host `last` in the network of leaf `index` on `side`.
fn leaf(side: u8, index: usize, family: Family, last: u8) -> IpAddr {
    let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
    match family {
        Family::V4 => Ipv4Addr::new(10, side, number, last).into(),
        Family::V6 => {
            let (side, number, last) = (side.into(), number.into(), last.into());
            Ipv6Addr::new(0xfd00, side, number, 0, 0, 0, 0, last).into()
        }
    }
}

/// The gateway's nft table.
const TABLE: &str = "waybill_lab";

fn rules(nat: Nat, middlebox: Middlebox, backends: usize) -> String {
    let mut text = format!(
        "table inet {TABLE} {{\n\
         counter invalid {{ }}\n counter dropped {{ }}\n counter options {{ }}\n\
         chain watch {{ type filter hook prerouting priority -10; policy accept;\n\
           ct state invalid counter name invalid\n\
           tcp option 253 exists counter name options\n }}\n"
    );
    if nat.virtual_address() {
        text += " chain virtual { type nat hook prerouting priority dstnat; policy accept;\n";
        for (family, word) in [(Family::V4, "ip"), (Family::V6, "ip6")] {
            let choices: Vec<String> = (0..backends)
                .map(|i| format!("{i} : {}", leaf(2, i, family, 2)))
                .collect();
            let (address, choices) = (vip(family).ip(), choices.join(", "));
            writeln!(
                text,
                "  {word} daddr {address} tcp dport {VIP_PORT} dnat {word} to \
                 numgen inc mod {backends} map {{ {choices} }} : {SERVICE_PORT}"
            )
            .ok();
        }
        text += " }\n";
    }
    if nat.hides_client() {
        text += " chain hide { type nat hook postrouting priority srcnat; policy accept;\n\
                  oifname \"backend*\" masquerade\n }\n";
    }
    let rule = match middlebox {
        Middlebox::Plain => String::new(),
        Middlebox::DropsOption => "tcp option 253 exists counter name dropped drop".into(),
        Middlebox::StripsOption => "reset tcp option 253".into(),
        Middlebox::DropsEveryNth(n) => format!(
            "tcp flags & (syn | fin | rst) == 0 meta length >= 100 \
             numgen inc mod {n} 0 counter name dropped drop"
        ),
        Middlebox::SynProxy => format!(
            "tcp dport {SERVICE_PORT} ct state invalid,untracked \
             synproxy mss 1460 wscale 7 timestamp sack-perm"
        ),
    };
    if middlebox == Middlebox::SynProxy {
        writeln!(
            text,
            " chain untracked {{ type filter hook prerouting priority raw; policy accept;\n\
               tcp dport {SERVICE_PORT} tcp flags syn / fin,syn,rst,ack notrack\n }}"
        )
        .ok();
    }
    text += &format!(
        " chain middlebox {{ type filter hook forward priority 10; policy accept;\n {rule}\n }}\n}}\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_picture() {
        assert_eq!(leaf(2, 1, Family::V4, 2).to_string(), "10.2.2.2");
        assert_eq!(leaf(1, 0, Family::V6, 1).to_string(), "fd00:1:1::1");
        assert_eq!(vip(Family::V6).to_string(), "[fd00:9::100]:80");
    }

    #[test]
    fn only_the_rules_of_the_shape_are_loaded() {
        let text = rules(Nat::Dnat, Middlebox::Plain, 2);
        assert!(
            text.contains("mod 2 map { 0 : 10.2.1.2, 1 : 10.2.2.2 } : 8080"),
            "{text}"
        );
        assert!(
            !text.contains("masquerade") && !text.contains("drop\n"),
            "{text}"
        );
    }
}
