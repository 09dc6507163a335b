//! When the host row is sent, and what is in it.

use std::time::Duration;

use wire::HostRow;

use crate::family::Report;

/// The row is sent at least this often.
const EVERY: Duration = Duration::from_secs(60);

/// The row of this host.
#[derive(Debug)]
pub struct Host {
    /// Without what changes.
    row: HostRow,
    sent_at: Option<Duration>,
    /// What an operator must know and was told last.
    told: Vec<(String, String)>,
}

impl Host {
    /// Nothing was sent yet.
    #[must_use]
    pub const fn new(row: HostRow) -> Self {
        Self {
            row,
            sent_at: None,
            told: Vec::new(),
        }
    }

    /// What does not change while the agent runs.
    #[must_use]
    pub const fn row(&self) -> &HostRow {
        &self.row
    }

    /// The host has another name.
    pub fn rename(&mut self, name: String) {
        self.row.hostname = name;
        self.hurry();
    }

    /// Something changed that goes out with the next batch.
    pub fn hurry(&mut self) {
        self.sent_at = None;
    }

    /// The row when it is due, or when something that an operator must know changed; and how many of
    /// its texts were cut. `now` is the monotonic clock's.
    pub fn close(
        &mut self,
        counters: &[(String, u64)],
        report: &Report,
        now: Duration,
    ) -> (Vec<HostRow>, u64) {
        let lost = |name: &str| name.contains("_dropped_") || name.contains("_evicted_");
        let lost = counters.iter().filter(|(name, _)| lost(name));
        let mut told: Vec<(String, String)> = lost
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect();
        let paths = report.paths_off.iter();
        told.extend(paths.map(|(peer, _)| (peer.clone(), String::new())));
        let due = self
            .sent_at
            .is_none_or(|last| now.saturating_sub(last) >= EVERY);
        if !due && told == self.told {
            return (Vec::new(), 0);
        }
        self.sent_at = Some(now);
        self.told = told;
        let mut row = HostRow {
            plan: report.plan.clone(),
            paths_off: report.paths_off.clone(),
            counters: counters.to_vec(),
            ..self.row.clone()
        };
        let cut = row.fit();
        (vec![row], cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_out_every_minute_and_at_once_when_something_was_lost() {
        let mut host = Host::new(HostRow::default());
        let mut rows = |second: u64, dropped: u64, report: &Report| {
            let counters = [
                ("a_dropped_total".to_owned(), dropped),
                ("b".into(), second),
            ];
            let now = Duration::from_secs(second);
            host.close(&counters, report, now).0.len()
        };
        let mut report = Report::default();
        assert_eq!(rows(0, 0, &report), 1, "the first");
        assert_eq!(rows(10, 0, &report), 0, "other counters can wait");
        assert_eq!(rows(20, 1, &report), 1, "something was lost");
        report.paths_off.push(("10.0.0.1".into(), "why".into()));
        assert_eq!(rows(21, 1, &report), 1, "the option is off somewhere");
        assert_eq!(rows(80, 1, &report), 0);
        assert_eq!(rows(81, 1, &report), 1, "a minute later");
    }
}
