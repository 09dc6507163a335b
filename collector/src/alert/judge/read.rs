//! Reads what a pass needs: the joined edges of each window once, tables, hosts, own counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declared::Declared;
use super::hosts::History;
use super::{described, edges};
use crate::alert::baseline::Usuals;
use crate::alert::evaluate::{Input, Pass, Plan, Reporting};
use crate::alert::finding::Evaluated;
use crate::alert::rule::source::Source;
use crate::fleet::Host;
use crate::join::Picture;
use crate::joined;
use crate::matrix::Held;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::{Error, Piece, Questions, Which, Window};

/// Rows of a described table that are looked at in one window.
const ROWS: usize = 200_000;
/// Hosts that are read at once, and the bytes of their reports.
const PAGE: (usize, usize) = (256, 256 << 10);

/// Gives the declared matrix, `None` where nothing is declared, or says why it cannot be read.
pub type InForce = dyn Fn() -> Result<Option<Arc<Held<'static>>>, String> + Send;

/// A host that told nothing for so long is silent.
const SILENT_MS: i64 = 180_000;

/// What a pass found, for whoever keeps alerts.
#[derive(Debug, Default)]
pub struct Judged {
    /// What the rules say.
    pub evaluated: Evaluated,
    /// Ids of hosts by the addresses at which joined edges reach them.
    pub homes: BTreeMap<String, String>,
}

pub(super) struct Reading<'a> {
    pub(super) reader: &'a mut dyn Questions,
    pub(super) plan: &'a Plan,
    /// See [`super::Given::declared`].
    pub(super) declared: &'a InForce,
    pub(super) meter: Meter,
    pub(super) metrics: &'a Metrics,
}

/// An input, and its columns.
type Read<'p> = (usize, &'p [String]);

/// Inputs of a source, by their windows.
fn inputs(plan: &Plan, is_it: impl Fn(&Source) -> bool) -> Vec<(usize, &Input)> {
    let all = plan.inputs().iter().enumerate();
    all.filter(|(_, input)| is_it(&input.source)).collect()
}

