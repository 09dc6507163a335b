//! What goes wrong, and when.

use std::time::Duration;

use anyhow::Result;

use super::network::{self, Hosts};
use super::plan::Site;

/// Until the first fault begins.
const FIRST: Duration = Duration::from_secs(30);

/// How long each lasts, and how long all is well until the next one: two minutes that can be judged.
const LASTS: Duration = Duration::from_secs(120);

/// Data that is shorter is not lost: handshakes and acknowledgements pass.
const LEAST_BYTES: u32 = 100;

/// Something that goes wrong for a while.
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// Where.
    pub(super) host: &'static str,
    /// The rule that finds it.
    pub(super) rule: &'static str,
    /// What it is, as a sentence.
    pub(super) says: &'static str,
    /// Where to look while it lasts.
    pub(super) look: &'static [&'static str],
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The host's service resets a part of its connections.
    Resets,
    /// A part of what is sent to the host is lost.
    Loses,
}

/// What is wrong at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// Which of the faults; `None` while all is well.
    pub(super) fault: Option<usize>,
    /// Which one comes next.
    pub(super) next: usize,
    /// Until it changes.
    pub(super) left: Duration,
}

/// What is wrong so long after the beginning, of so many faults.
pub(super) fn phase(elapsed: Duration, faults: usize) -> Phase {
    let Some(since) = elapsed.checked_sub(FIRST) else {
        return Phase {
            fault: None,
            next: 0,
            left: FIRST.saturating_sub(elapsed),
        };
    };
    let half = LASTS.as_millis();
    let turn = usize::try_from(since.as_millis() / half).unwrap_or_default();
    let into = u64::try_from(since.as_millis() % half).unwrap_or_default();
    let number = turn / 2 % faults.max(1);
    let is_on = turn.is_multiple_of(2);
    Phase {
        fault: is_on.then_some(number),
        next: (number + 1) % faults.max(1),
        left: LASTS.saturating_sub(Duration::from_millis(into)),
    }
}

/// Lets a fault begin, or ends it.
///
/// # Errors
/// Those of the file system and of nft.
pub(super) fn switch(site: &Site, hosts: &Hosts, fault: &Fault, is_on: bool) -> Result<()> {
    let machine = site.machine(fault.host)?;
    let (table, chain) = (network::TABLE, network::FAULT);
    match (fault.kind, is_on) {
        (Kind::Resets, true) => std::fs::write(broken(network::get(hosts, fault.host)?), "")?,
        (Kind::Resets, false) => std::fs::remove_file(broken(network::get(hosts, fault.host)?))?,
        (Kind::Loses, _) => {
            let router = network::get(hosts, site.network(machine.network)?.router)?;
            let mut rules = format!("flush chain inet {table} {chain}\n");
            if is_on {
                rules += &format!(
                    "add rule inet {table} {chain} ip daddr {} meta length >= {LEAST_BYTES} \
                     numgen inc mod 4 0 drop\n",
                    site.ip(machine)?
                );
            }
            router.nft(&rules)?;
        }
    }
    Ok(())
}

/// While this file is there, a host's service resets connections.
pub(super) fn broken(host: &crate::lab::host::Host) -> std::path::PathBuf {
    host.directory().join("broken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_take_turns_and_all_is_well_between_them() {
        let at = |seconds| phase(Duration::from_secs(seconds), 2);
        let faults: Vec<_> = [0, 29, 30, 149, 150, 269, 270, 390, 510]
            .into_iter()
            .map(|seconds| at(seconds).fault)
            .collect();
        let (resets, loses) = (Some(0), Some(1));
        assert_eq!(
            faults,
            [None, None, resets, resets, None, None, loses, None, resets]
        );
        assert_eq!(at(10).left, Duration::from_secs(20));
        assert_eq!((at(10).next, at(160).next, at(400).next), (0, 1, 0));
        assert_eq!(at(100).left, Duration::from_secs(50));
    }
}
