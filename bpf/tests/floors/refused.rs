//! Small objects that old kernels refuse are refused, and their twins are taken.

use std::collections::BTreeSet;

use crate::check::check;
use crate::finding::Finding;
use crate::source;
use crate::subject::{claim, floors, lines};

/// Source in `refused/`, the kernel that it claims, the rule by which it is refused.
const REFUSED: [(&str, &str, &str); 43] = [
    ("atomic", "4.14", "atomic"),
    ("bss", "4.14", "global-data"),
    ("constant-into-context", "4.14", "constant-into-context"),
    ("context-field", "4.14", "context-field"),
    ("data", "4.14", "global-data"),
    ("deep-stack", "6.6", "deep-stack"),
    ("deep-stack-of-functions", "4.16", "deep-stack"),
    ("function-call", "4.14", "function-call"),
    ("late-helper", "4.17", "helper"),
    ("late-helper-of-type", "4.19", "helper"),
    ("late-hook", "5.8", "hook"),
    ("jump32", "4.14", "jump32"),
    ("kernel-function", "4.14", "kernel-function"),
    ("kernel-function", "5.15", "kfunc"),
    ("long-program", "4.14", "long-program"),
    ("long-walk", "4.14", "long-walk"),
    ("map-type", "4.14", "map-type"),
    ("memory-size", "4.14", "memory-size"),
    ("missing-field", "4.14", "missing-field"),
    ("missing-field", "4.19", "missing-field"),
    ("moved-context", "4.14", "moved-context"),
    ("narrow-into-context", "4.14", "narrow-into-context"),
    ("packet-offset", "4.14", "packet-offset"),
    ("packet-offset", "5.4", "packet-offset"),
    ("pointer-in-memory", "4.14", "pointer-in-memory"),
    ("program-type", "4.16", "program-type"),
    ("rodata", "4.14", "global-data"),
    ("rolled-loop", "4.19", "rolled-loop"),
    ("signed-load", "4.14", "signed-load"),
    ("shown-number", "6.12", "shown-number"),
    ("spilled-number", "5.4", "spilled-number"),
    ("unasked-field", "4.14", "missing-field"),
    ("unasked-field", "5.3", "missing-field"),
    ("unbuilt-field", "6.12", "missing-field"),
    ("unreachable", "6.6", "unreachable"),
    ("unset-in-function", "4.16", "unset-bytes"),
    ("unset-key", "4.14", "unset-bytes"),
    ("unset-key", "4.18-el8", "unset-bytes"),
    ("unset-on-one-way", "5.4", "unset-bytes"),
    ("value-as-key", "4.14", "value-as-key"),
    ("value-offset", "5.4", "value-offset"),
    ("variable-stack", "5.4", "variable-stack"),
    (
        "variable-stack-for-helper",
        "4.19",
        "variable-stack-for-helper",
    ),
];

/// The same sources on kernels that take them.
const TAKEN: [(&str, &str); 17] = [
    ("bss", "5.2"),
    ("function-call", "4.16"),
    ("late-helper", "5.8"),
    ("late-helper-of-type", "4.18-el8"),
    ("long-program", "5.2"),
    ("missing-field", "4.18-el8"),
    ("missing-field", "5.4"),
    ("missing-field", "5.5"),
    ("packet-offset", "4.18-el8"),
    ("packet-offset", "5.10"),
    ("rodata", "4.18-el8"),
    ("rolled-loop", "5.3"),
    ("shown-number", "6.14"),
    ("spilled-number", "5.16"),
    ("unasked-field", "5.4"),
    ("unset-key", "6.3"),
    ("value-as-key", "4.18"),
];

/// What the check says of a source that claims a kernel.
fn findings_of(name: &str, kernel: &str, twin: bool) -> Vec<Finding> {
    let floors = floors();
    let bytes = source::compile(name, twin).unwrap();
    let claim = claim(&floors, name, &bytes, kernel);
    check(&floors, &claim, &bytes).unwrap().0
}

#[test]
fn what_old_kernels_refuse_is_refused_by_name_place_and_rule() {
    for (name, kernel, rule) in REFUSED {
        let findings = findings_of(name, kernel, false);
        let said = lines(&findings);
        assert!(!findings.is_empty(), "{name} on {kernel} was not refused");
        for finding in &findings {
            assert_eq!(finding.rule, rule, "{name} on {kernel}: {said}");
        }
        assert!(said.contains(name), "names the object: {said}");
        if !["map-type"].contains(&rule) {
            assert!(said.contains(": subject"), "names the program: {said}");
        }
        let of_all = ["map-type", "program-type", "hook", "deep-stack"];
        if !of_all.contains(&rule) {
            assert!(
                said.contains(", instruction "),
                "names the instruction: {said}"
            );
        }
        let of_none = ["deep-stack"];
        if !of_none.contains(&rule) {
            assert!(
                said.contains(&format!("claimed is {kernel}")),
                "names the claim: {said}"
            );
        }
    }
}

#[test]
fn the_twin_of_each_refused_object_is_taken() {
    for (name, kernel, _) in REFUSED {
        let findings = findings_of(name, kernel, true);
        assert!(
            findings.is_empty(),
            "{name} on {kernel}: {}",
            lines(&findings)
        );
    }
}

#[test]
fn kernels_that_have_a_feature_take_it() {
    for (name, kernel) in TAKEN {
        let findings = findings_of(name, kernel, false);
        assert!(
            findings.is_empty(),
            "{name} on {kernel}: {}",
            lines(&findings)
        );
    }
}

#[test]
fn every_source_is_tried_and_compiled_like_the_real_ones() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/refused");
    let there: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(name.strip_suffix(".bpf.c")?.to_owned())
        })
        .collect();
    let tried: BTreeSet<_> = REFUSED.map(|(name, _, _)| name.to_owned()).into();
    assert_eq!(there, tried);
    let build: String = include_str!("../../build.rs").split_whitespace().collect();
    let flags = source::FLAGS.map(|flag| format!("\"{flag}\"")).join(",");
    assert!(
        build.contains(&flags),
        "build.rs compiles by other flags than {flags}"
    );
}
