//! A page with every cell: kernels across, checks down.

use super::overview::{self, HEAD, cell_names, escaped, reasons, sum};
use crate::judge::Outcome;
use crate::record::Status;

const STYLE: &str = "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;\
margin-bottom:2em}td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left;\
vertical-align:top}.pass{background:#cfc}.fail{background:#fbb}.skip{background:#eee}\
pre{white-space:pre-wrap;margin:0}";

pub(super) fn text(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <title>Waybill: kernels</title><style>{STYLE}</style>\n<h1>Kernels</h1>\n<table>\n"
    );
    text += &row("th", None, HEAD.iter().map(|head| (*head).to_owned()));
    for outcome in outcomes {
        let class = if outcome.red().next().is_some() {
            "fail"
        } else {
            "pass"
        };
        let class = if outcome.infrastructure.is_some() {
            "skip"
        } else {
            class
        };
        text += &row("td", Some(class), overview::row(outcome).into_iter());
    }
    text += "</table>\n";
    text += &cells(outcomes);
    for outcome in outcomes {
        for (name, reason) in reasons(outcome) {
            text += &format!(
                "<h2>{}: {}</h2><pre>{}</pre>\n",
                escaped(&outcome.id),
                escaped(&name),
                escaped(&reason)
            );
        }
    }
    text + &format!("<p>{}</p></html>\n", sum(outcomes))
}

fn cells(outcomes: &[Outcome]) -> String {
    let head = std::iter::once("check".to_owned());
    let mut text = String::from("<table>\n");
    text += &row(
        "th",
        None,
        head.chain(outcomes.iter().map(|o| o.id.clone())),
    );
    for name in cell_names(outcomes) {
        text += &format!("<tr><td>{}</td>", escaped(name));
        for outcome in outcomes {
            let cell = outcome.cells.iter().find(|cell| cell.name == name);
            text += &match cell {
                None => "<td></td>".to_owned(),
                Some(cell) => {
                    let counts = match (cell.found, cell.expected) {
                        (0, 0) => String::new(),
                        (found, expected) => format!(" {found}/{expected}"),
                    };
                    let reason = match cell.status {
                        Status::Skip => format!(": {}", cell.reason),
                        _ => String::new(),
                    };
                    let status = cell.status.name();
                    format!(
                        "<td class=\"{status}\">{status}{counts}{}</td>",
                        escaped(&reason)
                    )
                }
            };
        }
        text += "</tr>\n";
    }
    text + "</table>\n"
}

fn row(tag: &str, class: Option<&str>, cells: impl Iterator<Item = String>) -> String {
    let class = class.map_or(String::new(), |class| format!(" class=\"{class}\""));
    let cells: String = cells
        .map(|cell| format!("<{tag}>{}</{tag}>", escaped(&cell)))
        .collect();
    format!("<tr{class}>{cells}</tr>\n")
}
