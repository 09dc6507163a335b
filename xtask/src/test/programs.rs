//! The test programs of the workspace, built once and then run one by one.
//!
//! `cargo test` could run them as well, but not the end-to-end tests last, and it would resolve
//! features (and so build) anew for each selection of packages. Examples in documentation are not
//! tests here (tests/tidy wants them marked as text): building them would take longer than all
//! unit tests do.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::child;

/// Package of the end-to-end tests.
const END_TO_END: &str = "tests";

/// Package whose trials start it, and servers of others.
const STARTS_SERVERS: &str = "collector";

/// Trials of [`STARTS_SERVERS`] side by side: more than small machines have cores, since they mostly
/// wait. The end-to-end tests choose for themselves.
const SIDE_BY_SIDE: &str = "4";

/// One test program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Crate and target, for headings.
    pub(super) name: String,
    package: String,
    target: String,
    executable: PathBuf,
    /// Where cargo would run it.
    folder: PathBuf,
}

impl Program {
    /// True for what starts the shipped programs.
    pub(super) fn is_end_to_end(&self) -> bool {
        self.package == END_TO_END && self.target == "test"
    }

    /// True for trials that start servers, wait for them, and share a small machine with each other.
    pub(super) fn starts_servers(&self) -> bool {
        self.is_end_to_end() || (self.package == STARTS_SERVERS && self.target == "test")
    }

    /// Runs all its tests as cargo would.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        if self.starts_servers() && std::env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", SIDE_BY_SIDE);
        }
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Builds all test programs.
///
/// # Errors
/// When the build fails, or cargo says what is not understood.
pub(super) fn build() -> Result<Vec<Program>> {
    let messages = child::output(&mut child::cargo(&[
        "test",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    let mut programs = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("read cargo's messages")?;
        programs.extend(program(&message));
    }
    // cargo finishes them in any order.
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// The test program in one of cargo's messages, if it is about one.
fn program(message: &Value) -> Option<Program> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = PathBuf::from(message["manifest_path"].as_str()?)
        .parent()?
        .to_owned();
    // The folder, not the package id, whose form depends on the folder.
    let package = folder.file_name()?.to_str()?.to_owned();
    let target = message["target"]["kind"][0].as_str()?.to_owned();
    let name = message["target"]["name"].as_str()?;
    Some(Program {
        name: format!("{package}: {name} ({target})"),
        package,
        target,
        executable: message["executable"].as_str()?.into(),
        folder,
    })
}

#[cfg(test)]
mod tests {
    use super::program;
    use serde_json::json;

    fn message(kind: &str, test: bool) -> serde_json::Value {
        json!({
            "reason": "compiler-artifact",
            "manifest_path": "/x/tests/Cargo.toml",
            "target": {"kind": [kind], "name": "e2e"},
            "profile": {"test": test},
            "executable": "/x/target/e2e-0123",
        })
    }

    #[test]
    fn test_programs_are_found_and_those_from_end_to_end_are_told_apart() {
        let e2e = program(&message("test", true)).expect("a test program");
        assert!(e2e.is_end_to_end());
        assert_eq!(e2e.name, "tests: e2e (test)");
        let unit = program(&message("lib", true)).expect("a test program");
        assert!(!unit.is_end_to_end() && !unit.starts_servers());
    }

    #[test]
    fn libraries_binaries_and_other_messages_are_not_test_programs() {
        assert_eq!(program(&message("bin", false)), None);
        assert_eq!(program(&json!({"reason": "build-finished"})), None);
    }
}
