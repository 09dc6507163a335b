//! What is plainly there: types of programs and maps, helpers, classes of instructions, sections.

use crate::elf::{Code, Object, Program, Reference};
use crate::finding::{Findings, Seen, Site};
use crate::graph;
use crate::instruction::{Call, Operation};
use crate::kernel::Kernel;
use crate::table::{Floors, Helper, ObjectClaim, ProgramType};

/// `BPF_MAXINSNS`: what a program may have before 5.2.
const INSTRUCTIONS: usize = 4096;

/// What binds every program of an object: libbpf makes all its maps and sections.
pub(crate) fn object(
    floors: &Floors,
    claim: &ObjectClaim,
    object: &Object,
    findings: &mut Findings,
) {
    let site = Site::of(&claim.name, "");
    for kernel in claim.kernels().iter().map(|name| floors.kernel(name)) {
        let kernel = match kernel {
            Ok(kernel) => kernel,
            Err(error) => {
                findings.push(site.clone(), "claim", &format!("{error:#}"));
                continue;
            }
        };
        for map in &object.maps {
            let what = format!("map {}", map.name);
            let Some(kind) = floors.map_type.iter().find(|kind| kind.number == map.kind) else {
                let message = format!("{what}: bpf/floors.toml does not know type {}", map.kind);
                findings.push(site.clone(), "map-type", &message);
                continue;
            };
            if !kernel.has(&format!("map:{}", kind.name), &kind.feature) {
                let what = format!("{what} is of type {}", kind.name);
                findings.too_new(site.clone(), "map-type", &what, &kind.feature, &kernel);
            }
        }
        for (section, bytes) in &object.data {
            let Some(shape) = floors.shape("global-data") else {
                continue;
            };
            if !floors.has_shape(&kernel, "global-data") {
                let what = format!("section {section} of {bytes} bytes: {}", shape.instead);
                findings.too_new(site.clone(), "global-data", &what, &shape.feature, &kernel);
            }
        }
    }
}

/// What a program needs of a kernel.
pub(crate) fn program(
    floors: &Floors,
    kernel: &Kernel,
    object: &Object,
    program: &Program,
    site: &Site,
    findings: &mut Findings,
) {
    let Some(kind) = floors.program_type(&program.section) else {
        let message = format!("bpf/floors.toml does not know section {}", program.section);
        findings.push(site.clone(), "program-type", &message);
        return;
    };
    if !kernel.has(&format!("program:{}", kind.name), &kind.feature) {
        let what = format!("a program of type {}", kind.name);
        findings.too_new(site.clone(), "program-type", &what, &kind.feature, kernel);
    }
    hook(floors, kernel, program, site, findings);
    let count = object.instructions_of(program);
    if count > INSTRUCTIONS {
        let seen = Seen {
            shape: "long-program",
            index: INSTRUCTIONS,
            what: format!("{count} instructions, and {INSTRUCTIONS} are the limit"),
        };
        findings.shape(floors, kernel, site, &program.code, seen);
    }
    for code in object.reached_from(program) {
        let check = Check {
            floors,
            kernel,
            kind,
            code,
            site,
        };
        check.run(findings);
    }
}

/// What the program hangs on.
fn hook(floors: &Floors, kernel: &Kernel, program: &Program, site: &Site, findings: &mut Findings) {
    let Some((_, name)) = program.section.split_once('/') else {
        return;
    };
    let fits = |hook: &&str| match hook.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *hook,
    };
    match floors.hook.iter().find(|hook| fits(&hook.name.as_str())) {
        None => findings.push(
            site.clone(),
            "hook",
            &format!("bpf/floors.toml does not know {name}"),
        ),
        Some(hook) if !kernel.has(&format!("hook:{}", hook.name), &hook.feature) => {
            let what = format!("attaches to {name}");
            findings.too_new(site.clone(), "hook", &what, &hook.feature, kernel);
        }
        Some(_) => {}
    }
}

struct Check<'a> {
    floors: &'a Floors,
    kernel: &'a Kernel,
    kind: &'a ProgramType,
    code: &'a Code,
    site: &'a Site,
}

