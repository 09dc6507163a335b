//! `rules`: what alerts are made by.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::output::{Format, load, show};
use crate::alert::folder::{self, Folder};
use crate::alert::rule::{Limit, Rule, Rules, Shown, words::Texts};
use crate::alert::{RuleName, Severity, trial};
use crate::config::DEFAULT_PATH;
use crate::escape::Shown as Safe;
use crate::exit::Failure;

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Check files of rules: every mistake with line and column, and every test in them
    ///
    /// Ends with exit code 6 where something is wrong.
    Check(CheckArgs),
    /// List the rules: those that come with the program, and those of the configuration's folder
    List(ListArgs),
    /// Show one rule: what it computes, its limits, and what it says in both languages
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files of rules
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    whose: Whose,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Name of the rule
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    whose: Whose,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which rules.
#[derive(Debug, Args)]
struct Whose {
    /// Configuration file, for the folder of rules
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "shipped")]
    config: PathBuf,
    /// Only the rules that come with the program, as they came
    #[arg(long)]
    shipped: bool,
}

pub(super) fn run(command: RulesCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        RulesCommand::Check(args) => check(&args, out),
        RulesCommand::List(args) => list(&args, out),
        RulesCommand::Show(args) => one(&args, out),
    }
}

/// What is wrong with files.
#[derive(Serialize)]
struct Checked {
    rules: usize,
    tests: usize,
    mistakes: Vec<String>,
}

fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut checked = Checked {
        rules: 0,
        tests: 0,
        mistakes: Vec::new(),
    };
    for file in &args.files {
        match folder::one(file) {
            Ok(read) => {
                checked.rules += read.rules.len();
                let rules: Vec<Arc<Rule>> = read.rules.into_iter().map(Arc::new).collect();
                // They have passed once already.
                checked.tests += trial::run(rules.iter()).unwrap_or_default();
            }
            Err(why) => checked.mistakes.extend(why.lines().map(String::from)),
        }
    }
    show(out, args.format, &checked, |out, checked| {
        for mistake in &checked.mistakes {
            writeln!(out, "{}", Safe(mistake))?;
        }
        writeln!(
            out,
            "rules: {}, tests: {}, mistakes: {}",
            checked.rules,
            checked.tests,
            checked.mistakes.len()
        )
    })?;
    match checked.mistakes.is_empty() {
        true => Ok(()),
        false => Err(Failure::differs(anyhow!("files of rules with mistakes"))),
    }
}

/// A rule as it is listed.
#[derive(Serialize)]
struct Listed<'r> {
    name: &'r RuleName,
    enabled: bool,
    shipped: bool,
    severity: Severity,
    summary: &'r str,
    #[serde(flatten)]
    text: &'r Shown,
}

fn listed(rule: &Rule) -> Listed<'_> {
    Listed {
        name: &rule.name,
        enabled: rule.enabled,
        shipped: rule.shipped,
        severity: rule.severity(),
        summary: &rule.words[0].summary,
        text: &rule.text,
    }
}

/// The rules that are meant.
fn rules(whose: &Whose) -> Result<Rules, Failure> {
    let path = match whose.shipped || !readable(&whose.config) {
        true => None,
        false => load(&whose.config)?.alerts.rules,
    };
    let looked = Folder::new(path).look(true);
    match looked.wrong.is_empty() {
        true => Ok(looked.rules.unwrap_or_default()),
        false => Err(Failure::usage(anyhow!("{}", looked.wrong.join("\n")))),
    }
}

/// A default configuration that is not there means: as shipped.
fn readable(config: &Path) -> bool {
    config != Path::new(DEFAULT_PATH) || config.exists()
}

fn list(args: &ListArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let rules = rules(&args.whose)?;
    let all: Vec<Listed<'_>> = rules.iter().map(|rule| listed(rule)).collect();
    show(out, args.format, &all, |out, all| {
        writeln!(
            out,
            "{:<30}{:<10}{:<20}{:<14}STATE",
            "RULE", "SEVERITY", "OF", "BY"
        )?;
        for rule in all {
            let state = match (rule.enabled, rule.shipped) {
                (false, _) => "off",
                (true, true) => "shipped",
                (true, false) => "own",
            };
            writeln!(
                out,
                "{:<30}{:<10}{:<20}{:<14}{state}",
                rule.name.as_str(),
                rule.severity.name(),
                rule.text.of,
                rule.text.by,
            )?;
        }
        writeln!(out, "\nrules: {}", all.len())
    })
}

/// All of one rule.
#[derive(Serialize)]
struct Whole<'r> {
    #[serde(flatten)]
    listed: Listed<'r>,
    window_ms: i64,
    for_ms: i64,
    keep_for_ms: i64,
    limits: &'r [Limit],
    tests: usize,
    en: &'r Texts,
    zh: &'r Texts,
}

fn one(args: &ShowArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let rules = rules(&args.whose)?;
    let name = RuleName::new(&args.name).map_err(|why| Failure::usage(anyhow!(why)))?;
    let Some(rule) = rules.get(&name) else {
        let why = anyhow!("there is no rule {name}; rules list shows which there are");
        return Err(Failure::usage(why));
    };
    let whole = Whole {
        listed: listed(rule),
        window_ms: rule.window_ms,
        for_ms: rule.terms.for_ms,
        keep_for_ms: rule.terms.keep_for_ms,
        limits: &rule.limits,
        tests: rule.cases.len(),
        en: &rule.words[0],
        zh: &rule.words[1],
    };
    show(out, args.format, &whole, human)
}

fn human(out: &mut dyn Write, rule: &Whole<'_>) -> io::Result<()> {
    let text = rule.listed.text;
    writeln!(
        out,
        "{} ({})",
        rule.listed.name,
        rule.listed.severity.name()
    )?;
    let seconds = |ms: i64| ms / 1000;
    for (key, value) in [
        ("of", text.of.clone()),
        ("by", text.by.clone()),
        ("rows", text.rows.clone()),
        ("where", text.only_where.clone()),
        ("value", text.value.clone()),
        ("warning", text.warning.clone()),
        ("critical", text.critical.clone()),
        ("window", format!("{} s", seconds(rule.window_ms))),
        ("for", format!("{} s", seconds(rule.for_ms))),
        ("keep for", format!("{} s", seconds(rule.keep_for_ms))),
    ] {
        if !value.is_empty() {
            writeln!(out, "  {key:<10}{}", Safe(&value))?;
        }
    }
    for limit in rule.limits {
        writeln!(
            out,
            "  limit     {} = {}",
            Safe(&limit.name),
            Safe(&limit.text)
        )?;
    }
    for texts in [rule.en, rule.zh] {
        writeln!(
            out,
            "\n  {}\n  {}",
            Safe(&texts.summary),
            Safe(&texts.meaning)
        )?;
        for cause in &texts.causes {
            writeln!(out, "    - {}", Safe(cause))?;
        }
        writeln!(out, "  {}", Safe(&texts.next))?;
    }
    Ok(())
}
