//! One real kernel, and what it becomes when something is taken from it.
//!
//! Each needs the programs of a whole build (`WAYBILL_BIN_DIR`, as `cargo xtask matrix` sets it)
//! and a filled cache or a mirror, so they run when they are asked for:
//! `cargo test -p compat-matrix --test kernel -- --ignored --test-threads 1`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The kernel that the tests use.
const KERNEL: &str = "debian-13";

/// Runs the program in the workspace's root; its exit code and its only outcome.
fn run(arguments: &[&str]) -> (Option<i32>, Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a workspace");
    let output = Command::new(env!("CARGO_BIN_EXE_compat-matrix"))
        .current_dir(root)
        .args(["run", "--format", "json"])
        .args(arguments)
        .output()
        .expect("the program starts");
    let outcomes: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
        .expect("outcomes as JSON");
    (output.status.code(), outcomes[0].clone())
}

/// Names of the red cells.
fn red(outcome: &Value) -> Vec<&str> {
    let cells = outcome["cells"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    cells
        .iter()
        .filter(|cell| cell["status"] == "fail")
        .filter_map(|cell| cell["name"].as_str())
        .collect()
}

fn why(outcome: &Value) -> &str {
    outcome["infrastructure"].as_str().unwrap_or_default()
}

#[test]
#[ignore = "boots a real kernel"]
fn a_kernel_boots_and_the_agent_explains_it() {
    let (code, outcome) = run(&["--kernel", KERNEL, "--check", "doctor"]);
    assert_eq!(
        (code, red(&outcome).len()),
        (Some(0), 0),
        "{:?}",
        red(&outcome)
    );
    assert_eq!(outcome["mode"], "sockops");
}

#[test]
#[ignore = "boots a real kernel"]
fn a_kernel_that_panics_at_boot_says_nothing_about_the_product() {
    let (code, outcome) = run(&["--kernel", KERNEL, "--append", "rdinit=/nowhere"]);
    assert_eq!((code, red(&outcome).len()), (Some(3), 0));
    assert_eq!(outcome["attempts"], 2);
    assert!(why(&outcome).contains("Kernel panic"), "{}", why(&outcome));
}

#[test]
#[ignore = "boots a real kernel"]
fn a_kernel_of_which_the_matrix_says_that_it_panics_is_as_it_must_be() {
    let (code, outcome) = run(&["--kernel", "panic"]);
    assert_eq!((code, red(&outcome).len()), (Some(0), 0));
    assert_eq!(outcome["mode"], "infrastructure");
    let words = outcome["cells"][0]["reason"].as_str().unwrap_or_default();
    assert!(words.contains("Kernel panic"), "{words}");
}

#[test]
#[ignore = "boots a real kernel"]
fn a_kernel_with_too_little_memory_is_told_so() {
    let (code, outcome) = run(&["--kernel", KERNEL, "--memory", "72", "--check", "doctor"]);
    assert_eq!(
        (code, red(&outcome).len()),
        (Some(3), 0),
        "{}",
        why(&outcome)
    );
}

#[test]
#[ignore = "boots a real kernel"]
fn a_kernel_that_refuses_every_program_is_unsupported_and_the_reason_is_shown() {
    let lockdown = ["--append", "lockdown=confidentiality", "--check", "doctor"];
    let (_, outcome) = run(&[&["--kernel", KERNEL][..], &lockdown[..]].concat());
    assert_eq!(outcome["mode"], "unsupported");
}

#[test]
#[ignore = "boots a real kernel"]
fn an_injected_fault_turns_its_own_check_red_and_no_other() {
    for (fault, check) in [("lost-row", "edges/"), ("leaked-filter", "residue/")] {
        let group = check.trim_end_matches('/');
        let (code, outcome) = run(&["--kernel", KERNEL, "--fault", fault, "--check", group]);
        let red = red(&outcome);
        assert_eq!(code, Some(1), "{fault}: {red:?}");
        assert!(
            red.len() == 1 && red[0].starts_with(check),
            "{fault}: {red:?}"
        );
    }
}
