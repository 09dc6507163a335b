//! An object fitted to this kernel, with as many of its programs as the kernel takes.

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{Object, ObjectBuilder, OpenObject};

use super::core::Core;
use super::types;
use crate::host::refusal;
use crate::plan::Types;

/// Stands in the list of what was refused for all programs of the first attempt.
pub const ALL_AT_ONCE: &str = "first_attempt";

/// What an object is opened for.
#[derive(Clone, Copy)]
pub struct Fitting<'a> {
    /// The object.
    pub bytes: &'a [u8],
    /// What its programs do, in an operator's words.
    pub does: &'a str,
    /// What it shares with others.
    pub core: &'a Core,
    /// What it is fitted to the kernel by.
    pub types: &'a Types,
    /// Sizes its own tables before it is loaded.
    pub size: &'a dyn Fn(&mut OpenObject) -> Result<()>,
}

impl std::fmt::Debug for Fitting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fitting")
            .field("does", &self.does)
            .finish_non_exhaustive()
    }
}

/// What the kernel took.
#[derive(Debug)]
pub struct Accepted {
    /// Loaded; nothing is attached.
    pub object: Object,
    /// Names of the programs in it.
    pub loaded: Vec<String>,
    /// Program and what is lost without it, for each that was refused.
    pub refused: Vec<(String, String)>,
}

impl Fitting<'_> {
    /// Loads the `required` program and everything that is `wanted`, of which each has what is lost
    /// without it; when the kernel refuses, finds out which programs it takes.
    ///
    /// # Errors
    /// The kernel refuses the required program.
    pub fn load(&self, required: &str, wanted: &[(&str, &str)]) -> Result<Accepted> {
        let mut names = vec![required];
        names.extend(wanted.iter().map(|(name, _)| *name));
        let accepted = |object, names: Vec<&str>, refused| Accepted {
            object,
            loaded: names.into_iter().map(String::from).collect(),
            refused,
        };
        let first = match self.load_these(&names) {
            Ok(object) => return Ok(accepted(object, names, Vec::new())),
            // What follows may find nothing wrong with any one of them.
            Err(error) => format!("{error:#}"),
        };
        log::warn!(error = first.as_str(); "the kernel refuses the programs together");
        let mut taken = vec![required];
        let mut refused = vec![(ALL_AT_ONCE.to_owned(), first.clone())];
        self.load_these(&taken).with_context(|| {
            let does = self.does;
            format!("the kernel refuses the programs that {does} (first attempt: {first})")
        })?;
        for (name, loss) in wanted {
            match self.load_these(&[required, name]) {
                Ok(_) => taken.push(name),
                Err(error) => refused.push(((*name).to_owned(), format!("{loss} ({error:#})"))),
            }
        }
        let object = self.load_these(&taken).with_context(|| {
            format!("the kernel refuses programs together that it takes one by one: {first}")
        })?;
        Ok(accepted(object, taken, refused))
    }

    /// Loads these and no others.
    ///
    /// # Errors
    /// Says which program the verifier refuses, and where.
    pub fn load_these(&self, names: &[&str]) -> Result<Object> {
        let object = self.open(names)?;
        refusal::forget();
        let loaded = object.load();
        loaded.map_err(|error| anyhow!(refusal::explain(&error)))
    }

    fn open(&self, names: &[&str]) -> Result<OpenObject> {
        let mut builder = ObjectBuilder::default();
        builder.name("waybill").context("name the object")?;
        if let Some(types) = types::file(self.types)? {
            builder
                .btf_custom_path(types)
                .context("name the BTF pack")?;
        }
        let mut object = builder
            .open_memory(self.bytes)
            .context("open the programs")?;
        for mut program in object.progs_mut() {
            let keep = names.iter().any(|name| program.name() == *name);
            program.set_autoload(keep);
        }
        (self.size)(&mut object)?;
        self.core.lend(&mut object)?;
        Ok(object)
    }
}
