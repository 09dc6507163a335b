//! Rules of operators: a folder of files beside those that come with the program, read again when it
//! changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use follow::{Stamp, Watch};

use super::rule::read::{self, MAX_BYTES, Read};
use super::rule::{MAX_RULES, Rule, Rules, shipped};
use super::trial;

/// Most files of a folder.
pub const MAX_FILES: usize = 200;

/// A folder that is followed.
#[derive(Debug, Default)]
pub struct Folder {
    path: Option<PathBuf>,
    files: BTreeMap<PathBuf, File>,
    begun: bool,
}

#[derive(Debug, Default)]
struct File {
    watch: Watch,
    /// What is in force of it.
    read: Option<Read>,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Looked {
    /// The rules, where something changed.
    pub rules: Option<Rules>,
    /// What is wrong, a line each; of a file that cannot be used what was read before stays.
    pub wrong: Vec<String>,
}

impl Folder {
    /// Of that path; without one there are the rules that come with the program.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            ..Self::default()
        }
    }

    /// Looks what changed; `at_once` without waiting that it has settled.
    pub fn look(&mut self, at_once: bool) -> Looked {
        let mut found = Looked::default();
        let mut changed = !self.begun;
        self.begun = true;
        if let Some(path) = self.path.clone() {
            changed |= self.look_into(&path, at_once, &mut found.wrong);
        }
        if changed {
            found.rules = Some(self.together(&mut found.wrong));
        }
        found
    }

    fn look_into(&mut self, path: &Path, at_once: bool, wrong: &mut Vec<String>) -> bool {
        let names = match names(path) {
            Ok(names) => names,
            Err(error) => {
                if at_once {
                    wrong.push(format!("{}: {error}", path.display()));
                }
                return false;
            }
        };
        let before = self.files.len();
        self.files.retain(|name, _| names.contains(name));
        let mut changed = self.files.len() < before;
        for name in names {
            let file = self.files.entry(name.clone()).or_default();
            if !file.watch.look(Stamp::of(&name), at_once) {
                continue;
            }
            match one(&name) {
                Ok(read) => {
                    file.read = Some(read);
                    changed = true;
                }
                Err(why) => wrong.push(why),
            }
        }
        changed
    }

    /// All files as one set; what of a file contradicts the others is left out and told.
    fn together(&self, wrong: &mut Vec<String>) -> Rules {
        let mut all = shipped();
        let files = || {
            self.files
                .iter()
                .filter_map(|(name, file)| Some((name, file.read.as_ref()?)))
        };
        for (name, read) in files() {
            for rule in &read.rules {
                let why = match all.iter().find(|known| known.name == rule.name) {
                    _ if all.len() >= MAX_RULES => format!("more than {MAX_RULES} rules"),
                    None => {
                        all.push(rule.clone());
                        continue;
                    }
                    Some(known) if known.shipped => format!(
                        "rule {} comes with the program; change it by [change.{}]",
                        rule.name, rule.name
                    ),
                    Some(_) => format!("rule {} stands in another file, too", rule.name),
                };
                wrong.push(format!("{}: {why}", name.display()));
            }
        }
        for (_, read) in files() {
            for change in &read.changes {
                if let Err(why) = change.apply(&mut all) {
                    wrong.push(why);
                }
            }
        }
        Rules::of(all)
    }
}

/// The files of a folder that hold rules.
fn names(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.path();
        if name.extension().is_some_and(|ending| ending == "toml") {
            names.push(name);
        }
    }
    names.sort();
    names.truncate(MAX_FILES);
    Ok(names)
}

