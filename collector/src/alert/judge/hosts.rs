//! Hosts and the collector as rows: their counters are totals, so what a window added is found by
//! those of the minutes before.

use std::collections::{BTreeMap, VecDeque};

use crate::alert::evaluate::{Cell, Row};
use crate::fleet::Host;

/// Most hosts whose counters are remembered.
const MAX_HOSTS: usize = 5000;
/// Most minutes that are remembered.
const MAX_MINUTES: usize = 61;

/// Totals of the minutes before.
#[derive(Debug, Default)]
pub(super) struct History {
    /// By the id of the host; that of the collector has none.
    of: BTreeMap<String, VecDeque<Totals>>,
    /// Hosts beyond the bound.
    pub(super) cut: u64,
}

#[derive(Clone, Debug)]
struct Totals {
    at_ms: i64,
    /// When the counting began.
    began_ms: u64,
    values: BTreeMap<String, u64>,
}

impl History {
    /// What the window that ends with these totals added; `None` where nothing is known from before.
    fn added(&self, who: &str, name: &str, now: &Totals, window_ms: i64) -> Option<u64> {
        let before = self.of.get(who)?;
        let from_ms = now.at_ms.saturating_sub(window_ms);
        let older = before.iter().rev().find(|totals| totals.at_ms <= from_ms);
        let earlier = before.iter().find(|totals| totals.at_ms < now.at_ms);
        let then = older.or(earlier)?;
        let value = now.values.get(name).copied()?;
        if then.began_ms != now.began_ms {
            return Some(value);
        }
        // A counter that is not told has not counted anything yet.
        let before = then.values.get(name).copied().unwrap_or(0);
        Some(value.saturating_sub(before))
    }

    fn remember(&mut self, who: &str, totals: Totals, most_ms: i64) {
        if !self.of.contains_key(who) && self.of.len() >= MAX_HOSTS {
            self.cut += 1;
            return;
        }
        let all = self.of.entry(String::from(who)).or_default();
        let before_ms = totals.at_ms.saturating_sub(most_ms);
        all.push_back(totals);
        // One that is as old as the longest window is needed.
        while all.len() > MAX_MINUTES || all.get(1).is_some_and(|next| next.at_ms <= before_ms) {
            all.pop_front();
        }
    }

