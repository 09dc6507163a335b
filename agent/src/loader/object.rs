//! What is in an object, by its name; and what an iterator of it shows.

use std::io::Read as _;

use anyhow::{Context as _, Result, anyhow};
use libbpf_rs::{Iter, Link, Map, MapCore as _, Object, ProgramMut};

pub(crate) fn program<'object>(object: &'object Object, name: &str) -> Result<ProgramMut<'object>> {
    object
        .progs_mut()
        .find(|program| program.name() == name)
        .ok_or_else(|| anyhow!("the object has no program {name}"))
}

pub(crate) fn map<'object>(object: &'object Object, name: &str) -> Result<Map<'object>> {
    object
        .maps()
        .find(|map| map.name() == name)
        .ok_or_else(|| anyhow!("the object has no map {name}"))
}

/// Reads one iterator to its end.
///
/// # Errors
/// The kernel refuses to make or read it.
pub fn read_iterator(link: &Link, into: &mut Vec<u8>) -> Result<()> {
    Iter::new(link)
        .context("start the iterator")?
        .read_to_end(into)
        .context("read the iterator")?;
    Ok(())
}
