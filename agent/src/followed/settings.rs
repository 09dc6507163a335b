//! What the kernel shows and the plan was made from: read again, and said where it differs.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use follow::{Stamp, Watch};
use log::warn;

/// Files below `/proc` that the plan rests on. What is decided from them cannot be decided again by a
/// running agent, which has given up what that takes; so a change is said.
pub const SETTINGS: [&str; 5] = [
    // What the programs need in order to be loaded, and the agent in order to read their tables.
    "sys/kernel/unprivileged_bpf_disabled",
    // Whether this host is a gateway.
    "sys/net/ipv4/ip_forward",
    "sys/net/ipv6/conf/all/forwarding",
    // Whether connection tracking is in use, and whether it tells.
    "sys/net/netfilter/nf_conntrack_max",
    "sys/net/netfilter/nf_conntrack_events",
];
/// The host's own name.
const HOSTNAME: &str = "sys/kernel/hostname";

/// One of them.
#[derive(Debug)]
struct Setting {
    path: PathBuf,
    watch: Watch,
    first: Stamp,
    now: Stamp,
}

/// All of them, and the host's name.
#[derive(Debug)]
pub struct Settings {
    all: Vec<Setting>,
    hostname: Option<Setting>,
}

impl Setting {
    fn new(path: PathBuf) -> Self {
        let first = Stamp::of_text(&path);
        Self {
            path,
            watch: Watch::default(),
            now: first.clone(),
            first,
        }
    }

    /// True when it has another value than before.
    fn look(&mut self) -> bool {
        let seen = Stamp::of_text(&self.path);
        if !self.watch.look(seen.clone(), false) || seen == self.now {
            return false;
        }
        self.now = seen;
        true
    }

    /// `net.ipv4.ip_forward was 0 and is 1`, if it differs.
    fn changed(&self) -> Option<String> {
        if self.now == self.first {
            return None;
        }
        let path = self.path.to_string_lossy();
        let name = path.split_once("/sys/").map_or(&*path, |(_, name)| name);
        let name = name.replace('/', ".");
        let (first, now) = (shown(&self.first), shown(&self.now));
        Some(format!(
            "{name} was {first} when the plan was made and is {now}: a restart makes the plan anew"
        ))
    }
}

fn shown(stamp: &Stamp) -> String {
    match stamp {
        Stamp::Text(text) => String::from_utf8_lossy(text).trim().to_owned(),
        Stamp::Nothing(ErrorKind::NotFound) => "not there".into(),
        Stamp::Nothing(_) | Stamp::There { .. } => "unknown".into(),
    }
}

impl Settings {
    /// Follows [`SETTINGS`] below `proc`, and the host's name where `with_name`.
    #[must_use]
    pub fn new(proc: &Path, with_name: bool) -> Self {
        let setting = |name: &str| Setting::new(proc.join(name));
        Self {
            all: SETTINGS.into_iter().map(setting).collect(),
            hostname: with_name.then(|| setting(HOSTNAME)),
        }
    }

    /// Looks at all of them; gives the host's name when that changed.
    pub fn look(&mut self) -> Option<String> {
        for setting in &mut self.all {
            if setting.look()
                && let Some(said) = setting.changed()
            {
                warn!(setting = said.as_str(); "what the plan rests on has changed");
            }
        }
        let name = self.hostname.as_mut()?;
        let (changed, name) = (name.look(), shown(&name.now));
        (changed && !name.is_empty()).then_some(name)
    }

    /// What differs from the start, in an operator's words.
    #[must_use]
    pub fn changed(&self) -> Vec<String> {
        self.all.iter().filter_map(Setting::changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changes_is_said_as_long_as_it_differs_and_a_new_name_once() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/net/ipv4/ip_forward", "0\n");
        write(HOSTNAME, "localhost\n");
        let mut settings = Settings::new(place.path(), true);
        let mut looks = |times: usize| -> (Vec<String>, Vec<String>) {
            let names = (0..times).filter_map(|_| settings.look()).collect();
            (names, settings.changed())
        };
        assert_eq!(looks(3), (vec![], vec![]));
        write("sys/net/ipv4/ip_forward", "1\n");
        write("sys/net/netfilter/nf_conntrack_events", "0\n");
        write(HOSTNAME, "db-7\n");
        let (names, changed) = looks(3);
        assert_eq!(names, ["db-7"]);
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(
            changed[0].starts_with("net.ipv4.ip_forward was 0 when the plan was made and is 1")
        );
        assert!(changed[1].contains("nf_conntrack_events was not there"));
        write("sys/net/ipv4/ip_forward", "0\n");
        let (names, changed) = looks(3);
        assert_eq!(
            (names.len(), changed.len()),
            (0, 1),
            "as at the start again"
        );
    }
}
