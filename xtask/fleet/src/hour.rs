//! An hour of a host: the batches that an agent of either format sends.

use wire::Batch;

use super::edges::INTERVAL_MS;
use super::names::Names;
use super::rows::{Busy, Mix};

/// Intervals of an hour.
const INTERVALS: u64 = 3_600_000 / INTERVAL_MS;

/// Intervals from one total of a series to the next.
pub const TOTALS_EVERY: u64 = 600_000 / INTERVAL_MS;

/// Intervals in which a host tells of each process once more.
const REFRESH: usize = 60;

/// Intervals from one row of the host itself to the next.
const HOST_ROW_EVERY: u64 = 6;

/// A host that goes on.
#[derive(Debug)]
pub struct Hour {
    busy: Busy,
    left: u64,
    /// Whether every edge changes in every interval.
    restless: bool,
    /// Whether each edge changed since its last total.
    changed: Vec<bool>,
    /// Totals of translations that are still to be told, in parts of [`TOTALS_EVERY`].
    nats_due: u64,
}

impl Hour {
    /// An hour after some time of work: how many edges it has, and which of them change, is chance.
    #[must_use]
    pub fn new(seed: u64, names: &Names) -> Self {
        let mut busy = Busy::new(seed, names, 60, 0);
        let edges = 40 + busy.random.index(260);
        busy = Busy::new(seed, names, edges, edges);
        let mut hour = Self {
            changed: vec![false; busy.edges.len()],
            busy,
            left: INTERVALS + TOTALS_EVERY,
            restless: false,
            nats_due: 0,
        };
        // What changed before the hour has its totals in it.
        let before = usize::try_from(TOTALS_EVERY).expect("few");
        hour.by_ref().take(before).for_each(drop);
        hour
    }

    /// As many intervals as are asked for of a host with that many edges, each of which changes in
    /// every interval.
    #[must_use]
    pub fn restless(seed: u64, names: &Names, edges: usize, intervals: u64) -> Self {
        Self {
            busy: Busy::new(seed, names, edges, edges),
            left: intervals,
            restless: true,
            changed: vec![false; edges],
            nats_due: 0,
        }
    }
}

impl Iterator for Hour {
    /// The batch as an agent of format 1 sends it, with the totals of all edges that changed; and as
    /// one of format 2 does.
    type Item = (Batch, Batch);

    fn next(&mut self) -> Option<(Batch, Batch)> {
        self.left = self.left.checked_sub(1)?;
        let busy = &mut self.busy;
        busy.host.now_ms += INTERVAL_MS;
        let mut added = Vec::new();
        for ((process, edge), changed) in busy.edges.iter_mut().zip(&mut self.changed) {
            let process = &busy.host.processes[*process];
            let row = edge.interval(&mut busy.random, process, self.restless);
            *changed |= row.is_some();
            added.extend(row);
        }
        let rows = added.len();
        let mix = Mix {
            edges: rows,
            sightings: rows * 43 / 47,
            processes: busy.host.processes.len().div_ceil(REFRESH),
            hosts: usize::from(self.left.is_multiple_of(HOST_ROW_EVERY)),
            events: rows * 4 / 47,
            nats: rows / 47,
        };
        let interval = busy.close(mix, added);
        let mut second = interval.added;
        // In turn, and beside what the interval added, as the agent tells them.
        let turn = usize::try_from(self.left % TOTALS_EVERY).expect("few");
        let every = usize::try_from(TOTALS_EVERY).expect("few");
        for (at, ((_, edge), changed)) in busy.edges.iter().zip(&mut self.changed).enumerate() {
            if at % every == turn && std::mem::take(changed) {
                second.edges.push(edge.row.clone());
            }
        }
        // Those that a gateway tells of go on as its edges do.
        self.nats_due += second.nats.len() as u64;
        let due = usize::try_from(self.nats_due / TOTALS_EVERY).expect("few");
        self.nats_due %= TOTALS_EVERY;
        second
            .nats
            .extend(interval.totals.nats.iter().take(due).cloned());
        Some((interval.totals, second))
    }
}
