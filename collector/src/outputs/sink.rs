//! What an output is to the thread that feeds it.

use std::borrow::Cow;
use std::time::Duration;

use wire::{BatchHeader, DynamicTable};

/// A batch on its way to a destination: the tables of it that the destination is to have.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) position: i64,
    pub(super) received_ms: i64,
    pub(super) header: BatchHeader,
    pub(super) tables: Vec<DynamicTable>,
}

impl Parcel {
    pub(super) fn new(
        (position, received_ms): (i64, i64),
        batch: &wire::Batch,
        wanted: impl Fn(&str) -> bool,
    ) -> Self {
        let tables = batch.described(wanted).into_iter().map(Cow::into_owned);
        Self {
            position,
            received_ms,
            header: batch.header.clone(),
            tables: tables.collect(),
        }
    }
}

/// How far a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Everything up to here has arrived, or was refused.
    pub(super) position: i64,
    /// Batches of these that were refused for good.
    pub(super) refused: u64,
    /// Why the last of them was.
    pub(super) why: Option<String>,
}

/// Why a destination did not take something that it may take later.
#[derive(Debug)]
pub(crate) struct Later {
    pub(crate) why: anyhow::Error,
    /// How long it asks to be left alone.
    pub(crate) wait: Option<Duration>,
    /// What was taken since the last [`Done`] is gone, and has to be taken again.
    pub(crate) again: bool,
}

impl From<anyhow::Error> for Later {
    fn from(why: anyhow::Error) -> Self {
        Self {
            why,
            wait: None,
            again: false,
        }
    }
}

/// A destination.
pub(super) trait Sink: Send {
    /// Takes the next batch; nothing is sent yet.
    fn take(&mut self, parcel: Parcel);

    /// Whether something that was taken is still to be sent: nothing more is taken meanwhile.
    fn is_busy(&self) -> bool;

    /// Sends some of what was taken. `end`: nothing follows, and what waits for more does not wait.
    ///
    /// # Errors
    /// [`Later`]; unless that says otherwise, what was taken is kept, and the same call tries again.
    fn send(&mut self, end: bool) -> Result<Option<Done>, Later>;

    /// Rows that were not sent because there were too many series.
    fn left_out(&self) -> u64 {
        0
    }
}
