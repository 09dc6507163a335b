//! Holds a compiled object to the oldest kernels that its programs claim (`bpf/floors.toml`).
//!
//! Two parts: what is plainly there (`features`: helpers, map types, classes of instructions,
//! sections), and what only shows on the way through a program (`walk`: the shapes that newer
//! verifiers forgive and old ones do not). Neither runs a kernel.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use crate::elf::{Object, Program};
use crate::features;
use crate::finding::{Finding, Findings, Site};
use crate::kernel::{Kernel, STACK_BYTES};
use crate::table::{Claim, FieldRow, Floors, ObjectClaim};
use crate::walk::Walk;

/// What was seen of a program on its way through the check.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Name of the program.
    pub(crate) program: String,
    /// Instructions that the kernel is given.
    pub(crate) instructions: usize,
    /// Bytes of stack, with those of the functions it calls.
    pub(crate) stack: usize,
    /// Instructions that the walk looked at, over all paths.
    pub(crate) walked: usize,
    /// It has CO-RE relocations, so it needs the kernel's BTF or a pack.
    pub(crate) needs_btf: bool,
}

/// Everything an object does that a kernel it claims does not have, however it was built, and what
/// was seen of each of its programs.
///
/// # Errors
/// The object is not one that can be read.
pub(crate) fn check(
    floors: &Floors,
    claim: &ObjectClaim,
    bytes: &[u8],
) -> Result<(Vec<Finding>, Vec<Report>)> {
    check_builds(floors, claim, bytes, Builds::Every)
}

/// Which builds of a kernel programs are held to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Builds {
    /// With every option.
    Whole,
    /// And without each option that fields of the program depend on.
    Every,
}

/// The same for some builds.
///
/// # Errors
/// The object is not one that can be read.
pub(crate) fn check_builds(
    floors: &Floors,
    claim: &ObjectClaim,
    bytes: &[u8],
    builds: Builds,
) -> Result<(Vec<Finding>, Vec<Report>)> {
    let object = Object::read(bytes).with_context(|| format!("read {}", claim.name))?;
    let mut findings = Findings::default();
    let mut reports = Vec::new();
    features::object(floors, claim, &object, &mut findings);
    for program in &object.programs {
        let site = Site::of(&claim.name, &program.name);
        let Some(program_claim) = claim.program(&program.name) else {
            findings.push(
                site,
                "no-claim",
                "bpf/floors.toml does not say what is the oldest kernel it must load on",
            );
            continue;
        };
        reports.push(check_program(
            floors,
            (program_claim, builds),
            &object,
            program,
            &site,
            &mut findings,
        )?);
    }
    for name in claim.programs.iter().map(|program| &program.name) {
        if !object.programs.iter().any(|there| there.name == *name) {
            findings.push(
                Site::of(&claim.name, name),
                "no-program",
                "bpf/floors.toml claims a kernel for it, and the object does not have it",
            );
        }
    }
    Ok((findings.into_sorted(), reports))
}

fn check_program(
    floors: &Floors,
    (claim, builds): (&Claim, Builds),
    object: &Object,
    program: &Program,
    site: &Site,
    findings: &mut Findings,
) -> Result<Report> {
    let mut report = Report {
        program: program.name.clone(),
        instructions: object.instructions_of(program),
        stack: 0,
        walked: 0,
        needs_btf: object.needs_btf(program),
    };
    if report.needs_btf != claim.btf {
        findings.push(
            site.clone(),
            "btf",
            &format!(
                "CO-RE relocations: {}, bpf/floors.toml says btf = {}",
                report.needs_btf, claim.btf
            ),
        );
    }
    for name in claim.kernels() {
        let kernel = floors.kernel(name)?;
        let built = match builds {
            Builds::Whole => BTreeSet::new(),
            Builds::Every => options(floors, object, program),
        };
        let without = built.iter().map(|option| kernel.built_without(option));
        for kernel in std::iter::once(kernel.clone()).chain(without) {
            on_kernel(
                floors,
                &kernel,
                object,
                (program, site),
                findings,
                &mut report,
            );
        }
    }
    if let Some(wanted) = claim.wanted {
        let kernel = floors.kernel(wanted.to_string())?;
        let mut there = Findings::default();
        on_kernel(
            floors,
            &kernel,
            object,
            (program, site),
            &mut there,
            &mut report,
        );
        if there.is_empty() {
            let message = format!("keeps to {wanted}, so bpf/floors.toml can claim it");
            findings.push(site.clone(), "wanted", &message);
        }
    }
    Ok(report)
}

/// Options of the kernel's configuration that fields of the program depend on.
fn options<'a>(floors: &'a Floors, object: &Object, program: &Program) -> BTreeSet<&'a str> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let reached = object.reached_from(program);
    for relocation in reached.iter().flat_map(|code| code.relocated.values()) {
        names.extend(relocation.way.iter().map(|field| field.name.as_str()));
    }
    let has = |row: &&FieldRow| row.names.iter().any(|name| names.contains(name.as_str()));
    let rows = floors.field.iter().filter(has);
    rows.filter_map(|row| row.config.as_deref()).collect()
}

/// Holds a program to one kernel.
fn on_kernel(
    floors: &Floors,
    kernel: &Kernel,
    object: &Object,
    (program, site): (&Program, &Site),
    findings: &mut Findings,
    report: &mut Report,
) {
    features::program(floors, kernel, object, program, site, findings);
    let mut frames = BTreeMap::new();
    for function in object.reached_from(program) {
        let mut walk = Walk::new(floors, kernel, object, program, function);
        walk.run();
        report.walked = report.walked.max(walk.steps());
        frames.insert(function.name.clone(), walk.depth());
        for seen in walk.into_seen() {
            findings.shape(floors, kernel, site, function, seen);
        }
    }
    report.stack = object.stack_of(&program.code, &frames);
    stack(report.stack, site, findings);
}

fn stack(used: usize, site: &Site, findings: &mut Findings) {
    if used > STACK_BYTES {
        findings.push(
            site.clone(),
            "deep-stack",
            &format!("{used} bytes of stack, and every kernel has {STACK_BYTES}"),
        );
    }
}