    /// Forgets hosts that are not there any more.
    pub(super) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.of.retain(|who, _| who.is_empty() || is_there(who));
    }

    /// Rows of a host, one for each window with its columns.
    pub(super) fn host(
        &mut self,
        host: &Host,
        at_ms: i64,
        inputs: &[(i64, &[String])],
    ) -> Vec<Row> {
        let mut values: BTreeMap<String, u64> = BTreeMap::new();
        let wanted = inputs.iter().flat_map(|(_, columns)| columns.iter());
        for name in wanted.filter_map(|name| name.strip_prefix("counter.")) {
            let told = host.report.counters.iter().find(|(known, _)| known == name);
            if let Some((_, value)) = told {
                values.insert(format!("counter.{name}"), *value);
            }
        }
        let losses = host
            .drops
            .iter()
            .fold(0, |sum: u64, (_, n)| sum.saturating_add(*n));
        values.insert(String::from("losses"), losses);
        let now = Totals {
            at_ms,
            began_ms: host.report.started_ms,
            values,
        };
        let row = |(window_ms, columns): &(i64, &[String])| Row {
            cells: columns
                .iter()
                .map(|name| self.cell(host, name, &now, *window_ms))
                .collect(),
            end_ms: host.last_seen_ms,
            host: host.host.clone(),
            hostname: host.hostname.clone(),
            ..Row::default()
        };
        let rows = inputs.iter().map(row).collect();
        let most_ms = inputs.iter().map(|(window_ms, _)| *window_ms).max();
        self.remember(&host.host, now, most_ms.unwrap_or(0));
        rows
    }

    fn cell(&self, host: &Host, name: &str, now: &Totals, window_ms: i64) -> Cell {
        let text = |text: &str| match text.is_empty() {
            true => Cell::Absent,
            false => Cell::Text(String::from(text)),
        };
        let report = &host.report;
        let is_known = report.started_ms > 0 && !host.left_out;
        match name {
            "host" => text(&host.host),
            "name" => text(&host.hostname),
            "agent" => text(&report.agent),
            "kernel" => text(&report.kernel),
            "mode" => text(&report.mode),
            "age" => seconds(now.at_ms.saturating_sub(host.last_seen_ms).max(0)),
            "batches_missing" => number(host.batches_missing),
            "clock_ahead" => number(host.clock_ahead_ms.max(0).unsigned_abs()),
            "copied" => Cell::Flag(host.copied_ms.is_some()),
            _ if !is_known => Cell::Absent,
            "uptime" => {
                let started = i64::try_from(report.started_ms).unwrap_or(i64::MAX);
                seconds(now.at_ms.saturating_sub(started).max(0))
            }
            "families_skipped" => {
                let skipped = report.plan.iter().filter(|(_, why)| why.starts_with("off"));
                number(skipped.count() as u64)
            }
            "paths_off" => number(report.paths_off.len() as u64),
            _ if name == "losses" || name.ends_with("_total") => {
                let added = self.added(&host.host, name, now, window_ms);
                added.map_or(Cell::Absent, number)
            }
            _ => now
                .values
                .get(name)
                .map_or(Cell::Absent, |value| number(*value)),
        }
    }

    /// The row of the collector.
    pub(super) fn collector(
        &mut self,
        metrics: &[(&'static str, &'static str, &'static str, u64)],
        at_ms: i64,
        inputs: &[(i64, &[String])],
    ) -> Vec<Row> {
        let values = metrics
            .iter()
            .map(|(name, .., value)| (String::from(*name), *value));
        let now = Totals {
            at_ms,
            began_ms: 0,
            values: values.collect(),
        };
        let is_counter = |name: &str| {
            metrics
                .iter()
                .any(|one| one.0 == name && one.1 == "counter")
        };
        let row = |(window_ms, columns): &(i64, &[String])| Row {
            cells: columns
                .iter()
                .map(|name| {
                    let value = match is_counter(name) {
                        true => self.added("", name, &now, *window_ms),
                        false => now.values.get(name).copied(),
                    };
                    value.map_or(Cell::Absent, number)
                })
                .collect(),
            end_ms: at_ms,
            ..Row::default()
        };
        let rows = inputs.iter().map(row).collect();
        let most_ms = inputs.iter().map(|(window_ms, _)| *window_ms).max();
        self.remember("", now, most_ms.unwrap_or(0));
        rows
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 nothing is compared exactly"
)]
fn number(value: u64) -> Cell {
    Cell::Number(value as f64)
}

#[expect(clippy::cast_precision_loss, reason = "times of days in milliseconds")]
fn seconds(ms: i64) -> Cell {
    Cell::Number(ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::History;
    use crate::alert::evaluate::Cell;
    use crate::fleet::Host;
    use crate::join::HostId;
    use crate::store::HostRecord;

    fn host(started_ms: u64, count: u64) -> Host {
        let report = serde_json::json!({
            "started_ms": started_ms,
            "counters": [["x_dropped_total", count], ["spool_depth", 4]],
            "plan": [["connection", "sockops"], ["nat", "off: no conntrack"]],
        });
        Host::from(HostRecord {
            host: HostId([1; 16]),
            hostname: String::from("one"),
            report: report.to_string(),
            first_seen_ms: 1,
            last_seen_ms: 60_000,
            batches: 3,
            last_sequence: 4,
            clock_ahead_ms: 5,
            copied_ms: None,
        })
    }

    #[test]
    fn totals_become_what_a_window_added_also_over_a_restart() {
        let mut history = History::default();
        let columns = [
            "counter.x_dropped_total",
            "losses",
            "counter.spool_depth",
            "age",
        ];
        let columns = columns.map(String::from);
        let mut cells = |host: &Host, minute: i64| {
            let rows = history.host(host, minute * 60_000, &[(120_000, &columns)]);
            rows[0].cells.clone()
        };
        let number = Cell::Number;
        let first = cells(&host(5, 100), 1);
        assert_eq!(
            first,
            [Cell::Absent, Cell::Absent, number(4.0), number(0.0)]
        );
        let next = cells(&host(5, 107), 2);
        assert_eq!(next, [number(7.0), number(7.0), number(4.0), number(60.0)]);
        assert_eq!(cells(&host(5, 110), 3)[0], number(10.0));
        // The window is two minutes.
        assert_eq!(cells(&host(5, 110), 4)[0], number(3.0));
        // Another run counts from zero.
        assert_eq!(cells(&host(6, 2), 5)[0], number(2.0));
    }

    #[test]
    fn facts_of_a_host_are_columns_and_what_it_never_told_is_absent() {
        let mut history = History::default();
        let names = [
            "families_skipped",
            "clock_ahead",
            "copied",
            "batches_missing",
            "counter.y",
        ];
        let columns = names.map(String::from);
        let rows = history.host(&host(5, 1), 60_000, &[(60_000, &columns)]);
        assert_eq!(
            rows[0].cells,
            [
                Cell::Number(1.0),
                Cell::Number(5.0),
                Cell::Flag(false),
                Cell::Number(1.0),
                Cell::Absent
            ]
        );
        let silent = history.host(&host(0, 1), 60_000, &[(60_000, &columns)]);
        assert_eq!(silent[0].cells[0], Cell::Absent);
    }
}
