//! Gateways as administrators make them: nft, iptables, IPVS, or routes alone.

use std::process::Command;

use anyhow::{Context, Result};
use tests::lab::Lab;
use tests::lab::command;
use tests::lab::needs::Skip;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site, vip};

/// How the gateway rewrites addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gateway {
    /// iptables with the kernel's old tables: DNAT and MASQUERADE.
    Iptables,
    /// IPVS in NAT mode, in turn.
    Ipvs,
    /// nft: DNAT in turn and masquerade.
    Nft,
    /// No rewriting at all.
    Routes,
}

impl Gateway {
    /// What becomes of addresses.
    pub(super) const fn nat(self) -> Nat {
        match self {
            Self::Iptables | Self::Nft => Nat::FullNat,
            Self::Ipvs => Nat::Dnat,
            Self::Routes => Nat::Direct,
        }
    }

    /// Backends behind it.
    const fn backends(self) -> usize {
        match self {
            // Choosing among several takes a match that few kernels load.
            Self::Iptables | Self::Routes => 1,
            Self::Ipvs | Self::Nft => 2,
        }
    }

    /// Builds one client, the gateway and its backends; rules that differ by IP version come
    /// with [`Gateway::rewrite`].
    ///
    /// # Errors
    /// A skip when the kernel lacks what the gateway needs.
    pub(super) fn build(self, lab: &Lab) -> Result<Site> {
        let backends = self.backends();
        match self {
            Self::Nft => Site::build(lab, 1, backends, self.nat(), Middlebox::Plain)
                .map_err(|error| missing("nft", &error)),
            _ => Site::wire(lab, 1, backends, self.nat()),
        }
    }

    /// Makes the gateway rewrite one IP version.
    ///
    /// # Errors
    /// A skip when the kernel lacks what it takes.
    pub(super) fn rewrite(self, site: &Site, family: Family) -> Result<()> {
        match self {
            Self::Nft | Self::Routes => Ok(()),
            Self::Iptables => iptables(site, family).map_err(|error| missing("iptables", &error)),
            Self::Ipvs => ipvs(site, family).map_err(|error| missing("IPVS", &error)),
        }
    }
}

/// The kernel lacks a part that only this gateway needs, which says nothing about the agent.
fn missing(what: &str, error: &anyhow::Error) -> anyhow::Error {
    Skip(format!("no {what} here: {error:#}")).into()
}

fn iptables(site: &Site, family: Family) -> Result<()> {
    let tool = match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let to = vip(family);
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let backend = match family {
        Family::V4 => format!("{}:{SERVICE_PORT}", site.backend_ip(0, family)),
        Family::V6 => format!("[{}]:{SERVICE_PORT}", site.backend_ip(0, family)),
    };
    let rules: [&[&str]; 2] = [
        &[
            "-A",
            "PREROUTING",
            "-d",
            &address,
            "-p",
            "tcp",
            "--dport",
            &port,
            "-j",
            "DNAT",
            "--to-destination",
            &backend,
        ],
        &["-A", "POSTROUTING", "-o", "backend+", "-j", "MASQUERADE"],
    ];
    for rule in rules {
        // By the program that holds both, whatever links to it a system has.
        let mut add = site.gateway.command_beside("xtables-legacy-multi");
        add.args([tool, "-w", "-t", "nat"]).args(rule);
        command::run(&mut add)?;
    }
    Ok(())
}

fn ipvs(site: &Site, family: Family) -> Result<()> {
    let to = vip(family);
    let prefix = if family == Family::V4 {
        "32"
    } else {
        "128 nodad"
    };
    site.gateway
        .ip(&format!("address add {}/{prefix} dev lo\n", to.ip()))?;
    let service = to.to_string();
    let run = |arguments: &[&str]| -> Result<()> {
        let mut add: Command = site.gateway.command_beside("ipvsadm");
        command::run(add.args(arguments)).map(drop)
    };
    run(&["-A", "-t", &service, "-s", "rr"]).context("add the virtual service")?;
    for backend in 0..site.backends.len() {
        let real = site.backend(backend, family).to_string();
        run(&["-a", "-t", &service, "-r", &real, "-m"]).context("add a backend")?;
    }
    Ok(())
}
