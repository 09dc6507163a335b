//! What handlers share.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use axum::extract::State;

use super::drain::Ending;
use super::fair::Shares;
use super::logins::Logins;
use super::secrets::{Current, Shown};
use crate::accept::{Reason, Refusal};
use crate::access::{self, Access, identity};
use crate::alert::catalogue::Catalogue;
use crate::alert::store::AlertStore;
use crate::api::Beside;
use crate::auth::Credential;
use crate::config::{Config, Limits};
use crate::declared::InForce;
use crate::joined::Kept;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::outputs::Status;
use crate::store::writer::{Message, Newest};
use crate::store::{Health, Source};
use crate::time;

/// Bytes of answers that are made and not yet taken, all together.
pub const UNSENT: usize = 32 << 20;

/// Changes of credentials that are made at once.
const ACCESS_WORK: usize = 4;

/// What handlers share.
pub(super) struct App {
    pub(super) config: Config,
    /// Where questions go.
    pub(super) source: Arc<dyn Source>,
    pub(super) secrets: Arc<Current>,
    pub(super) access: Arc<Access>,
    /// What is known beside the store: which alerts fire, and what is declared.
    pub(super) beside: Arc<Beside>,
    /// Alerts, with what became of them.
    pub(super) alerts: Arc<AlertStore>,
    /// The rules by which they are found.
    pub(super) rules: Arc<Catalogue>,
    pub(super) access_failures: Limiter,
    /// Changes of it that are asked for over the network.
    pub(super) access_work: Arc<Shares>,
    pub(super) enroll_refusals: Limiter,
    pub(super) logins: Logins,
    pub(super) metrics: Arc<Metrics>,
    /// Bytes of bodies that have arrived.
    pub(super) bodies: Arc<Shares>,
    /// Batches being decoded or stored.
    pub(super) batches: Arc<Shares>,
    /// Bytes of memory for batches being decoded or stored.
    pub(super) batch_memory: Arc<Shares>,
    /// Questions being answered, until the answer was sent.
    pub(super) queries: Arc<Shares>,
    pub(super) answers: Answers,
    pub(super) jobs: SyncSender<Message>,
    /// What agents are told in answers.
    pub(super) orders: Newest,
    pub(super) outputs: Arc<Status>,
    /// Of the thread that writes the store.
    pub(super) health: Arc<Health>,
    /// Whether the server ends.
    pub(super) ending: Ending,
}

impl App {
    /// The credential that a connection's certificate is, if it is one.
    pub(super) fn certificate(&self, shown: &Shown) -> Result<Option<Credential>, Refusal> {
        let now_ms = time::now_ms();
        let Some(valid) = self.secrets.known().certificate(shown, now_ms) else {
            return Ok(None);
        };
        if !valid.own {
            return Ok(Some(valid.credential));
        }
        // What it has signed is written down: another certificate of it was made elsewhere.
        match self.access.enrolled_name(valid.credential.id, now_ms) {
            Ok(name) => Ok(name.map(|name| Credential {
                identity: Some(identity(&name)),
                ..valid.credential
            })),
            Err(error) => Err(self.cannot_judge(error)),
        }
    }

    /// With nothing in flight; `store` is the queue to the writer, its health and its orders.
    pub(super) fn new(
        config: &Config,
        secrets: Arc<Current>,
        (access, alerts): (Arc<Access>, Arc<AlertStore>),
        metrics: Arc<Metrics>,
        store: (SyncSender<Message>, Arc<Health>, Newest),
        outputs: Arc<Status>,
        (source, ending): (Arc<dyn Source>, Ending),
    ) -> Self {
        let (jobs, health, orders) = store;
        let beside = Beside {
            alerts: Arc::clone(&alerts),
            declared: InForce::new(Arc::clone(&access)),
        };
        Self {
            secrets,
            access,
            beside: Arc::new(beside),
            alerts,
            rules: Arc::default(),
            access_failures: Limiter::new(),
            access_work: Shares::new(ACCESS_WORK),
            enroll_refusals: Limiter::new(),
            logins: Logins::new(time::monotonic()),
            answers: Answers::new(&config.limits, &metrics),
            metrics,
            bodies: Shares::new(config.limits.body_memory),
            batches: Shares::new(config.limits.concurrent_batches),
            queries: Shares::new(config.limits.concurrent_queries),
            batch_memory: Shares::new(config.limits.batch_memory),
            jobs,
            health,
            ending,
            orders,
            outputs,
            source,
            config: config.clone(),
        }
    }

    /// How long a session goes on that nobody uses, milliseconds.
    pub(super) fn idle_ms(&self) -> i64 {
        time::whole_ms(self.config.auth.session_idle)
    }

    /// Says no to a credential that was revoked, and to all while nobody can tell.
    pub(super) fn admits(&self, credential: &Credential) -> Result<(), Refusal> {
        match self.access.is_revoked(credential.id) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refusal::new(
                Reason::Revoked,
                format!("credential {} was revoked", credential.id),
            )),
            Err(error) => Err(self.cannot_judge(error)),
        }
    }

    /// Says so, and to whom asked, that it should come again.
    pub(super) fn cannot_judge(&self, error: access::Error) -> Refusal {
        if let Some(suppressed) = self.access_failures.admit(time::now_ms()) {
            let error = format!("{:#}", anyhow::Error::new(error));
            log::error!(error, suppressed; "credentials cannot be judged");
        }
        Refusal::new(Reason::Store, "credentials cannot be judged now")
    }
}

pub(super) type Shared = State<Arc<App>>;

/// The memory of a small question, of the large one, and of what was made and is kept for others,
/// which has half as much again for sums: together never more than all of it, but where slices are joined with more, which take turns with
/// large questions.
pub(super) fn shares(limits: &Limits) -> (usize, usize, usize) {
    let small = limits.query_memory / 4 / limits.concurrent_queries;
    let others = small * (limits.concurrent_queries - 1);
    let kept = limits.query_memory / 4;
    let large = limits.query_memory - others - kept - kept / 2;
    (small, large.max(limits.join_memory), kept)
}

/// What questions share beside their places.
pub(super) struct Answers {
    /// The turn of large questions.
    pub(super) turn: Arc<Shares>,
    /// Bytes of what is made and not taken.
    pub(super) unsent: Arc<Shares>,
    /// Topologies for those who take older ones.
    pub(super) kept: Arc<Kept>,
}

impl Answers {
    fn new(limits: &Limits, metrics: &Arc<Metrics>) -> Self {
        let (_, _, kept) = shares(limits);
        Self {
            turn: Shares::new(1),
            unsent: Shares::new(UNSENT),
            kept: Arc::new(Kept::new(kept, Arc::clone(metrics))),
        }
    }
}
