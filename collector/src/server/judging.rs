//! The thread that holds rules against what was told takes turns with large questions, and hands
//! what it finds to those who keep alerts.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use anyhow::Context as _;

use super::app::App;
use super::fair::Party;
use crate::alert::RuleName;
use crate::alert::catalogue::Catalogue;
use crate::alert::folder::Folder;
use crate::alert::judge::{self, Given, Judge, Judged, Keeps};
use crate::alert::keeper::Keeper;
use crate::alert::look;
use crate::alert::outputs;
use crate::alert::rule::Rules;
use crate::config::Config;
use crate::exit::Failure;
use crate::log::Limiter;
use crate::meter::Meter;
use crate::store::Questions;
use crate::time;

/// The thread. Dropping it ends it.
pub(super) struct Judging {
    _judge: Judge,
}

/// Starts it.
///
/// # Errors
/// When the alerts cannot be read, or the thread cannot be started.
pub(super) fn start(app: &App) -> Result<Judging, Failure> {
    let Config { limits, alerts, .. } = &app.config;
    let keeper = Keeper::open(
        Arc::clone(&app.alerts),
        Arc::clone(&app.metrics),
        outputs::wants(alerts),
    );
    let keeper = keeper.map_err(Failure::store)?;
    let taking = Taking {
        keeper,
        catalogue: Arc::clone(&app.rules),
        rules: BTreeSet::new(),
        failures: Limiter::new(),
    };
    let given = Given {
        store: Arc::clone(&app.source),
        meter: Meter::new(limits.query_rows, limits.query_memory),
        metrics: Arc::clone(&app.metrics),
        folder: Folder::new(alerts.rules.clone()),
        declared: {
            let beside = Arc::clone(&app.beside);
            Box::new(move || beside.declared.get().map_err(|error| error.to_string()))
        },
        settle_ms: i64::try_from(alerts.settle.as_millis()).unwrap_or(i64::MAX),
        keeper: Box::new(taking),
    };
    let nobody = Party::of(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let turn = Arc::clone(&app.answers.turn);
    let judge = judge::spawn(given, move || turn.wait_on_thread(nobody, 1));
    let judge = judge.context("start the judging thread")?;
    Ok(Judging { _judge: judge })
}

/// Hands on what was found.
struct Taking {
    keeper: Keeper,
    catalogue: Arc<Catalogue>,
    /// Names of those in force.
    rules: BTreeSet<RuleName>,
    failures: Limiter,
}

impl Keeps for Taking {
    fn rules(&mut self, rules: &Rules) {
        let judged = rules.iter().filter(|rule| rule.enabled);
        self.rules = judged.map(|rule| rule.name.clone()).collect();
        self.catalogue.publish(rules);
    }

    fn judged(&mut self, judged: Judged, reader: &mut dyn Questions, meter: Meter) {
        let Judged { evaluated, homes } = judged;
        let mut look = look::Reader { reader, meter };
        let taken = self.keeper.take(&evaluated, &self.rules, homes, &mut look);
        if let Err(error) = taken
            && let Some(suppressed) = self.failures.admit(time::now_ms())
        {
            let error = format!("{:#}", anyhow::Error::new(error));
            log::error!(error, suppressed; "alerts not kept");
        }
    }
}
