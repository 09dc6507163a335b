//! `cargo xtask tidy`: the architecture rules of `tests/tidy`, on this tree.

use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use crate::{Cli, stage, workspace};

/// Checks every rule and lists each breach.
///
/// # Errors
/// When a rule is broken or the tree cannot be read.
pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        stage::say(&finding.to_string())?;
    }
    if !findings.is_empty() {
        bail!("{} breaches of the rules in tests/tidy", findings.len());
    }
    Ok(())
}

fn findings() -> Result<Vec<tidy::Finding>> {
    let root = workspace::root();
    let tree = tidy::Tree::read(&root).with_context(|| format!("read {}", root.display()))?;
    let mut findings = tidy::check(&tree);
    findings.extend(unknown_commands(&tree));
    Ok(findings)
}

/// Commands that a document tells a reader to type and that this program does not have.
fn unknown_commands(tree: &tidy::Tree) -> Vec<tidy::Finding> {
    tidy::documents::commands(tree)
        .into_iter()
        .filter(|named| !exists(&named.words))
        .map(|named| named.finding("is not a command of xtask"))
        .collect()
}

/// True when the words lead from `cargo xtask` to a command; what follows it are arguments.
fn exists(words: &[String]) -> bool {
    let mut at = Cli::command();
    for word in words {
        match at.find_subcommand(word) {
            Some(next) => at = next.clone(),
            None => return !at.has_subcommands(),
        }
    }
    // A group alone, as in `cargo xtask bench`, is a fair thing to name.
    true
}

#[cfg(test)]
mod tests {
    use super::exists;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_command_and_its_arguments_exist_and_an_invented_one_does_not() {
        assert!(exists(&words("demo")));
        assert!(exists(&words("bench wire")));
        assert!(exists(&words("test e2e")));
        assert!(!exists(&words("conquer")));
        assert!(!exists(&words("bench everything")));
    }

    #[test]
    fn this_tree_breaks_no_rule() {
        let found = super::findings().unwrap();
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
