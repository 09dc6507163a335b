//! Orders at work: from the upload thread into the kernel's tables and the aggregates, without a
//! restart, and back again.
//!
//! What is decided, and why it can only narrow the host's own configuration, is in `orders`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use log::{error, info, warn};
use wire::orders::KEY_BYTES;

use crate::clock::monotonic_ms;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::orders::{self, InForce, Mailbox, Outcome, Own, Refusal, Signed, Standing};
use crate::plan::Plan;
use crate::writer::Writer;

/// The name under which the state of orders stands in the plan of a host row.
const ROW: &str = "orders";

/// The orders of this host and what they were made of.
#[derive(Debug)]
pub struct Fleet {
    /// None without a key.
    standing: Option<Standing>,
    mailbox: Arc<Mailbox>,
    interval_ms: u64,
    own: Own,
    in_force: InForce,
    /// What the families were told; none before the first time and after a failure.
    applied: Option<InForce>,
    /// After a failure: not before this monotonic millisecond again.
    retry_ms: u64,
    /// What is in force is not handed over for the next start yet.
    unkept: bool,
    /// What was refused last, so that it is said once; it comes with each answer.
    refused: Option<Signed>,
    metrics: Arc<Metrics>,
}

impl Fleet {
    /// Reads the orders of the last run from `directory`. `names`: host name and host id.
    #[must_use]
    pub fn open(
        (config, plan): (&Config, &Plan),
        names: &[String; 2],
        directory: &Path,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let own = Own {
            option: plan.may_write(config),
            destinations: config
                .option
                .destination_rules()
                .iter()
                .map(|(prefix, allowed)| (prefix.mapped().into(), *allowed))
                .collect(),
            sightings: config.limits.sightings_per_interval as usize,
        };
        let read = |key: [u8; KEY_BYTES]| {
            let (standing, wrong) = orders::load(directory, key, names, monotonic_ms());
            for error in &wrong {
                metrics.orders_disk_failures_total.add(1);
                warn!(error = error.as_str(); "orders of the last run not read");
            }
            if standing.lost() {
                error!(
                    "orders of the last run are lost: no option until the collector was reached"
                );
            }
            // What is wrong with one of two files is mended from the other one.
            (standing, !wrong.is_empty())
        };
        let (standing, unkept) = config.orders_key.map(read).unzip();
        let directive = standing.as_ref().map(Standing::directive);
        let fleet = Self {
            in_force: orders::narrow(&own, &directive.unwrap_or_default()),
            mailbox: Arc::new(Mailbox::new(standing.is_some())),
            interval_ms: millis(config.agent.interval),
            metrics: Arc::clone(metrics),
            applied: None,
            retry_ms: 0,
            unkept: unkept.unwrap_or(false),
            refused: None,
            standing,
            own,
        };
        fleet.publish();
        fleet
    }

    /// The host has another name, by which orders may mean it.
    pub fn rename(&mut self, name: &str) {
        if let Some(standing) = &mut self.standing {
            standing.rename(name);
            self.in_force = orders::narrow(&self.own, &standing.directive());
        }
    }

    /// Orders are signed with another key from now on. Whether any are taken at all is decided at the
    /// start.
    pub fn change_key(&mut self, key: Option<[u8; KEY_BYTES]>) {
        if let (Some(standing), Some(key)) = (&mut self.standing, key) {
            standing.change_key(key);
        }
    }

