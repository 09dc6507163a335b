//! What the programs are told: settings, destinations, keys, and that the agent is alive.

use anyhow::{Context, Result};
use bpf::abi;
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, Object};
use zerocopy::IntoBytes;

use crate::config::{Config, Key};
use crate::family::connection::plan::{Connection, DumpMethod, writes_option};
use crate::keeper::State;
use crate::loader::map;
use crate::orders::{Destinations, InForce, Mapped};
use crate::plan::Mode;

/// First time off for a peer whose path loses the option.
const PATH_BACKOFF_NS: u64 = 60 * 1_000_000_000;

/// Writes the settings; the programs see them with the next event.
///
/// # Errors
/// The kernel refuses.
pub fn write_settings(map: &MapHandle, settings: &abi::wb_connection_config) -> Result<()> {
    map.update(&0_u32.to_ne_bytes(), settings.as_bytes(), MapFlags::ANY)
        .context("write the settings into the kernel")
}

/// How many entries the table of connections may have so that none can have been evicted: each
/// CPU keeps up to 128 free ones to itself (LOCAL_FREE_TARGET, kernel/bpf/bpf_lru_list.c).
#[must_use]
pub(super) fn late_below(entries: u32, cpus: usize) -> u32 {
    const KEPT_BY_CPU: u32 = 128;
    let kept = u32::try_from(cpus).map_or(u32::MAX, |cpus| cpus.saturating_mul(KEPT_BY_CPU));
    entries.saturating_sub(kept)
}

/// The agent's heartbeat, without which packet filters do nothing.
///
/// # Errors
/// The kernel refuses.
pub fn beat(map: &MapHandle) -> Result<()> {
    let now = crate::clock::monotonic_ns();
    map.update(&0_u32.to_ne_bytes(), &now.to_ne_bytes(), MapFlags::ANY)
        .context("write the heartbeat into the kernel")
}

/// What packet filters are told of this host.
#[must_use]
pub fn clone_flags(filters: &State) -> u8 {
    let drop = if filters.forwards {
        0
    } else {
        abi::WB_CLONE_DROP
    };
    u8::try_from(abi::WB_CLONE_ON | drop).unwrap_or_default()
}

/// What the family's programs are told at start.
pub(super) fn settings(
    (config, plan): (&Config, &Connection),
    in_force: &InForce,
) -> abi::wb_connection_config {
    let writer = config.keys.first();
    abi::wb_connection_config {
        path_backoff_ns: PATH_BACKOFF_NS,
        write_epoch: writer.map_or(0, |key| key.epoch),
        option_exid: config.option.exid.get(),
        option_kind: config.option.kind.get(),
        option_write: u8::from(writes_option(in_force) && may_write(config, plan)),
        option_on_data: u8::from(config.option.on_data),
        option_answer: u8::from(config.option.answer),
        keep_cb_flags: 0,
        clone: 0,
        tell_unknown: u8::from(plan.discovery.value == DumpMethod::Sockets),
        reserved: [0; 7],
        late_below: 0,
    }
}

/// Whether the host's own configuration has the option written.
fn may_write(config: &Config, plan: &Connection) -> bool {
    plan.mode.value != Mode::Observe && !config.keys.is_empty()
}

/// Replaces the allowed destinations; `from` is what the kernel has.
///
/// # Errors
/// The kernel refuses; some rules are then replaced and others are not.
pub fn replace_destinations(
    map: &impl MapCore,
    from: &Destinations,
    to: &Destinations,
) -> Result<()> {
    // First what goes: there may be no room for both.
    for prefix in from.keys().filter(|prefix| !to.contains_key(prefix)) {
        match map.delete(key_of(prefix).as_bytes()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.context("take back allowed destinations")?,
        }
    }
    for (prefix, allowed) in to {
        let value = u32::from(*allowed).to_ne_bytes();
        map.update(key_of(prefix).as_bytes(), &value, MapFlags::ANY)
            .context("write the allowed destinations")?;
    }
    Ok(())
}

fn key_of(prefix: &Mapped) -> abi::wb_prefix {
    abi::wb_prefix {
        length: u32::from(prefix.bits),
        addr: prefix.addr,
    }
}

/// Fills destinations and keys.
pub(super) fn fill(object: &Object, config: &Config, in_force: &InForce) -> Result<()> {
    let destinations = map(object, "destinations")?;
    replace_destinations(&destinations, &Destinations::new(), &in_force.destinations)?;
    write_keys(&map(object, "keys")?, &config.keys)
}

/// Writes the fleet keys; the programs use them with the next option.
///
/// # Errors
/// The kernel refuses; some keys are then written and others are not.
pub fn write_keys(map: &impl MapCore, keys: &[Key]) -> Result<()> {
    for key in keys {
        let (k0, k1) = key.secret.expose().split_at(8);
        let half = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let value = abi::wb_key {
            k0: half(k0),
            k1: half(k1),
            epoch: key.epoch,
            valid: 1,
        };
        map.update(
            &u32::from(key.slot()).to_ne_bytes(),
            value.as_bytes(),
            MapFlags::ANY,
        )
        .context("write the fleet keys")?;
    }
    Ok(())
}
