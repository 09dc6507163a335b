//! Other sockops programs of the host, as its kernel lists them.

use libbpf_rs::query::ProgInfoIter;
use std::fs::File;
use std::os::fd::AsFd as _;

/// A sock_ops program of someone else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoAttached {
    /// Kernel id.
    pub id: u32,
    /// Name, empty when not to be told.
    pub name: String,
}

impl CoAttached {
    /// True for programs of a running Waybill agent, by their name.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("wb_")
    }
}

impl std::fmt::Display for CoAttached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (program {})",
            if self.name.is_empty() {
                "?"
            } else {
                &self.name
            },
            self.id
        )
    }
}

/// Who else has a sock_ops program that runs for this cgroup.
pub(crate) fn co_attached(cgroup: &File) -> Option<Vec<CoAttached>> {
    let ids = bpf::query::sockops_programs(cgroup.as_fd()).ok()?;
    let mut co_attached: Vec<CoAttached> = ids
        .into_iter()
        .map(|id| CoAttached {
            id,
            name: String::new(),
        })
        .collect();
    for program in ProgInfoIter::default() {
        let known = co_attached
            .iter_mut()
            .find(|co_attached| co_attached.id == program.id);
        if let Some(co_attached) = known {
            co_attached.name = program.name.to_string_lossy().into_owned();
        }
    }
    Some(co_attached)
}
