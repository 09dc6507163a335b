//! Records out of the kernel's rings or perf buffers, each handed to the family that its header names.
//!
//! A family with a high rate has a ring of its own, so that it never pushes out what others have to say;
//! and each ring is read within a budget of its own, so that none keeps another one waiting.

mod inbox;
mod losses;

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use libbpf_rs::{MapHandle, PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};

use crate::kernel::Counters;
use crate::metrics::Metrics;
use crate::plan::Transport;
use inbox::Dispatch;
pub use inbox::Inbox;
use losses::Losses;

/// Records taken of each ring at a time, perf buffers aside, which give all of one CPU's: bounds what is
/// held in memory between two folds, and how long the event loop has nothing else in view.
const CHUNK: u32 = 4096;

/// A ring that programs write records to.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    /// The map that is the ring, or holds a perf buffer for each CPU.
    pub map: &'a MapHandle,
    /// Which of both.
    pub transport: Transport,
    /// Bytes of the ring, or of one CPU's buffer.
    pub bytes: u64,
}

#[derive(Debug)]
enum Source {
    Perf(PerfBuffer<'static>),
    Ring(RingBuffer<'static>),
}

/// A ring, mapped.
#[derive(Debug)]
struct Mapped {
    source: Source,
    /// Bytes of all its buffers.
    bytes: u64,
    /// The perf buffer that is read next.
    next: usize,
}

/// What one reading of all rings brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the records that came.
    pub bytes: u64,
    /// There may be more.
    pub more: bool,
}

/// The consuming end of all rings. Its memory maps do not survive a fork; the agent never forks.
#[derive(Debug, Default)]
pub struct Records {
    rings: RefCell<Vec<Mapped>>,
    dispatch: Rc<RefCell<Dispatch>>,
    losses: RefCell<Losses>,
}

impl Records {
    /// Maps a ring, which is read with the others from now on.
    ///
    /// # Errors
    /// No memory, or the kernel refuses the mapping.
    pub fn add(&self, ring: Ring<'_>) -> Result<()> {
        let mapped = Mapped::open(ring, &self.dispatch)?;
        self.rings.borrow_mut().push(mapped);
        Ok(())
    }

    /// Where the records of a family (`WB_FAMILY_*`) go from now on, for as long as the inbox is kept;
    /// what `decode` refuses is counted and dropped.
    pub fn subscribe<T: 'static>(&self, family: u32, decode: fn(&[u8]) -> Option<T>) -> Inbox<T> {
        let inbox = Inbox::new(decode, self.capacity());
        self.dispatch.borrow_mut().deliver(family, &inbox);
        inbox
    }

    /// Each becomes readable when its ring fills.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        let rings = self.rings.borrow();
        let rings = rings.iter().map(|ring| match &ring.source {
            Source::Perf(buffer) => buffer.epoll_fd(),
            Source::Ring(buffer) => buffer.epoll_fd(),
        });
        rings.collect()
    }

    /// How many bytes of records can wait at a time.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.rings.borrow().iter().map(|ring| ring.bytes).sum()
    }

    /// Hands on the next records, of each ring at most some thousand, and counts what became of them.
    ///
    /// # Errors
    /// A buffer cannot be read.
    pub fn read(&self, metrics: &Metrics) -> Result<Progress> {
        let mut more = false;
        for ring in self.rings.borrow_mut().iter_mut() {
            more |= ring.read(&self.dispatch)?;
        }
        let bytes = self.dispatch.borrow_mut().publish(metrics);
        Ok(Progress { bytes, more })
    }

    /// Publishes what the programs `counted` of records, and which of them were lost.
    pub fn publish(&self, counted: &Counters, metrics: &Metrics) {
        let dispatch = self.dispatch.borrow();
        let (reported, arrived) = (dispatch.reported_lost, dispatch.arrived());
        let mut losses = self.losses.borrow_mut();
        losses.publish(counted, reported, arrived, metrics);
    }
}

impl Mapped {
    fn open(ring: Ring<'_>, dispatch: &Rc<RefCell<Dispatch>>) -> Result<Self> {
        let (sink, reporter) = (Rc::clone(dispatch), Rc::clone(dispatch));
        let (source, buffers) = match ring.transport {
            Transport::RingBuffer => {
                let mut builder = RingBufferBuilder::new();
                builder
                    .add(ring.map, move |bytes| {
                        sink.borrow_mut().hand_on(bytes);
                        0
                    })
                    .context("add the ring buffer")?;
                let source = builder.build().context("map the ring buffer")?;
                (Source::Ring(source), 1)
            }
            Transport::PerfBuffer => {
                // sysconf cannot fail for the page size; 4 KiB is right where it matters.
                let pages = usize::try_from(ring.bytes / 4096).context("size the buffer")?;
                let buffer = PerfBufferBuilder::new(ring.map)
                    .pages(pages.max(1).next_power_of_two())
                    .sample_cb(move |_, bytes: &[u8]| sink.borrow_mut().hand_on(bytes))
                    .lost_cb(move |_, lost| reporter.borrow_mut().reported_lost += lost)
                    .build()
                    .context("map the perf buffers")?;
                let buffers = buffer.buffer_cnt() as u64;
                (Source::Perf(buffer), buffers)
            }
        };
        Ok(Self {
            bytes: ring.bytes.saturating_mul(buffers),
            next: 0,
            source,
        })
    }

    /// Hands on the next records, at most some thousand; true when there may be more.
    fn read(&mut self, dispatch: &RefCell<Dispatch>) -> Result<bool> {
        match &self.source {
            Source::Ring(ring) => {
                let taken = ring.consume_raw_n(CHUNK as usize);
                anyhow::ensure!(taken >= 0, "read the ring buffer: error {taken}");
                Ok(u32::try_from(taken).is_ok_and(|taken| taken >= CHUNK))
            }
            Source::Perf(buffer) => {
                let buffers = buffer.buffer_cnt();
                let mut left = buffers;
                let most = dispatch.borrow().handed_on() + u64::from(CHUNK);
                while left > 0 && dispatch.borrow().handed_on() < most {
                    self.next = (self.next + 1) % buffers;
                    // Not poll(): asking a perf event whether it is readable makes it unreadable
                    // until its next wake-up (perf_poll() exchanges the flag), and mio has asked.
                    buffer
                        .consume_buffer(self.next)
                        .context("read a perf buffer")?;
                    left -= 1;
                }
                Ok(left > 0)
            }
        }
    }
}
