//! What is wrong, in words for the developer who wrote the program.

use std::collections::BTreeSet;
use std::fmt;

use crate::elf::Code;
use crate::kernel::{Feature, Kernel};
use crate::table::Floors;

/// Where something is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Site {
    object: String,
    program: String,
    /// The function below the program, and the instruction in it, counted as the verifier does.
    instruction: Option<(Option<String>, usize)>,
}

impl Site {
    /// A program, or an object as a whole when `program` is empty.
    pub(crate) fn of(object: &str, program: &str) -> Self {
        Self {
            object: object.to_owned(),
            program: program.to_owned(),
            instruction: None,
        }
    }

    /// Whether it is in this program.
    pub(crate) fn is_of(&self, program: &str) -> bool {
        self.program == program
    }

    /// An instruction of this program, or of a function that it calls.
    pub(crate) fn at(&self, code: &Code, index: usize) -> Self {
        let function = (code.name != self.program).then(|| code.name.clone());
        Self {
            instruction: Some((function, index)),
            ..self.clone()
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        into.write_str(&self.object)?;
        if !self.program.is_empty() {
            write!(into, ": {}", self.program)?;
        }
        if let Some((function, index)) = &self.instruction {
            if let Some(function) = function {
                write!(into, ", function {function}")?;
            }
            write!(into, ", instruction {index}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    /// Where.
    pub(crate) site: Site,
    /// The rule's name: a shape of `bpf/floors.toml`, or what kind of feature is too new.
    pub(crate) rule: String,
    /// What is there, the version that has it, the version that is claimed.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(into, "{}: {}: {}", self.site, self.rule, self.message)
    }
}

/// Shapes whose version depends on the field.
const OF_FIELDS: [&str; 2] = ["context-field", "missing-field"];

/// What a walk saw.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Seen {
    /// Name of a shape.
    pub(crate) shape: &'static str,
    /// Instruction in the function walked.
    pub(crate) index: usize,
    /// What exactly.
    pub(crate) what: String,
}

/// All that is wrong, each thing once.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeSet<Finding>);

impl Findings {
    /// Adds something that no version makes right.
    pub(crate) fn push(&mut self, site: Site, rule: &str, message: &str) {
        self.0.insert(Finding {
            site,
            rule: rule.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Adds a feature that a claimed kernel does not have.
    pub(crate) fn too_new(
        &mut self,
        site: Site,
        rule: &str,
        what: &str,
        feature: &Feature,
        kernel: &Kernel,
    ) {
        let message = format!(
            "{what}: {} has it first ({}), claimed is {}",
            feature.since, feature.source, kernel.name
        );
        self.push(site, rule, &message);
    }

    /// Adds a shape that a walk saw, unless the kernel takes it.
    pub(crate) fn shape(
        &mut self,
        floors: &Floors,
        kernel: &Kernel,
        site: &Site,
        code: &Code,
        seen: Seen,
    ) {
        let site = site.at(code, seen.index);
        let Some(shape) = floors.shape(seen.shape) else {
            self.push(site, seen.shape, "bpf/floors.toml does not know this shape");
            return;
        };
        if floors.has_shape(kernel, seen.shape) {
            return;
        }
        if OF_FIELDS.contains(&seen.shape) {
            let message = format!(
                "{}, claimed is {}; {}",
                seen.what, kernel.name, shape.instead
            );
            self.push(site, seen.shape, &message);
            return;
        }
        let message = format!(
            "{}: {} takes it first ({}), claimed is {}; {}",
            seen.what, shape.feature.since, shape.feature.source, kernel.name, shape.instead
        );
        self.push(site, seen.shape, &message);
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of places.
    pub(crate) fn into_sorted(self) -> Vec<Finding> {
        self.0.into_iter().collect()
    }
}
