//! The thread that holds the rules against what has settled, once a minute.

mod declared;
mod described;
mod edges;
mod hosts;
mod read;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::baseline::{DAYS, Usuals};
use super::evaluate::Plan;
use super::folder::{Folder, Looked};
use super::rule::{Rules, unit};
use crate::log::Limiter;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::{Error, Questions, Source};
use crate::time;
use hosts::History;
use read::Reading;
pub use read::{InForce, Judged};

/// How often it looks whether something is to be done.
const LOOK: Duration = Duration::from_secs(1);
/// It rests so many times as long as it worked, so that it takes a fifth of a core, and joining has
/// its turn; at most so long.
const REST: u32 = 4;
const MOST_REST: Duration = Duration::from_secs(300);
/// So long it waits in addition for slices that are not joined yet, before it joins their rows: less
/// than a minute, after which the next one is due.
const PATIENCE_MS: i64 = 40_000;
/// A minute.
const MINUTE_MS: i64 = 60_000;
/// An hour.
const HOUR_MS: i64 = 3_600_000;
/// A day.
const DAY_MS: i64 = 24 * HOUR_MS;

/// Who keeps alerts.
pub trait Keeps: Send {
    /// These rules are in force from now on.
    fn rules(&mut self, rules: &Rules);

    /// Takes what was found; it may read the same store, each window within what the meter has.
    fn judged(&mut self, judged: Judged, reader: &mut dyn Questions, meter: Meter);
}

/// What the thread works with.
pub struct Given {
    /// The store that is read.
    pub store: Arc<dyn Source>,
    /// What one window may take.
    pub meter: Meter,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Rules of operators.
    pub folder: Folder,
    /// The declared matrix that is in force.
    pub declared: Box<InForce>,
    /// A minute is judged so long after its end, when what agents tell of it has come and was
    /// joined; milliseconds.
    pub settle_ms: i64,
    /// Who takes what was found.
    pub keeper: Box<dyn Keeps>,
}

/// The thread. It ends when this is dropped, after the window at hand.
#[derive(Debug)]
pub struct Judge {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts it. It reads while it holds what `turn` waits for.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn<T: 'static>(
    given: Given,
    turn: impl Fn() -> Option<T> + Send + 'static,
) -> std::io::Result<Judge> {
    let (stop, stopped) = channel();
    let mut work = Work::new(given);
    let thread = std::thread::Builder::new()
        .name(String::from("judge"))
        .spawn(move || work.run(&stopped, &turn))?;
    Ok(Judge {
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the judging thread panicked");
        }
    }
}

struct Work {
    given: Given,
    plan: Plan,
    history: History,
    /// Up to when was judged.
    done_ms: i64,
    usuals: Arc<Usuals>,
    /// The hour of which it is known what is usual, and one that is being looked up.
    hour_ms: Option<i64>,
    looking: Option<Looking>,
    failures: Limiter,
    /// How long the last look worked, without the wait for its turn.
    worked: Duration,
}

/// What is usual in an hour, while its days are read.
struct Looking {
    hour_ms: i64,
    day: usize,
    usuals: Usuals,
}

impl Work {
    fn new(mut given: Given) -> Self {
        let looked = given.folder.look(true);
        let mut work = Self {
            given,
            plan: Plan::default(),
            history: History::default(),
            // What was told while nobody took it comes first: minutes that end from now on are judged.
            done_ms: unit::floor(time::now_ms(), MINUTE_MS),
            usuals: Arc::default(),
            hour_ms: None,
            looking: None,
            failures: Limiter::new(),
            worked: Duration::ZERO,
        };
        work.take(looked);
        work
    }

    fn run<T>(&mut self, stopped: &Receiver<()>, turn: &dyn Fn() -> Option<T>) {
        let (mut reader, mut rest) = (None, LOOK);
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(rest) {
            self.worked = Duration::ZERO;
            let looked = self.given.folder.look(false);
            self.take(looked);
            if let Err(error) = self.look(time::now_ms(), &mut reader, turn) {
                reader = None;
                self.given.metrics.alert_pass_failures_total.add(1);
                if let Some(suppressed) = self.failures.admit(time::now_ms()) {
                    log::error!(error:%, suppressed; "rules not judged");
                }
            }
            rest = self.worked.saturating_mul(REST).clamp(LOOK, MOST_REST);
        }
    }

