//! Type information for a kernel that has none of its own: which of the installed packs fits.

use std::path::Path;

use ::bpf::pack::{self, Kernel};

/// What stands in for the kernel's own types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pack {
    /// The kernel has types.
    NotNeeded,
    /// A file in the folder of packs.
    Found(String),
    /// No pack fits.
    Missing {
        /// Why, and for whom one would have to be.
        why: String,
    },
}

impl std::fmt::Display for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("not needed"),
            Self::Found(name) => f.write_str(name),
            Self::Missing { why } => write!(f, "none: {why}"),
        }
    }
}

/// Looks for the pack of the running kernel.
pub(super) fn pack(rootfs: &Path) -> Pack {
    let kernel = Kernel::running();
    let folder = rootfs.join(pack::FOLDER).join(std::env::consts::ARCH);
    match pack::choose(&kernel, &pack::names(&folder)) {
        Ok(name) => Pack::Found(name.to_owned()),
        Err(why) => Pack::Missing {
            why: format!("{why}; it would be {}", kernel.file_name()),
        },
    }
}
