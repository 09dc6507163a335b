//! The runner itself, with machines that only pretend: a shell script writes what a guest and its
//! kernel would, so that every end is seen, and each injected fault turns exactly its cells red.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use compat_matrix::golden::Golden;
use compat_matrix::judge::{Held, Outcome, Verdict};
use compat_matrix::machine::{self, Run};
use compat_matrix::matrix::Tier;
use compat_matrix::record::{Status, Verified};
use compat_matrix::runner;

/// What a guest says when everything is as it must be.
const GOOD: [&str; 8] = [
    r#"{"type":"ready","release":"6.12.1"}"#,
    r#"{"type":"doctor","doctor":{"facts":{"btf":"yes","header_options":"yes"},"plan":[["connection","raw tracepoints and sockops: all"],["mode","sockops: the stack writes"]],"jail":{"capabilities":[{"name":"CAP_SYS_PTRACE","why":"x"}]}}}"#,
    r#"{"type":"verifier","program":"wb_conn_state","insns":1000,"states":100,"ms":1.0}"#,
    r#"{"type":"check","family":"connection","name":"edges/fullnat-nft-v4/auto","status":"pass","reason":"","found":2,"expected":2,"seconds":1.0}"#,
    r#"{"type":"check","family":"connection","name":"edges/nat-ipvs-v4/auto","status":"skip","reason":"no IPVS","found":0,"expected":0,"seconds":0.1}"#,
    r#"{"type":"check","family":"connection","name":"loss/flood/auto","status":"pass","reason":"","found":1,"expected":1,"seconds":1.0}"#,
    r#"{"type":"check","family":"agent","name":"residue/sigkill/auto","status":"pass","reason":"","found":1,"expected":1,"seconds":1.0}"#,
    r#"{"type":"done","complete":true}"#,
];

/// What a kernel writes to its log when nothing is wrong.
const LOG: &str = "[ 0.1] Linux version 6.12.1\n[ 0.2] WARNING: CPU: 0 PID: 1 at arch/x86/x.c:1\n\
                   [ 1.0] Run /init as init process\nchecks for pretended\n";

fn held() -> Held {
    Held {
        id: "pretended".into(),
        title: "A pretended kernel".into(),
        tier: Tier::Required,
        origin: "a test".into(),
        verdict: Some("sockops".into()),
        golden: None,
        baseline: None,
        more_percent: 10,
        report: true,
    }
}

/// Runs a script as a machine; `$1` is where its console goes.
fn machine(folder: &Path, script: &str, deadline: Duration) -> Run {
    let console = folder.join("console.log");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg("sh").arg(&console);
    machine::run(command, &console, deadline, &mut |_| ()).expect("a shell")
}

/// A machine that writes these lines and this log, and ends.
fn says(folder: &Path, lines: &[&str], log: &str) -> Run {
    std::fs::write(folder.join("lines"), lines.join("\n") + "\n").expect("a temporary folder");
    std::fs::write(folder.join("log"), log).expect("a temporary folder");
    let place = folder.display();
    let script = format!("cat '{place}/log' >\"$1\"; cat '{place}/lines'");
    machine(folder, &script, Duration::from_secs(20))
}

fn outcome(held: &Held, lines: &[&str], log: &str) -> Outcome {
    let folder = tempfile::tempdir().expect("a temporary folder");
    runner::attempts(held, &mut |_| Ok(says(folder.path(), lines, log)))
        .expect("a temporary folder")
}

fn red(outcome: &Outcome) -> Vec<&str> {
    outcome.red().map(|cell| cell.name.as_str()).collect()
}

/// The lines of a good guest with one of them replaced.
fn with<'a>(needle: &str, line: &'a str) -> Vec<&'a str> {
    let at = GOOD.iter().position(|good| good.contains(needle));
    let mut lines: Vec<&str> = GOOD.to_vec();
    lines[at.expect("a line of a good guest")] = line;
    lines
}

#[test]
fn a_guest_on_which_everything_is_as_it_must_be_is_green() {
    let outcome = outcome(&held(), &GOOD, LOG);
    assert_eq!(outcome.status, Verdict::Pass, "{:?}", red(&outcome));
    assert_eq!(
        (outcome.mode.as_str(), outcome.release()),
        ("sockops", "6.12.1")
    );
    assert_eq!((outcome.edges, outcome.attempts), ((2, 2), 1));
    let skipped = |status| outcome.cells.iter().filter(|c| c.status == status).count();
    assert_eq!(skipped(Status::Skip), 1);
}

#[test]
fn a_guest_that_dies_before_it_is_ready_is_started_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut started = 0;
    let outcome = runner::attempts(&held(), &mut |attempt| {
        started += 1;
        let lines: &[&str] = if attempt == 1 { &[] } else { &GOOD };
        Ok(says(
            folder.path(),
            lines,
            "[ 0.1] PANIC: double fault, error_code: 0x0\n",
        ))
    });
    // The second log has the fault as well, and there it is the product's.
    assert_eq!(started, 2);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.attempts, 2);
    assert_eq!(red(&outcome), ["run/kernel-log"]);
}

