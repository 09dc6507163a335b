//! What `doctor --collect` puts into its file, and what it does not.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

const AGENT: &str = env!("CARGO_BIN_EXE_waybill-agent");
const KEY: &str = "8d3f0a6c51b2e794f06a1c9d7e5b2384";

fn collect(config: &Path, file: &Path, format: &str) -> Output {
    let mut doctor = Command::new(AGENT);
    doctor.args(["doctor", "--format", format, "--config"]);
    doctor.arg(config).arg("--collect").arg(file);
    doctor.output().unwrap()
}

fn entries(file: &Path) -> Vec<(String, Vec<u8>)> {
    let plain = zstd::Decoder::new(fs::File::open(file).unwrap()).unwrap();
    let mut archive = tar::Archive::new(plain);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    });
    entries.collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|at| at == text.as_bytes())
}

/// Written as a kernel address: sixteen digits of which the first are ones.
fn has_address(bytes: &[u8]) -> bool {
    bytes
        .windows(16)
        .any(|at| at.starts_with(b"ffff") && at.iter().all(u8::is_ascii_hexdigit))
}

#[test]
fn the_list_is_exactly_what_is_inside_and_no_secret_is() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("fleet.key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let config = directory.path().join("agent.toml");
    let text = format!(
        "[agent]\nhostname = \"till-7.shop.example\"\n[scope]\ncgroup = \"/payments.slice\"\n\
         [[key]]\nepoch = 1\nsecret_file = {key:?}\n"
    );
    fs::write(&config, text).unwrap();
    let file = directory.path().join("kernel.tar.zst");
    let output = collect(&config, &file, "human");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let entries = entries(&file);
    let (first, manifest) = &entries[0];
    let manifest = String::from_utf8(manifest.clone()).unwrap();
    assert_eq!(first, "MANIFEST");
    assert!(
        said.starts_with(&manifest),
        "what is printed is what is inside"
    );
    let listed: BTreeMap<&str, usize> = manifest
        .lines()
        .filter_map(|line| {
            let (size, rest) = line.trim_start().split_once(' ')?;
            Some((rest.split_once(": ")?.0, size.parse().ok()?))
        })
        .collect();
    let inside: BTreeMap<&str, usize> = entries[1..]
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.len()))
        .collect();
    assert_eq!(listed, inside);
    for name in ["kernel/uname", "os-release", "doctor.json"] {
        assert!(inside.contains_key(name), "{name}: {manifest}");
    }

    // Whoever may load programs learns what the kernel says to them; others, why not.
    let of = |wanted: &str| entries.iter().find(|(name, _)| name == wanted);
    match of("load") {
        Some((_, said)) => {
            let said = String::from_utf8(said.clone()).unwrap();
            assert!(
                said.contains("programs are taken") || said.contains("refused: "),
                "{said}"
            );
        }
        None => assert!(manifest.contains("missing load:"), "{manifest}"),
    }

    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let secrets = [KEY, "till-7", "payments", "agent.toml", "fleet.key"];
    // A short name is part of many words.
    let own = Some(hostname.trim()).filter(|name| name.len() > 6);
    for (name, bytes) in &entries {
        for secret in secrets.into_iter().chain(own) {
            assert!(!contains(bytes, secret), "{secret} in {name}");
        }
        assert!(!has_address(bytes), "an address in {name}");
    }
}

#[test]
fn a_file_is_never_overwritten_and_the_report_is_for_programs_too() {
    let directory = tempfile::tempdir().unwrap();
    let (config, file) = (directory.path().join("none"), directory.path().join("x"));
    let output = collect(&config, &file, "json");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = report["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    let entries = entries(&file);
    let inside: Vec<&str> = entries[1..].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, inside);
    let before = fs::read(&file).unwrap();
    let again = collect(&config, &file, "human");
    assert_eq!(again.status.code(), Some(2));
    let errors = String::from_utf8(again.stderr).unwrap();
    assert!(errors.contains("create"), "{errors}");
    assert_eq!(fs::read(&file).unwrap(), before);
}
