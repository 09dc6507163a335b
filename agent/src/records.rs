//! Records out of the kernel's ring or perf buffer, decoded.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result};
use bpf::abi;
use libbpf_rs::{PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};

use crate::event::{self, Connection, RECORD_BYTES};
use crate::kernel::Counters;
use crate::loader::Loaded;
use crate::plan::Transport;

/// Records taken at a time, perf buffers aside, which give all of one CPU's: bounds what is held in
/// memory between two folds, and how long the event loop has nothing else in view.
const CHUNK: usize = 4096;
/// What a record takes in a buffer beside itself (`BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER: u64 = 8;

/// What one look brought.
#[derive(Debug)]
pub struct Taken {
    /// In the order of their buffer.
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
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        match event::decode(bytes) {
            Ok(event) => self.events.push(event),
            Err(_) => self.invalid += 1,
        }
    }
}

/// Counts each lost record once, whoever tells of it.
///
/// Programs see that a buffer is full; but before 5.1 perf_event_output() says that it was not. A
/// perf buffer tells as well, but only before the next record that fits, and of what another cause
/// keeps out it knows nothing. What was attempted an interval ago has arrived by now, or never will.
#[derive(Debug, Default)]
pub struct Losses {
    attempted_before: u64,
    full: u64,
}

impl Losses {
    /// Records lost so far: from what the programs counted, what the buffers `told`, and how many
    /// records `arrived`, decoded or not.
    pub fn count(&mut self, counters: &Counters, told: u64, arrived: u64) -> u64 {
        let failed = counters.get(abi::WB_COUNT_RECORDS_DROPPED);
        let seen = counters.get(abi::WB_COUNT_RECORDS_FULL);
        let missing = self.attempted_before.saturating_sub(arrived);
        let missing = missing.saturating_sub(failed);
        self.attempted_before = counters.get(abi::WB_COUNT_RECORDS_ATTEMPTED);
        self.full = self.full.max(seen).max(told).max(missing);
        failed + self.full
    }
}

