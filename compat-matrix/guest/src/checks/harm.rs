//! Traffic with agents is as it was without.

use anyhow::{Error, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::counters::{Counters, HARM};
use tests::lab::host::Host;
use tests::lab::site::{Family, Site};

use super::gateway::Gateway;
use super::modes::mode_settings;
use super::run::{Found, Run};
use super::stage::Stage;
use crate::say::say;

/// Short exchanges per IP version.
const SHORT: &str = "40";

/// Bytes of the long transfer, each way.
const LONG: &str = "300000";

/// Connection tracking on the gateway, and a counter of what it calls invalid.
const WATCH: &str = "table inet waybill_lab {\n counter invalid { }\n \
    chain watch { type filter hook prerouting priority -10; policy accept;\n \
    ct state invalid counter name invalid\n }\n}\n";

/// An emulated machine stalls now and then, which also retransmits. Harm by an agent is there in
/// every attempt; noise is not.
const ATTEMPTS: usize = 3;

/// Runs the check in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    for mode in run.order.modes.clone() {
        run.check("connection", &format!("harm/counters/{mode}"), |run| {
            run.need_connections()?;
            let settings = mode_settings(&mode)?;
            let lab = run.lab()?;
            let harmless = harmless(&lab, &settings);
            if harmless.is_err() {
                say(&lab.evidence());
            }
            harmless.and_then(|()| lab.close()).map(|()| Found::ALL)
        })?;
    }
    Ok(())
}

/// What one round of transfers did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    /// Counters of harm that moved: host, counter, by how much.
    moved: Vec<(&'static str, &'static str, u64)>,
    /// Packets that the gateway's connection tracking called invalid.
    invalid: u64,
}

fn harmless(lab: &Lab, settings: &Settings) -> Result<()> {
    let site = Site::wire(lab, 1, 1, Gateway::Routes.nat())?;
    for host in site.clients.iter().chain(&site.backends) {
        // Tail-loss probes and overflowing queues are noise of a busy machine.
        quiet(host, "net.ipv4.tcp_early_retrans", "0")?;
        quiet(host, "net.ipv4.tcp_rmem", "4096 131072 262144")?;
        host.use_one_cpu();
    }
    let watched = site.gateway.nft(WATCH).is_ok();
    let mut stage = Stage::set(lab, site)?;
    let servers = stage.serve(Gateway::Routes)?;
    let mut without = round(&stage, watched)?;
    for _ in 1..ATTEMPTS {
        if without == Round::default() {
            break;
        }
        without = round(&stage, watched)?;
    }
    drop(servers);
    stage.start_agents(lab, &[settings.clone(), settings.clone()])?;
    let servers = stage.serve(Gateway::Routes)?;
    let mut with = round(&stage, watched)?;
    for _ in 1..ATTEMPTS {
        if with == without {
            break;
        }
        say(&format!(
            "once more: {with:?} with, {without:?} without agents"
        ));
        with = round(&stage, watched)?;
    }
    ensure!(with == without, "{with:?} with, {without:?} without agents");
    ensure!(
        with.invalid == 0,
        "conntrack calls {} packets invalid",
        with.invalid
    );
    drop(servers);
    stage.stop_agents()
}

/// Sets what makes less noise, where namespaces have it: before 4.15 they have neither.
fn quiet(host: &Host, setting: &str, value: &str) -> Result<()> {
    match host.sysctl(setting, value) {
        Err(error) if is_absent(&error) => Ok(()),
        set => set,
    }
}

fn is_absent(error: &Error) -> bool {
    let io = error.root_cause().downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound)
}

fn round(stage: &Stage, watched: bool) -> Result<Round> {
    let hosts = [
        ("client", &stage.site.clients[0]),
        ("gateway", &stage.site.gateway),
        ("backend", &stage.site.backends[0]),
    ];
    let mut before = Vec::new();
    for (_, host) in hosts {
        before.push(Counters::of(host)?);
    }
    let known = invalid(stage, watched)?;
    let client = &stage.site.clients[0];
    for family in Family::BOTH {
        for options in [
            ["--count", SHORT, "--up", "400", "--down", "900"],
            ["--count", "1", "--up", LONG, "--down", LONG],
        ] {
            let seen = client.connect(Gateway::Routes.target(&stage.site, family), &options)?;
            let failed = seen.iter().find(|connection| !connection.error.is_empty());
            ensure!(failed.is_none(), "a transfer failed: {failed:?}");
        }
    }
    let mut moved = Vec::new();
    for ((name, host), before) in hosts.into_iter().zip(&before) {
        let grown = Counters::of(host)?.since(before).among(&HARM);
        moved.extend(grown.into_iter().map(|(counter, by)| (name, counter, by)));
    }
    Ok(Round {
        moved,
        invalid: invalid(stage, watched)? - known,
    })
}

/// Packets that the gateway called invalid so far; none where nothing watches.
fn invalid(stage: &Stage, watched: bool) -> Result<u64> {
    if watched {
        stage.site.conntrack_invalid()
    } else {
        Ok(0)
    }
}

#[cfg(test)]
mod unit {
    use super::is_absent;
    use anyhow::Context as _;

    #[test]
    fn a_setting_that_a_namespace_lacks_is_told_from_one_that_is_refused() {
        let error = |path| std::fs::read(path).context("set it").unwrap_err();
        assert!(is_absent(&error("/proc/sys/net/ipv4/none")));
        assert!(!is_absent(&error("/proc")));
    }
}
