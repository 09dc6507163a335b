//! The block of text that is said again after each change.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// What there always is to look at.
const LOOK: &str = concat!(
    "  Map      group by namespace, then by network; ledger has no agent: its edges are dashed\n",
    "  Search   10.9.0.54:5432 - who uses the database through that address\n",
    "           10.5.0.99:1521 - what is known of a server without an agent\n",
    "  Matrix   ops-1 reads the database though that is denied, and calls pay-1, which nobody\n",
    "           declared; the flow to ledger is over and goes on; the cache was never used\n",
    "  Fleet    db-1 measures without eBPF, and why; what each host cannot do\n",
);

/// What is so at a time.
pub(super) struct Now<'a> {
    /// How long the site has been there.
    pub(super) elapsed: Duration,
    /// Where browsers find the page.
    pub(super) url: &'a str,
    /// Logs in once.
    pub(super) link: &'a str,
    /// What is wrong, and where to look; `None` while all is well.
    pub(super) wrong: Option<(&'a str, &'a [&'a str])>,
    /// What will be wrong next.
    pub(super) next: &'a str,
    /// Until that changes.
    pub(super) left: Duration,
    /// Alerts that fire.
    pub(super) alerts: &'a [Value],
}

impl Now<'_> {
    /// For people.
    pub(super) fn as_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).ok();
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let left = span(self.left);
        writeln!(text, "\n--- the site after {} ---", span(self.elapsed))?;
        writeln!(
            text,
            "page: {} (its certificate is the lab's own)",
            self.url
        )?;
        writeln!(text, "log in, once: {}", self.link)?;
        match self.wrong {
            Some((says, look)) => {
                writeln!(text, "now: {says}, for {left} more")?;
                for line in look {
                    writeln!(text, "  {line}")?;
                }
            }
            None => writeln!(text, "now: all is well; in {left}: {}", self.next)?,
        }
        match self.alerts {
            [] => writeln!(text, "alerts: none fires")?,
            alerts => writeln!(text, "alerts that fire: {}", alerts.len())?,
        }
        for alert in self.alerts {
            let summary = alert["summary"].as_str().unwrap_or_default();
            writeln!(text, "  {summary}")?;
        }
        write!(text, "look at:\n{LOOK}")?;
        writeln!(text, "Ctrl-C ends it and removes every trace")
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "elapsed_seconds": self.elapsed.as_secs(),
            "page": self.url,
            "login_link": self.link,
            "fault": self.wrong.map(|(says, _)| says),
            "changes_in_seconds": self.left.as_secs(),
            "alerts": self.alerts,
        })
    }
}

/// Minutes and seconds.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_below_the_link() {
        let alerts = [json!({ "summary": "Backend stock-2/stock resets 33 %." })];
        let mut now = Now {
            elapsed: Duration::from_secs(95),
            url: "https://127.0.0.1:1",
            link: "https://127.0.0.1:1/#login=x",
            wrong: Some(("stock-2 resets", &["Map: red."])),
            next: "pay-1 loses",
            left: Duration::from_secs(60),
            alerts: &alerts,
        };
        let text = now.as_text();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[0], "--- the site after 1 min 35 s ---");
        assert_eq!(lines[2], "log in, once: https://127.0.0.1:1/#login=x");
        assert_eq!(lines[3], "now: stock-2 resets, for 1 min more");
        assert!(
            text.contains("alerts that fire: 1\n  Backend stock-2/stock"),
            "{text}"
        );
        now.wrong = None;
        now.alerts = &[];
        let text = now.as_text();
        assert!(
            text.contains("now: all is well; in 1 min: pay-1 loses"),
            "{text}"
        );
        assert!(text.contains("alerts: none fires"), "{text}");
    }
}
