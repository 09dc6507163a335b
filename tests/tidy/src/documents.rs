//! Documents: that links lead somewhere, decisions and counters are listed, and commands exist.

mod commands;

use std::collections::BTreeSet;

use crate::{File, Finding, Tree};
pub use commands::commands;

/// Folder of decision files, and the list of them.
const DECISIONS: &str = "docs/decisions/";

/// Where the agent's counters are declared.
const METRICS: &str = "agent/src/metrics.rs";
const COLLECTOR_METRICS: [&str; 2] = [
    "collector/src/metrics.rs",
    "collector/src/outputs/status.rs",
];

/// Where those are declared that the agent's programs count, and the kinds of their records.
const PROGRAMS_COUNT: (&str, &str) = ("bpf/families/", "/counters.h");
const REGISTRY: &str = "bpf/families/registry.h";

/// Where an operator reads what a counter means.
const OPERATIONS: &str = "docs/OPERATIONS.md";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in documents(tree) {
        for (at, target) in links(file) {
            if let Some(message) = broken(tree, file, &target) {
                findings.push(file.finding(at, message));
            }
        }
    }
    findings.extend(decisions(tree));
    findings.extend(counters(tree));
    findings
}

fn documents(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.files.iter().filter(|file| file.path.ends_with(".md"))
}

/// The lines of a document outside of code blocks.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Targets of `[text](target)` with their lines.
fn links(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in prose(file) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            found.push((at, target.to_owned()));
            rest = after;
        }
    }
    found
}

/// What is wrong with a link; web addresses are not followed.
fn broken(tree: &Tree, file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.path.clone()
    } else {
        match resolve(&file.path, path) {
            Some(path) if tree.has(&path) => path,
            _ => return Some(format!("the link {target:?} leads nowhere")),
        }
    };
    if anchor.is_empty() {
        return None;
    }
    let headings: BTreeSet<String> = prose(tree.file(&path)?)
        .filter_map(|(_, l)| slug(l))
        .collect();
    (!headings.contains(anchor)).then(|| format!("{path} has no heading for {target:?}"))
}

/// A path relative to the folder of `from`, as a path below the root; `None` above the root.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchor that a heading gets.
fn slug(line: &str) -> Option<String> {
    let heading = line
        .strip_prefix('#')?
        .trim_start_matches('#')
        .strip_prefix(' ')?;
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    Some(kept.collect())
}

/// Decision files are numbered 0001, 0002, ... and all listed in the folder's README.
fn decisions(tree: &Tree) -> Vec<Finding> {
    let list = tree
        .file(&format!("{DECISIONS}README.md"))
        .map_or("", |file| &file.text);
    let mut findings = Vec::new();
    let mut expected = 1;
    for file in &tree.files {
        let Some(name) = file.path.strip_prefix(DECISIONS) else {
            continue;
        };
        let Some(number) = name.split('-').next().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        if number != expected || !name.starts_with(&format!("{number:04}-")) {
            findings.push(file.finding(0, format!("the next decision is {expected:04}-...")));
        }
        expected = number + 1;
        if !list.contains(&format!("]({name})")) {
            findings.push(file.finding(0, "is not listed in docs/decisions/README.md"));
        }
    }
    findings
}

