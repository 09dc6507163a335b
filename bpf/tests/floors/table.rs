//! `bpf/floors.toml`: what each kernel has, and what each program claims.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::kernel::{Feature, Field, Kernel, Version};

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floors {
    pub(crate) program_type: Vec<ProgramType>,
    pub(crate) map_type: Vec<MapType>,
    pub(crate) helper: Vec<Helper>,
    #[serde(default)]
    pub(crate) kfunc: Vec<Named>,
    pub(crate) hook: Vec<Named>,
    pub(crate) field: Vec<FieldRow>,
    pub(crate) context: Vec<ContextField>,
    pub(crate) instruction: Vec<Class>,
    pub(crate) shape: Vec<Shape>,
    pub(crate) vendor: Vec<Vendor>,
    pub(crate) object: Vec<ObjectClaim>,
}

/// A type of programs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ProgramType {
    pub(crate) name: String,
    /// `enum bpf_prog_type`.
    pub(crate) number: u32,
    /// What the names of their sections begin with; the longest that fits decides.
    pub(crate) sections: Vec<String>,
    #[serde(flatten)]
    pub(crate) feature: Feature,
}

/// A type of maps.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MapType {
    pub(crate) name: String,
    /// `enum bpf_map_type`.
    pub(crate) number: u32,
    #[serde(flatten)]
    pub(crate) feature: Feature,
}

/// What a helper does with an argument.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Argument {
    /// Nothing that matters here.
    Any,
    /// Takes a map.
    Map,
    /// Reads a key of that map.
    Key,
    /// Reads a value of that map.
    Value,
    /// Reads as many bytes as the next argument says.
    Memory,
    /// Fills as many bytes as the next argument says.
    Fill,
}

/// What a helper gives back.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    #[default]
    Number,
    /// A value of the map it was given, or nothing.
    Value,
    /// A pointer to something else.
    Pointer,
}

/// A helper.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Helper {
    /// `enum bpf_func_id`.
    pub(crate) number: i32,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
    /// Types of programs that have it; empty means all.
    #[serde(default)]
    pub(crate) programs: Vec<String>,
    /// Types of programs that have it later than others.
    #[serde(default)]
    pub(crate) later: Vec<Later>,
    pub(crate) args: Vec<Argument>,
    #[serde(default)]
    pub(crate) gives: Answer,
    /// The helper that libbpf puts in its place on a kernel that lacks it.
    pub(crate) else_number: Option<i32>,
}

/// A type of programs that has a helper later than others.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Later {
    pub(crate) program: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
}

/// What a program is attached to, or a function of the kernel.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Named {
    /// A hook's name is what follows the first `/` of the section, and may end with `*`.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
}

/// Bytes of a context from `start` up to the next entry of the same type of programs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ContextField {
    pub(crate) program: String,
    pub(crate) start: i64,
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
    /// What a load gives: `packet` or `packet_end`.
    pub(crate) gives: Option<String>,
}

/// Fields of the kernel's own types, and constants of its enumerations.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct FieldRow {
    /// `type.field` each.
    pub(crate) names: Vec<String>,
    /// What they are, where that changed: `number`, `pointer`, `record` or `array`.
    pub(crate) shape: Option<String>,
    #[serde(flatten)]
    pub(crate) feature: Feature,
    /// The first mainline release that does not have them any more.
    pub(crate) until: Option<Version>,
    /// The option of the kernel's configuration without which it does not have them.
    pub(crate) config: Option<String>,
}

/// A class of instructions.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Class {
    pub(crate) name: String,
    pub(crate) what: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
}

/// A shape that newer kernels take.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Shape {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) feature: Feature,
    /// What to write.
    pub(crate) instead: String,
}

/// A vendor's kernel with more than its version says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vendor {
    pub(crate) name: String,
    pub(crate) base: Version,
    #[serde(rename = "source")]
    pub(crate) _source: String,
    /// `helper:NAME`, `map:NAME`, `program:NAME`, `context:PROGRAM.NAME`, `shape:NAME`, ...
    pub(crate) has: BTreeSet<String>,
    /// `field:NAME=SHAPE`, as far as its version would have them.
    #[serde(default)]
    pub(crate) lacks: BTreeSet<String>,
}

/// What an object claims as a whole, because libbpf makes all its maps whatever is loaded.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectClaim {
    pub(crate) name: String,
    pub(crate) oldest: Version,
    #[serde(default)]
    pub(crate) vendors: Vec<String>,
    pub(crate) why: String,
    #[serde(default, rename = "program")]
    pub(crate) programs: Vec<Claim>,
}

/// What a program claims.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) oldest: Version,
    #[serde(default)]
    pub(crate) vendors: Vec<String>,
    /// A kernel that it ought to load on and does not yet; refused once it does.
    pub(crate) wanted: Option<Version>,
    /// It needs the kernel's BTF, or a pack.
    #[serde(default)]
    pub(crate) btf: bool,
    pub(crate) why: String,
}

