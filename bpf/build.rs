//! Compiles the BPF programs with clang and makes the Rust side of each `abi.h`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use bindgen::callbacks::{DeriveInfo, ParseCallbacks, TypeKind};

/// Object name, source and the defines that make it.
const OBJECTS: &[(&str, &str, &[&str])] = &[
    ("core.ring.o", "core/core.bpf.c", &[]),
    ("core.perf.o", "core/core.bpf.c", &["-DWB_TRANSPORT_PERF"]),
    (
        "connection.ring.o",
        "families/connection/connection.bpf.c",
        &[],
    ),
    (
        "connection.perf.o",
        "families/connection/connection.bpf.c",
        &["-DWB_TRANSPORT_PERF"],
    ),
    (
        "connection.kprobe.o",
        "families/connection/connection.bpf.c",
        &["-DWB_TRANSPORT_PERF", "-DWB_HOOKS_KPROBE"],
    ),
    ("co_attached.o", "families/connection/co_attached.c", &[]),
    ("listener.o", "families/listener/listener.bpf.c", &[]),
    ("trial.o", "core/trial.c", &[]),
    ("flood.ring.o", "tests/shared/flood.bpf.c", &[]),
    (
        "flood.perf.o",
        "tests/shared/flood.bpf.c",
        &["-DWB_TRANSPORT_PERF"],
    ),
];

/// What programs and agent share: the core's, and each family's.
const ABI: [&str; 2] = ["core/abi.h", "families/connection/abi.h"];

/// Makes Rust of the registry's lists. In capitals what the preprocessor replaces.
const LISTS: &str = r#"
#include "families/registry.h"
#define COUNTER(NAME, METRIC, MEANING, ADVICE) \
    Counter { number: abi::WB_COUNT_##NAME, name: #METRIC, meaning: MEANING, advice: ADVICE },
#define KIND(NAME, FAMILY, WORD, MEANING) RecordKind { \
    number: abi::WB_RECORD_##NAME, family: abi::WB_FAMILY_##FAMILY, name: #WORD, meaning: MEANING, },
pub(super) const COUNTERS: &[Counter] = &[ WB_COUNTERS(COUNTER) ];
pub(super) const RECORD_KINDS: &[RecordKind] = &[ WB_RECORD_KINDS(KIND) ];
"#;

/// Breaks the programs in one way, for the matrix to show that it notices: `cargo xtask faults`.
const FAULT: &str = "WAYBILL_BPF_FAULT";

/// Lets the agent read records without unsafe; a struct with padding then does not compile.
#[derive(Debug)]
struct ZeroCopy;

impl ParseCallbacks for ZeroCopy {
    fn add_derives(&self, info: &DeriveInfo<'_>) -> Vec<String> {
        if info.kind != TypeKind::Struct {
            return Vec::new();
        }
        ["FromBytes", "IntoBytes", "KnownLayout", "Immutable"]
            .map(|derive| format!("::zerocopy::{derive}"))
            .to_vec()
    }
}

fn main() -> Result<()> {
    let out = PathBuf::from(std::env::var("OUT_DIR").context("OUT_DIR is set by cargo")?);
    for folder in ["core", "families", "tests/shared"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    println!("cargo:rerun-if-env-changed=CLANG");
    println!("cargo:rerun-if-env-changed={FAULT}");
    for (object, source, defines) in OBJECTS {
        compile(source, defines, &out.join(object))?;
    }
    std::fs::write(out.join("lists.rs"), lists()?).context("write the lists")?;
    bindgen::Builder::default()
        .headers(ABI)
        .clang_arg("-I.")
        .parse_callbacks(Box::new(ZeroCopy))
        .allowlist_type("wb_.*")
        .allowlist_var("WB_.*")
        .prepend_enum_name(false)
        .derive_default(true)
        .derive_eq(true)
        .layout_tests(false)
        .generate_comments(true)
        .generate()
        .context("make Rust from the ABI headers (libclang is needed: run ci/deps)")?
        .write_to_file(out.join("abi.rs"))?;
    Ok(())
}

/// The lists of the registry, in Rust: made by the preprocessor, as the C side of them is.
fn lists() -> Result<String> {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| String::from("clang"));
    let mut preprocessor = Command::new(&clang)
        .args(["-E", "-P", "-x", "c", "-I", ".", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {clang} (run ci/deps, or set CLANG)"))?;
    let mut input = preprocessor.stdin.take().context("its input is a pipe")?;
    input.write_all(LISTS.as_bytes()).context("tell clang")?;
    drop(input);
    let output = preprocessor.wait_with_output().context("wait for clang")?;
    if !output.status.success() {
        bail!("{clang} refused families/registry.h");
    }
    String::from_utf8(output.stdout).context("the lists are text")
}

/// Compiles one object and strips its DWARF: only BTF is needed at run time.
fn compile(source: &str, defines: &[&str], object: &Path) -> Result<()> {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| String::from("clang"));
    let libbpf = std::env::var("DEP_BPF_INCLUDE").context("libbpf-sys exports its headers")?;
    let here = std::env::var("CARGO_MANIFEST_DIR").context("set by cargo")?;
    let status = Command::new(&clang)
        .args([
            "-g", "-O2", "-target", "bpf", "-mcpu=v2", "-Wall", "-Wextra", "-Werror",
        ])
        .arg(format!("-D__TARGET_ARCH_{}", target_arch()?))
        .args(["-I", ".", "-I", &libbpf])
        // BTF names the file of each line, and the same source is to make the same object.
        .arg(format!("-ffile-prefix-map={libbpf}=libbpf"))
        .arg(format!("-ffile-prefix-map={here}=bpf"))
        .args(std::env::var(FAULT).map(|name| format!("-DWB_FAULT_{name}")))
        .args(defines)
        .args(["-c", source, "-o"])
        .arg(object)
        .status()
        .with_context(|| format!("run {clang} (run ci/deps, or set CLANG)"))?;
    if !status.success() {
        bail!("{clang} refused {source}");
    }
    let strip = clang.replace("clang", "llvm-strip");
    let stripped = Command::new(&strip).arg("-g").arg(object).status();
    if !stripped.is_ok_and(|status| status.success()) {
        println!("cargo:warning={strip} is missing: the BPF objects keep their DWARF");
    }
    Ok(())
}

/// The architecture's name in libbpf's headers.
fn target_arch() -> Result<&'static str> {
    match std::env::var("CARGO_CFG_TARGET_ARCH")
        .context("set by cargo")?
        .as_str()
    {
        "x86_64" => Ok("x86"),
        "aarch64" => Ok("arm64"),
        other => bail!("no BPF register layout is named for {other} yet"),
    }
}
