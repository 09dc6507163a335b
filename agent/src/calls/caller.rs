//! Who makes system calls.

use std::fmt;

use super::call::Call;

/// Somebody in the agent who needs system calls: a part of it, or a family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The name in reports.
    pub name: &'static str,
    /// What is needed.
    lists: &'static [&'static [Call]],
}

impl Caller {
    /// Of this name in reports, with these lists of calls.
    #[must_use]
    pub const fn new(name: &'static str, lists: &'static [&'static [Call]]) -> Self {
        Self { name, lists }
    }

    /// Every one that is no family's own.
    pub const ALL: [Self; 12] = [
        Self::RUNTIME,
        Self::FILES,
        Self::LOOP,
        Self::UPLOAD,
        Self::TABLES,
        Self::PERF_BUFFER,
        Self::FILTERS,
        Self::KEEPER,
        Self::READER,
        Self::FOLLOWED,
        Self::SCOPE,
        Self::SOCKETS,
    ];

    /// What is needed, in lists of which each is sorted by name.
    pub fn lists(self) -> impl Iterator<Item = &'static [Call]> {
        self.lists.iter().copied()
    }

    /// What is needed.
    pub fn calls(self) -> impl Iterator<Item = &'static Call> {
        self.lists().flatten()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