/// One file, whose own tests pass.
///
/// # Errors
/// All that is wrong with it.
pub fn one(path: &Path) -> Result<Read, String> {
    let name = path.display().to_string();
    let cannot = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let size = std::fs::metadata(path)
        .map_err(|error| cannot(&error))?
        .len();
    if size > MAX_BYTES as u64 {
        return Err(format!("{name}: more than {MAX_BYTES} bytes"));
    }
    let text = crate::files::text(path).map_err(|error| cannot(&error))?;
    let read = read::read(&name, &text).map_err(|mistakes| mistakes.to_string())?;
    let rules: Vec<Arc<Rule>> = read.rules.iter().cloned().map(Arc::new).collect();
    match trial::run(rules.iter()) {
        Ok(_) => Ok(read),
        Err(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| format!("{name}: {line}")).collect();
            Err(lines.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Folder;
    use crate::alert::finding::RuleName;

    const RULE: &str = r#"
        [[rule]]
        name = "own"
        of = "edge"
        value = "d(failed)"
        warning = "value > limit.most"
        limits = { most = 10 }
        en = { summary = "{value} failed", meaning = "m", causes = ["c"], next = "n" }
        zh = { summary = "{value}", meaning = "m", causes = ["c"], next = "n" }
        [[rule.test]]
        rows = [{ client = "a/x", server = "b/y", failed = 11 }]
        fires = "warning"
    "#;

    #[test]
    fn a_broken_file_leaves_what_was_there_and_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("own.toml");
        fs::write(&file, RULE).expect("write");
        let mut folder = Folder::new(Some(dir.path().to_owned()));
        let own = RuleName::new("own").expect("a name");
        let looked = folder.look(true);
        assert!(looked.wrong.is_empty(), "{:?}", looked.wrong);
        assert!(looked.rules.expect("rules").get(&own).is_some());

        fs::write(&file, RULE.replace("d(failed)", "d(faild)")).expect("write");
        let looked = folder.look(true);
        assert!(
            looked.wrong[0].contains("did you mean failed?"),
            "{:?}",
            looked.wrong
        );
        assert!(looked.rules.is_none());

        // A test of its own that fails is as much of a mistake.
        fs::write(&file, RULE.replace("failed = 11", "failed = 9")).expect("write");
        assert!(folder.look(true).wrong[0].contains("test 1"));

        fs::write(&file, RULE.replace("most = 10", "most = 5")).expect("write");
        let rules = folder.look(true).rules.expect("rules");
        assert!((rules.get(&own).expect("it").limits[0].value - 5.0).abs() < 1e-9);
        assert!(folder.look(false).rules.is_none());
        assert!(folder.look(false).rules.is_none());

        fs::remove_file(&file).expect("remove");
        let rules = folder.look(false).rules.expect("rules");
        assert!(rules.get(&own).is_none());
    }

    #[test]
    fn shipped_rules_are_changed_by_name_and_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = RuleName::new("edge-failing").expect("a name");
        let write = |text: &str| fs::write(dir.path().join("a.toml"), text).expect("write");
        write("[change.edge-failing]\nenable = false\nfor = \"7m\"\nlimits.warning = \"3 %\"\n");
        let look = || Folder::new(Some(dir.path().to_owned())).look(true);
        let looked = look();
        assert!(looked.wrong.is_empty(), "{:?}", looked.wrong);
        let rules = looked.rules.expect("rules");
        let rule = rules.get(&name).expect("it");
        assert!(!rule.enabled && rule.shipped);
        assert_eq!(rule.terms.for_ms, 420_000);
        let limit = rule.limits.iter().find(|limit| limit.name == "warning");
        assert!((limit.expect("it").value - 0.03).abs() < 1e-9);

        for (text, part) in [
            (
                "[change.edge-fail]\nenable = false\n",
                "there is no rule edge-fail",
            ),
            (
                "[change.edge-failing]\nlimits.worse = 1\n",
                "no limit \"worse\"",
            ),
            (
                "[change.edge-failing]\nlimits.warning = \"3 s\"\n",
                "and not a time",
            ),
        ] {
            write(text);
            let looked = look();
            assert!(looked.wrong[0].contains(part), "{:?}", looked.wrong);
        }
        write(&RULE.replace("\"own\"", "\"edge-failing\""));
        assert!(look().wrong[0].contains("change it by [change.edge-failing]"));
    }
}
