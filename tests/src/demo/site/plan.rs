//! What a site consists of, as values.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};

use crate::lab::topology::{Via, nat, vip};

/// Networks, hosts, and the virtual addresses that lead to them.
pub(super) struct Site {
    pub(super) networks: &'static [Network],
    pub(super) machines: &'static [Machine],
    pub(super) vips: &'static [Vip],
}

/// A network of 24 bits.
pub(super) struct Network {
    pub(super) name: &'static str,
    pub(super) prefix: [u8; 3],
    /// The host that routes for it, by the address that ends in 1.
    pub(super) router: &'static str,
    /// Whether the router puts its own address in the place of those of this network.
    pub(super) is_hidden: bool,
}

/// A host.
pub(super) struct Machine {
    pub(super) name: &'static str,
    pub(super) network: &'static str,
    /// The last number of its address.
    pub(super) last: u8,
    /// Tags of its service.
    pub(super) namespace: &'static str,
    pub(super) team: &'static str,
    pub(super) measured: Measured,
    pub(super) program: Option<Program>,
}

/// How its agent measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// It has no agent.
    Not,
    /// As well as the kernel allows.
    Fully,
    /// Without eBPF.
    BySockets,
}

/// What runs on a host.
pub(super) enum Program {
    /// nginx, which hands requests on.
    Nginx {
        port: u16,
        /// Hosts.
        to: &'static [&'static str],
    },
    /// A service of the demo's own.
    Script {
        service: &'static str,
        port: Option<u16>,
        /// Pause between requests that it makes by itself, milliseconds.
        every_ms: Option<u32>,
        /// Hosts and virtual addresses that it asks for each request.
        calls: &'static [&'static str],
    },
}

/// A virtual address.
pub(super) struct Vip {
    pub(super) name: &'static str,
    pub(super) address: [u8; 4],
    pub(super) port: u16,
    /// The host that translates it.
    pub(super) gateway: &'static str,
    /// Hosts that it leads to, in turn.
    pub(super) to: &'static [&'static str],
    /// Whether they see the gateway in the place of the client.
    pub(super) hides_client: bool,
}

/// An edge that must be seen.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Id of the client's node.
    pub(super) client: String,
    /// Id of the server's node; `None` where its host has no agent.
    pub(super) server: Option<String>,
    /// The server's own address and port.
    pub(super) endpoint: SocketAddr,
    /// Addresses that one side alone sees.
    pub(super) via: Vec<Via>,
}

impl Program {
    /// The name of the service.
    pub(super) fn service(&self) -> &'static str {
        match self {
            Self::Nginx { .. } => "nginx",
            Self::Script { service, .. } => service,
        }
    }

    /// Where it listens.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Nginx { port, .. } => Some(*port),
            Self::Script { port, .. } => *port,
        }
    }

    /// Hosts and virtual addresses that it connects to.
    pub(super) fn calls(&self) -> &'static [&'static str] {
        match self {
            Self::Nginx { to, .. } => to,
            Self::Script { calls, .. } => calls,
        }
    }
}

impl Machine {
    /// The id of its node, `<host>/<service>`.
    fn node(&self) -> Option<String> {
        let program = self.program.as_ref()?;
        Some(format!("{}/{}", self.name, program.service()))
    }
}

impl Network {
    /// One of its addresses.
    pub(super) fn ip(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, last)
    }
}

impl Vip {
    /// The address, with the port.
    pub(super) fn at(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::from(self.address), self.port)
    }
}

impl Site {
    /// A host by its name.
    pub(super) fn machine(&self, name: &str) -> Result<&'static Machine> {
        let found = self.machines.iter().find(|machine| machine.name == name);
        found.with_context(|| format!("no host {name}"))
    }

    /// A network by its name.
    pub(super) fn network(&self, name: &str) -> Result<&'static Network> {
        let found = self.networks.iter().find(|network| network.name == name);
        found.with_context(|| format!("no network {name}"))
    }

    /// The virtual address with this name.
    pub(super) fn vip(&self, name: &str) -> Option<&'static Vip> {
        self.vips.iter().find(|vip| vip.name == name)
    }

    /// The address of a host.
    pub(super) fn ip(&self, machine: &Machine) -> Result<Ipv4Addr> {
        Ok(self.network(machine.network)?.ip(machine.last))
    }

    /// Where a host's service listens.
    pub(super) fn service(&self, machine: &Machine) -> Result<SocketAddr> {
        let port = machine.program.as_ref().and_then(Program::port);
        let port = port.with_context(|| format!("nothing listens on {}", machine.name))?;
        Ok(SocketAddr::new(self.ip(machine)?.into(), port))
    }

    /// Where whoever calls a host or a virtual address connects to.
    pub(super) fn called(&self, name: &str) -> Result<SocketAddr> {
        match self.vip(name) {
            Some(vip) => Ok(vip.at()),
            None => self.service(self.machine(name)?),
        }
    }

    /// The edges that the calls of all programs make, as far as the client's host has an agent.
    pub(super) fn wanted(&self) -> Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        for machine in self.machines {
            let (Some(client), Some(program)) = (machine.node(), &machine.program) else {
                continue;
            };
            if machine.measured == Measured::Not {
                continue;
            }
            for &called in program.calls() {
                let through = self.vip(called);
                let names = through.map_or(std::slice::from_ref(&called), |vip| vip.to);
                for name in names {
                    let server = self.machine(name)?;
                    let is_measured = server.measured != Measured::Not;
                    wanted.push(Wanted {
                        client: client.clone(),
                        server: server.node().filter(|_| is_measured),
                        endpoint: self.service(server)?,
                        via: self.via(machine, server, through)?,
                    });
                }
            }
        }
        Ok(wanted)
    }

    /// What one end sees in the place of the other.
    fn via(&self, client: &Machine, server: &Machine, through: Option<&Vip>) -> Result<Vec<Via>> {
        let mut via: Vec<Via> = through
            .map(|through| vip(through.at()))
            .into_iter()
            .collect();
        let home = self.network(client.network)?;
        if through.is_some_and(|through| through.hides_client) {
            via.push(nat(self.network(server.network)?.ip(1).into()));
        } else if home.is_hidden {
            via.push(nat(self.ip(self.machine(home.router)?)?.into()));
        }
        Ok(via)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let server = self.server.as_deref().unwrap_or("(no agent)");
        write!(f, "{} -> {server} at {}", self.client, self.endpoint)?;
        self.via.iter().try_for_each(|via| write!(f, " {via}"))
    }
}
