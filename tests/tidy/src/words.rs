//! Words that must not be in the tree: paths of one machine, unfinished marks, sleeping tests.

use crate::{File, Finding, Tree};

/// A word that a file must not hold.
struct Banned {
    /// The word, in two parts so that this file does not hold it.
    parts: [&'static str; 2],
    /// Extensions of the files that are searched; empty means all.
    extensions: &'static [&'static str],
    /// Files and folders that may hold it.
    except: &'static [&'static str],
    /// Why not.
    why: &'static str,
}

const BANNED: [Banned; 12] = [
    machine_path(["/ho", "me/"]),
    machine_path(["/ro", "ot/"]),
    machine_path(["/Use", "rs/"]),
    machine_path(["/wo", "rk/"]),
    unfinished(["TO", "DO"]),
    unfinished(["FIX", "ME"]),
    unfinished(["todo", "!("]),
    unfinished(["unimple", "mented!("]),
    Banned {
        parts: ["#[ign", "ore]"],
        extensions: &[".rs"],
        except: &[],
        why: "a test that is not run says why: #[ignore = \"...\"]",
    },
    Banned {
        parts: ["thread::", "sleep"],
        extensions: &[".rs"],
        except: &SLEEPERS,
        why: "wait for a condition with a deadline; sleeping is not synchronisation",
    },
    Banned {
        parts: ["bpf_", "printk"],
        extensions: &[".c", ".h"],
        except: &[],
        why: "shipped programs do not write to the trace pipe",
    },
    Banned {
        parts: ["#include \"vm", "linux.h\""],
        extensions: &[".c", ".h"],
        except: &[],
        why: "kernel types are named one by one in bpf/core/kernel.h",
    },
];

/// The places that wait: each polls a condition and gives up at a deadline.
const SLEEPERS: [&str; 3] = [
    "agent/src/spool/tests/mod.rs",
    "tests/src/lab/wait.rs",
    "xtask/src/idle.rs",
];

const fn machine_path(parts: [&'static str; 2]) -> Banned {
    Banned {
        parts,
        extensions: &[],
        except: &[],
        why: "a path of one machine",
    }
}

const fn unfinished(parts: [&'static str; 2]) -> Banned {
    Banned {
        parts,
        extensions: &[],
        except: &[],
        why: "unfinished: finish it, or write down the decision not to",
    }
}

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for banned in &BANNED {
            banned.search(file, &mut findings);
        }
    }
    findings
}

impl Banned {
    fn search(&self, file: &File, findings: &mut Vec<Finding>) {
        let applies = self.extensions.is_empty()
            || self.extensions.iter().any(|end| file.path.ends_with(end));
        if !applies || file.is_within(self.except) {
            return;
        }
        let word = self.parts.concat();
        for (at, line) in file.lines() {
            if stands_alone(line, &word) {
                findings.push(file.finding(at, format!("{word:?}: {}", self.why)));
            }
        }
    }
}

/// True when the line holds the word and not merely a longer word that ends or begins with it.
fn stands_alone(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !(before.is_some_and(joins)
            || word.ends_with(char::is_alphanumeric) && after.is_some_and(joins))
    })
}

#[cfg(test)]
mod tests {
    use super::{BANNED, check, stands_alone};
    use crate::tree;

    #[test]
    fn every_banned_word_is_found_in_a_file_of_its_kind() {
        for banned in &BANNED {
            let extension = banned.extensions.first().unwrap_or(&".md");
            let path = format!("agent/src/a{extension}");
            let text = format!("x\n({} y)\n", banned.parts.concat());
            let found = check(&tree(&[(&path, &text)]));
            assert_eq!(found.len(), 1, "{:?}", banned.parts);
            assert_eq!(found[0].line, 2);
        }
    }

    #[test]
    fn a_place_that_may_hold_a_word_holds_it() {
        let sleep = BANNED[9].parts.concat();
        assert!(check(&tree(&[("tests/src/lab/wait.rs", &sleep)])).is_empty());
    }

    #[test]
    fn a_longer_word_is_another_word() {
        let word = ["/wo", "rk/"].concat();
        assert!(stands_alone(&format!("in {word}x"), &word));
        assert!(!stands_alone(&format!("in tree{word}x"), &word));
        assert!(!stands_alone("AUTODOCS", &["TO", "DO"].concat()));
    }
}