/// Every counter of the agent has its line for operators, and no line is about one that is gone.
fn counters(tree: &Tree) -> Vec<Finding> {
    let (Some(metrics), Some(operations)) = (tree.file(METRICS), tree.file(OPERATIONS)) else {
        return Vec::new();
    };
    let declared = declared(metrics);
    let rows = rows_of_programs(tree);
    let mut findings = Vec::new();
    for (at, name) in &declared {
        if !operations.text.contains(&format!("| `{name}` |")) {
            findings.push(metrics.finding(*at, format!("{name} has no line in {OPERATIONS}")));
        }
    }
    for (file, row) in &rows {
        if !operations.text.lines().any(|line| line == row) {
            findings.push(file.finding(0, format!("{OPERATIONS} lacks the line: {row}")));
        }
    }
    let rows: Vec<_> = rows.iter().map(|(_, row)| row.as_str()).collect();
    let counted = |word: &str| {
        rows.iter()
            .any(|row| row.starts_with(&format!("| `{word}` |")))
    };
    for (at, line) in operations.lines() {
        for word in line.split('`').skip(1).step_by(2) {
            // The collector's are written as Prometheus shows them.
            let gone = match word.strip_prefix("waybill_collector_") {
                Some(name) => !COLLECTOR_METRICS.iter().any(|file| {
                    let declares = [
                        format!("    {name}: \""),
                        format!("TYPE {word} "),
                        format!("        \"{name}\",\n"),
                    ];
                    let file = tree.file(file);
                    file.is_some_and(|file| declares.iter().any(|text| file.text.contains(text)))
                }),
                None => declared.iter().all(|(_, name)| *name != word) && !counted(word),
            };
            if word.ends_with("_total") && !word.starts_with('_') && gone {
                findings.push(operations.finding(at, format!("{word} is not a counter")));
            }
        }
    }
    findings
}

/// The line for operators of each counter of the programs, as the lists say it.
fn rows_of_programs(tree: &Tree) -> Vec<(&File, String)> {
    let mut rows = Vec::new();
    for file in &tree.files {
        let (folder, name) = PROGRAMS_COUNT;
        if file.path.starts_with(folder) && file.path.ends_with(name) {
            // X(NAME, name, "meaning", "advice")
            rows.extend(file.text.split("\tX(").skip(1).filter_map(|entry| {
                let name = entry.split(',').nth(1)?.trim();
                let mut texts = entry.split('"').skip(1).step_by(2);
                let (meaning, advice) = (texts.next()?, texts.next()?);
                Some((file, format!("| `{name}` | {meaning} | {advice} |")))
            }));
        } else if file.path == REGISTRY {
            // K(NAME, FAMILY, name, "meaning")
            for entry in file.text.split(" K(").skip(1) {
                // What explains the list has no texts.
                let Some(meaning) = entry.split('"').nth(1) else {
                    continue;
                };
                let kind = entry.split(',').nth(2).unwrap_or_default().trim();
                let name = |what: &str| format!("`kernel_records_{what}_{kind}_total`");
                let sent = name("attempted");
                rows.push((
                    file,
                    format!("| {sent} | the part of them that are {meaning} | normal |"),
                ));
                rows.push((
                    file,
                    format!(
                        "| {} | of {sent}, as `kernel_records_dropped_total` | as there |",
                        name("dropped")
                    ),
                ));
            }
        }
    }
    rows
}

