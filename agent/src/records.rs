//! Records out of the kernel's ring or perf buffers, decoded.
//!
//! A family with a high rate has a ring of its own, so that it never pushes out what others have to say;
//! and each ring is read within a budget of its own, so that none keeps another one waiting.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use bpf::abi;
use bpf::counters::{KINDS, RECORD_KINDS};
use libbpf_rs::{PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};
use zerocopy::FromBytes as _;

use crate::family::connection::event::{self, Connection, RECORD_BYTES};
use crate::kernel::{Counters, OfRecords};
use crate::loader::Ring;
use crate::metrics::Metrics;
use crate::plan::Transport;

/// Records taken of each ring at a time, perf buffers aside, which give all of one CPU's: bounds what is
/// held in memory between two folds, and how long the event loop has nothing else in view.
const CHUNK: usize = 4096;
/// What a record takes in a buffer beside itself (`BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER: u64 = 8;

/// What one look brought.
#[derive(Debug)]
pub struct Taken {
    /// Ring by ring, in the order of their buffer.
    pub events: Vec<Connection>,
    /// Records that could not be decoded.
    pub invalid: u64,
    /// There may be more.
    pub more: bool,
}

/// Decoded records that wait to be folded.
#[derive(Debug, Default)]
struct Pending {
    events: Vec<Connection>,
    invalid: u64,
    /// Records that the buffers said were lost, since they were mapped.
    told: u64,
    /// Records that came since then, by kind.
    arrived: [u64; KINDS],
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(kind) = kind_of(bytes) {
            self.arrived[kind] += 1;
        }
        match event::decode(bytes) {
            Ok(event) => self.events.push(event),
            Err(_) => self.invalid += 1,
        }
    }
}

/// Place in [`RECORD_KINDS`] of what a record says it is, valid otherwise or not.
fn kind_of(bytes: &[u8]) -> Option<usize> {
    let (header, _) = abi::wb_record_header::read_from_prefix(bytes).ok()?;
    let is = |kind: u32, family: u32| {
        (kind, family) == (u32::from(header.kind), u32::from(header.family))
    };
    let mut kinds = RECORD_KINDS.iter();
    kinds.position(|kind| is(kind.number, kind.family))
}

/// Counts each lost record once, whoever tells of it.
#[derive(Debug, Default)]
pub struct Losses {
    all: Loss,
    kinds: [Loss; KINDS],
}

impl Losses {
    /// Writes what became of records so far into the agent's own counters: from what the programs
    /// counted, what the buffers `told`, and how many records of each kind `arrived`.
    pub fn publish(
        &mut self,
        counters: &Counters,
        told: u64,
        arrived: &[u64; KINDS],
        metrics: &Metrics,
    ) {
        let counted = RECORD_KINDS.iter().map(|kind| counters.of_records(kind));
        let counted: Vec<_> = counted.collect();
        let all = counted
            .iter()
            .fold(OfRecords::default(), |sum, one| OfRecords {
                attempted: sum.attempted + one.attempted,
                failed: sum.failed + one.failed,
                full: sum.full + one.full,
            });
        metrics.kernel_records_attempted_total.set(all.attempted);
        let lost = self.all.count(all, told, arrived.iter().sum());
        metrics.kernel_records_dropped_total.set(lost);
        for (at, one) in counted.into_iter().enumerate() {
            // A buffer does not tell what it was that found it full.
            let told = if one.attempted == all.attempted {
                told
            } else {
                0
            };
            let lost = self.kinds[at].count(one, told, arrived[at]);
            metrics.records()[at].attempted.set(one.attempted);
            metrics.records()[at].dropped.set(lost);
        }
    }
}

/// Records of one kind, or of all, that were lost.
///
/// Programs see that a buffer is full; but before 5.1 perf_event_output() says that it was not. A
/// perf buffer tells as well, but only before the next record that fits, and of what another cause
/// keeps out it knows nothing. What was attempted an interval ago has arrived by now, or never will.
#[derive(Clone, Copy, Debug, Default)]
struct Loss {
    attempted_before: u64,
    full: u64,
}

impl Loss {
    fn count(&mut self, counted: OfRecords, told: u64, arrived: u64) -> u64 {
        let missing = self.attempted_before.saturating_sub(arrived);
        let missing = missing.saturating_sub(counted.failed);
        self.attempted_before = counted.attempted;
        self.full = self.full.max(counted.full).max(told).max(missing);
        counted.failed + self.full
    }
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
    /// The perf buffer that is looked at next.
    next: usize,
    pending: Rc<RefCell<Pending>>,
}

/// The consuming end. Its memory maps do not survive a fork; the agent never forks.
#[derive(Debug)]
pub struct Records {
    rings: Vec<Mapped>,
    pending: Rc<RefCell<Pending>>,
}

impl Records {
    /// Maps the rings.
    ///
    /// # Errors
    /// No memory, or the kernel refuses the mapping.
    pub fn open<'a>(rings: impl IntoIterator<Item = Ring<'a>>) -> Result<Self> {
        let pending = Rc::new(RefCell::new(Pending::default()));
        let rings = rings.into_iter().map(|ring| Mapped::open(ring, &pending));
        Ok(Self {
            rings: rings.collect::<Result<_>>()?,
            pending,
        })
    }

    /// How many records the buffers said were lost, each time before the next one that fits.
    #[must_use]
    pub fn told_lost(&self) -> u64 {
        self.pending.borrow().told
    }

    /// How many records of each kind came, decoded or not.
    #[must_use]
    pub fn arrived(&self) -> [u64; KINDS] {
        self.pending.borrow().arrived
    }

    /// Each becomes readable when its ring fills.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.rings.iter().map(|ring| match &ring.source {
            Source::Perf(buffer) => buffer.epoll_fd(),
            Source::Ring(buffer) => buffer.epoll_fd(),
        })
    }

    /// How many records can wait at a time.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let bytes: u64 = self.rings.iter().map(|ring| ring.bytes).sum();
        bytes / (RECORD_BYTES as u64 + RECORD_HEADER)
    }

    /// Takes the next records, of each ring at most some thousand.
    ///
    /// # Errors
    /// A buffer cannot be read.
    pub fn take(&mut self) -> Result<Taken> {
        let mut more = false;
        for ring in &mut self.rings {
            more |= ring.take()?;
        }
        let mut pending = self.pending.borrow_mut();
        Ok(Taken {
            events: std::mem::take(&mut pending.events),
            invalid: std::mem::take(&mut pending.invalid),
            more,
        })
    }
}

