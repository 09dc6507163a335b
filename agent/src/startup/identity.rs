//! Who this host and this run are: random numbers, so that they say nothing about the machine.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

use super::machine::{Machine, Origin};
use crate::files;

const FILE: &str = "host-id";
/// Far above 32 digits: what is larger is damaged, and replaced if it can be read.
const MAX_BYTES: u64 = 64 << 10;

/// 16 bytes that nobody can guess.
pub(super) fn random_id() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut id)
        .map_err(|_| anyhow!("the kernel gives no random bytes"))?;
    Ok(id)
}

/// The host's id from the state directory, made at the first start.
///
/// A file that holds something else is replaced: the host then appears as a new one, which is less
/// than no host at all. So is one that was made on another machine: two hosts with one id would be
/// taken for one, and what they say to each other for what one says to itself.
pub(super) fn host_id(directory: &Path, machine: &Machine) -> Result<[u8; 16]> {
    let id = own_id(directory, machine)?;
    machine.remember(directory, id);
    Ok(id)
}

fn own_id(directory: &Path, machine: &Machine) -> Result<[u8; 16]> {
    let path = directory.join(FILE);
    match files::read_own(&path, MAX_BYTES) {
        Ok(bytes) => match parse(&bytes) {
            Some(id) => match machine.origin(directory, id) {
                Origin::Here => return Ok(id),
                Origin::Elsewhere(what) => {
                    let before = format!("{:032x}", u128::from_be_bytes(id));
                    ::log::warn!(differs = what, before = before.as_str(); "the state was copied from another machine: new host id");
                }
            },
            None => ::log::warn!(path = path.display().to_string().as_str(); "host id replaced"),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    }
    let id = random_id()?;
    let text = format!("{:032x}\n", u128::from_be_bytes(id));
    // Complete or not at all, also when the power goes.
    files::replace_own(&path, text.as_bytes(), true)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(id)
}

fn parse(bytes: &[u8]) -> Option<[u8; 16]> {
    notation::unhex(std::str::from_utf8(bytes).ok()?.trim_end())
}

#[cfg(test)]
mod tests {
    use super::{host_id, random_id};
    use crate::startup::machine::Machine;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_host_id_is_made_once_and_only_its_owner_reads_it() {
        let state = tempfile::tempdir().unwrap();
        let first = host_id(state.path(), &Machine::default()).unwrap();
        assert_eq!(host_id(state.path(), &Machine::default()).unwrap(), first);
        let mode = fs::metadata(state.path().join("host-id"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_host_id_is_replaced() {
        let state = tempfile::tempdir().unwrap();
        for damaged in ["", "xyz\n", "+0000000000000000000000000000001\n"] {
            fs::write(state.path().join("host-id"), damaged).unwrap();
            let id = host_id(state.path(), &Machine::default()).unwrap();
            assert_eq!(host_id(state.path(), &Machine::default()).unwrap(), id);
        }
    }

    #[test]
    fn state_of_another_machine_gets_an_id_of_its_own_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        let machine = |id: &str| {
            fs::write(root.path().join("etc/machine-id"), id).unwrap();
            Machine::read(root.path())
        };
        let (one, other) = (machine("aaaa1"), machine("aaaa2"));
        let state = tempfile::tempdir().unwrap();
        let first = host_id(state.path(), &one).unwrap();
        assert_eq!(host_id(state.path(), &one).unwrap(), first);
        let second = host_id(state.path(), &other).unwrap();
        assert_ne!(second, first);
        assert_eq!(host_id(state.path(), &other).unwrap(), second);
    }

    #[test]
    fn a_state_directory_that_is_not_there_is_an_error() {
        let state = tempfile::tempdir().unwrap();
        assert!(host_id(&state.path().join("none"), &Machine::default()).is_err());
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }
}
