//! What a trial needs from the machine, asked before it runs.

use std::fmt;

use super::command;

/// Something a machine may lack; a trial that needs it is then skipped with this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Effective user 0.
    Root,
    /// A program in PATH.
    Program(&'static str),
}

/// What every lab needs.
pub const LAB: [Need; 4] = [
    Need::Root,
    Need::Program("ip"),
    Need::Program("nft"),
    Need::Program("ss"),
];

impl Need {
    /// Why the machine lacks it, or `None` when it is there.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        match self {
            Self::Root if nix::unistd::geteuid().is_root() => None,
            Self::Root => Some("needs root: namespaces, cgroups and BPF".into()),
            Self::Program(name) if command::exists(name) => None,
            Self::Program(name) => Some(format!("needs {name}: ci/deps installs it")),
        }
    }
}

/// An error that means "this machine cannot show it", found only while a trial ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}
