//! What all forms show: the row of a kernel, why it is red, and the sum.

use crate::judge::{Outcome, Verdict};

/// Columns of the overview.
pub(super) const HEAD: [&str; 6] = ["kernel", "release", "mode", "edges", "verdict", "seconds"];

/// One kernel's row of the overview.
pub(super) fn row(outcome: &Outcome) -> [String; 6] {
    let (found, expected) = outcome.edges;
    let again = if outcome.attempts > 1 {
        " (2nd start)"
    } else {
        ""
    };
    [
        outcome.id.clone(),
        outcome.release().to_owned(),
        outcome.mode.clone(),
        format!("{found}/{expected}"),
        format!("{}{again}", outcome.status.name()),
        format!("{:.1}", outcome.seconds),
    ]
}

/// Why a kernel is not green, one text per cell.
pub(super) fn reasons(outcome: &Outcome) -> Vec<(String, String)> {
    if let Some(why) = &outcome.infrastructure {
        return vec![("infrastructure".into(), why.clone())];
    }
    outcome
        .red()
        .map(|cell| (cell.name.clone(), cell.reason.clone()))
        .collect()
}

/// One line that sums all up.
pub(super) fn sum(outcomes: &[Outcome]) -> String {
    let count = |status| outcomes.iter().filter(|o| o.status == status).count();
    format!(
        "{} passed, {} failed, {} without a result",
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Infrastructure)
    )
}

/// Names of all cells, in the order of the first kernel that has each.
pub(super) fn cell_names(outcomes: &[Outcome]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for cell in outcomes.iter().flat_map(|outcome| &outcome.cells) {
        if !names.contains(&cell.name.as_str()) {
            names.push(&cell.name);
        }
    }
    names
}

/// Text that cannot be taken for markup.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no place for other control characters, escaped or not.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
