//! `cargo xtask tidy`: the architecture rules of `tests/tidy`, on this tree.

use anyhow::{Context, Result, bail};
use clap::Command;

use crate::{stage, workspace};

/// Checks every rule and lists each breach; `commands` is what documents may name.
///
/// # Errors
/// When a rule is broken or the tree cannot be read.
pub(crate) fn run(commands: &Command) -> Result<()> {
    let findings = findings(commands)?;
    for finding in &findings {
        stage::say(&finding.to_string())?;
    }
    if !findings.is_empty() {
        bail!("{} breaches of the rules in tests/tidy", findings.len());
    }
    Ok(())
}

fn findings(commands: &Command) -> Result<Vec<tidy::Finding>> {
    let root = workspace::root();
    let tree = tidy::Tree::read(&root).with_context(|| format!("read {}", root.display()))?;
    let mut findings = tidy::check(&tree);
    findings.extend(unknown_commands(&tree, commands));
    Ok(findings)
}

/// Commands that a document tells a reader to type and that this program does not have.
fn unknown_commands(tree: &tidy::Tree, commands: &Command) -> Vec<tidy::Finding> {
    tidy::documents::commands(tree)
        .into_iter()
        .filter(|named| !exists(commands, &named.words))
        .map(|named| named.finding("is not a command of xtask"))
        .collect()
}

/// True when the words lead from `cargo xtask` to a command; what follows it are arguments.
fn exists(commands: &Command, words: &[String]) -> bool {
    let mut at = commands;
    for word in words {
        match at.find_subcommand(word) {
            Some(next) => at = next,
            None => return !at.has_subcommands(),
        }
    }
    // A group alone, as in `cargo xtask bench`, is a fair thing to name.
    true
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::Cli;

    fn exists(line: &str) -> bool {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        super::exists(&Cli::command(), &words)
    }

    #[test]
    fn a_command_and_its_arguments_exist_and_an_invented_one_does_not() {
        assert!(exists("demo"));
        assert!(exists("bench wire"));
        assert!(exists("test e2e"));
        assert!(!exists("conquer"));
        assert!(!exists("bench everything"));
    }

    #[test]
    fn this_tree_breaks_no_rule() {
        let found = super::findings(&Cli::command()).unwrap();
        let lines: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
