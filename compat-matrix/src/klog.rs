//! What a kernel's log says about the kernel's own health. Pure.

/// What a kernel writes when something in it broke, and what a reader calls that.
const BROKEN: [(&str, &str); 13] = [
    ("Kernel panic", "panic"),
    ("Oops:", "oops"),
    ("BUG: ", "bug"),
    ("kernel BUG at", "bug"),
    ("general protection fault", "oops"),
    ("double fault", "oops"),
    // Behind the time: programs write to the console, too.
    ("] WARNING: ", "warning"),
    ("soft lockup", "soft lockup"),
    ("rcu: INFO:", "RCU stall"),
    ("rcu_sched self-detected stall", "RCU stall"),
    ("detected stalls on CPUs", "RCU stall"),
    ("blocked for more than", "hung task"),
    ("list_add corruption", "corruption"),
];

/// A place in a log where the kernel says that it broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// What it is called.
    pub kind: &'static str,
    /// The line.
    pub line: String,
}

/// What the guest writes to its console when it is ready.
const READY: &str = "checks for ";

/// What was logged since the guest was ready: a warning before that is the kernel's own affair.
/// Everything, where the console does not tell.
#[must_use]
pub fn since_ready<'a>(log: &'a str, id: &str) -> &'a str {
    let line = format!("{READY}{id}");
    log.find(&line).map_or(log, |at| &log[at + line.len()..])
}

/// The first place where the kernel broke.
#[must_use]
pub fn first_break(log: &str) -> Option<Break> {
    log.lines().find_map(|line| {
        let kind = BROKEN
            .iter()
            .find(|(text, _)| line.contains(text))
            .map(|(_, kind)| *kind)?;
        Some(Break {
            kind,
            line: line.trim().to_owned(),
        })
    })
}

/// True when the guest had too little memory for what it was given.
#[must_use]
pub fn out_of_memory(log: &str) -> bool {
    [
        "Out of memory",
        "System is deadlocked on memory",
        "Initramfs unpacking failed: write error",
    ]
    .iter()
    .any(|text| log.contains(text))
}

/// The last lines that hold something, as evidence.
#[must_use]
pub fn tail(log: &str, lines: usize) -> String {
    let all = lines_of(log);
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The lines that lead to the place where the kernel broke, and that place.
#[must_use]
pub fn leading_to(log: &str, broken: &Break, lines: usize) -> String {
    let all = lines_of(log);
    let at = all.iter().position(|line| *line == broken.line);
    let end = at.map_or(all.len(), |at| at + 1);
    all[end.saturating_sub(lines)..end].join("\n")
}

/// The lines that hold more than their time.
fn lines_of(log: &str) -> Vec<&str> {
    log.lines()
        .map(str::trim)
        .filter(|line| {
            let said = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            !said.map_or(*line, |(_, said)| said).trim().is_empty()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{first_break, leading_to, out_of_memory, since_ready, tail};

    #[test]
    fn the_ways_in_which_kernels_break_are_told_apart() {
        let cases = [
            ("[ 1.0] Kernel panic - not syncing: VFS", "panic"),
            ("[ 1.0] Oops: 0002 [#1] SMP", "oops"),
            ("[ 1.0] BUG: kernel NULL pointer dereference", "bug"),
            ("[ 1.0] WARNING: CPU: 0 PID: 7 at kernel/x.c:1", "warning"),
            (
                "[ 1.0] WARNING: net/ipv4/tcp.c:9 at tcp_x+0x1, CPU#0: a/7",
                "warning",
            ),
            ("[ 1.0] watchdog: BUG: soft lockup - CPU#0 stuck", "bug"),
            (
                "[ 1.0] rcu: INFO: rcu_preempt self-detected stall",
                "RCU stall",
            ),
        ];
        for (line, kind) in cases {
            let log = format!("[ 0.0] fine\n{line}\n");
            assert_eq!(first_break(&log).expect(line).kind, kind);
        }
        let fine = "WARNING: from a program\n[ 0.0] debug: BUG_ON is compiled in\n[0.1] Run /init as init process\n";
        assert_eq!(first_break(fine), None);
    }

    #[test]
    fn what_was_logged_before_the_guest_was_ready_is_left_out() {
        let log = "[ 0.1] WARNING: CPU: 0\r\nchecks for a\r\nfine\r\n";
        assert_eq!(first_break(since_ready(log, "a")), None);
        assert!(first_break(since_ready(log, "b")).is_some());
    }

    #[test]
    fn too_little_memory_is_no_other_fault() {
        assert!(out_of_memory("[1] Out of memory: Killed process 60 (init)"));
        assert!(!out_of_memory("[1] Memory: 100K/200K available"));
    }

    #[test]
    fn the_tail_is_what_was_said_last() {
        assert_eq!(tail("a\r\nb\n\n c\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn what_led_to_a_break_is_shown_and_not_the_trace_behind_it() {
        let log =
            "[ 1.0] a\n[ 1.1] no root device\n[ 1.1]\n[ 1.2] Kernel panic - x\n[ 1.3] trace\n";
        let broken = first_break(log).expect("a break");
        assert_eq!(
            leading_to(log, &broken, 2),
            "[ 1.1] no root device\n[ 1.2] Kernel panic - x"
        );
    }
}
