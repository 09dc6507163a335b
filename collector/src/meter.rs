//! What one question may take: rows, and bytes of memory that are counted before they are taken.
//!
//! The bytes are those of the structures that a row leads to until the answer is written, by their
//! sizes; `docs/OPERATIONS.md` has what was measured beside them.

/// A bound was reached, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Too many rows.
    #[error(
        "the window holds more than {limit} rows; choose a shorter one or raise limits.query_rows"
    )]
    Rows {
        /// The bound.
        limit: usize,
    },
    /// Too much memory.
    #[error(
        "the answer would take more than {limit} bytes of memory; choose a shorter window or raise \
         limits.query_memory"
    )]
    Memory {
        /// The bound.
        limit: usize,
    },
    /// Too much time.
    #[error("reading took longer than {} s; choose a shorter window", .limit_ms / 1000)]
    Time {
        /// The bound, milliseconds.
        limit_ms: i64,
    },
    /// Too long a text.
    #[error("the answer would be longer than {limit} bytes; choose a shorter window")]
    Answer {
        /// The bound.
        limit: usize,
    },
}

/// Rows, bytes and time that are left.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    rows: (usize, usize),
    bytes: (usize, usize),
    time: Option<Time>,
    parts: bool,
}

#[derive(Clone, Copy, Debug)]
struct Time {
    until_ms: i64,
    limit_ms: i64,
    clock: fn() -> i64,
}

impl Meter {
    /// At most so many rows and bytes.
    #[must_use]
    pub fn new(rows: usize, bytes: usize) -> Self {
        Self {
            rows: (rows, rows),
            bytes: (bytes, bytes),
            time: None,
            parts: false,
        }
    }

    /// What takes more may be done in parts that each take less, though they may say less together.
    #[must_use]
    pub fn for_parts(self) -> Self {
        Self {
            parts: true,
            ..self
        }
    }

    /// Whether it may.
    #[must_use]
    pub fn is_for_parts(&self) -> bool {
        self.parts
    }

    /// And so many milliseconds of this clock for taking rows.
    #[must_use]
    pub fn within(self, limit_ms: i64, clock: fn() -> i64) -> Self {
        let time = Some(Time {
            until_ms: clock().saturating_add(limit_ms),
            limit_ms,
            clock,
        });
        Self { time, ..self }
    }

    /// As much as there is, for questions whose size is known.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }

    /// Rows that may still be taken, of at least so many bytes each.
    #[must_use]
    pub fn rows_left(&self, bytes_each: usize) -> usize {
        self.rows.0.min(self.bytes.0 / bytes_each.max(1))
    }

    /// Whether there is time left.
    ///
    /// # Errors
    /// [`Exceeded::Time`].
    pub fn time(&self) -> Result<(), Exceeded> {
        match self.time {
            Some(time) if (time.clock)() > time.until_ms => Err(Exceeded::Time {
                limit_ms: time.limit_ms,
            }),
            _ => Ok(()),
        }
    }

    /// Bytes that may still be taken.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        self.bytes.0
    }

    /// Takes a row of so many bytes.
    ///
    /// # Errors
    /// The bound that is reached.
    pub fn row(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let left = self.rows.0.checked_sub(1);
        self.rows.0 = left.ok_or(Exceeded::Rows { limit: self.rows.1 })?;
        self.time()?;
        self.bytes(bytes)
    }

    /// Gives back bytes that were taken and are free again.
    pub fn give(&mut self, bytes: usize) {
        self.bytes.0 = self.bytes.0.saturating_add(bytes).min(self.bytes.1);
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// [`Exceeded::Memory`].
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Exceeded> {
        let left = self.bytes.0.checked_sub(bytes);
        self.bytes.0 = left.ok_or(Exceeded::Memory {
            limit: self.bytes.1,
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Exceeded, Meter};

    #[test]
    fn what_is_not_left_is_not_taken() {
        let mut meter = Meter::new(3, 100);
        assert_eq!(meter.row(60), Ok(()));
        assert_eq!(meter.rows_left(10), 2);
        assert_eq!(meter.rows_left(30), 1);
        assert_eq!(meter.bytes(41), Err(Exceeded::Memory { limit: 100 }));
        assert_eq!(meter.row(40), Ok(()));
        meter.give(30);
        assert_eq!(meter.bytes_left(), 30);
        meter.give(1000);
        assert_eq!(meter.bytes_left(), 100, "never more than there was");
        assert_eq!(meter.row(0), Ok(()));
        assert_eq!(meter.row(0), Err(Exceeded::Rows { limit: 3 }));
    }

    #[test]
    fn rows_are_taken_until_the_time_is_over() {
        assert_eq!(Meter::unlimited().within(0, || 7).row(0), Ok(()));
        let late = Meter::unlimited().within(-1, || 7).row(0);
        assert_eq!(late, Err(Exceeded::Time { limit_ms: -1 }));
    }
}
