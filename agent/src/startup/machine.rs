//! What tells one machine from another, to notice that the state directory came from elsewhere: a
//! machine that was cloned, a disk that was copied, an image with state in it.

use std::hash::Hasher as _;
use std::path::Path;

use crate::files;

/// Beside the host id: for which one it was made, and a mark of each of the machine's own ids.
const FILE: &str = "host-machine";
const MAX_BYTES: u64 = 4096;
/// Far longer than any of the ids.
const MAX_ID: usize = 256;

/// Where ids are: of the system's installation (machine-id(5)), of the hardware or virtual machine
/// (SMBIOS, device tree). None of them changes with a restart, an update or another network card.
const SOURCES: [(&str, &str); 3] = [
    ("machine-id", "etc/machine-id"),
    ("product-uuid", "sys/class/dmi/id/product_uuid"),
    (
        "serial-number",
        "sys/firmware/devicetree/base/serial-number",
    ),
];

/// The ids of this machine, as far as it has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine(Vec<(&'static str, String)>);

/// What the state directory says of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nothing that contradicts it.
    Here,
    /// It was made where this id is another one.
    Elsewhere(&'static str),
}

impl Machine {
    /// Reads the ids below `root`, before the agent is in its jail, which has none of them.
    pub(super) fn read(root: &Path) -> Self {
        let read = |(name, path): (&'static str, &str)| {
            let text = files::read(&root.join(path), MAX_BYTES).ok()?;
            let text = String::from_utf8_lossy(&text);
            let id = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            // An image that was never started says "uninitialized"; firmware says nothing in zeros.
            let is_id = id.len() >= 4 && id.len() <= MAX_ID && id != "uninitialized";
            let tells = id.chars().any(|c| !matches!(c, '0' | '-'));
            (is_id && tells).then(|| (name, id.to_ascii_lowercase()))
        };
        Self(SOURCES.into_iter().filter_map(read).collect())
    }

    /// Whether the state of `host_id` in `directory` was made on this machine.
    pub(super) fn origin(&self, directory: &Path, host_id: [u8; 16]) -> Origin {
        let known = known(directory, host_id);
        let differs = |(name, id): &&(&'static str, String)| {
            let mark = mark(host_id, id);
            known.iter().any(|(of, was)| of == name && *was != mark)
        };
        match self.0.iter().find(differs) {
            Some((name, _)) => Origin::Elsewhere(name),
            None => Origin::Here,
        }
    }

    /// Writes down that the state of `host_id` in `directory` is this machine's. What is not to be
    /// read this time stays as it was.
    pub(super) fn remember(&self, directory: &Path, host_id: [u8; 16]) {
        let before = known(directory, host_id);
        let mut marks = before.clone();
        for (name, id) in &self.0 {
            if !marks.iter().any(|(of, _)| of == name) {
                marks.push(((*name).to_owned(), mark(host_id, id)));
            }
        }
        if marks == before {
            return;
        }
        let mut text = format!("{:032x}\n", u128::from_be_bytes(host_id));
        for (name, mark) in marks {
            text.push_str(&format!("{name} {mark}\n"));
        }
        if let Err(error) = files::replace_own(&directory.join(FILE), text.as_bytes(), true) {
            ::log::warn!(file = FILE, error:% = error; "the machine is not remembered");
        }
    }
}

/// Names and marks that were written for this host id; none where they were for another one.
fn known(directory: &Path, host_id: [u8; 16]) -> Vec<(String, String)> {
    let bytes = files::read_own(&directory.join(FILE), MAX_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let of = lines.next().unwrap_or_default();
    if of != format!("{:032x}", u128::from_be_bytes(host_id)) {
        return Vec::new();
    }
    let pairs = lines.filter_map(|line| line.split_once(' '));
    pairs
        .take(SOURCES.len())
        .map(|(name, mark)| (name.to_owned(), mark.to_owned()))
        .collect()
}

/// 64 bits of an id, of no use elsewhere: machine-id(5) asks not to pass it on.
fn mark(host_id: [u8; 16], id: &str) -> String {
    let mut hasher = siphasher::sip::SipHasher13::new_with_key(&host_id);
    hasher.write(id.as_bytes());
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HOST: [u8; 16] = [7; 16];

    /// A root directory with these ids.
    fn machine(machine_id: &str, product: &str) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/machine-id", machine_id),
            ("sys/class/dmi/id/product_uuid", product),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::read(root.path())
    }

    #[test]
    fn state_that_was_copied_to_another_machine_is_noticed_by_each_of_its_ids() {
        let state = tempfile::tempdir().unwrap();
        let here = machine("aaaa1\n", "bbbb1\n");
        assert_eq!(
            here.origin(state.path(), HOST),
            Origin::Here,
            "nothing is known"
        );
        here.remember(state.path(), HOST);
        assert_eq!(here.origin(state.path(), HOST), Origin::Here);
        let cloned = machine("aaaa1\n", "bbbb2\n");
        let expected = Origin::Elsewhere("product-uuid");
        assert_eq!(cloned.origin(state.path(), HOST), expected);
        let installed_anew = machine("aaaa2\n", "bbbb1\n");
        let expected = Origin::Elsewhere("machine-id");
        assert_eq!(installed_anew.origin(state.path(), HOST), expected);
    }

    #[test]
    fn what_cannot_be_read_contradicts_nothing_and_is_kept() {
        let state = tempfile::tempdir().unwrap();
        machine("aaaa1", "bbbb1").remember(state.path(), HOST);
        let blind = machine("uninitialized\n", "00000000-0000\n");
        assert_eq!(blind, Machine::default());
        assert_eq!(blind.origin(state.path(), HOST), Origin::Here);
        blind.remember(state.path(), HOST);
        let half = machine("", "BBBB1");
        assert_eq!(
            half.origin(state.path(), HOST),
            Origin::Here,
            "cases are alike"
        );
        half.remember(state.path(), HOST);
        let other = machine("aaaa2", "");
        assert_eq!(
            other.origin(state.path(), HOST),
            Origin::Elsewhere("machine-id")
        );
    }

    #[test]
    fn marks_of_another_host_id_or_damaged_ones_say_nothing() {
        let state = tempfile::tempdir().unwrap();
        let (here, other) = (machine("aaaa1", ""), machine("aaaa2", ""));
        here.remember(state.path(), HOST);
        assert_eq!(other.origin(state.path(), [8; 16]), Origin::Here);
        let text = fs::read_to_string(state.path().join(FILE)).unwrap();
        assert!(!text.contains("aaaa1"), "{text}");
        fs::write(state.path().join(FILE), [0xff; 9]).unwrap();
        assert_eq!(other.origin(state.path(), HOST), Origin::Here);
    }
}
