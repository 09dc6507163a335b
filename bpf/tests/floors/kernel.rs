//! Versions, and kernels that have more than their version says.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;

/// `MAX_BPF_STACK` of include/linux/filter.h, since 3.18.
pub(crate) const STACK_BYTES: usize = 512;

/// A version of the mainline, or none at all.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub(crate) struct Version {
    major: u16,
    minor: u16,
}

/// What no kernel has yet.
const NEVER: &str = "never";

impl TryFrom<String> for Version {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        if text == NEVER {
            return Ok(Self {
                major: u16::MAX,
                minor: 0,
            });
        }
        let (major, minor) = text
            .split_once('.')
            .with_context(|| format!("{text:?} is neither a version like 4.14 nor {NEVER:?}"))?;
        let number = |part: &str| -> Result<u16> {
            part.parse()
                .with_context(|| format!("{text:?} is not a version like 4.14"))
        };
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, into: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.major {
            u16::MAX => into.write_str("no kernel"),
            major => write!(into, "{major}.{}", self.minor),
        }
    }
}

/// When something came to the mainline, and how that is known.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Feature {
    pub(crate) since: Version,
    pub(crate) source: String,
}

/// A field of one of the kernel's types, or a constant of an enumeration.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Field {
    /// `type.field`; of a type without a name, behind the field that has it.
    pub(crate) name: String,
    /// What libbpf wants the kernel's to be, too (`bpf_core_fields_are_compat()`): `number`,
    /// `pointer`, `record` or `array`.
    pub(crate) shape: &'static str,
}

/// A kernel that a program claims.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// As claimed: a version, or the name of a vendor's kernel.
    pub(crate) name: String,
    /// The mainline version it comes from.
    pub(crate) version: Version,
    /// Features that it has in spite of its version.
    pub(crate) ported: BTreeSet<String>,
    /// Fields that it lacks in spite of its version.
    pub(crate) lacks: BTreeSet<String>,
    /// An option of its configuration that it was built without.
    pub(crate) without: Option<String>,
}

impl Kernel {
    /// Whether it has what is known by `key` and came to the mainline at some version.
    pub(crate) fn has(&self, key: &str, feature: &Feature) -> bool {
        self.has_since(key, feature.since)
    }

    /// The same by its version alone.
    pub(crate) fn has_since(&self, key: &str, since: Version) -> bool {
        since <= self.version || self.ported.contains(key)
    }

    /// The same kernel, built without an option.
    pub(crate) fn built_without(&self, option: &str) -> Self {
        Self {
            name: format!("{} without {option}", self.name),
            without: Some(option.to_owned()),
            ..self.clone()
        }
    }
}
