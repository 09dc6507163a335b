//! From sealed batches to the collector: what the event loop holds of the spool's and the upload's
//! threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Sender, TrySendError, bounded};

use crate::jail::Jailed;
use crate::metrics::Metrics;
use crate::orders::Mailbox;
use crate::spool::thread::{self, Client, LostBatches};
use crate::spool::{Lost, Sealed, Spool};
use crate::upload;

/// Sealed batches waiting for the disk. One interval seals a few; more than this means that the
/// disk stands still, and memory is the application's.
const QUEUED_MAX: usize = 16;
/// What storing the last batches and closing the database may take; a disk that takes longer stands
/// still.
const STORE_END: Duration = Duration::from_secs(5);

/// The batch was not taken; it is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue to the spool is full")]
pub struct Full;

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Everything queued was stored or counted, and the database is closed.
    pub stored: bool,
    /// The upload thread ended in time, or there was none.
    pub upload_ended: bool,
    /// Batches left for the next run.
    pub left: u64,
}

/// The two threads behind the event loop: one stores, one uploads.
///
/// Dropping it is a drain without time for an upload.
#[derive(Debug)]
pub struct Handle {
    metrics: Arc<Metrics>,
    lost: LostBatches,
    /// None once drained, like the rest.
    sealed: Option<Sender<Sealed>>,
    stop: Option<Sender<()>>,
    spool: Option<thread::Running>,
    upload: Option<upload::thread::Running>,
}

impl Handle {
    /// Starts the threads "spool" and, where there are upload settings, "upload".
    ///
    /// # Errors
    /// The settings cannot be used or a thread cannot be started; none runs then.
    pub fn start(
        _jailed: &Jailed,
        spool: Spool,
        upload: Option<upload::Settings>,
        mailbox: Arc<Mailbox>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let Some(settings) = upload else {
            return Self::start_spool(spool, metrics).map(|(handle, ..)| handle);
        };
        let transport = upload::Transport::new(&settings).context("prepare the upload")?;
        let transport = transport
            .with_mailbox(mailbox)
            .with_metrics(Arc::clone(&metrics));
        Self::start_with(spool, metrics, |client, metrics| {
            upload::thread::start(transport, client, metrics)
        })
    }

    /// Starts the spool thread, and the upload thread by `start_upload`.
    pub(crate) fn start_with(
        spool: Spool,
        metrics: Arc<Metrics>,
        start_upload: impl FnOnce(Client, Arc<Metrics>) -> io::Result<upload::thread::Running>,
    ) -> anyhow::Result<Self> {
        // Leaving early drops the handle, which ends and joins what runs.
        let (mut handle, client) = Self::start_spool(spool, Arc::clone(&metrics))?;
        handle.upload = Some(start_upload(client, metrics).context("start the upload thread")?);
        Ok(handle)
    }

    fn start_spool(spool: Spool, metrics: Arc<Metrics>) -> anyhow::Result<(Self, Client)> {
        let (sealed, sealed_receiver) = bounded(QUEUED_MAX);
        let (stop, stop_receiver) = bounded(0);
        let lost = LostBatches::default();
        let started = thread::start(
            spool,
            sealed_receiver,
            stop_receiver,
            Arc::clone(&metrics),
            lost.clone(),
        );
        let (spool, client) = started.context("start the spool thread")?;
        let handle = Self {
            metrics,
            lost,
            sealed: Some(sealed),
            stop: Some(stop),
            spool: Some(spool),
            upload: None,
        };
        Ok((handle, client))
    }

    /// Queues a batch for storing; never blocks.
    ///
    /// # Errors
    /// The queue is full (or its thread gone); the loss is counted.
    pub fn try_put(&self, sealed: Sealed) -> Result<(), Full> {
        let sent = match &self.sealed {
            Some(queue) => queue.try_send(sealed),
            None => Err(TrySendError::Disconnected(sealed)),
        };
        sent.map_err(|error| {
            let (batch, counter) = match error {
                TrySendError::Full(batch) => (batch, &self.metrics.batch_dropped_full_total),
                TrySendError::Disconnected(batch) => {
                    (batch, &self.metrics.spool_dropped_error_total)
                }
            };
            counter.add(1);
            self.lost.add(Lost::from(batch.id.sequence));
            Full
        })
    }

    /// Batches of this run that will never arrive, as far as it became known since the last call.
    #[must_use]
    pub fn take_lost(&self) -> Option<Lost> {
        self.lost.take()
    }

    /// Uploads by another transport from now on, and at once where the wait was the agent's own.
    pub fn change(&mut self, transport: upload::Transport) {
        if let Some(upload) = &mut self.upload {
            upload.change(transport);
        }
    }

    /// Uploads now instead of waiting out the agent's own back-off. A wait that the collector asked
    /// for stays.
    pub fn kick(&self) {
        if let Some(upload) = &self.upload {
            upload.kick();
        }
    }

    /// Stores everything queued, uploads until the first failure or until `deadline` is over, and
    /// stops both threads.
    ///
    /// Takes little longer than `deadline`: a request under way is cut off then, and its batch
    /// stays for the next run.
    #[must_use]
    pub fn drain(mut self, deadline: Duration) -> Drained {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> Drained {
        // Closing the queue tells the spool thread to store what is in it and to end when the
        // upload thread has ended.
        self.sealed = None;
        let upload_ended = self.upload.take().is_none_or(|upload| upload.end(deadline));
        // Or, if that one hangs, to end now.
        self.stop = None;
        let left = self.spool.take().and_then(|spool| spool.join(STORE_END));
        Drained {
            stored: left.is_some(),
            upload_ended,
            left: left.unwrap_or(0),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.spool.is_some() {
            self.end(Duration::ZERO);
        }
    }
}