impl Mapped {
    fn open(ring: Ring<'_>, pending: &Rc<RefCell<Pending>>) -> Result<Self> {
        let (sink, teller) = (Rc::clone(pending), Rc::clone(pending));
        let (source, buffers) = match ring.transport {
            Transport::RingBuffer => {
                let mut builder = RingBufferBuilder::new();
                builder
                    .add(ring.map, move |bytes| {
                        sink.borrow_mut().push(bytes);
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
                    .sample_cb(move |_, bytes: &[u8]| sink.borrow_mut().push(bytes))
                    .lost_cb(move |_, lost| teller.borrow_mut().told += lost)
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
            pending: Rc::clone(pending),
        })
    }

    /// Takes the next records, at most some thousand; true when there may be more.
    fn take(&mut self) -> Result<bool> {
        match &self.source {
            Source::Ring(ring) => {
                let taken = ring.consume_raw_n(CHUNK);
                anyhow::ensure!(taken >= 0, "read the ring buffer: error {taken}");
                Ok(usize::try_from(taken).is_ok_and(|taken| taken >= CHUNK))
            }
            Source::Perf(buffer) => {
                let buffers = buffer.buffer_cnt();
                let mut left = buffers;
                let most = self.pending.borrow().events.len() + CHUNK;
                while left > 0 && self.pending.borrow().events.len() < most {
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

#[cfg(test)]
mod tests {
    use bpf::abi;
    use bpf::counters::RECORD_KINDS;
    use zerocopy::IntoBytes as _;

    use super::{Loss, Losses, Pending};
    use crate::kernel::{Counters, OfRecords};
    use crate::metrics::Metrics;

    fn counted(attempted: u64, failed: u64, full: u64) -> OfRecords {
        OfRecords {
            attempted,
            failed,
            full,
        }
    }

    #[test]
    fn what_program_and_buffer_both_tell_is_lost_once() {
        let mut loss = Loss::default();
        // The buffer has told of a part so far, then of all of it.
        assert_eq!(loss.count(counted(430, 2, 134), 100, 294), 136);
        assert_eq!(loss.count(counted(500, 2, 134), 134, 364), 136);
        assert_eq!(loss.count(counted(600, 2, 140), 134, 458), 142);
    }

    #[test]
    fn where_the_kernel_hides_it_from_the_program_the_buffer_tells() {
        let mut loss = Loss::default();
        assert_eq!(loss.count(counted(430, 2, 0), 134, 294), 136);
        assert_eq!(loss.count(counted(440, 2, 0), 134, 304), 136);
    }

    #[test]
    fn what_was_lost_last_is_known_without_another_record() {
        let mut loss = Loss::default();
        // Nothing says whether the rest is lost or on its way.
        assert_eq!(loss.count(counted(430, 2, 0), 0, 294), 2);
        // Now something does.
        assert_eq!(loss.count(counted(430, 2, 0), 0, 294), 136);
        // The next record that fits brings word of the same ones.
        assert_eq!(loss.count(counted(431, 2, 0), 134, 295), 136);
    }

    #[test]
    fn records_on_their_way_are_not_lost() {
        let mut loss = Loss::default();
        for interval in 1..10 {
            let attempted = counted(interval * 100, 0, 0);
            assert_eq!(loss.count(attempted, 0, (interval - 1) * 100), 0);
        }
    }

    #[test]
    fn a_kind_has_counters_of_its_own_and_a_part_of_all() {
        let kind = RECORD_KINDS[0];
        let counters = Counters::of(&[
            (kind.counter(abi::WB_OUTCOME_ATTEMPTED), 430),
            (kind.counter(abi::WB_OUTCOME_DROPPED), 2),
            (kind.counter(abi::WB_OUTCOME_FULL), 134),
        ]);
        let metrics = Metrics::default();
        let mut arrived = [0; super::KINDS];
        arrived[0] = 294;
        Losses::default().publish(&counters, 0, &arrived, &metrics);
        let all: Vec<_> = metrics.snapshot().into_iter().collect();
        for (name, value) in [
            ("kernel_records_attempted_total", 430),
            ("kernel_records_attempted_connection_total", 430),
            ("kernel_records_dropped_total", 136),
            ("kernel_records_dropped_connection_total", 136),
        ] {
            assert!(all.contains(&(name.to_owned(), value)), "{name}: {all:?}");
        }
    }

    #[test]
    fn what_arrived_is_counted_by_kind_even_if_it_cannot_be_decoded() {
        let mut pending = Pending::default();
        let mut header = abi::wb_record_header {
            family: 1,
            kind: 1,
            ..Default::default()
        };
        pending.push(header.as_bytes());
        header.family = 9;
        pending.push(header.as_bytes());
        pending.push(&[1]);
        assert_eq!((pending.arrived[0], pending.invalid), (1, 3));
    }
}