impl Reading<'_> {
    /// Whether all edges that are needed are joined.
    pub(super) fn is_joined(&mut self, at_ms: i64) -> Result<bool, Error> {
        let edges = inputs(self.plan, |source| *source == Source::Edge);
        let Some(longest) = edges.iter().map(|(_, input)| input.window_ms).max() else {
            return Ok(true);
        };
        let view = self.reader.moment()?;
        let pieces = view.pieces(window(at_ms, longest))?;
        Ok(pieces.iter().all(|piece| matches!(piece, Piece::Joined(_))))
    }

    /// One pass; with how many rows it read and how many groups there was no room for.
    pub(super) fn judge(
        &mut self,
        at_ms: i64,
        history: &mut History,
        usuals: &Usuals,
    ) -> Result<(Judged, (u64, u64)), Error> {
        let plan = self.plan;
        let mut pass = Pass::new(plan);
        let homes = self.edges(&mut pass, |input| window(at_ms, input.window_ms))?;
        self.tables(&mut pass, |input| window(at_ms, input.window_ms))?;
        let reporting = self.hosts(&mut pass, history, at_ms)?;
        let own = inputs(plan, |source| *source == Source::Collector);
        let rows = history.collector(&self.metrics.all(), at_ms, &windows(&own));
        for ((input, _), row) in own.iter().zip(rows) {
            pass.add(*input, &row);
        }
        let counts = pass.counts();
        let evaluated = pass.finish(at_ms, usuals, &reporting);
        Ok((Judged { evaluated, homes }, counts))
    }

    /// What was usual on one day.
    pub(super) fn day(
        &mut self,
        from_ms: i64,
        span_ms: i64,
        usuals: &mut Usuals,
    ) -> Result<(), Error> {
        let plan = self.plan;
        let mut pass = Pass::new(plan);
        let all = |input: &Input| Window {
            from_ms,
            // Rows of what nobody asks about are not read.
            to_ms: from_ms.saturating_add(if input.usual { span_ms } else { 0 }),
        };
        self.edges(&mut pass, all)?;
        self.tables(&mut pass, all)?;
        pass.note(span_ms, usuals);
        Ok(())
    }

    /// Each window once, for all inputs that read it.
    fn edges(
        &mut self,
        pass: &mut Pass<'_>,
        window: impl Fn(&Input) -> Window,
    ) -> Result<BTreeMap<String, String>, Error> {
        let plan = self.plan;
        let mut by_window: BTreeMap<(i64, i64), Vec<Read<'_>>> = BTreeMap::new();
        let matrix = self.matrix(pass);
        for (at, input) in inputs(plan, |source| *source == Source::Edge) {
            // Where nothing is declared, nothing is to be judged by it.
            if input.declared && matrix.is_none() {
                continue;
            }
            let Window { from_ms, to_ms } = window(input);
            let known = by_window.entry((to_ms, from_ms)).or_default();
            known.push((at, &input.columns));
        }
        let mut homes = BTreeMap::new();
        for ((to_ms, from_ms), inputs) in by_window {
            if from_ms >= to_ms {
                continue;
            }
            let window = Window { from_ms, to_ms };
            let asks = |(at, _): &Read<'_>| plan.inputs()[*at].declared;
            let matrix = matrix.as_ref().filter(|_| inputs.iter().any(asks));
            let made = joined::topology(self.reader, window, window, self.meter);
            let read = made.and_then(|picture| {
                let declared = matrix.map(|held| self.held(held, &picture, window));
                Ok((declared.transpose()?, picture))
            });
            match read {
                Ok((declared, picture)) => {
                    edges::add(pass, &inputs, &picture, declared);
                    homes = edges::homes(&picture);
                }
                Err(Error::Exceeded(why)) => {
                    for (input, _) in inputs {
                        pass.unread(input, &why.to_string());
                    }
                    self.metrics.alert_unread_total.add(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(homes)
    }

    /// The declared matrix, where a rule asks for it and there is one. Where it cannot be read, the
    /// rules that ask are not judged.
    fn matrix(&mut self, pass: &mut Pass<'_>) -> Option<Arc<Held<'static>>> {
        let all = self.plan.inputs().iter().enumerate();
        let mut asks = all.filter(|(_, input)| input.declared).peekable();
        asks.peek()?;
        match (self.declared)() {
            Ok(matrix) => matrix,
            Err(why) => {
                asks.for_each(|(input, _)| pass.unread(input, &why));
                self.metrics.alert_unread_total.add(1);
                None
            }
        }
    }

    /// The matrix beside a picture; with the addresses of services, where it names any.
    fn held(
        &mut self,
        held: &Arc<Held<'static>>,
        picture: &Picture,
        window: Window,
    ) -> Result<Declared, Error> {
        let mut meter = self.meter;
        let addresses = match held.names_addresses() {
            true => self.reader.addresses(window, &mut meter)?,
            false => Vec::new(),
        };
        Ok(Declared::of(
            Arc::clone(held),
            picture,
            addresses,
            window.to_ms,
        ))
    }

    fn tables(
        &mut self,
        pass: &mut Pass<'_>,
        window: impl Fn(&Input) -> Window,
    ) -> Result<(), Error> {
        for (at, input) in inputs(self.plan, |source| matches!(source, Source::Table(_))) {
            let window = window(input);
            if window.from_ms >= window.to_ms {
                continue;
            }
            let which = Which {
                table: String::from(input.source.name()),
                host: None,
                intervals: false,
                silent: false,
                most: ROWS,
            };
            let mut meter = self.meter;
            let answer = match self.reader.rows(&which, window, &mut meter) {
                Ok(answer) => answer,
                Err(Error::Exceeded(why)) => {
                    pass.unread(at, &why.to_string());
                    self.metrics.alert_unread_total.add(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for table in answer.tables {
                if table.rows_left_out > 0 {
                    pass.cut(at);
                    self.metrics.alert_rows_cut_total.add(table.rows_left_out);
                }
                for told in &table.rows {
                    pass.add(at, &described::row(told, &input.columns));
                }
            }
        }
        Ok(())
    }

    fn hosts(
        &mut self,
        pass: &mut Pass<'_>,
        history: &mut History,
        at_ms: i64,
    ) -> Result<Reporting, Error> {
        let of_hosts = inputs(self.plan, |source| *source == Source::Host);
        let windows = windows(&of_hosts);
        let mut reporting = Reporting::default();
        let mut after = None;
        loop {
            let page = self.reader.hosts(after.as_ref(), PAGE.0, PAGE.1)?;
            let Some(last) = page.last() else { break };
            after = Some((last.hostname.clone(), last.host));
            for record in page {
                let host = Host::from(record);
                let rows = history.host(&host, at_ms, &windows);
                for ((input, _), row) in of_hosts.iter().zip(rows) {
                    pass.add(*input, &row);
                }
                match host.last_seen_ms > at_ms.saturating_sub(SILENT_MS) {
                    true => reporting.hosts.insert(host.host),
                    false => reporting.silent.insert(host.host),
                };
            }
        }
        history.keep(|id| reporting.hosts.contains(id) || reporting.silent.contains(id));
        Ok(reporting)
    }
}

fn window(at_ms: i64, length_ms: i64) -> Window {
    Window {
        from_ms: at_ms.saturating_sub(length_ms),
        to_ms: at_ms,
    }
}

fn windows<'p>(inputs: &[(usize, &'p Input)]) -> Vec<(i64, &'p [String])> {
    let each = inputs.iter();
    each.map(|(_, input)| (input.window_ms, &input.columns[..]))
        .collect()
}