#[test]
fn a_guest_that_never_is_ready_is_infrastructure_and_never_a_failure_of_the_product() {
    let panic = "[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n";
    let outcome = outcome(&held(), &[], panic);
    assert_eq!(outcome.status, Verdict::Infrastructure);
    assert_eq!((red(&outcome).len(), outcome.attempts), (0, 2));
    let why = outcome.infrastructure.unwrap();
    assert!(
        why.contains("did not come up (panic") && why.contains("VFS"),
        "{why}"
    );
}

#[test]
fn a_guest_with_too_little_memory_is_told_apart() {
    let log = "[ 1.2] Initramfs unpacking failed: write error\n[ 1.3] Kernel panic - x\n";
    let why = outcome(&held(), &[], log).infrastructure.unwrap();
    assert!(why.starts_with("the guest has too little memory"), "{why}");
}

#[test]
fn a_guest_whose_files_are_not_all_there_is_infrastructure_as_well() {
    let cut = r#"{"type":"check","family":"guest","name":"guest/run","status":"fail","reason":"read /payload/guest.json: No such file","found":0,"expected":0,"seconds":0.0}"#;
    let outcome = outcome(&held(), &[GOOD[0], cut], LOG);
    assert_eq!(
        (red(&outcome).len(), outcome.status),
        (0, Verdict::Infrastructure)
    );
    let why = outcome.infrastructure.unwrap();
    assert!(why.starts_with("the guest has too little memory"), "{why}");
}

#[test]
fn an_agent_that_does_less_than_its_report_promises_is_red() {
    let mut lines = GOOD.to_vec();
    lines.insert(
        2,
        r#"{"type":"running","mode":"observe","plan":[["connection","skipped: refused"]]}"#,
    );
    let outcome = outcome(&held(), &lines, LOG);
    assert_eq!(
        (outcome.mode.as_str(), red(&outcome)),
        ("unsupported", vec!["run/mode"])
    );
}

#[test]
fn an_emulator_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo 'qemu: failed to set MSR 0x10a' >&2; exit 1";
    let run = machine(folder.path(), script, Duration::from_secs(20));
    let outcome = compat_matrix::judge::judge(&held(), run, 2);
    assert_eq!(outcome.status, Verdict::Infrastructure);
    let why = outcome.infrastructure.unwrap();
    assert!(why.contains("MSR 0x10a") && why.contains("no log"), "{why}");
}

#[test]
fn whatever_the_kernel_says_is_broken_after_the_guest_was_ready_is_red() {
    for trouble in [
        "Oops: 0002 [#1] PREEMPT SMP",
        "Kernel panic - not syncing: Fatal exception",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
        "rcu: INFO: rcu_sched self-detected stall on CPU",
        "WARNING: CPU: 0 PID: 7 at net/ipv4/tcp_output.c:3100",
    ] {
        let log = format!("{LOG}[ 9.0] {trouble}\n");
        let outcome = outcome(&held(), &GOOD, &log);
        assert_eq!(red(&outcome), ["run/kernel-log"], "{trouble}");
        let cell = outcome.red().next().unwrap();
        assert!(cell.reason.contains(trouble), "{}", cell.reason);
        assert_eq!(
            outcome.attempts, 1,
            "a product's failure is not tried again"
        );
    }
}

#[test]
fn a_guest_that_ends_without_being_done_is_red_and_the_last_check_is_named() {
    let outcome = outcome(&held(), &GOOD[..6], LOG);
    assert_eq!(red(&outcome), ["run/end"]);
    let reason = &outcome.red().next().unwrap().reason;
    assert!(reason.contains("after loss/flood/auto"), "{reason}");
}

#[test]
fn a_guest_that_ran_out_of_memory_is_told_so() {
    let log = format!("{LOG}[ 9.0] Out of memory: Killed process 60 (matrix-guest)\n");
    let outcome = outcome(&held(), &GOOD[..6], &log);
    assert_eq!(red(&outcome), ["run/end"]);
    let reason = &outcome.red().next().unwrap().reason;
    assert!(reason.contains("give it more with --memory"), "{reason}");
}