impl Check<'_> {
    fn run(&self, findings: &mut Findings) {
        for (at, relocation) in &self.code.relocated {
            for field in &relocation.way {
                if self.floors.has_field(self.kernel, field).is_none() {
                    let message = format!("bpf/floors.toml does not know {}", field.name);
                    findings.push(self.site.at(self.code, *at), "field", &message);
                }
            }
        }
        let mut at = 0;
        while let Some(slot) = self.code.slots.get(at) {
            if slot.operation() == Operation::Unknown {
                let message = format!("code {:#04x} is not known here", slot.code);
                findings.push(self.site.at(self.code, at), "instruction", &message);
            }
            if let Some(class) = slot.class() {
                self.class(class, at, findings);
            }
            if let Operation::Call(call) = slot.operation() {
                self.call(call, at, findings);
            } else {
                self.address(at, findings);
            }
            at += slot.length();
        }
        let shape = graph::shape(self.code);
        for (from, to) in shape.loops {
            let what = format!("goes back to instruction {to}");
            self.shape("rolled-loop", from, what, findings);
        }
        for index in shape.unreachable {
            let what = String::from("is never reached");
            self.shape("unreachable", index, what, findings);
        }
    }

    fn shape(&self, shape: &'static str, index: usize, what: String, findings: &mut Findings) {
        let seen = Seen { shape, index, what };
        findings.shape(self.floors, self.kernel, self.site, self.code, seen);
    }

    /// Whether the kernel has this class of instructions; reports it if not.
    fn class(&self, name: &str, at: usize, findings: &mut Findings) -> bool {
        // A call of the kernel is written like one of the object until libbpf resolves it.
        if name == "function-call"
            && let Some(Reference::Kernel(_)) = self.code.references.get(&at)
        {
            return true;
        }
        let site = self.site.at(self.code, at);
        let mut classes = self.floors.instruction.iter();
        let Some(class) = classes.find(|class| class.name == name) else {
            findings.push(site, name, "bpf/floors.toml does not know this class");
            return false;
        };
        let there = self
            .kernel
            .has(&format!("instruction:{name}"), &class.feature);
        if !there {
            findings.too_new(site, name, &class.what, &class.feature, self.kernel);
        }
        there
    }

    fn call(&self, call: Call, at: usize, findings: &mut Findings) {
        let site = self.site.at(self.code, at);
        if let Some(Reference::Kernel(name)) = self.code.references.get(&at) {
            self.kfunc(name, at, findings);
            return;
        }
        match call {
            Call::Helper(number) => match self.floors.helper(number) {
                Some(helper) => self.helper(helper, &site, findings),
                None => {
                    let message = format!("bpf/floors.toml does not know helper {number}");
                    findings.push(site, "helper", &message);
                }
            },
            Call::Function(_) if self.code.references.contains_key(&at) => {}
            _ => findings.push(site, "call", "whom it calls is not known before it runs"),
        }
    }

    fn kfunc(&self, name: &str, at: usize, findings: &mut Findings) {
        if !self.class("kernel-function", at, findings) {
            return;
        }
        let site = self.site.at(self.code, at);
        match self.floors.kfunc.iter().find(|known| known.name == name) {
            None => {
                let message = format!("bpf/floors.toml does not know {name}()");
                findings.push(site, "kfunc", &message);
            }
            Some(known) if !self.kernel.has(&format!("kfunc:{name}"), &known.feature) => {
                let what = format!("{name}()");
                findings.too_new(site, "kfunc", &what, &known.feature, self.kernel);
            }
            Some(_) => {}
        }
    }

    fn helper(&self, helper: &Helper, site: &Site, findings: &mut Findings) {
        let what = format!("bpf_{}()", helper.name);
        let kind = &self.kind.name;
        if !helper.programs.is_empty() && !helper.programs.contains(kind) {
            let message = format!(
                "{what} is not for programs of type {kind}, as far as bpf/floors.toml knows"
            );
            findings.push(site.clone(), "helper", &message);
        }
        let later = helper.later.iter().find(|later| later.program == *kind);
        let key = match later {
            Some(_) => format!("helper:{}@{kind}", helper.name),
            None => format!("helper:{}", helper.name),
        };
        let feature = later.map_or(&helper.feature, |later| &later.feature);
        if self.kernel.has(&key, feature) {
            return;
        }
        match helper
            .else_number
            .and_then(|number| self.floors.helper(number))
        {
            Some(instead) => self.helper(instead, site, findings),
            None => {
                let what = match later {
                    Some(_) => format!("{what} in a program of type {kind}"),
                    None => what,
                };
                findings.too_new(site.clone(), "helper", &what, feature, self.kernel);
            }
        }
    }

    /// Addresses that libbpf or the kernel fills in.
    fn address(&self, at: usize, findings: &mut Findings) {
        let class = match self.code.references.get(&at) {
            Some(Reference::Kernel(_)) => "kernel-symbol",
            Some(Reference::Function(_)) => "function-address",
            Some(Reference::Data(section)) => {
                let what = format!("uses {section}");
                self.shape("global-data", at, what, findings);
                return;
            }
            Some(Reference::Map(_)) | None => return,
        };
        self.class(class, at, findings);
    }
}