    /// Puts other rules in force.
    fn take(&mut self, looked: Looked) {
        let metrics = Arc::clone(&self.given.metrics);
        for why in &looked.wrong {
            metrics.alert_rules_refused_total.add(1);
            log::error!(why; "rules that cannot be used");
        }
        let Some(rules) = looked.rules else { return };
        self.plan = Plan::of(&rules);
        metrics.alert_rules.set(self.plan.rules() as u64);
        self.given.keeper.rules(&rules);
        // What is usual is known by the numbers of rules, which may be others now.
        (self.hour_ms, self.looking) = (None, None);
    }

    fn look<T>(
        &mut self,
        now_ms: i64,
        reader: &mut Option<Box<dyn Questions>>,
        turn: &dyn Fn() -> Option<T>,
    ) -> Result<(), Error> {
        let settle_ms = self.given.settle_ms;
        let at_ms = unit::floor(now_ms.saturating_sub(settle_ms), MINUTE_MS);
        let hour_ms = unit::floor(at_ms, HOUR_MS);
        let is_due = at_ms > self.done_ms;
        let looks_back = self.hour_ms != Some(hour_ms);
        if !is_due && !looks_back {
            return Ok(());
        }
        let Some(_turn) = turn() else { return Ok(()) };
        let begun = time::monotonic();
        let done = self.work((at_ms, hour_ms), is_due, now_ms, reader);
        self.worked = time::monotonic().duration_since(begun);
        done
    }

    /// What is due, or else what is usual on one more day.
    fn work(
        &mut self,
        (at_ms, hour_ms): (i64, i64),
        is_due: bool,
        now_ms: i64,
        reader: &mut Option<Box<dyn Questions>>,
    ) -> Result<(), Error> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.given.store.open()?),
        };
        if is_due {
            let patience_ms = self.given.settle_ms + PATIENCE_MS;
            let waits = now_ms < at_ms.saturating_add(patience_ms);
            return self.judge(&mut **reader, at_ms, waits);
        }
        self.look_back(&mut **reader, hour_ms)
    }

    /// Judges the windows that end at a minute.
    fn judge(&mut self, reader: &mut dyn Questions, at_ms: i64, waits: bool) -> Result<(), Error> {
        let begun = time::monotonic();
        let mut reading = Reading {
            reader,
            plan: &self.plan,
            declared: &*self.given.declared,
            meter: self.given.meter,
            metrics: &self.given.metrics,
        };
        if waits && !reading.is_joined(at_ms)? {
            return Ok(());
        }
        // What cannot be read now is not read again and again: the next minute comes soon.
        self.done_ms = at_ms;
        let (judged, counts) = reading.judge(at_ms, &mut self.history, &self.usuals)?;
        let reader = reading.reader;
        let metrics = &self.given.metrics;
        metrics.alert_passes_total.add(1);
        metrics.alert_rows_total.add(counts.0);
        metrics.alert_groups_cut_total.add(counts.1);
        metrics
            .alert_findings
            .set(judged.evaluated.findings.len() as u64);
        metrics
            .alert_unjudged
            .set(judged.evaluated.unjudged.len() as u64);
        metrics
            .alert_hosts_cut_total
            .add(std::mem::take(&mut self.history.cut));
        metrics
            .alert_pass_seconds
            .observe(time::monotonic().duration_since(begun));
        self.given.keeper.judged(judged, reader, self.given.meter);
        Ok(())
    }

    /// Reads the same hour of one more day.
    fn look_back(&mut self, reader: &mut dyn Questions, hour_ms: i64) -> Result<(), Error> {
        let stale = self
            .looking
            .as_ref()
            .is_none_or(|looking| looking.hour_ms != hour_ms);
        if stale {
            self.looking = None;
        }
        let looking = self.looking.get_or_insert_with(|| Looking {
            hour_ms,
            day: 0,
            usuals: Usuals::default(),
        });
        // A day that cannot be read is left out, and not asked for without end.
        looking.day += 1;
        let days = i64::try_from(looking.day).unwrap_or(i64::MAX);
        let from_ms = hour_ms.saturating_sub(days.saturating_mul(DAY_MS));
        let mut reading = Reading {
            reader,
            plan: &self.plan,
            declared: &*self.given.declared,
            meter: self.given.meter,
            metrics: &self.given.metrics,
        };
        let read = reading.day(from_ms, HOUR_MS, &mut looking.usuals);
        if looking.day >= DAYS
            && let Some(found) = self.looking.take()
        {
            let (numbers, cut) = found.usuals.counts();
            self.given.metrics.alert_usual_numbers.set(numbers as u64);
            self.given.metrics.alert_usual_cut_total.add(cut);
            self.usuals = Arc::new(found.usuals);
            self.hour_ms = Some(hour_ms);
        }
        read
    }
}

#[cfg(test)]
mod tests;
