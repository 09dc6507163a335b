//! What is held to claims: the tables, the objects, and a claim made for a test.

use std::collections::BTreeMap;
use std::path::Path;

use crate::elf::Object;
use crate::finding::Finding;
use crate::table::{Claim, Floors, ObjectClaim};

/// `bpf/floors.toml`.
pub(crate) const FLOORS: &str = include_str!("../../floors.toml");

/// The tables and claims in it.
pub(crate) fn floors() -> Floors {
    Floors::parse(FLOORS).unwrap()
}

/// The objects that `build.rs` makes, by file name.
pub(crate) fn objects() -> BTreeMap<&'static str, Vec<u8>> {
    let words = include_str!("../../build.rs").split('"');
    let names = words.filter(|word| word.ends_with(".o"));
    let made = Path::new(env!("OUT_DIR"));
    names
        .map(|name| (name, std::fs::read(made.join(name)).unwrap()))
        .collect()
}

/// Findings as a person reads them, a line each.
pub(crate) fn lines(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect()
}

/// A claim of one kernel for everything in an object.
pub(crate) fn claim(floors: &Floors, name: &str, bytes: &[u8], kernel: &str) -> ObjectClaim {
    let object = Object::read(bytes).unwrap();
    let oldest = floors.kernel(kernel).unwrap().version;
    let is_vendor = kernel != oldest.to_string();
    let vendors: Vec<_> = is_vendor.then(|| kernel.to_owned()).into_iter().collect();
    // A vendor's kernel is claimed beside a new one, which takes everything.
    let oldest = match is_vendor {
        true => floors.kernel("6.12").unwrap().version,
        false => oldest,
    };
    let programs = object.programs.iter().map(|program| Claim {
        name: program.name.clone(),
        oldest,
        vendors: vendors.clone(),
        wanted: None,
        btf: object.needs_btf(program),
        why: String::from("a test"),
    });
    ObjectClaim {
        name: name.to_owned(),
        oldest,
        vendors: vendors.clone(),
        why: String::from("a test"),
        programs: programs.collect(),
    }
}
