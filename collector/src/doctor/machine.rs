//! What the host gives the process: open files, memory, a clock.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::finding::{Finding, Part};
use super::running::Running;
use crate::config::{Config, Limits};
use crate::server;
use crate::store::look::Look;
use crate::time;

const PART: Part = Part("process");
const CLOCK: Part = Part("clock");
/// Memory beside what limits bound: the program, the store's caches, what is known of runs.
const BASE_BYTES: u64 = 192 << 20;
/// Before this program was: 2026-01-01.
const EARLIEST_MS: i64 = 1_767_225_600_000;
/// What clocks of hosts may be ahead of this one, milliseconds.
const AHEAD_MS: i64 = 300_000;

pub(super) fn examine(config: &Config, running: Option<&Running>) -> Vec<Finding> {
    let soft = match running {
        Some(running) => running.descriptors_most,
        None => getrlimit(Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(_, hard)| hard),
    };
    let used = running.and_then(|running| running.descriptors);
    let wanted = server::descriptors_for(config.limits.connections);
    let mut findings = vec![descriptors(wanted, soft, used, running.is_some())];
    let total = fs::read_to_string("/proc/meminfo").ok();
    let total = total.as_deref().and_then(total_bytes);
    let own = Running::of(std::process::id());
    let bound = running.unwrap_or(&own).memory_most;
    let used = running.and_then(|running| running.resident_bytes);
    findings.push(memory(&config.limits, total, bound, used));
    findings
}

fn descriptors(wanted: u64, most: Option<u64>, used: Option<u64>, runs: bool) -> Finding {
    let name = "open files";
    let Some(most) = most else {
        return PART.ok(name, format!("{wanted} wanted; the limit cannot be read"));
    };
    let whose = if runs {
        "the collector's"
    } else {
        "this shell's"
    };
    let what = format!(
        "{} of {most} used ({whose} limit), {wanted} wanted",
        used.map_or_else(|| String::from("?"), |used| used.to_string())
    );
    if most < wanted {
        let advice = "raise LimitNOFILE of its unit (or `ulimit -n`), or lower limits.connections";
        PART.warning(name, what, advice)
    } else if used.is_some_and(|used| used > most / 10 * 9) {
        let advice = "connections will wait or be closed for others: raise LimitNOFILE";
        PART.warning(name, what, advice)
    } else {
        PART.ok(name, what)
    }
}

/// What the bounds of the configuration add up to.
fn may_take(limits: &Limits) -> u64 {
    let bounds = [
        limits.batch_memory,
        limits.body_memory,
        limits.query_memory,
        server::UNSENT,
        limits.connections.saturating_mul(server::CONNECTION_BYTES),
    ];
    bounds
        .into_iter()
        .fold(BASE_BYTES, |sum, bytes| sum.saturating_add(bytes as u64))
}

fn memory(limits: &Limits, total: Option<u64>, bound: Option<u64>, used: Option<u64>) -> Finding {
    let name = "memory";
    let may = may_take(limits);
    let most = [total, bound].into_iter().flatten().min();
    let used_text = used.map_or_else(String::new, |used| format!("{used} bytes used, "));
    let most_text = most.map_or_else(
        || String::from("an unknown bound"),
        |most| format!("{most}"),
    );
    let what = format!("{used_text}up to {may} by the configuration, of {most_text}");
    let Some(most) = most else {
        return PART.ok(name, what);
    };
    if may > most {
        PART.warning(
            name,
            what,
            "under load the kernel may kill it: lower limits.batch_memory, body_memory, \
             query_memory or connections, or give it more",
        )
    } else if used.is_some_and(|used| used > most / 10 * 9) {
        PART.warning(name, what, "nearly all is used: give it more")
    } else {
        PART.ok(name, what)
    }
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

pub(super) fn clock(config: &Config, look: Option<&Look>, now_ms: i64) -> Vec<Finding> {
    let written = config
        .store
        .path
        .metadata()
        .and_then(|file| file.modified());
    let written = written.ok().and_then(|at| {
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(time::whole_ms(since))
    });
    let places = Path::new("/run/systemd/timesync");
    let synchronized = places
        .is_dir()
        .then(|| places.join("synchronized").exists());
    let received = look.and_then(|look| look.received_ms);
    let newest = look.and_then(|look| look.ends_ms).map(|(_, newest)| newest);
    vec![judge(now_ms, written.max(received), newest, synchronized)]
}

/// `past` is what this clock has seen before, `newest` what a host's clock has said.
fn judge(
    now_ms: i64,
    past: Option<i64>,
    newest: Option<i64>,
    synchronized: Option<bool>,
) -> Finding {
    let name = "time";
    let now = time::rfc3339(now_ms);
    if now_ms < EARLIEST_MS {
        let advice = "set it: certificates and retention go by it";
        return CLOCK.failed(
            name,
            format!("{now} is before this program was made"),
            advice,
        );
    }
    if let Some(past) = past.filter(|past| *past > now_ms.saturating_add(1000)) {
        let what = format!(
            "{now}, and the store was written at {}",
            time::rfc3339(past)
        );
        let advice = "it was set back: look at the time service";
        return CLOCK.warning(name, what, advice);
    }
    if let Some(newest) = newest.filter(|newest| *newest > now_ms.saturating_add(AHEAD_MS)) {
        let what = format!(
            "{now}, and a host's interval ended at {}",
            time::rfc3339(newest)
        );
        let advice = "this clock is behind, or that host's ahead: `hosts` shows whose";
        return CLOCK.warning(name, what, advice);
    }
    if synchronized == Some(false) {
        let advice = "look at systemd-timesyncd; agents' times are compared with this clock";
        return CLOCK.warning(name, format!("{now}, not synchronized"), advice);
    }
    CLOCK.ok(name, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::doctor::State;

    #[test]
    fn too_few_open_files_are_a_warning() {
        let of = |most, used| descriptors(1000, most, used, true).state;
        assert_eq!(of(Some(1000), Some(10)), State::Ok);
        assert_eq!(of(Some(999), Some(10)), State::Warning);
        assert_eq!(of(Some(1000), Some(950)), State::Warning);
        assert_eq!(of(None, None), State::Ok);
    }

    #[test]
    fn bounds_that_are_more_than_there_is_are_a_warning() {
        let text =
            "[listen]\ncert_file = \"/1\"\nkey_file = \"/2\"\n[auth]\nagent_token_file = \"/3\"\n";
        let limits = config::parse("/a".as_ref(), text).unwrap().limits;
        let may = may_take(&limits);
        assert!(may > 512 << 20 && may < 2 << 30, "{may}");
        let of = |total, bound, used| memory(&limits, total, bound, used).state;
        assert_eq!(of(Some(8 << 30), None, Some(1 << 20)), State::Ok);
        assert_eq!(of(Some(8 << 30), Some(256 << 20), None), State::Warning);
        assert_eq!(of(Some(may), None, Some(may / 100 * 95)), State::Warning);
        assert_eq!(total_bytes("MemTotal:  2 kB\n"), Some(2048));
    }

    #[test]
    fn a_clock_that_was_set_back_is_seen() {
        let now = EARLIEST_MS + 1_000_000_000;
        assert_eq!(
            judge(now, Some(now - 5), Some(now - 5), None).state,
            State::Ok
        );
        assert_eq!(judge(1, None, None, None).state, State::Failed);
        assert_eq!(
            judge(now, Some(now + 60_000), None, None).state,
            State::Warning
        );
        assert_eq!(
            judge(now, None, Some(now + 600_000), None).state,
            State::Warning
        );
        assert_eq!(judge(now, None, None, Some(false)).state, State::Warning);
    }
}