#[test]
fn a_guest_that_says_that_it_is_incomplete_is_red() {
    let lines = with("done", r#"{"type":"done","complete":false}"#);
    assert_eq!(red(&outcome(&held(), &lines, LOG)), ["run/end"]);
}

#[test]
fn a_guest_that_hangs_is_ended_at_its_deadline_and_red() {
    let folder = tempfile::tempdir().unwrap();
    // A read from a pipe that nobody writes to: it hangs until it is killed.
    let script = format!(
        "echo '{}'; mkfifo '{1}/never'; exec cat '{1}/never'",
        GOOD[0],
        folder.path().display()
    );
    let run = machine(folder.path(), &script, Duration::from_secs(1));
    assert!(run.seconds < 15.0, "{}", run.seconds);
    let outcome = compat_matrix::judge::judge(&held(), run, 1);
    assert_eq!(outcome.status, Verdict::Fail);
    assert_eq!(red(&outcome), ["run/end", "run/mode"]);
    assert!(outcome.red().next().unwrap().reason.contains("deadline"));
}

#[test]
fn results_on_the_console_of_a_kernel_with_one_port_count_as_well() {
    let mut log = LOG.to_owned();
    for line in GOOD {
        log += &format!("@@waybill-matrix {line}\r\n[ 2.0] something else\r\n");
    }
    let outcome = outcome(&held(), &[], &log);
    assert_eq!(outcome.status, Verdict::Pass, "{:?}", red(&outcome));
    assert_eq!(outcome.edges, (2, 2));
}

#[test]
fn noise_on_the_port_for_results_is_red() {
    let mut lines = GOOD.to_vec();
    lines.insert(3, "Segmentation fault");
    assert_eq!(red(&outcome(&held(), &lines, LOG)), ["run/end"]);
}

#[test]
fn a_wrong_option_length_turns_the_edge_red_and_nothing_else() {
    let line = r#"{"type":"check","family":"connection","name":"edges/fullnat-nft-v4/auto","status":"fail","reason":"no edge by token","found":0,"expected":2,"seconds":9.0}"#;
    let outcome = outcome(&held(), &with("fullnat-nft", line), LOG);
    assert_eq!(red(&outcome), ["edges/fullnat-nft-v4/auto"]);
    assert_eq!((outcome.edges, outcome.status), ((0, 2), Verdict::Fail));
}

#[test]
fn a_program_that_this_verifier_refuses_turns_its_cell_red() {
    let lines = with("verifier", "");
    let held = Held {
        baseline: Some(vec![Verified {
            program: "wb_conn_state".into(),
            insns: 1000,
            states: 100,
            ms: 1.0,
        }]),
        ..held()
    };
    let outcome = outcome(&held, &lines, LOG);
    assert_eq!(red(&outcome), ["verifier/wb_conn_state"]);
}

#[test]
fn a_program_that_grew_turns_its_cell_red() {
    let line =
        r#"{"type":"verifier","program":"wb_conn_state","insns":1101,"states":100,"ms":1.0}"#;
    let held = Held {
        baseline: Some(vec![Verified {
            program: "wb_conn_state".into(),
            insns: 1000,
            states: 100,
            ms: 1.0,
        }]),
        ..held()
    };
    assert_eq!(
        red(&outcome(&held, &with("verifier", line), LOG)),
        ["verifier/wb_conn_state"]
    );
    assert!(red(&outcome(&held, &GOOD, LOG)).is_empty());
}

#[test]
fn a_leaked_filter_and_a_lost_row_turn_their_cells_red() {
    let leaked = r#"{"type":"check","family":"agent","name":"residue/sigkill/auto","status":"fail","reason":"a sockops program is left","found":0,"expected":1,"seconds":1.0}"#;
    let outcome_leaked = outcome(&held(), &with("residue", leaked), LOG);
    assert_eq!(red(&outcome_leaked), ["residue/sigkill/auto"]);
    let lost = r#"{"type":"check","family":"connection","name":"loss/flood/auto","status":"fail","reason":"89 of 90","found":0,"expected":1,"seconds":1.0}"#;
    let outcome_lost = outcome(&held(), &with("loss", lost), LOG);
    assert_eq!(red(&outcome_lost), ["loss/flood/auto"]);
}

#[test]
fn another_choice_than_the_blessed_one_is_red_and_shows_what_changed() {
    let golden = Golden::of(&says(tempfile::tempdir().unwrap().path(), &GOOD, LOG).record);
    let held = Held {
        golden: Some(golden),
        ..held()
    };
    assert!(red(&outcome(&held, &GOOD, LOG)).is_empty());
    let line = GOOD[1].replace("sockops: the stack writes", "observe: no option is written");
    let outcome_observe = outcome(&held, &with("doctor", &line), LOG);
    assert_eq!(red(&outcome_observe), ["run/mode", "golden"]);
    let golden = outcome_observe
        .red()
        .find(|cell| cell.name == "golden")
        .unwrap();
    assert!(
        golden.reason.contains("- mode: sockops\n+ mode: observe"),
        "{}",
        golden.reason
    );
    // A check that suddenly cannot be shown is a change, too.
    let skipped = r#"{"type":"check","family":"connection","name":"edges/fullnat-nft-v4/auto","status":"skip","reason":"no nft","found":0,"expected":0,"seconds":0.1}"#;
    let outcome_skip = outcome(&held, &with("fullnat-nft", skipped), LOG);
    assert_eq!(red(&outcome_skip), ["golden"]);
}