#[derive(Debug)]
enum Source {
    Perf(PerfBuffer<'static>),
    Ring(RingBuffer<'static>),
}

/// The consuming end. Its memory maps do not survive a fork; the agent never forks.
#[derive(Debug)]
pub struct Records {
    source: Source,
    /// Bytes of all buffers.
    bytes: u64,
    /// The perf buffer that is looked at next.
    next: usize,
    pending: Rc<RefCell<Pending>>,
}

impl Records {
    /// Maps the buffers.
    ///
    /// # Errors
    /// No memory, or the kernel refuses the mapping.
    pub fn open(loaded: &Loaded) -> Result<Self> {
        let pending = Rc::new(RefCell::new(Pending::default()));
        let (sink, teller) = (Rc::clone(&pending), Rc::clone(&pending));
        let source = match loaded.transport {
            Transport::RingBuffer => {
                let mut builder = RingBufferBuilder::new();
                builder
                    .add(&loaded.maps.records, move |bytes| {
                        sink.borrow_mut().push(bytes);
                        0
                    })
                    .context("add the ring buffer")?;
                Source::Ring(builder.build().context("map the ring buffer")?)
            }
            Transport::PerfBuffer => {
                // sysconf cannot fail for the page size; 4 KiB is right where it matters.
                let pages = usize::try_from(loaded.ring_bytes / 4096).context("size the buffer")?;
                let buffer = PerfBufferBuilder::new(&loaded.maps.records)
                    .pages(pages.max(1).next_power_of_two())
                    .sample_cb(move |_, bytes: &[u8]| sink.borrow_mut().push(bytes))
                    .lost_cb(move |_, lost| teller.borrow_mut().told += lost)
                    .build()
                    .context("map the perf buffers")?;
                Source::Perf(buffer)
            }
        };
        let buffers = match &source {
            Source::Ring(_) => 1,
            Source::Perf(buffer) => buffer.buffer_cnt() as u64,
        };
        Ok(Self {
            bytes: loaded.ring_bytes.saturating_mul(buffers),
            next: 0,
            source,
            pending,
        })
    }

    /// How many records the buffers said were lost, each time before the next one that fits.
    #[must_use]
    pub fn told_lost(&self) -> u64 {
        self.pending.borrow().told
    }

    /// Becomes readable when the buffer fills.
    #[must_use]
    pub fn epoll_fd(&self) -> i32 {
        match &self.source {
            Source::Perf(buffer) => buffer.epoll_fd(),
            Source::Ring(buffer) => buffer.epoll_fd(),
        }
    }

    /// How many records can wait at a time.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.bytes / (RECORD_BYTES as u64 + RECORD_HEADER)
    }

    /// Takes the next records, at most some thousand.
    ///
    /// # Errors
    /// The buffer cannot be read.
    pub fn take(&mut self) -> Result<Taken> {
        let more = match &self.source {
            Source::Ring(ring) => {
                let taken = ring.consume_raw_n(CHUNK);
                anyhow::ensure!(taken >= 0, "read the ring buffer: error {taken}");
                usize::try_from(taken).is_ok_and(|taken| taken >= CHUNK)
            }
            Source::Perf(buffer) => {
                let buffers = buffer.buffer_cnt();
                let mut left = buffers;
                while left > 0 && self.pending.borrow().events.len() < CHUNK {
                    self.next = (self.next + 1) % buffers;
                    // Not poll(): asking a perf event whether it is readable makes it unreadable
                    // until its next wake-up (perf_poll() exchanges the flag), and mio has asked.
                    buffer
                        .consume_buffer(self.next)
                        .context("read a perf buffer")?;
                    left -= 1;
                }
                left > 0
            }
        };
        let mut pending = self.pending.borrow_mut();
        Ok(Taken {
            events: std::mem::take(&mut pending.events),
            invalid: std::mem::take(&mut pending.invalid),
            more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Losses;
    use crate::kernel::Counters;
    use bpf::abi;

    fn counted(attempted: u64, failed: u64, full: u64) -> Counters {
        Counters::of(&[
            (abi::WB_COUNT_RECORDS_ATTEMPTED, attempted),
            (abi::WB_COUNT_RECORDS_DROPPED, failed),
            (abi::WB_COUNT_RECORDS_FULL, full),
        ])
    }

    #[test]
    fn what_program_and_buffer_both_tell_is_lost_once() {
        let mut losses = Losses::default();
        // The buffer has told of a part so far, then of all of it.
        assert_eq!(losses.count(&counted(430, 2, 134), 100, 294), 136);
        assert_eq!(losses.count(&counted(500, 2, 134), 134, 364), 136);
        assert_eq!(losses.count(&counted(600, 2, 140), 134, 458), 142);
    }

    #[test]
    fn where_the_kernel_hides_it_from_the_program_the_buffer_tells() {
        let mut losses = Losses::default();
        assert_eq!(losses.count(&counted(430, 2, 0), 134, 294), 136);
        assert_eq!(losses.count(&counted(440, 2, 0), 134, 304), 136);
    }

    #[test]
    fn what_was_lost_last_is_known_without_another_record() {
        let mut losses = Losses::default();
        // Nothing says whether the rest is lost or on its way.
        assert_eq!(losses.count(&counted(430, 2, 0), 0, 294), 2);
        // Now something does.
        assert_eq!(losses.count(&counted(430, 2, 0), 0, 294), 136);
        // The next record that fits brings word of the same ones.
        assert_eq!(losses.count(&counted(431, 2, 0), 134, 295), 136);
    }

    #[test]
    fn records_on_their_way_are_not_lost() {
        let mut losses = Losses::default();
        for interval in 1..10 {
            let attempted = counted(interval * 100, 0, 0);
            assert_eq!(losses.count(&attempted, 0, (interval - 1) * 100), 0);
        }
    }
}
