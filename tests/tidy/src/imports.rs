//! Who may use what: the boundaries inside a crate, which the compiler does not keep.

use crate::rust::product_lines;
use crate::{Finding, Tree};

/// One boundary: text that product code may hold in some places only.
struct Boundary {
    /// What is looked for in lines of product code.
    needles: &'static [&'static str],
    /// Where the rule holds.
    within: &'static [&'static str],
    /// Where the text may be all the same.
    except: &'static [&'static str],
    /// What the boundary is for.
    why: &'static str,
}

/// Modules that take values and `now` and return values; `*` is one folder.
const PURE: [&str; 12] = [
    "agent/src/batch.rs",
    "agent/src/family/*/aggregate.rs",
    "agent/src/family/*/aggregate/",
    "agent/src/family/*/decide.rs",
    "agent/src/family/*/decide/",
    "agent/src/family/*/event.rs",
    "agent/src/family/*/plan.rs",
    "agent/src/family/host/row.rs",
    "agent/src/plan.rs",
    "agent/src/plan/",
    "collector/src/join/",
    "wire/src/",
];

/// What runs at a time of its own; everything else is told the time.
const CLOCKS: [&str; 12] = [
    "agent/src/event_loop.rs",
    // Moves the clock of trials.
    "agent/src/fault.rs",
    "agent/src/clock.rs",
    // Names the call as one that is allowed.
    "agent/src/calls/agent.rs",
    "agent/src/calls/beside.rs",
    // CPU time.
    "agent/src/meter.rs",
    "agent/src/spool/thread.rs",
    "agent/src/upload/thread.rs",
    "agent/src/upload/transport.rs",
    "collector/src/store/writer.rs",
    "collector/src/store/writer/message.rs",
    "collector/src/time.rs",
];

const BOUNDARIES: [Boundary; 8] = [
    Boundary {
        needles: &["libbpf_rs", "libbpf_sys"],
        within: &["agent/", "collector/", "wire/"],
        except: &[
            "agent/src/family/",
            "agent/src/host/",
            "agent/src/kernel.rs",
            "agent/src/loader.rs",
            "agent/src/loader/",
            "agent/src/records.rs",
        ],
        why: "the kernel is asked in host/, changed in loader and families, read in records and kernel",
    },
    Boundary {
        needles: &["rusqlite"],
        within: &["agent/", "collector/", "wire/"],
        except: &[
            "agent/src/spool/",
            "collector/src/store.rs",
            "collector/src/store/",
            "collector/src/access/",
            "collector/src/alert/store/",
        ],
        why: "SQL stays behind the spool, the store and the databases of credentials and alerts",
    },
    Boundary {
        needles: &["caps::", "nix::sched", "nix::mount", "chroot("],
        within: &["agent/", "collector/", "wire/"],
        except: &["agent/src/jail.rs", "agent/src/jail/", "agent/src/sandbox/"],
        why: "privilege is changed by the jail for good, and by the sandbox for a trial",
    },
    Boundary {
        needles: &[
            "Instant::now",
            "SystemTime::now",
            "nix::time",
            "clock_gettime",
        ],
        within: &["agent/", "collector/", "wire/"],
        except: &CLOCKS,
        why: "time comes in as a value, so that tests choose it",
    },
    Boundary {
        needles: &[
            "std::fs",
            "std::env",
            "std::process",
            "std::thread",
            "libbpf_rs",
            "nix::",
            "mio::",
            "TcpStream",
        ],
        within: &PURE,
        except: &[],
        why: "pure: values in, values out",
    },
    Boundary {
        needles: &["process::Command"],
        within: &["agent/", "collector/", "wire/"],
        except: &[],
        why: "no program is started from a data path",
    },
    Boundary {
        needles: &["ureq::Agent", "ureq::config", "ureq::get", "ureq::post"],
        within: &["agent/", "collector/", "wire/"],
        except: &["agent/src/upload/", "collector/src/remote.rs"],
        why: "one place of each program calls another",
    },
    Boundary {
        needles: &["crate::family", "crate::event_loop"],
        within: &["agent/src/spool/", "agent/src/upload/"],
        except: &[],
        why: "spool and upload know batches, never what is in them",
    },
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        for boundary in &BOUNDARIES {
            if !is_within(&file.path, boundary.within) || is_within(&file.path, boundary.except) {
                continue;
            }
            for (at, line) in product_lines(file) {
                if let Some(needle) = boundary.needles.iter().find(|n| line.contains(**n)) {
                    findings.push(file.finding(at, format!("{needle:?}: {}", boundary.why)));
                }
            }
        }
    }
    findings
}

fn is_within(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| match place.split_once('*') {
        None => path.starts_with(place),
        Some((before, after)) => {
            let rest = path
                .strip_prefix(before)
                .and_then(|rest| rest.find('/').map(|at| &rest[at..]));
            rest.is_some_and(|rest| rest.starts_with(after))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{BOUNDARIES, check};
    use crate::tree;

    #[test]
    fn every_boundary_can_be_broken() {
        for boundary in &BOUNDARIES {
            for needle in boundary.needles {
                let place = boundary.within[0];
                let path = if place.ends_with('/') {
                    format!("{place}src/somewhere.rs")
                } else {
                    place.to_owned()
                };
                let text = format!("use {needle}x;\n");
                assert!(
                    !check(&tree(&[(&path, &text)])).is_empty(),
                    "{needle} in {path}"
                );
            }
        }
    }

    #[test]
    fn what_a_family_decides_and_folds_is_pure_whatever_its_name_is() {
        let text = "use libbpf_rs::MapHandle;\n";
        let found = check(&tree(&[
            ("agent/src/family/a/aggregate.rs", text),
            ("agent/src/family/b/decide/needs.rs", text),
            ("agent/src/family/b/running.rs", text),
        ]));
        let paths: Vec<_> = found.iter().map(|f| f.path.as_str()).collect();
        let pure = [
            "agent/src/family/a/aggregate.rs",
            "agent/src/family/b/decide/needs.rs",
        ];
        assert_eq!(paths, pure);
    }

    #[test]
    fn the_place_that_owns_a_thing_may_use_it() {
        let tree = tree(&[
            ("agent/src/loader.rs", "use libbpf_rs::Object;\n"),
            ("agent/src/spool/store.rs", "use rusqlite::Connection;\n"),
            ("agent/src/jail.rs", "use caps::Capability;\n"),
        ]);
        assert_eq!(check(&tree), []);
    }

    #[test]
    fn tests_and_comments_cross_no_boundary() {
        let source =
            "// rusqlite is not used here\n#[cfg(test)]\nmod tests {\nuse rusqlite::X;\n}\n";
        assert_eq!(check(&tree(&[("agent/src/batch.rs", source)])), []);
    }
}