/// The names inside of `counters! { ... }` with their lines.
fn declared(metrics: &File) -> Vec<(usize, &str)> {
    metrics
        .lines()
        .skip_while(|(_, line)| !line.starts_with("counters! {"))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('}'))
        .map(|(at, line)| (at, line.trim()))
        .filter(|(_, line)| !line.starts_with("//"))
        .filter_map(|(at, line)| Some((at, line.strip_suffix(',')?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{check, commands, slug};
    use crate::tree;

    #[test]
    fn a_link_that_leads_nowhere_is_found_and_one_in_code_is_not() {
        let found = check(&tree(&[
            (
                "docs/a.md",
                "[b](b.md) [c](c.md)\n```\n[d](d.md)\n```\n[e](../README.md)\n",
            ),
            ("docs/b.md", "[web](https://example.org/x)\n"),
            ("README.md", "[up](../x.md)\n[folder](docs/)\n"),
        ]));
        let messages: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "docs/a.md:1: the link \"c.md\" leads nowhere",
                "README.md:1: the link \"../x.md\" leads nowhere"
            ]
        );
    }

    #[test]
    fn a_link_to_a_heading_that_is_not_there_is_found() {
        let found = check(&tree(&[
            (
                "a.md",
                "# One thing\n[x](#one-thing) [y](#two) [z](b.md#exit-codes-0-to-5)\n",
            ),
            ("b.md", "## Exit codes: 0 to 5\n"),
        ]));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("#two"));
    }

    #[test]
    fn headings_get_the_anchors_that_renderers_make() {
        assert_eq!(
            slug("## `spool`: put, lease"),
            Some("spool-put-lease".to_owned())
        );
        assert_eq!(slug("#hash"), None);
    }

    #[test]
    fn an_unlisted_or_misnumbered_decision_is_found() {
        let found = check(&tree(&[
            ("docs/decisions/0001-layout.md", ""),
            ("docs/decisions/0003-static.md", ""),
            ("docs/decisions/README.md", "- [layout](0001-layout.md)\n"),
            ("docs/decisions/dependencies.md", ""),
        ]));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|f| f.path.ends_with("0003-static.md")));
    }

    #[test]
    fn a_counter_without_a_line_and_a_line_without_a_counter_are_found() {
        let metrics = "counters! {\n    /// A.\n    a_total,\n    /// B.\n    b_depth,\n}\n";
        let operations = "| `a_total` | is documented |\n`_total` `c_total`\n\
                          `waybill_collector_a_total` `waybill_collector_c_total`\n";
        let found = check(&tree(&[
            ("agent/src/metrics.rs", metrics),
            (
                "collector/src/metrics.rs",
                "counters! {\n    /// A.\n    a_total: \"counter\",\n}\n",
            ),
            ("docs/OPERATIONS.md", operations),
        ]));
        let messages: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "agent/src/metrics.rs:5: b_depth has no line in docs/OPERATIONS.md",
                "docs/OPERATIONS.md:2: c_total is not a counter",
                "docs/OPERATIONS.md:3: waybill_collector_c_total is not a counter"
            ]
        );
    }

    #[test]
    fn what_programs_count_has_the_line_that_their_list_says() {
        let list = "#define C(X) \\\n\tX(A, a_total, \\\n\t  \"some a\", \\\n\t  \"normal\") \\\n\
                    \tX(B, b_total, \\\n\t  \"some b\", \\\n\t  \"ask\")\n";
        let kinds = "/* Kinds: K(NAME, FAMILY, name, what). */\n#define WB_RECORD_KINDS(K) K(A, A, a, \"ends\")\n";
        let operations = "| `a_total` | some a | normal |\n| `b_total` | other b | ask |\n\
                          | `kernel_records_attempted_a_total` | the part of them that are ends | normal |\n\
                          | `kernel_records_dropped_b_total` | x | y |\n";
        let found = check(&tree(&[
            ("agent/src/metrics.rs", "counters! {\n}\n"),
            ("bpf/families/a/counters.h", list),
            ("bpf/families/registry.h", kinds),
            ("docs/OPERATIONS.md", operations),
        ]));
        let messages: Vec<_> = found.iter().map(ToString::to_string).collect();
        let dropped = "| `kernel_records_dropped_a_total` | of `kernel_records_attempted_a_total`, \
                       as `kernel_records_dropped_total` | as there |";
        assert_eq!(
            messages,
            [
                "bpf/families/a/counters.h: docs/OPERATIONS.md lacks the line: \
                 | `b_total` | some b | ask |"
                    .to_owned(),
                format!("bpf/families/registry.h: docs/OPERATIONS.md lacks the line: {dropped}"),
                "docs/OPERATIONS.md:4: kernel_records_dropped_b_total is not a counter".to_owned(),
            ]
        );
    }

    #[test]
    fn commands_are_found_up_to_their_options() {
        let text = "Run `cargo xtask bench wire`, or\n    cargo xtask demo --once [X]\n";
        let found = commands(&tree(&[("README.md", text), ("src/a.rs", text)]));
        let words: Vec<_> = found.iter().map(|named| named.words.join(" ")).collect();
        assert_eq!(words, ["bench wire", "demo"]);
    }
}
