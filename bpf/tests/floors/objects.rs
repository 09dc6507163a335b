//! The objects that the agent carries, and the kernels that they claim.

use std::collections::BTreeSet;

use crate::check::{Builds, Report, check, check_builds};
use crate::elf::Object;
use crate::finding::Finding;
use crate::subject::{claim, floors, lines, objects};
use crate::table::{Claim, ObjectClaim};

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
        let (findings, reports) = check(&floors, claim, &objects[claim.name.as_str()]).unwrap();
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
        for program in Object::read(&bytes).unwrap().programs {
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
        let object = Object::read(&bytes).unwrap();
        for program in &object.programs {
            let alone = |kernel: &str| {
                let mut claim = claim(&floors, name, &bytes, kernel);
                claim.programs.retain(|own| own.name == program.name);
                let (findings, _) = check_builds(&floors, &claim, &bytes, Builds::Whole).unwrap();
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
