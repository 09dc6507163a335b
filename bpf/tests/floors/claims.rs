//! Claims and tables that cannot be right are refused.

use std::collections::BTreeSet;

use crate::check::{Builds, check, check_builds};
use crate::kernel::Feature;
use crate::source;
use crate::subject::{FLOORS, claim, floors};
use crate::table::{ContextField, Floors};

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
