//! The compiled objects keep to the floors they claim, and what old kernels refuse is refused here.
//!
//! `cargo test -p bpf --test floors -- --nocapture` also prints what was seen of each program.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what tests share is a test, too"
)]

#[path = "floors/mod.rs"]
mod floors;
#[path = "floors/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use floors::elf::Object;
use floors::finding::Finding;
use floors::table::{Claim, ContextField, Feature, Floors, ObjectClaim};
use floors::{Builds, Report, check, check_builds};

const FLOORS: &str = include_str!("../floors.toml");

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

fn floors() -> Floors {
    Floors::parse(FLOORS).unwrap()
}

/// The objects that the agent carries.
fn objects() -> BTreeMap<&'static str, &'static [u8]> {
    BTreeMap::from([
        ("connection.perf.o", bpf::CONNECTION_PERF),
        ("connection.kprobe.o", bpf::CONNECTION_KPROBE),
        ("connection.ring.o", bpf::CONNECTION_RING),
        ("core.perf.o", bpf::CORE_PERF),
        ("core.ring.o", bpf::CORE_RING),
        ("flood.perf.o", bpf::FLOOD_PERF),
        ("flood.ring.o", bpf::FLOOD_RING),
        ("neighbours.o", bpf::NEIGHBOURS),
        ("trial.o", bpf::TRIAL),
    ])
}

fn lines(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect()
}

/// A claim of one kernel for everything in an object.
fn claim(floors: &Floors, name: &str, bytes: &[u8], kernel: &str) -> ObjectClaim {
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

/// What the check says of a source that claims a kernel.
fn findings_of(name: &str, kernel: &str, twin: bool) -> Vec<Finding> {
    let floors = floors();
    let bytes = source::compile(name, twin).unwrap();
    let claim = claim(&floors, name, &bytes, kernel);
    check(&floors, &claim, &bytes).unwrap().0
}

/// For `--nocapture`: what the check saw.
fn show(claim: &ObjectClaim, reports: &[Report]) {
    for report in reports {
        let kernels = claim.program(&report.program).map(Claim::kernels);
        println!(
            "{} {}: {} instructions, {} bytes of stack, {} walked, BTF {}, claims {}",
            claim.name,
            report.program,
            report.instructions,
            report.stack,
            report.walked,
            report.needs_btf,
            kernels.unwrap_or_default().join(" and "),
        );
    }
}

#[test]
fn every_object_keeps_to_the_floors_it_claims() {
    let floors = floors();
    let objects = objects();
    let mut wrong = Vec::new();
    for claim in &floors.object {
        let (findings, reports) = check(&floors, claim, objects[claim.name.as_str()]).unwrap();
        show(claim, &reports);
        wrong.extend(findings);
    }
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        lines(&wrong)
    );
}

/// Kernels before 4.15 (e87c6bc3852b) take one program for each tracepoint: a second one, of another
/// tracer or of a second agent, would be refused. Probes are each agent's own.
#[test]
fn programs_for_kernels_that_take_one_per_tracepoint_hang_on_none() {
    let floors = floors();
    for (name, bytes) in objects() {
        let claims = floors.object.iter().find(|object| object.name == name);
        for program in Object::read(bytes).unwrap().programs {
            let claim = claims.unwrap().program(&program.name).unwrap();
            let shared = ["tp/", "tracepoint/", "perf_event"];
            let shares = shared.iter().any(|kind| program.section.starts_with(kind));
            let floor = floors.kernel("4.15").unwrap().version;
            assert!(!shares || claim.oldest >= floor, "{name} {}", program.name);
        }
    }
}

#[test]
fn every_object_of_the_agent_claims_something() {
    let floors = floors();
    let claimed: BTreeSet<_> = floors.object.iter().map(|o| o.name.as_str()).collect();
    let there: BTreeSet<_> = objects().into_keys().collect();
    assert_eq!(claimed, there);
    let made: BTreeSet<_> = include_str!("../build.rs")
        .split('"')
        .filter(|text| text.ends_with(".o"))
        .collect();
    assert_eq!(made, there, "objects() is what build.rs makes");
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
    let build: String = include_str!("../build.rs").split_whitespace().collect();
    let flags = source::FLAGS.map(|flag| format!("\"{flag}\"")).join(",");
    assert!(
        build.contains(&flags),
        "build.rs compiles by other flags than {flags}"
    );
}

#[test]
fn a_program_without_a_claim_and_a_claim_without_a_program_are_refused() {
    let floors = floors();
    let bytes = source::compile("late-hook", true).unwrap();
    let mut claim = claim(&floors, "late-hook", &bytes, "5.8");
    claim.programs[0].name = String::from("absent");
    let rules: Vec<_> = check(&floors, &claim, &bytes)
        .unwrap()
        .0
        .into_iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, ["no-program", "no-claim"]);
}

#[test]
fn a_claim_that_hides_the_need_for_btf_is_refused() {
    let floors = floors();
    let mut claims = floors.object.iter();
    let mut claim = claims
        .find(|claim| claim.name == "connection.perf.o")
        .unwrap()
        .clone();
    for program in &mut claim.programs {
        program.btf = false;
    }
    let (findings, _) = check_builds(&floors, &claim, bpf::CONNECTION_PERF, Builds::Whole).unwrap();
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| finding.rule == "btf"));
}

