//! Others on the path and on the host who do as they like: no connection is lost or changed, and
//! what is not joined by its waybill is counted, with a reason or as an open end.
//!
//! Every trial runs each pair of modes: the kernel's TCP stack or copies, at either end.

mod outcome;
mod programs;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::counters::HARM;
use tests::lab::needs::Need;
use tests::lab::site::{Middlebox, Nat, Site};

use crate::case::{Case, case};
use crate::clone::{CLONE, mode};
use crate::nat::start_servers;
use crate::scene::Scene;
use outcome::{COUNT, account, exchange, explained};
use programs::{FORGETTER, SOCKOPS, WRITER, filter, on_both};

/// Neighbours are programs, made when they are needed.
const COMPILES: &[Need] = &[
    Need::Program("bpftool"),
    Need::Program("tc"),
    Need::Program("clang-19"),
];

/// Modes of client and backend.
const PAIRS: [[&str; 2]; 4] = [
    [SOCKOPS, SOCKOPS],
    [SOCKOPS, CLONE],
    [CLONE, SOCKOPS],
    [CLONE, CLONE],
];

/// Names one trial.
macro_rules! beside {
    ($name:literal, $needs:expr, $hostile:expr) => {
        case(concat!("neighbours::", $name), |lab| endure(lab, &$hostile))
            .needing($needs)
            .alone()
    };
}

pub(crate) const CASES: &[Case] = &[
    beside!("a_filter_that_ends_the_chain", COMPILES, PASSES),
    beside!("a_filter_that_redirects", COMPILES, BOUNCES),
    beside!("a_filter_that_drops_copies", COMPILES, TAKES),
    beside!(
        "a_filter_that_drops_the_option_as_it_arrives",
        COMPILES,
        DROPS
    ),
    beside!(
        "a_sockops_program_that_writes_an_option_of_its_own",
        COMPILES,
        WRITES
    ),
    beside!("a_sockops_program_whose_room_is_its_own", COMPILES, SHARES),
    beside!("a_sockops_program_that_takes_all_room", COMPILES, FILLS),
    beside!(
        "a_sockops_program_that_clears_the_flags_of_others",
        COMPILES,
        FORGETS
    ),
    beside!(
        "a_strict_gateway_with_strict_connection_tracking",
        &[],
        STRICT
    ),
    beside!(
        "a_strict_gateway_with_liberal_connection_tracking",
        &[],
        LIBERAL
    ),
    beside!("a_box_that_drops_the_option", &[], DROPPING),
    beside!("a_box_that_strips_the_option", &[], STRIPPING),
];

/// Somebody else, and what that costs.
struct Hostile {
    /// What the gateway does to the option.
    middlebox: Middlebox,
    /// What is there before the agents.
    before: fn(&Lab, &Site) -> Result<()>,
    /// What comes when they run.
    after: fn(&Lab, &Site) -> Result<()>,
    /// How many of the connections are joined by their waybill, by modes of client and backend.
    tokens: fn([&str; 2]) -> u64,
    /// Counters of a client in this mode, at least so much.
    counted: &'static [(&'static str, &'static str, u64)],
}

fn nothing(_: &Lab, _: &Site) -> Result<()> {
    Ok(())
}

fn endure(lab: &Lab, hostile: &Hostile) -> Result<()> {
    for modes in PAIRS {
        let lab = Lab::new(lab.binaries())?;
        let [client, backend] = modes;
        pair(&lab, hostile, modes).with_context(|| format!("{client} to {backend}"))?;
        lab.close()?;
    }
    Ok(())
}

fn pair(lab: &Lab, hostile: &Hostile, modes: [&str; 2]) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, hostile.middlebox)?;
    for host in [&scene.site.clients[0], &scene.site.backends[0]] {
        host.use_one_cpu();
        // A tail-loss probe fires when a busy machine is late by two ticks: noise of the lab.
        host.sysctl("net.ipv4.tcp_early_retrans", "0")?;
    }
    let servers = start_servers(&scene.site, &[])?;
    (hostile.before)(lab, &scene.site)?;
    let without = exchange(&scene.site, &servers, 0)?;
    scene.start_with(&mode(modes[0])?, &mode(modes[1])?)?;
    (hostile.after)(lab, &scene.site)?;
    let with = exchange(&scene.site, &servers, 2 * COUNT)?;
    for (side, with, without) in [
        ("client", &with.0, &without.0),
        ("backend", &with.1, &without.1),
    ] {
        let (with, without) = (with.among(&HARM), without.among(&HARM));
        ensure!(
            with == without,
            "{side}: {with:?} with, {without:?} without agents"
        );
    }
    ensure!(scene.site.conntrack_invalid()? == 0, "invalid packets");
    let outcome = account(&scene, 2 * COUNT)?;
    explained(&outcome)?;
    let wanted = (hostile.tokens)(modes);
    let tokens = outcome.tokens;
    ensure!(
        tokens == wanted,
        "{tokens} joined by waybill, {wanted} expected: {outcome:?}"
    );
    for (mode, counter, least) in hostile.counted {
        let counted = outcome.client.counter(counter)?;
        ensure!(
            *mode != modes[0] || counted >= *least,
            "{counter} {counted}: {outcome:?}"
        );
    }
    Ok(())
}

