//! The rules that ship, the documentation, and what mistakes look like.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::run;
use crate::alert::rule::{Rule, Rules, read, shipped};

#[test]
fn each_fires_once_where_it_should_and_not_where_it_should_not() {
    let rules = shipped();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), rules.len(), "a name comes twice");
    for rule in &rules {
        let name = &rule.name;
        assert!(
            rule.cases.iter().any(|case| case.fires.is_some()),
            "{name}: no test fires"
        );
        assert!(
            rule.cases.iter().any(|case| case.fires.is_none()),
            "{name}: each test fires"
        );
        let of = |severity| rule.cases.iter().any(|case| case.fires == Some(severity));
        if rule.critical.is_some() {
            assert!(
                of(crate::alert::Severity::Critical),
                "{name}: no test is critical"
            );
        }
        if rule.warning.is_some() {
            assert!(of(crate::alert::Severity::Warning), "{name}: no test warns");
        }
    }
    let rules = Rules::of(rules);
    if let Err(wrong) = run(rules.iter()) {
        panic!("{}", wrong.join("\n"));
    }
}

/// `1 batches wait` is what a place with a number and no word for one says.
#[test]
fn a_number_before_what_it_counts_has_a_word_for_one() {
    const NO_PLURAL: [&str; 5] = ["is", "was", "has", "does", "less"];
    let mut wrong = Vec::new();
    for rule in shipped() {
        for place in rule.words[0].summary.split('{').skip(1) {
            let (inner, behind) = place.split_once('}').expect("a place ends");
            let word = behind.strip_prefix(' ').unwrap_or_default();
            let word = word.split([' ', '.', ',', ';']).next().unwrap_or_default();
            let is_number = ["value", "usual"].contains(&inner)
                || rule.numbers.iter().any(|(name, ..)| name == inner);
            if is_number && word.ends_with('s') && !NO_PLURAL.contains(&word) {
                wrong.push(format!("{}: {{{inner}}} {word}", rule.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/RULES.md")
}

/// The rules as they stand in the documentation.
fn table(rules: &[Rule]) -> String {
    let mut text = format!(
        "{} rules; the number behind a limit is what it is unless an operator changes it.\n\n\
         | rule | of, by | says | limits |\n|---|---|---|---|\n",
        rules.len()
    );
    for rule in rules {
        let limits = rule
            .limits
            .iter()
            .map(|limit| format!("{} {}", limit.name, limit.text));
        let limits: Vec<String> = limits.collect();
        let worst = match (&rule.warning, &rule.critical) {
            (Some(_), Some(_)) => "",
            (Some(_), None) => " (warning)",
            _ => " (critical)",
        };
        // A bar would begin a column.
        let said = rule.words[0].summary.replace('|', "\\|");
        let (of, by) = (&rule.text.of, &rule.text.by);
        let limits = limits.join(", ");
        let _ = writeln!(
            text,
            "| `{}`{worst} | {of}, {by} | {said} | {limits} |",
            rule.name
        );
    }
    text
}

#[test]
fn the_documentation_lists_the_rules_that_ship() {
    let written = std::fs::read_to_string(page()).expect("the page");
    let heading = "## The rules that ship\n\n";
    let (before, listed) = written.split_once(heading).expect("the heading");
    let rules = shipped();
    assert!(rules.len() >= 70, "{}", rules.len());
    let table = table(&rules);
    if std::env::var_os("WAYBILL_BLESS").is_some() {
        std::fs::write(page(), format!("{before}{heading}{table}")).expect("write the page");
    } else {
        assert!(
            listed == table,
            "docs/RULES.md is old; run this test with WAYBILL_BLESS=1"
        );
    }
}

#[test]
fn the_rule_of_the_documentation_is_one() {
    let written = std::fs::read_to_string(page()).expect("the page");
    let (_, behind) = written
        .split_once("## How a rule is written")
        .expect("the heading");
    let text = behind.split("```").nth(1).expect("an example");
    let text = text.trim_start_matches("toml");
    let read = read::read("RULES.md", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let rules: Vec<Arc<Rule>> = read.rules.into_iter().map(Arc::new).collect();
    assert_eq!(run(rules.iter()), Ok(2));
}

/// Counters of agents are documented, and no rule asks for one that is not.
#[test]
fn counters_that_rules_ask_for_are_documented() {
    let handbook = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let handbook = std::fs::read_to_string(handbook).expect("the handbook");
    for rule in shipped() {
        for one in &rule.aggregates {
            if let Some(counter) = one.column.strip_prefix("counter.") {
                let name = format!("`{counter}`");
                assert!(handbook.contains(&name), "{}: {counter}", rule.name);
            }
        }
    }
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_with_its_place() {
    let text = r#"
[[rule]]
name = "One"
of = "edge"
limits = { a = "5 parsecs" }
value = "d(faild)"
warning = "value > 5 ms and rtt > 3"
en = { summary = "{nobody} failed", meaning = "m", causes = ["c"], next = "n" }
zh = { summary = "{value", meaning = "m", causes = ["c"], next = "n" }
[[rule]]
name = "two"
of = "edge"
colour = "red"
value = "d(failed) + r(bytes_sent)"
warning = "d(failed)"
en = { summary = "s", meaning = "m", causes = ["c"], next = "n" }
zh = { summary = "s", meaning = "m", causes = ["c"], next = "n" }
[[rule]]
name = "three"
of = "disk"
[change."a b"]
enable = "no"
"#;
    let mistakes = read::read("f", text).expect_err("mistakes").0;
    let all = mistakes.join("\n");
    for part in [
        "f:3:8: a rule's name",
        "f:5:16: a limit is a number",
        "f:6:12: edge has no column \"faild\"; did you mean failed?",
        "f:7:29: rtt has a value in each row",
        "f:8:18: {nobody} is not known here",
        "f:9:18: a { without its }",
        "f:13:1: unknown field `colour`",
        "f:14:10: a plain number and bytes per second can be neither",
        "f:15:12: something true or false is expected",
        "f:22:10: invalid type",
    ] {
        assert!(all.contains(part), "{part}\nin\n{all}");
    }
    assert!(
        all.contains("f:18:") && all.contains("missing field"),
        "{all}"
    );
}

#[test]
fn what_is_not_known_makes_neither_true_nor_false() {
    let rule = |condition: &str, row: &str| {
        let text = format!(
            "[[rule]]\nname = \"a\"\nof = \"edge\"\nvalue = \"rows()\"\n\
             warning = \"{condition}\"\n\
             en = {{ summary = \"s\", meaning = \"m\", causes = [\"c\"], next = \"n\" }}\n\
             zh = {{ summary = \"s\", meaning = \"m\", causes = [\"c\"], next = \"n\" }}\n\
             [[rule.test]]\nrows = [{{ client = \"a/x\", server = \"b/y\"{row} }}]\n\
             fires = \"warning\"\n"
        );
        let read = read::read("f", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let rules: Vec<Arc<Rule>> = read.rules.into_iter().map(Arc::new).collect();
        run(rules.iter()).is_ok()
    };
    // opened is known, failed is not.
    for (condition, fires) in [
        ("d(failed) > 0", false),
        ("not d(failed) > 0", false),
        ("d(failed) > 0 or d(opened) > 0", true),
        ("d(failed) > 0 and d(opened) > 0", false),
        ("not (d(failed) > 0 and d(opened) < 0)", true),
        ("absent(d(failed))", true),
        ("absent(d(opened))", false),
        ("d(opened) / 0 > 0", false),
        ("absent(d(opened) / 0)", true),
        ("absent(usual(d(opened)))", true),
        ("greater(d(opened), 3) = 5", true),
    ] {
        assert_eq!(rule(condition, ", opened = 5"), fires, "{condition}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a file says, it is read or refused, and every mistake is on one line of its own.
    #[test]
    fn changed_files_are_read_or_refused(
        cut in (0.0..1.0_f64, 0_usize..40),
        put in proptest::sample::select(vec![
            "", "\"", "[", "[[rule]]", "}", "= 5", "d(", "'", "\\", "\n", "é", "{x}", "usual(",
        ]),
    ) {
        let text = include_str!("../../../rules/listener.toml");
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a small file")]
        let begin = text.floor_char_boundary((cut.0 * text.len() as f64) as usize);
        let end = text.floor_char_boundary((begin + cut.1).min(text.len()));
        let changed = format!("{}{put}{}", &text[..begin], &text[end..]);
        if let Err(mistakes) = read::read("f", &changed) {
            for line in &mistakes.0 {
                prop_assert!(line.starts_with("f:"), "{}", line);
            }
        }
    }
}
