//! Everything of a database, into ClickHouse. What is there already is not written again, so that a
//! copy that was killed goes on, and one that is complete changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cells::Cells;
use super::client::{Literal, Server};
use super::ingest;
use super::layout::{Brought, Place, within};
use super::people::{self, Said};
use super::retention::{gone_ms, note};
use super::slices::{self, Slices};
use super::tables::Places;
use crate::accept::{BatchKey, Opened};
use crate::store::{Contents, Error, Finished, StoredBatch, StoredRun, Waiting};

/// Batches that are copied and counted together, and most rows of them.
const TOGETHER: (u32, u64) = (256, 100_000);

/// What a copy did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Runs of agents.
    pub runs: u64,
    /// Those that are done.
    pub runs_done: u64,
    /// Batches of the database.
    pub batches: u64,
    /// Those that are done.
    pub batches_done: u64,
    /// Those of them that were there before.
    pub batches_before: u64,
    /// Rows of each table, counted on both sides.
    pub rows: BTreeMap<String, u64>,
    /// Slices of what was joined.
    pub slices: u64,
    /// What is not as it should be, each in a sentence.
    pub faults: Vec<String>,
}

/// Most faults that are told.
const FAULTS: usize = 100;

impl Copied {
    fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(what);
        }
    }
}

/// Where it goes.
pub(super) struct Target<'a> {
    pub(super) server: &'a Server,
    pub(super) places: &'a Places,
}

