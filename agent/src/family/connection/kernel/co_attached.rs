//! Other sockops programs: whether one may run for the sockets for which ours runs.
//!
//! Both set callback flags on a socket, and a flag that ours clears may be wanted by the other. Who
//! is attached to a cgroup is told by the kernel to `CAP_NET_ADMIN` only, so that is asked once,
//! before the agent is confined. From then on an iterator shows which sockops programs are loaded
//! at all: one that is attached elsewhere costs time (callbacks stay on) and nobody his flags.

use std::fs::File;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use bpf::abi::wb_co_attached;
use libbpf_rs::{Link, Object, ObjectBuilder};
use zerocopy::FromBytes as _;

use crate::host::CoAttached;
use crate::loader::read_iterator;

/// The sockops programs of the host; to be opened before the agent is confined.
#[derive(Debug)]
pub struct CoAttachedPrograms {
    own: Option<u32>,
    /// Ids of those that ran for the scope's sockets at the start; `None` when nobody could tell.
    beside: Option<Vec<u32>>,
    /// The iterator; without it nobody knows who came later.
    list: Option<(Object, Link)>,
}

impl CoAttachedPrograms {
    /// Asks who is there; `own` is the id of our program, `cgroup` what it is attached to.
    #[must_use]
    pub fn open(cgroup: Option<&File>, own: Option<u32>) -> Self {
        let beside = cgroup.and_then(|cgroup| {
            let ids = bpf::query::sockops_programs(cgroup.as_fd()).ok()?;
            Some(ids.into_iter().filter(|id| Some(*id) != own).collect())
        });
        let list = open_list();
        if let Err(error) = &list {
            let reason = format!("{error:#}");
            log::info!(reason = reason.as_str(); "sockops programs are not listed: callbacks stay on");
        }
        let list = list.ok();
        Self { own, beside, list }
    }

    /// Our program hangs on another cgroup, and who else does is not known.
    pub fn forget(&mut self) {
        self.beside = None;
    }

    /// Whether another sockops program may run for the same sockets. Not knowing, it may: a flag
    /// too many costs time, a flag too few costs the other program.
    #[must_use]
    pub fn may_share(&self) -> bool {
        let (Some(beside), Some((_, link))) = (&self.beside, &self.list) else {
            return true;
        };
        let mut listed = Vec::new();
        match read_iterator(link, &mut listed) {
            Ok(()) => is_shared(&listed, self.own, beside),
            Err(_) => true,
        }
    }
}

/// Programs of other agents count where they ran for the same sockets at the start: each agent has
/// a scope of its own.
fn is_shared(listed: &[u8], own: Option<u32>, beside: &[u32]) -> bool {
    let entries = listed.chunks_exact(size_of::<wb_co_attached>());
    let found = entries.filter_map(|entry| wb_co_attached::read_from_bytes(entry).ok());
    found
        .filter(|one| Some(one.id) != own)
        .any(|one| beside.contains(&one.id) || !co_attached(&one).is_ours())
}

fn co_attached(one: &wb_co_attached) -> CoAttached {
    let name = one.name.split(|byte| *byte == 0).next().unwrap_or_default();
    CoAttached {
        id: one.id,
        name: String::from_utf8_lossy(name).into_owned(),
    }
}

fn open_list() -> Result<(Object, Link)> {
    const NAME: &str = "wb_sockops_list";
    let mut builder = ObjectBuilder::default();
    let object = builder
        .name("waybill_list")
        .and_then(|builder| builder.open_memory(bpf::CO_ATTACHED))
        .and_then(libbpf_rs::OpenObject::load)
        .context("load the iterator over programs")?;
    let program = object.progs_mut().find(|program| program.name() == NAME);
    let link = program
        .with_context(|| format!("the object has no program {NAME}"))?
        .attach()
        .context("attach the iterator over programs")?;
    Ok((object, link))
}

#[cfg(test)]
mod tests {
    use super::is_shared;
    use bpf::abi::wb_co_attached;
    use zerocopy::IntoBytes as _;

    fn listed(programs: &[(u32, &str)]) -> Vec<u8> {
        let entries = programs.iter().map(|(id, text)| {
            let mut name = [0; 16];
            name[..text.len()].copy_from_slice(text.as_bytes());
            wb_co_attached { id: *id, name }
        });
        entries.flat_map(|one| one.as_bytes().to_vec()).collect()
    }

    #[test]
    fn only_what_may_run_for_the_same_sockets_is_co_attached() {
        let shared = |programs: &[(u32, &str)]| is_shared(&listed(programs), Some(7), &[9]);
        assert!(!shared(&[]), "nobody is there");
        assert!(!shared(&[(7, "wb_conn_option")]), "only ours");
        assert!(!shared(&[(7, "wb_conn_option"), (8, "wb_conn_option")]));
        assert!(shared(&[(7, "wb_conn_option"), (9, "wb_conn_option")]));
        assert!(shared(&[(7, "wb_conn_option"), (8, "bpf_sockops")]));
        assert!(shared(&[(8, "a_name_of_16_byt")]));
    }
}