/// Nothing is lost.
fn every(_: [&str; 2]) -> u64 {
    2 * COUNT
}

/// IPv4 is lost.
fn one_family(_: [&str; 2]) -> u64 {
    COUNT
}

/// IPv4 is lost in copies; an end that needs none writes the answer or the waybill.
fn one_family_of_copies(modes: [&str; 2]) -> u64 {
    match modes {
        [CLONE, CLONE] => COUNT,
        _ => 2 * COUNT,
    }
}

/// Copies have no room for both; an end that needs none writes the answer or the waybill.
fn all_but_copies(modes: [&str; 2]) -> u64 {
    match modes {
        [CLONE, CLONE] => 0,
        _ => 2 * COUNT,
    }
}

/// Copies need no flags, neither to be made nor, by the stack, to be read as they arrive.
fn of_copies(modes: [&str; 2]) -> u64 {
    if modes[0] == CLONE { 2 * COUNT } else { 0 }
}

fn none(_: [&str; 2]) -> u64 {
    0
}

const PASSES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        // Accepts everything of IPv4: nothing behind it in the chain ever runs.
        let place = "egress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "pass")?;
        filter(lab, &site.backends[0], place, "pass")
    },
    after: nothing,
    tokens: one_family_of_copies,
    counted: &[(CLONE, "clone_unsent_total", COUNT)],
};

const BOUNCES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        // Before ours for IPv4, behind it for IPv6.
        for host in [&site.clients[0], &site.backends[0]] {
            filter(lab, host, "egress protocol ip pref 1 handle 7", "bounce")?;
            filter(lab, host, "egress protocol ipv6 pref 9 handle 7", "bounce")?;
        }
        Ok(())
    },
    after: nothing,
    tokens: every,
    counted: &[],
};

const TAKES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        let place = "egress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "take")?;
        filter(lab, &site.backends[0], place, "take")
    },
    after: nothing,
    tokens: one_family_of_copies,
    counted: &[(CLONE, "clone_failed_redirect_total", COUNT)],
};

const DROPS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| {
        let place = "ingress protocol ip pref 1 handle 7";
        filter(lab, &site.clients[0], place, "drop")?;
        filter(lab, &site.backends[0], place, "drop")
    },
    after: nothing,
    tokens: one_family,
    counted: &[],
};

const WRITES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| on_both(lab, site, &format!("#define SIZE 4\n{WRITER}")),
    after: nothing,
    tokens: every,
    counted: &[],
};

/// As long as ours, and asked for later on every segment: where there is no room for both, ours
/// was first; what it asks for otherwise is its own.
const SHARES: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: nothing,
    after: |lab, site| on_both(lab, site, &format!("#define SIZE 16\n{WRITER}")),
    tokens: all_but_copies,
    counted: &[(CLONE, "option_no_room_total", 2 * COUNT)],
};

const FILLS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |lab, site| on_both(lab, site, &format!("#define SIZE 24\n{WRITER}")),
    after: nothing,
    tokens: none,
    counted: &[(SOCKOPS, "option_no_room_total", 2 * COUNT)],
};

const FORGETS: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: nothing,
    after: |lab, site| on_both(lab, site, FORGETTER),
    tokens: of_copies,
    counted: &[(SOCKOPS, "option_unsent_total", 2 * COUNT)],
};

/// Drops what its connection tracking calls invalid, and what came from another way than its
/// answer would go.
fn strict(site: &Site, liberal: &str) -> Result<()> {
    site.gateway.nft(
        "table inet strict { counter lost { }\n\
         chain pass { type filter hook forward priority 0; policy accept;\n\
         ct state invalid counter name lost drop\n }\n\
         chain in { type filter hook input priority 0; policy accept;\n\
         ct state invalid counter name lost drop\n }\n}\n",
    )?;
    site.gateway
        .sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", liberal)?;
    for host in [&site.gateway, &site.clients[0], &site.backends[0]] {
        host.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    }
    Ok(())
}

const STRICT: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |_, site| strict(site, "0"),
    after: nothing,
    tokens: every,
    counted: &[],
};

const LIBERAL: Hostile = Hostile {
    middlebox: Middlebox::Plain,
    before: |_, site| strict(site, "1"),
    after: nothing,
    tokens: every,
    counted: &[],
};

const DROPPING: Hostile = Hostile {
    middlebox: Middlebox::DropsOption,
    before: nothing,
    after: nothing,
    tokens: none,
    counted: &[],
};

const STRIPPING: Hostile = Hostile {
    middlebox: Middlebox::StripsOption,
    before: nothing,
    after: nothing,
    tokens: none,
    counted: &[],
};