    /// Where the upload thread leaves orders.
    #[must_use]
    pub fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// What is to be done.
    #[must_use]
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Takes what came, judges what is on trial, and has what changed applied. True: the collector
    /// should hear of it with the end of this interval.
    pub fn tend(&mut self, writer: &Writer, apply: impl FnOnce(&InForce) -> Result<()>) -> bool {
        let mut news = false;
        // One in a turn: the upload thread leaves no more.
        if let Some(signed) = self.mailbox.take() {
            news |= self.take(signed);
            self.publish();
        }
        news |= self.judge();
        if news {
            let directive = self.standing.as_ref().map(Standing::directive);
            self.in_force = orders::narrow(&self.own, &directive.unwrap_or_default());
            self.unkept = true;
            self.publish();
        }
        self.keep(writer);
        let due = news || monotonic_ms() >= self.retry_ms;
        if due && self.applied.as_ref() != Some(&self.in_force) {
            self.apply(apply);
        }
        // A trial takes two requests, whether there is traffic to tell of or not.
        news || self.standing.as_ref().is_some_and(Standing::on_trial)
    }

    /// For the plan of the host row; none where there is no key and nothing was ignored.
    #[must_use]
    pub fn row(&self) -> Option<(String, String)> {
        let ignored = self.metrics.orders_ignored_total.get() > 0;
        let said = match &self.standing {
            Some(standing) => standing.said(),
            None if ignored => "ignored: no key in [fleet] public_key_file".into(),
            None => return None,
        };
        Some((ROW.to_owned(), said))
    }

    fn take(&mut self, signed: Signed) -> bool {
        let metrics = &self.metrics;
        let Some(standing) = &mut self.standing else {
            metrics.orders_ignored_total.add(1);
            return false;
        };
        // Before it is known whether they are taken: what is begun meanwhile must not prove them.
        let before = self.mailbox.begin_trial();
        match standing.take(signed.clone(), monotonic_ms(), before) {
            Ok(true) => {
                metrics.orders_taken_total.add(1);
                info!(orders = standing.said().as_str(); "orders taken");
                true
            }
            Ok(false) => false,
            Err(refusal) => {
                let counter = match &refusal {
                    Refusal::Signature => &metrics.orders_refused_signature_total,
                    Refusal::Invalid(_) => &metrics.orders_refused_invalid_total,
                    Refusal::Older { .. } => &metrics.orders_refused_older_total,
                };
                counter.add(1);
                if self.refused.as_ref() != Some(&signed) {
                    let reason = format!("{:#}", anyhow::Error::new(refusal));
                    warn!(error = reason.as_str(); "orders refused");
                    self.refused = Some(signed);
                }
                false
            }
        }
    }

    fn judge(&mut self) -> bool {
        let Some(standing) = &mut self.standing else {
            return false;
        };
        // An answer brings orders before it acknowledges the batch.
        if standing.lost() && self.metrics.upload_acked_total.get() > 0 {
            standing.has_none();
            warn!("the collector has no orders: the option is as configured");
            return true;
        }
        match standing.judge(monotonic_ms(), self.interval_ms, self.mailbox.progress()) {
            None => false,
            Some(Outcome::Proven) => {
                info!(orders = standing.said().as_str(); "orders proven");
                true
            }
            Some(Outcome::RolledBack) => {
                self.metrics.orders_rolled_back_total.add(1);
                warn!(orders = standing.said().as_str(); "orders rolled back");
                true
            }
        }
    }

    /// Hands over what the next start shall begin with; if there is no room, again in the next turn.
    fn keep(&mut self, writer: &Writer) {
        if self.unkept {
            let kept = self.standing.as_ref().and_then(orders::kept);
            self.unkept = kept.is_some_and(|kept| !writer.orders(kept));
        }
    }

    fn publish(&self) {
        let Some(standing) = &self.standing else {
            return;
        };
        self.mailbox.tell(standing.newest(), standing.on_trial());
        self.metrics.orders_version.set(standing.version());
    }

    fn apply(&mut self, apply: impl FnOnce(&InForce) -> Result<()>) {
        self.applied = match apply(&self.in_force) {
            Ok(()) => Some(self.in_force.clone()),
            Err(error) => {
                self.retry_ms = monotonic_ms().saturating_add(self.interval_ms);
                self.metrics.orders_apply_failures_total.add(1);
                warn!(error = format!("{error:#}").as_str(); "orders not applied");
                None
            }
        };
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
