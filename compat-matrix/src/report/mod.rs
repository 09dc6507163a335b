//! Results in the forms in which people and programs read them.

mod html;
mod junit;
mod markdown;
mod overview;
mod table;

use anyhow::Result;

use crate::judge::Outcome;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal: a line per kernel, and why a cell is red.
    Table,
    /// Everything, for programs.
    Json,
    /// For build servers.
    Junit,
    /// For reviews.
    Markdown,
    /// A page with every cell.
    Html,
}

/// Outcomes in a form.
///
/// # Errors
/// When JSON cannot be written, which a test rules out.
pub fn text(outcomes: &[Outcome], format: Format) -> Result<String> {
    Ok(match format {
        Format::Table => table::text(outcomes),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(outcomes)?),
        Format::Junit => junit::text(outcomes),
        Format::Markdown => markdown::text(outcomes),
        Format::Html => html::text(outcomes),
    })
}

#[cfg(test)]
mod tests {
    use super::{Format, text};
    use crate::judge::{Held, Outcome, Verdict};
    use crate::matrix::Tier;
    use crate::record::{Check, Status};

    fn outcomes() -> Vec<Outcome> {
        let held = |id: &str| Held {
            id: id.into(),
            title: "A kernel".into(),
            tier: Tier::Required,
            origin: "linux-image 1".into(),
            verdict: None,
            golden: None,
            baseline: None,
            more_percent: 10,
            report: true,
        };
        let check = |name: &str, status, reason: &str| Check {
            family: "connection".into(),
            name: name.into(),
            status,
            reason: reason.into(),
            found: 1,
            expected: 2,
            seconds: 0.5,
        };
        let mut red = Outcome::never_started(&held("red"), String::new());
        red.infrastructure = None;
        red.status = Verdict::Fail;
        red.mode = "sockops".into();
        red.edges = (1, 2);
        red.cells = vec![
            check("edges/a|b", Status::Fail, "one <edge> & \"one\" is missing"),
            check("edges/c", Status::Skip, "no IPVS"),
        ];
        let dead = Outcome::never_started(&held("dead"), "no KVM\u{1b}[0m".into());
        vec![red, dead]
    }

    #[test]
    fn every_form_names_the_kernels_and_the_red_cell() {
        for format in [
            Format::Table,
            Format::Json,
            Format::Junit,
            Format::Markdown,
            Format::Html,
        ] {
            let text = text(&outcomes(), format).unwrap();
            for word in ["red", "dead", "sockops", "is missing", "no IPVS"] {
                let hidden = format == Format::Table && word == "no IPVS";
                let counted = format == Format::Junit && word == "sockops";
                assert!(
                    hidden || counted || text.contains(word),
                    "{format:?} {word}\n{text}"
                );
            }
            assert!(
                format == Format::Json || !text.contains('\u{1b}'),
                "{format:?}"
            );
        }
    }

    #[test]
    fn markup_is_escaped_where_it_would_be_read_as_such() {
        for format in [Format::Junit, Format::Html] {
            let text = text(&outcomes(), format).unwrap();
            assert!(text.contains("one &lt;edge&gt; &amp;"), "{text}");
        }
        let text = text(&outcomes(), Format::Markdown).unwrap();
        assert!(text.contains("edges/a\\|b"), "{text}");
    }

    #[test]
    fn a_red_cell_is_a_failure_and_a_dead_guest_an_error_for_build_servers() {
        let text = text(&outcomes(), Format::Junit).unwrap();
        assert!(
            text.contains("tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"1\""),
            "{text}"
        );
    }
}
