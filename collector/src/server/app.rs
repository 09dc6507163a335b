//! What handlers share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use axum::extract::State;

use super::fair::Shares;
use super::secrets::Current;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::writer::{Job, Newest};

/// Bytes of answers that are made and not yet taken, all together.
pub(super) const UNSENT: usize = 32 << 20;

/// What handlers share.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) secrets: Arc<Current>,
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
    pub(super) jobs: SyncSender<Job>,
    /// What agents are told in answers.
    pub(super) orders: Newest,
    /// False while the store cannot be written.
    pub(super) healthy: Arc<AtomicBool>,
}

pub(super) type Shared = State<Arc<App>>;

/// What questions share beside their places.
pub(super) struct Answers {
    /// The turn of large questions.
    pub(super) turn: Arc<Shares>,
    /// Bytes of what is made and not taken.
    pub(super) unsent: Arc<Shares>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            turn: Shares::new(1),
            unsent: Shares::new(UNSENT),
        }
    }
}
