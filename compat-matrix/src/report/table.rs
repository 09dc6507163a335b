//! For a terminal.

use super::overview::{HEAD, reasons, row, sum};
use crate::judge::Outcome;

/// The overview, then what is red and why.
pub(super) fn text(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(outcomes.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    for outcome in outcomes {
        for (name, reason) in reasons(outcome) {
            let reason = printable(&reason).replace('\n', "\n    ");
            text += &format!("\n{} {name}:\n    {reason}\n", outcome.id);
        }
    }
    text + "\n" + &sum(outcomes) + "\n"
}

/// Without what a guest could tell a terminal to do.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