impl Target<'_> {
    /// Copies a database, and counts on both sides; `told` hears how far it is.
    pub(super) fn copy(
        &self,
        contents: &mut Contents,
        now_ms: i64,
        told: &mut dyn FnMut(&Copied) -> Result<(), Error>,
    ) -> Result<Copied, Error> {
        let runs = contents.runs()?;
        let mut copied = Copied {
            runs: runs.len() as u64,
            batches: runs.iter().map(|run| run.batches).sum(),
            ..Copied::default()
        };
        if let Some(before_ms) = contents.gone_ms()?
            && gone_ms(self.server)? < Some(before_ms)
        {
            note(self.server, before_ms)?;
        }
        for run in &runs {
            self.copy_run(contents, run, &mut copied, told)?;
            copied.runs_done += 1;
        }
        self.copy_slices(contents, &mut copied, now_ms)?;
        self.copy_people(contents)?;
        told(&copied)?;
        Ok(copied)
    }

    fn copy_run(
        &self,
        contents: &Contents,
        run: &StoredRun,
        copied: &mut Copied,
        told: &mut dyn FnMut(&Copied) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let batches = contents.batches(run, after, TOGETHER)?;
            let Some(last) = batches.last() else {
                return Ok(());
            };
            after = Some(last.opened.batch.header.sequence);
            let opened: Vec<&Opened> = batches.iter().map(|batch| &batch.opened).collect();
            let stored = ingest::stored(self.server, &opened)?;
            let key = |opened: &Opened| BatchKey::from(&opened.batch.header);
            let new: Vec<_> = batches
                .iter()
                .filter(|batch| !stored.contains_key(&key(&batch.opened)))
                .map(|batch| {
                    let brought = Brought::of(&batch.opened.batch.header, batch.received_ms);
                    (&batch.opened, brought)
                })
                .collect();
            let refused = ingest::insert(self.server, self.places, &new)?;
            let refused: u64 = refused.values().sum();
            if refused > 0 {
                copied.fault(format!("{refused} rows of too many tables"));
            }
            copied.batches_before += (batches.len() - new.len()) as u64;
            copied.batches_done += batches.len() as u64;
            self.count(&batches, copied)?;
            told(copied)?;
        }
    }

    /// Whether everything of some batches of a run is there, and nothing twice.
    fn count(&self, batches: &[StoredBatch], copied: &mut Copied) -> Result<(), Error> {
        let opened: Vec<&Opened> = batches.iter().map(|batch| &batch.opened).collect();
        let stored = ingest::stored(self.server, &opened)?;
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for opened in opened {
            let key = BatchKey::from(&opened.batch.header);
            match stored.get(&key) {
                Some(digest) if *digest == opened.digest => {}
                Some(_) => {
                    copied.fault(format!("{key}: another batch is there"));
                    continue;
                }
                None => copied.fault(format!("{key}: is not there")),
            }
            for table in opened.batch.described(|_| true) {
                let place = Place::of(&table.table);
                *expected.entry(place.name).or_default() += table.rows as u64;
            }
        }
        for (table, expected) in expected {
            let found = counted(self.server, &table, batches)?;
            if found != expected {
                let of = batches.first().map(|one| &one.opened.batch.header);
                let of = of.map(|header| BatchKey::from(header).to_string());
                copied.fault(format!(
                    "{table}: {found} rows in the place of {expected}, from {} on",
                    of.unwrap_or_default()
                ));
            }
            *copied.rows.entry(table).or_default() += found.min(expected);
        }
        Ok(())
    }

    fn copy_slices(
        &self,
        contents: &mut Contents,
        copied: &mut Copied,
        now_ms: i64,
    ) -> Result<(), Error> {
        let mut near: Option<(i64, Slices)> = None;
        for slice in contents.slices()? {
            // What is known of a day is asked for once.
            let day = slice.start_ms.div_euclid(86_400_000);
            let known = match near.take().filter(|(of, _)| *of == day) {
                Some((_, known)) => known,
                None => Slices::read(self.server, slices::day(day))?,
            };
            if !known.is_joined(slice) {
                let (body, edges) = contents.joined(slice)?;
                let waiting = Waiting {
                    slice,
                    generation: known.generation(slice).cast_signed(),
                    again: false,
                };
                let finished = Finished {
                    waiting,
                    body: Some((body, edges)),
                };
                slices::put(self.server, &finished, now_ms)?;
            }
            near = Some((day, known));
            copied.slices += 1;
        }
        Ok(())
    }

    /// Who speaks for which host, and the newest orders.
    fn copy_people(&self, contents: &Contents) -> Result<(), Error> {
        let known = people::bindings(self.server)?;
        for binding in contents.bindings()? {
            if !known.contains_key(&binding.id.0) {
                let said = (binding.id, binding.host, Said::Bound);
                people::say(self.server, said, 1, binding.bound_ms)?;
            }
        }
        let there = people::newest_orders(self.server)?.map(|orders| orders.version);
        match contents.newest_orders()? {
            Some(orders) if there < Some(orders.version) => {
                people::put_orders(self.server, &orders)
            }
            _ => Ok(()),
        }
    }
}

/// Rows of a table that these batches of one run brought, each once.
fn counted(server: &Server, table: &str, batches: &[StoredBatch]) -> Result<u64, Error> {
    let header = |batch: &StoredBatch| batch.opened.batch.header.clone();
    let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
        return Ok(0);
    };
    let times = |batch: &StoredBatch| Brought::of(&header(batch), batch.received_ms).at_ms;
    let times = batches.iter().map(times);
    let (from_ms, to_ms) = (times.clone().min(), times.max());
    let within = within(from_ms.unwrap_or(0).saturating_sub(1), to_ms.unwrap_or(0));
    let (host, boot) = (header(first).host, header(last).boot);
    let numbers = batches
        .iter()
        .map(|batch| header(batch).sequence.to_string());
    let numbers: Vec<String> = numbers.collect();
    let rows = server.ask_small(&format!(
        "SELECT uniqExact(sequence, place) FROM `{}`.`{table}`
         WHERE {within} AND host = {} AND boot = {} AND sequence IN ({})",
        server.dialect.database,
        Literal::Bytes(&host),
        Literal::Bytes(&boot),
        numbers.join(", ")
    ))?;
    Cells(&rows).number(8)
}
