//! A notice as text for people. Names that hosts report are data: they are shown, not obeyed.

use std::fmt::Write as _;

use crate::alert::finding::{Said, Severity};
use crate::alert::notify::{Notice, Shown};
use crate::{escape, time};

/// Most characters of one line: a name may be as long as its host likes.
const WIDTH: usize = 500;
/// Most characters of the subject of a mail.
const SUBJECT: usize = 150;

/// How notices are worded.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    pub(super) is_chinese: bool,
    pub(super) page_url: Option<String>,
}

impl Words {
    /// A sentence, printable and bounded.
    pub(super) fn say(&self, said: &Said) -> String {
        let text = if self.is_chinese { &said.zh } else { &said.en };
        plain(text)
    }

    fn word(&self, en: &'static str, zh: &'static str) -> &'static str {
        if self.is_chinese { zh } else { en }
    }

    fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Critical => self.word("critical", "严重"),
            Severity::Warning => self.word("warning", "警告"),
        }
    }

    /// Where the page shows an alert.
    pub(super) fn link(&self, id: &str) -> Option<String> {
        let url = self.page_url.as_ref()?;
        Some(format!("{}/#/alerts/{id}", url.trim_end_matches('/')))
    }

    /// The subject of a mail, on one line.
    pub(super) fn subject(&self, notice: &Notice) -> String {
        let is_over = notice.firing.is_empty() && notice.escalated.is_empty();
        let kind = if is_over {
            self.word("over", "恢复")
        } else {
            self.severity(notice.severity)
        };
        let headline = &notice.headline;
        let said = if self.is_chinese {
            &headline.zh
        } else {
            &headline.en
        };
        let text = format!("[Waybill] {kind}: {said}");
        escape::shorten(&text, SUBJECT)
    }

    /// The whole notice.
    pub(super) fn body(&self, notice: &Notice) -> String {
        let mut text = format!("{}\n\n", self.say(&notice.headline));
        for (title, alerts) in [
            (self.word("New", "新告警"), &notice.firing),
            (self.word("Worse", "升级"), &notice.escalated),
            (self.word("Over", "恢复"), &notice.resolved),
        ] {
            if alerts.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{title}:");
            for alert in alerts {
                self.alert(&mut text, alert);
            }
            text.push('\n');
        }
        if notice.left_out > 0 {
            let more = self.word("more not listed", "条未列出");
            let _ = writeln!(text, "{} {more}\n", notice.left_out);
        }
        if !notice.candidates.is_empty() {
            let title = self.word(
                "What changed nearby at the same time (candidates, no verdict):",
                "同一时间附近的变化(仅为候选原因):",
            );
            let _ = writeln!(text, "{title}");
            for candidate in &notice.candidates {
                let _ = writeln!(text, "  - {}", self.say(&candidate.why));
            }
        }
        text
    }

    fn alert(&self, text: &mut String, alert: &Shown) {
        let severity = self.severity(alert.severity);
        let at = alert.resolved_ms.or(alert.fired_ms).unwrap_or(0);
        let _ = writeln!(
            text,
            "  - {severity}, {}, {}\n    {}",
            alert.rule,
            time::rfc3339(at),
            self.say(&alert.summary)
        );
        let name = plain(&alert.name);
        let _ = write!(text, "    {name}");
        if let Some(confidence) = alert.confidence {
            let word = self.word("confidence", "置信度");
            let _ = write!(text, "; {word} {confidence:.2}");
        }
        text.push('\n');
        if let Some(link) = self.link(&alert.id) {
            let _ = writeln!(text, "    {link}");
        }
    }
}

/// Printable, on one line, and bounded.
pub(super) fn plain(text: &str) -> String {
    escape::shorten(text, WIDTH)
}

/// Text in HTML.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}
