//! The networks of a site: a bridge for each on its router, and what routers translate.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};

use super::plan::Site;
use crate::lab::host::Host;
use crate::lab::{End, Lab};

/// The routers' nft table.
pub(super) const TABLE: &str = "waybill_demo";

/// The chain in it for what goes wrong.
pub(super) const FAULT: &str = "fault";

/// Hosts by their names.
pub(super) type Hosts = BTreeMap<&'static str, Host>;

/// Makes all hosts and joins them.
///
/// # Errors
/// Those of `ip` and nft.
pub(super) fn build(lab: &Lab, site: &Site) -> Result<Hosts> {
    let mut hosts = Hosts::new();
    for machine in site.machines {
        hosts.insert(machine.name, lab.host(machine.name)?);
    }
    for network in site.networks {
        let router = get(&hosts, network.router)?;
        let (bridge, first) = (network.name, network.ip(1));
        router.ip(&format!(
            "link add {bridge} type bridge\n\
             address add {first}/24 dev {bridge}\n\
             link set {bridge} up\n"
        ))?;
        let leaves = site
            .machines
            .iter()
            .filter(|machine| machine.network == network.name && machine.name != network.router);
        for leaf in leaves {
            let host = get(&hosts, leaf.name)?;
            let (near, far) = (
                End {
                    host: router,
                    device: leaf.name,
                    addresses: &[],
                },
                End {
                    host,
                    device: "eth0",
                    addresses: &[&format!("{}/24", network.ip(leaf.last))],
                },
            );
            lab.link(&near, &far)?;
            router.ip(&format!("link set {} master {bridge}\n", leaf.name))?;
            host.ip(&format!("route add default via {first}\n"))?;
        }
    }
    for (name, host) in &hosts {
        if site.networks.iter().any(|network| network.router == *name) {
            host.sysctl("net.ipv4.ip_forward", "1")?;
            host.nft(&rules(site, name)?)?;
        }
    }
    Ok(hosts)
}

/// A host by its name.
///
/// # Errors
/// When there is none.
pub(super) fn get<'h>(hosts: &'h Hosts, name: &str) -> Result<&'h Host> {
    hosts.get(name).with_context(|| format!("no host {name}"))
}

/// What a router translates.
fn rules(site: &Site, router: &str) -> Result<String> {
    let (mut virtual_, mut hide) = (String::new(), String::new());
    for vip in site.vips.iter().filter(|vip| vip.gateway == router) {
        let (address, count) = (vip.at().ip(), vip.to.len());
        let mut choices = Vec::new();
        let mut port = 0;
        for (index, name) in vip.to.iter().enumerate() {
            let server = site.service(site.machine(name)?)?;
            choices.push(format!("{index} : {}", server.ip()));
            port = server.port();
        }
        writeln!(
            virtual_,
            "  ip daddr {address} tcp dport {} dnat ip to \
             numgen inc mod {count} map {{ {} }} : {port}",
            vip.port,
            choices.join(", ")
        )?;
        if vip.hides_client {
            writeln!(hide, "  ct original ip daddr {address} masquerade")?;
        }
    }
    let hidden = site.networks.iter().filter(|network| network.is_hidden);
    for network in hidden.filter(|network| network.router == router) {
        writeln!(hide, "  ip saddr {}/24 masquerade", network.ip(0))?;
    }
    Ok(format!(
        "table inet {TABLE} {{\n\
         chain virtual {{ type nat hook prerouting priority dstnat; policy accept;\n{virtual_} }}\n\
         chain hide {{ type nat hook postrouting priority srcnat; policy accept;\n{hide} }}\n\
         chain {FAULT} {{ type filter hook forward priority 10; policy accept;\n }}\n}}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::shop::SITE;
    use super::*;

    #[test]
    fn each_router_translates_what_is_its_own() {
        let core = rules(&SITE, "core").unwrap();
        let front = "ip daddr 10.9.0.80 tcp dport 80 dnat ip to \
                     numgen inc mod 2 map { 0 : 10.2.0.11, 1 : 10.2.0.12 } : 8080";
        assert!(core.contains(front), "{core}");
        assert!(
            core.contains("ct original ip daddr 10.9.0.54 masquerade"),
            "{core}"
        );
        assert!(!core.contains("ip saddr"), "{core}");
        let branch = rules(&SITE, "branch").unwrap();
        assert!(
            branch.contains("ip saddr 10.1.0.0/24 masquerade"),
            "{branch}"
        );
        assert!(!branch.contains("dnat"), "{branch}");
    }
}
