//! The site of the demo: a shop with a branch office, a web tier, services, and a data network.
//!
//! ```text
//! desk-1, desk-2 ── branch (SNAT) ──┐
//!                                   │    VIP 10.9.0.80:80    ── web-1, web-2 (nginx)
//! ops-1 ────────────────────────────┤                           └─ shop-1, shop-2
//!                                 core   VIP 10.9.0.20:80    ── stock-1, stock-2
//!                                   │                           pay-1
//!                                   └─── FULLNAT 10.9.0.54:5432 ── db-1     ledger (no agent)
//! ```

use super::fault::{Fault, Kind};
use super::plan::{Machine, Measured, Network, Program, Site, Vip};

/// Port of every service that has no other.
const SERVICE: u16 = 8080;

/// All of it.
pub(super) const SITE: Site = Site {
    networks: &[
        network("desks", [10, 1, 0], "branch", true),
        network("wan", [10, 0, 0], "core", false),
        network("web", [10, 2, 0], "core", false),
        network("app", [10, 3, 0], "core", false),
        network("svc", [10, 4, 0], "core", false),
        network("data", [10, 5, 0], "core", false),
        network("ops", [10, 8, 0], "core", false),
    ],
    machines: &[
        router("core", "wan", 1, Measured::Fully),
        router("branch", "wan", 2, Measured::Not),
        host("desk-1", ("desks", 11), ("branch", "sales"), BROWSER),
        host("desk-2", ("desks", 12), ("branch", "sales"), BROWSER),
        host("web-1", ("web", 11), ("front", "web"), FRONT),
        host("web-2", ("web", 12), ("front", "web"), FRONT),
        host("shop-1", ("app", 11), ("shop", "order"), SHOP),
        host("shop-2", ("app", 12), ("shop", "order"), SHOP),
        host("stock-1", ("svc", 11), ("shop", "goods"), STOCK),
        host("stock-2", ("svc", 12), ("shop", "goods"), STOCK),
        host(
            "pay-1",
            ("svc", 21),
            ("shop", "pay"),
            serving("pay", SERVICE, &[]),
        ),
        Machine {
            measured: Measured::BySockets,
            ..host(
                "db-1",
                ("data", 11),
                ("data", "dba"),
                serving("db", 5432, &[]),
            )
        },
        Machine {
            measured: Measured::Not,
            ..host(
                "ledger",
                ("data", 99),
                ("data", "dba"),
                serving("ledger", 1521, &[]),
            )
        },
        host("ops-1", ("ops", 7), ("ops", "ops"), REPORT),
    ],
    vips: &[
        vip("front", [10, 9, 0, 80], 80, &["web-1", "web-2"]),
        vip("stock", [10, 9, 0, 20], 80, &["stock-1", "stock-2"]),
        Vip {
            hides_client: true,
            ..vip("db", [10, 9, 0, 54], 5432, &["db-1"])
        },
    ],
};

/// What goes wrong, one after the other.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        kind: Kind::Resets,
        host: "stock-2",
        rule: "demo-resets",
        says: "stock-2 resets every third connection",
        look: &[
            "Map: shop to stock is red; what stock-1 and stock-2 count tells which one it is",
            "Alerts, within two minutes: stock-2, and not stock-1, with candidates for the cause",
        ],
    },
    Fault {
        kind: Kind::Loses,
        host: "pay-1",
        rule: "demo-loss",
        says: "every fourth request to pay-1 is lost on the way",
        look: &[
            "Map: the edges to pay-1; one of them says what is sent again, and how to go on",
            "Alerts, within two minutes: segments that are sent again to pay-1",
        ],
    },
];

const BROWSER: Program = Program::Script {
    service: "browser",
    port: None,
    every_ms: Some(600),
    calls: &["front"],
};

const FRONT: Program = Program::Nginx {
    port: SERVICE,
    to: &["shop-1", "shop-2"],
};

const SHOP: Program = serving("shop", SERVICE, &["stock", "pay-1", "db", "ledger"]);

const STOCK: Program = serving("stock", SERVICE, &["db"]);

/// What nobody has declared, and what is denied.
const REPORT: Program = Program::Script {
    service: "report",
    port: None,
    every_ms: Some(3000),
    calls: &["db", "pay-1"],
};

const fn network(
    name: &'static str,
    prefix: [u8; 3],
    router: &'static str,
    is_hidden: bool,
) -> Network {
    Network {
        name,
        prefix,
        router,
        is_hidden,
    }
}

const fn router(
    name: &'static str,
    network: &'static str,
    last: u8,
    measured: Measured,
) -> Machine {
    Machine {
        name,
        network,
        last,
        namespace: "net",
        team: "net",
        measured,
        program: None,
    }
}

const fn host(
    name: &'static str,
    (network, last): (&'static str, u8),
    (namespace, team): (&'static str, &'static str),
    program: Program,
) -> Machine {
    Machine {
        name,
        network,
        last,
        namespace,
        team,
        measured: Measured::Fully,
        program: Some(program),
    }
}

const fn serving(service: &'static str, port: u16, calls: &'static [&'static str]) -> Program {
    Program::Script {
        service,
        port: Some(port),
        every_ms: None,
        calls,
    }
}

const fn vip(name: &'static str, address: [u8; 4], port: u16, to: &'static [&'static str]) -> Vip {
    Vip {
        name,
        address,
        port,
        gateway: "core",
        to,
        hides_client: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_has_an_end_and_no_address_is_there_twice() {
        let wanted = SITE.wanted().unwrap();
        let joined = wanted.iter().filter(|edge| edge.server.is_some()).count();
        assert_eq!((joined, wanted.len()), (20, 22));
        let addresses: BTreeSet<_> = SITE
            .machines
            .iter()
            .map(|machine| SITE.ip(machine).unwrap())
            .collect();
        assert_eq!(addresses.len(), SITE.machines.len());
        for fault in FAULTS {
            SITE.machine(fault.host).unwrap();
        }
    }

    #[test]
    fn what_each_end_sees_of_the_other_follows_the_picture() {
        let wanted = SITE.wanted().unwrap();
        let said = |client: &str, server: &str| {
            let mut found = wanted
                .iter()
                .filter(|edge| edge.client == client && edge.server.as_deref() == Some(server));
            let edge = found.next().unwrap().to_string();
            edge.split_once(" at ").unwrap().1.to_owned()
        };
        assert_eq!(
            said("desk-1/browser", "web-2/nginx"),
            "10.2.0.12:8080 vip 10.9.0.80:80 (seen by client) nat 10.0.0.2 (seen by server)"
        );
        assert_eq!(said("web-1/nginx", "shop-1/shop"), "10.3.0.11:8080");
        assert_eq!(
            said("ops-1/report", "db-1/db"),
            "10.5.0.11:5432 vip 10.9.0.54:5432 (seen by client) nat 10.5.0.1 (seen by server)"
        );
    }
}
