//! Versions, and kernels that have more than their version says.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::floors::relocation::Field;
use crate::floors::table::{Feature, FieldRow, Floors};

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

    /// Whether its types have this field; `None` when the tables do not know it.
    pub(crate) fn has_field(&self, floors: &Floors, field: &Field) -> Option<bool> {
        let mut rows = floors.field_rows(&field.name).peekable();
        rows.peek()?;
        let key = format!("field:{}={}", field.name, field.shape);
        let has = |row: &FieldRow| {
            let fits = row.shape.as_ref().is_none_or(|own| own == field.shape);
            let left = row.until.is_some_and(|until| until <= self.version);
            let built = row.config.is_none() || row.config != self.without;
            fits && built && !left && self.has(&key, &row.feature)
        };
        Some(rows.any(has) && !self.lacks.contains(&key))
    }

    /// Whether it takes a shape of `[[shape]]`.
    pub(crate) fn has_shape(&self, floors: &Floors, name: &str) -> bool {
        floors
            .shape(name)
            .is_some_and(|shape| self.has(&format!("shape:{name}"), &shape.feature))
    }
}
