//! What the process takes, by the names that Prometheus' own clients have for it.
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fmt::Write as _;
use std::fs;

/// Ticks of a second in `/proc/PID/stat`: what the kernel tells user space, whatever its own are
/// (`USER_HZ`, proc(5)).
const TICKS: f64 = 100.0;

/// What `/proc/self` says; what cannot be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Taken {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    virtual_bytes: Option<f64>,
    start_seconds: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

/// Prometheus text exposition, version 0.0.4: `process_*` and the version.
#[must_use]
pub fn prometheus() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let mut taken = taken(&read("self/stat"), &read("self/status"), &read("stat"));
    taken.max_fds = max_fds(&read("self/limits"));
    // The descriptor that lists them is one of them.
    let open = fs::read_dir("/proc/self/fd").map(|list| list.count().saturating_sub(1));
    taken.open_fds = open.ok().map(|count| count as f64);
    text(&taken)
}

fn taken(stat: &str, status: &str, machine: &str) -> Taken {
    // The name of the program is in parentheses and may have any of them inside.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| -> Option<f64> {
        // The first one behind the name is field 3 of proc(5).
        fields.split_whitespace().nth(number - 3)?.parse().ok()
    };
    let kib = |key: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let number: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(number * 1024.0)
    };
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "));
    let boot: Option<f64> = boot.and_then(|seconds| seconds.trim().parse().ok());
    Taken {
        cpu_seconds: field(14)
            .zip(field(15))
            .map(|(user, system)| (user + system) / TICKS),
        resident_bytes: kib("VmRSS:"),
        virtual_bytes: kib("VmSize:"),
        start_seconds: boot
            .zip(field(22))
            .map(|(boot, ticks)| boot + ticks / TICKS),
        open_fds: None,
        max_fds: None,
    }
}

fn max_fds(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn text(taken: &Taken) -> String {
    let lines = [
        (
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time.",
            taken.cpu_seconds,
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            taken.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory.",
            taken.virtual_bytes,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When it started, Unix time.",
            taken.start_seconds,
        ),
        ("process_open_fds", "gauge", "Open files.", taken.open_fds),
        (
            "process_max_fds",
            "gauge",
            "Files that may be open.",
            taken.max_fds,
        ),
    ];
    let mut text = String::from(concat!(
        "# HELP waybill_collector_build_info The version, as a label.\n",
        "# TYPE waybill_collector_build_info gauge\n",
        "waybill_collector_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"} 1\n"
    ));
    for (name, kind, help, value) in lines {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Taken, max_fds, prometheus, taken, text};

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1000 1 2";
        let status = "Name:\ta\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let found = taken(stat, status, "cpu 1\nbtime 1700000000\n");
        let expected = Taken {
            cpu_seconds: Some(3.0),
            resident_bytes: Some(1_048_576.0),
            virtual_bytes: Some(2_097_152.0),
            start_seconds: Some(1_700_000_010.0),
            ..Taken::default()
        };
        assert_eq!(found, expected);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        assert!(!text(&taken("", "", "")).contains("process_"));
        let here = prometheus();
        for name in [
            "cpu_seconds_total",
            "resident_memory_bytes",
            "open_fds",
            "max_fds",
        ] {
            assert!(
                here.contains(&format!("\nprocess_{name} ")),
                "{name}: {here}"
            );
        }
    }
}
