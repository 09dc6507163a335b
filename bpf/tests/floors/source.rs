//! Compiles the small objects of `tests/refused/` as `build.rs` compiles the real ones.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What `build.rs` tells clang for every object; a test compares.
pub(crate) const FLAGS: [&str; 8] = [
    "-g", "-O2", "-target", "bpf", "-mcpu=v2", "-Wall", "-Wextra", "-Werror",
];

/// The folder of the sources.
pub(crate) const FOLDER: &str = "tests/refused";

/// Makes `tests/refused/<name>.bpf.c` an object, or its twin that every kernel takes.
///
/// # Errors
/// clang refuses, or is not there.
pub(crate) fn compile(name: &str, twin: bool) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let object = folder.path().join("subject.o");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| String::from("clang"));
    let output = Command::new(&clang)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(FLAGS)
        .args(["-I", ".", "-I", FOLDER])
        .args(twin.then_some("-DTWIN"))
        .arg("-c")
        .arg(Path::new(FOLDER).join(format!("{name}.bpf.c")))
        .arg("-o")
        .arg(&object)
        .output()
        .with_context(|| format!("run {clang} (run ci/deps, or set CLANG)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {said}");
    std::fs::read(&object).with_context(|| format!("read the object of {name}"))
}
