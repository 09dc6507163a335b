//! A page to print: it names no other file and runs nothing.

use std::fmt;
use std::io::Write;

use super::sheet::Sheet;
use crate::escape::Shown;
use crate::matrix::Report;
use crate::time::rfc3339;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#1b1f24}\
h1{font-size:20px}h2{font-size:16px;margin-top:2em}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:3px 8px;border-bottom:1px solid #d0d7de;\
overflow-wrap:anywhere;font-variant-numeric:tabular-nums}thead{display:table-header-group}\
tr{break-inside:avoid}.violated,.violating,.undeclared{color:#a40e26;font-weight:600}\
.undecided,.expired,.not-observable{color:#7a4b00}@media print{body{margin:0;font-size:11px}}";

/// Text of a document: nothing of it is markup, and no character steers the direction of others.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Shown(self.0).to_string();
        for c in shown.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

pub(super) fn write(out: &mut dyn Write, report: &Report, sheets: &[Sheet]) -> anyhow::Result<()> {
    let (from, to) = (rfc3339(report.from_ms), rfc3339(report.to_ms));
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'\"><title>Communication matrix</title><style>{STYLE}</style>\
         </head><body>\n<h1>Communication matrix, {from} to {to}</h1>"
    )?;
    writeln!(out, "<p>{}</p>", Plain(&sentence(report)))?;
    if let Some(before) = report.evicted_before_ms {
        let before = rfc3339(before);
        writeln!(
            out,
            "<p>Data up to {before} may be missing: what shows as unused may have been used.</p>"
        )?;
    }
    for note in &report.notes {
        writeln!(out, "<p>{}</p>", Plain(note))?;
    }
    for sheet in sheets {
        writeln!(out, "<h2>{}</h2>\n<table><thead><tr>", sheet.name)?;
        for heading in &sheet.headings {
            write!(out, "<th>{}</th>", Plain(heading))?;
        }
        writeln!(out, "</tr></thead><tbody>")?;
        for row in &sheet.rows {
            let class = row.first().map(|text| text.replace(' ', "-"));
            write!(out, "<tr>")?;
            for (at, text) in row.iter().enumerate() {
                match &class {
                    Some(class) if at == 0 => write!(out, "<td class=\"{}\">", Plain(class))?,
                    _ => write!(out, "<td>")?,
                }
                write!(out, "{}</td>", Plain(text))?;
            }
            writeln!(out, "</tr>")?;
        }
        writeln!(out, "</tbody></table>")?;
    }
    if report.edges_left_out > 0 {
        let left_out = report.edges_left_out;
        writeln!(out, "<p>{left_out} further edges are not listed.</p>")?;
    }
    writeln!(out, "</body></html>")?;
    Ok(())
}

/// What is wrong, before the numbers.
#[must_use]
pub fn sentence(report: &Report) -> String {
    let s = &report.summary;
    let wrong = if s.is_broken() {
        format!(
            "{} edges are not declared, {} edges and {} denied flows break the matrix.",
            s.edges_undeclared, s.edges_violating, s.violated
        )
    } else if s.edges_undecided > 0 {
        String::from("Nothing is known to break the matrix.")
    } else {
        String::from("Everything that was seen is declared.")
    };
    format!(
        "{wrong} Of {} declared flows {} were used, {} not, {} are expired, {} were not observable, \
         {} are undecided. Of {} edges {} are declared, {} undecided.",
        s.flows,
        s.used,
        s.unused,
        s.expired,
        s.not_observable,
        s.undecided,
        s.edges,
        s.edges_declared,
        s.edges_undecided
    )
}
