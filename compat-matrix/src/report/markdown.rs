//! For reviews.

use super::overview::{HEAD, escaped, reasons, row, sum};
use crate::judge::Outcome;
use crate::record::Status;

pub(super) fn text(outcomes: &[Outcome]) -> String {
    let mut text = line(&HEAD.map(str::to_owned));
    text += &format!("|{}\n", "---|".repeat(HEAD.len()));
    for outcome in outcomes {
        text += &line(&row(outcome));
    }
    for outcome in outcomes {
        let reasons = reasons(outcome);
        let skips = outcome
            .cells
            .iter()
            .filter(|cell| cell.status == Status::Skip);
        let skips: Vec<_> = skips
            .map(|cell| (format!("{} (skipped)", cell.name), cell.reason.clone()))
            .collect();
        if reasons.is_empty() && skips.is_empty() {
            continue;
        }
        text += &format!("\n### {}\n\n", outcome.id);
        for (name, reason) in reasons.into_iter().chain(skips) {
            text += &format!("- {}: {}\n", cell(&name), cell(&reason));
        }
    }
    text + &format!("\n{}\n", sum(outcomes))
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Text that stays in its place in a table.
fn cell(text: &str) -> String {
    escaped(text).replace('|', "\\|").replace('\n', "<br>")
}
