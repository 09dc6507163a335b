//! For build servers: a suite per kernel, a case per cell.

use super::overview::escaped;
use crate::judge::Outcome;
use crate::record::{Check, Status};

pub(super) fn text(outcomes: &[Outcome]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<&Check> = outcomes.iter().flat_map(|o| &o.cells).collect();
    let dead = outcomes
        .iter()
        .filter(|o| o.infrastructure.is_some())
        .count();
    text += &format!("<testsuites {}>\n", counts(&all, dead));
    for outcome in outcomes {
        let cells: Vec<&Check> = outcome.cells.iter().collect();
        let dead = usize::from(outcome.infrastructure.is_some());
        text += &format!(
            "  <testsuite name=\"{}\" {} time=\"{:.3}\">\n",
            escaped(&outcome.id),
            counts(&cells, dead),
            outcome.seconds
        );
        for cell in cells {
            text += &case(outcome, cell);
        }
        if let Some(why) = &outcome.infrastructure {
            text += &format!(
                "    <testcase classname=\"{0}\" name=\"boot\"><error>{1}</error></testcase>\n",
                escaped(&outcome.id),
                escaped(why)
            );
        }
        text += "  </testsuite>\n";
    }
    text + "</testsuites>\n"
}

fn counts(cells: &[&Check], dead: usize) -> String {
    let count = |status| cells.iter().filter(|cell| cell.status == status).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{dead}\" skipped=\"{}\"",
        cells.len() + dead,
        count(Status::Fail),
        count(Status::Skip)
    )
}

fn case(outcome: &Outcome, cell: &Check) -> String {
    let reason = escaped(&cell.reason);
    let inner = match cell.status {
        Status::Pass => String::new(),
        Status::Fail => format!("<failure>{reason}</failure>"),
        Status::Skip => format!("<skipped message=\"{reason}\"/>"),
    };
    format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{inner}</testcase>\n",
        escaped(&outcome.id),
        escaped(&cell.name),
        cell.seconds
    )
}
