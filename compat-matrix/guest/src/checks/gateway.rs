//! Gateways as administrators make them: nft, iptables, IPVS, or routes alone.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Error, Result};
use tests::lab::command;
use tests::lab::needs::Skip;
use tests::lab::site::{Family, Nat, Site, vip};

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

    /// Port on which the backends behind it serve: its own, so that edges tell whose they are.
    pub(super) const fn service_port(self) -> u16 {
        match self {
            Self::Iptables => 8081,
            Self::Ipvs => 8082,
            Self::Nft => 8083,
            Self::Routes => 8084,
        }
    }

    /// Where clients connect to.
    pub(super) fn target(self, site: &Site, family: Family) -> SocketAddr {
        if self.nat().virtual_address() {
            SocketAddr::new(vip(family).ip(), self.service_port() - 8000)
        } else {
            self.backend(site, 0, family)
        }
    }

    /// Where a backend serves.
    pub(super) fn backend(self, site: &Site, backend: usize, family: Family) -> SocketAddr {
        SocketAddr::new(site.backend_ip(backend, family), self.service_port())
    }

    /// Makes the gateway rewrite one IP version.
    ///
    /// # Errors
    /// A skip when the kernel lacks what it takes.
    pub(super) fn apply(self, site: &Site, family: Family) -> Result<()> {
        let (name, applied) = match self {
            Self::Iptables => ("iptables", self.iptables(site, family)),
            Self::Ipvs => ("IPVS", self.ipvs(site, family)),
            Self::Nft => ("nft", self.nft(site, family)),
            Self::Routes => return Ok(()),
        };
        // A part that only this gateway needs says nothing about the agent.
        applied.map_err(|error| Skip(format!("no {name} here: {}", causes(&error))).into())
    }

    /// Takes back what [`Gateway::apply`] did, so that the next one works alone.
    ///
    /// # Errors
    /// Those of the tools.
    pub(super) fn remove(self, site: &Site, family: Family) -> Result<()> {
        match self {
            Self::Iptables => tool(
                site,
                "xtables-legacy-multi",
                &[filter(family), "-t", "nat", "-F"],
            ),
            Self::Ipvs => tool(
                site,
                "ipvsadm",
                &["-D", "-t", &self.target(site, family).to_string()],
            ),
            Self::Nft => site
                .gateway
                .nft(&format!("delete table {} matrix\n", word(family))),
            Self::Routes => Ok(()),
        }
    }

    fn nft(self, site: &Site, family: Family) -> Result<()> {
        let (word, to) = (word(family), self.target(site, family));
        let choices: Vec<String> = (0..site.backends.len())
            .map(|backend| format!("{backend} : {}", site.backend_ip(backend, family)))
            .collect();
        let mut rules = format!("table {word} matrix {{\n");
        writeln!(
            rules,
            "chain virtual {{ type nat hook prerouting priority -100; policy accept;\n\
             {word} daddr {} tcp dport {} dnat to numgen inc mod {} map {{ {} }} : {}\n}}",
            to.ip(),
            to.port(),
            choices.len(),
            choices.join(", "),
            self.service_port(),
        )?;
        writeln!(
            rules,
            "chain hide {{ type nat hook postrouting priority 100; policy accept;\n\
             oifname \"backend*\" masquerade\n}}\n}}"
        )?;
        fed(site, "nft", &["-f", "-"], &rules)
    }

    /// To one backend: choosing among several takes a match that few kernels load.
    fn iptables(self, site: &Site, family: Family) -> Result<()> {
        let to = self.target(site, family);
        let (address, port) = (to.ip().to_string(), to.port().to_string());
        let backend = self.backend(site, 0, family).to_string();
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
            let rule = [&[filter(family), "-w", "-t", "nat"], rule].concat();
            tool(site, "xtables-legacy-multi", &rule)?;
        }
        Ok(())
    }

    fn ipvs(self, site: &Site, family: Family) -> Result<()> {
        let to = self.target(site, family);
        let prefix = match to.ip() {
            IpAddr::V4(_) => "32",
            IpAddr::V6(_) => "128",
        };
        let local = format!("address add {}/{prefix} dev lo\n", to.ip());
        site.gateway.ip(&local)?;
        let service = to.to_string();
        tool(site, "ipvsadm", &["-A", "-t", &service, "-s", "rr"])?;
        for backend in 0..site.backends.len() {
            let real = self.backend(site, backend, family).to_string();
            tool(site, "ipvsadm", &["-a", "-t", &service, "-r", &real, "-m"])?;
        }
        Ok(())
    }
}

/// Runs a tool in the gateway.
fn tool(site: &Site, name: &str, arguments: &[&str]) -> Result<()> {
    fed(site, name, arguments, "")
}

/// The same with something to read.
fn fed(site: &Site, name: &str, arguments: &[&str], input: &str) -> Result<()> {
    let mut run = site.gateway.command_beside(name);
    // Without the launcher's own words, which would fill the reason.
    let output = command::finish(run.args(arguments), input).with_context(|| name.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(
        output.status.success(),
        "{name} {}: {}",
        arguments.join(" "),
        said.lines().next().unwrap_or("no reason given")
    );
    Ok(())
}

/// What was tried, and the first line of what the tool itself said of it.
fn causes(error: &Error) -> String {
    format!("{error:#}")
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

const fn filter(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

const fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