#[test]
fn a_program_that_keeps_to_the_kernel_it_was_wanted_on_must_claim_it() {
    let floors = floors();
    let rules = |twin: bool| -> Vec<String> {
        let bytes = source::compile("rolled-loop", twin).unwrap();
        let mut claim = claim(&floors, "rolled-loop", &bytes, "5.3");
        claim.programs[0].wanted = Some(floors.kernel("4.14").unwrap().version);
        let (findings, _) = check(&floors, &claim, &bytes).unwrap();
        findings.into_iter().map(|finding| finding.rule).collect()
    };
    assert_eq!(rules(false), Vec::<String>::new());
    assert_eq!(rules(true), ["wanted"]);
}

#[test]
fn a_claim_below_that_of_its_object_is_not_read() {
    let low = FLOORS.replace(
        "name = \"connection.ring.o\"\noldest = \"5.8\"",
        "name = \"connection.ring.o\"\noldest = \"6.1\"",
    );
    assert_ne!(low, FLOORS);
    let error = Floors::parse(&low).unwrap_err().to_string();
    assert!(error.contains("and its object only 6.1"), "{error}");
}

#[test]
fn every_number_has_a_source_and_is_there_once() {
    let floors = floors();
    let features = |name: &str, feature: &Feature| {
        let words = feature.source.split([' ', ';']).next().unwrap_or_default();
        let is_commit = words.len() == 12 && words.chars().all(|c| c.is_ascii_hexdigit());
        let is_told = feature.source.len() > 12 && feature.source.contains(' ');
        assert!(is_commit || is_told, "{name}: {:?}", feature.source);
    };
    let mut numbers = BTreeSet::new();
    for helper in &floors.helper {
        features(&helper.name, &helper.feature);
        assert!(numbers.insert(("helper", i64::from(helper.number))));
    }
    for map in &floors.map_type {
        features(&map.name, &map.feature);
        assert!(numbers.insert(("map", i64::from(map.number))));
    }
    for kind in &floors.program_type {
        features(&kind.name, &kind.feature);
        assert!(kind.number > 0 && !kind.sections.is_empty());
    }
    for shape in &floors.shape {
        features(&shape.name, &shape.feature);
    }
    for class in &floors.instruction {
        features(&class.name, &class.feature);
    }
    for named in floors.hook.iter().chain(&floors.kfunc) {
        features(&named.name, &named.feature);
    }
    for row in &floors.field {
        for name in &row.names {
            features(name, &row.feature);
        }
        assert!(row.until.is_none_or(|until| until > row.feature.since));
    }
}

#[test]
fn what_a_vendor_ported_back_is_in_the_tables() {
    let floors = floors();
    for vendor in &floors.vendor {
        for key in vendor.has.iter().chain(&vendor.lacks) {
            let (kind, name) = key.split_once(':').unwrap();
            let base = name.split('@').next().unwrap_or_default();
            let known = match kind {
                "context" => {
                    let is_it = |f: &ContextField| format!("{}.{}", f.program, f.name) == name;
                    floors.context.iter().any(is_it)
                }
                "field" => name
                    .split_once('=')
                    .is_some_and(|(field, _)| floors.field_rows(field).next().is_some()),
                "helper" => floors.helper.iter().any(|helper| helper.name == base),
                "map" => floors.map_type.iter().any(|map| map.name == name),
                "program" => floors.program_type.iter().any(|kind| kind.name == name),
                "shape" => floors.shape(name).is_some(),
                _ => false,
            };
            assert!(known, "{}: {key}", vendor.name);
        }
    }
}

/// Mainline releases, oldest first, that differ in what the tables hold.
const RELEASES: [&str; 20] = [
    "4.10", "4.11", "4.13", "4.14", "4.15", "4.16", "4.17", "4.18", "4.19", "5.0", "5.2", "5.3",
    "5.5", "5.8", "5.9", "5.10", "5.12", "5.16", "6.3", "6.14",
];

/// With `--nocapture` it says what keeps each program from older kernels.
#[test]
fn no_program_claims_a_kernel_older_than_what_limits_it() {
    let floors = floors();
    for (name, bytes) in objects() {
        let object = Object::read(bytes).unwrap();
        for program in &object.programs {
            let alone = |kernel: &str| {
                let mut claim = claim(&floors, name, bytes, kernel);
                claim.programs.retain(|own| own.name == program.name);
                let (findings, _) = check_builds(&floors, &claim, bytes, Builds::Whole).unwrap();
                let own = |f: &Finding| f.rule != "no-claim" && f.site.is_of(&program.name);
                findings.into_iter().filter(own).collect::<Vec<_>>()
            };
            let refusals = RELEASES.map(|release| (release, alone(release)));
            let last = refusals
                .iter()
                .rposition(|(_, findings)| !findings.is_empty());
            let Some(last) = last else { continue };
            let oldest = RELEASES[last + 1];
            println!("{name} {}: {oldest}, because before", program.name);
            let claims = floors.object.iter().find(|object| object.name == name);
            let claimed = claims.and_then(|object| object.program(&program.name));
            let claimed = claimed.unwrap().oldest;
            let possible = floors.kernel(oldest).unwrap().version;
            assert!(
                claimed >= possible,
                "{name} {}: claims {claimed}, and {possible} is the oldest",
                program.name
            );
            let mut rules = BTreeSet::new();
            for finding in &refusals[last].1 {
                if rules.insert(&finding.rule) {
                    println!("    {finding}");
                }
            }
        }
    }
}