impl ObjectClaim {
    /// The claim of a program.
    pub(crate) fn program(&self, name: &str) -> Option<&Claim> {
        self.programs.iter().find(|claim| claim.name == name)
    }

    /// Names of the kernels it claims.
    pub(crate) fn kernels(&self) -> Vec<String> {
        names(self.oldest, &self.vendors)
    }
}

impl Claim {
    /// Names of the kernels it claims.
    pub(crate) fn kernels(&self) -> Vec<String> {
        names(self.oldest, &self.vendors)
    }
}

fn names(oldest: Version, vendors: &[String]) -> Vec<String> {
    std::iter::once(oldest.to_string())
        .chain(vendors.iter().cloned())
        .collect()
}

impl Floors {
    /// Reads the file and refuses what contradicts itself.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let floors: Self = toml::from_str(text).context("read bpf/floors.toml")?;
        for object in &floors.object {
            ensure!(
                !object.why.is_empty(),
                "{} claims without a reason",
                object.name
            );
            for program in &object.programs {
                let name = format!("{}: {}", object.name, program.name);
                ensure!(!program.why.is_empty(), "{name} claims without a reason");
                ensure!(
                    program.oldest >= object.oldest,
                    "{name} claims {}, and its object only {}",
                    program.oldest,
                    object.oldest
                );
                for vendor in &program.vendors {
                    ensure!(
                        object.vendors.contains(vendor)
                            || floors.kernel(vendor)?.version >= object.oldest,
                        "{name} claims {vendor}, and its object does not"
                    );
                }
            }
        }
        Ok(floors)
    }

    /// A kernel by the name that claims give it.
    ///
    /// # Errors
    /// It is neither a version nor a vendor's kernel.
    pub(crate) fn kernel(&self, name: impl AsRef<str>) -> Result<Kernel> {
        let name = name.as_ref();
        if let Some(vendor) = self.vendor.iter().find(|vendor| vendor.name == name) {
            return Ok(Kernel {
                name: name.to_owned(),
                version: vendor.base,
                ported: vendor.has.clone(),
                lacks: vendor.lacks.clone(),
                without: None,
            });
        }
        Ok(Kernel {
            name: name.to_owned(),
            version: Version::try_from(name.to_owned())?,
            ported: BTreeSet::new(),
            lacks: BTreeSet::new(),
            without: None,
        })
    }

    /// The type of programs in a section.
    pub(crate) fn program_type(&self, section: &str) -> Option<&ProgramType> {
        let length = |kind: &&ProgramType| {
            let fits = |prefix: &&String| section.starts_with(prefix.as_str());
            kind.sections.iter().filter(fits).map(String::len).max()
        };
        self.program_type
            .iter()
            .filter(|kind| length(kind).is_some())
            .max_by_key(length)
    }

    /// A helper by its number.
    pub(crate) fn helper(&self, number: i32) -> Option<&Helper> {
        self.helper.iter().find(|helper| helper.number == number)
    }

    /// What is known of a field.
    pub(crate) fn field_rows<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a FieldRow> {
        self.field
            .iter()
            .filter(move |row| row.names.iter().any(|own| own == name))
    }

    /// A shape by its name.
    pub(crate) fn shape(&self, name: &str) -> Option<&Shape> {
        self.shape.iter().find(|shape| shape.name == name)
    }

    /// Whether the types of a kernel have this field; `None` when the tables do not know it.
    pub(crate) fn has_field(&self, kernel: &Kernel, field: &Field) -> Option<bool> {
        let mut rows = self.field_rows(&field.name).peekable();
        rows.peek()?;
        let key = format!("field:{}={}", field.name, field.shape);
        let has = |row: &FieldRow| {
            let fits = row.shape.as_ref().is_none_or(|own| own == field.shape);
            let left = row.until.is_some_and(|until| until <= kernel.version);
            let built = row.config.is_none() || row.config != kernel.without;
            fits && built && !left && kernel.has(&key, &row.feature)
        };
        Some(rows.any(has) && !kernel.lacks.contains(&key))
    }

    /// Whether a kernel takes a shape of `[[shape]]`.
    pub(crate) fn has_shape(&self, kernel: &Kernel, name: &str) -> bool {
        self.shape(name)
            .is_some_and(|shape| kernel.has(&format!("shape:{name}"), &shape.feature))
    }

    /// The field of a context that holds a byte.
    pub(crate) fn context(&self, program: &str, offset: i64) -> Option<&ContextField> {
        self.context
            .iter()
            .filter(|field| field.program == program && field.start <= offset)
            .max_by_key(|field| field.start)
    }
}
