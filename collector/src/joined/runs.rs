//! Sums of slices that follow one another, for whoever adds up the same again.

use std::sync::Arc;

use super::stored;
use crate::join::Joined;
use crate::meter::Meter;
use crate::store::{Error, Moment, Piece, Slice};

/// Fewer slices than these are as soon added up.
const LEAST: usize = 3;
/// Most sums.
const MOST: usize = 8;

/// Sums within a bound of memory; by default none.
#[derive(Debug, Default)]
pub(super) struct Runs {
    most_bytes: usize,
    /// The last one that was used is the last.
    all: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    /// With what each was joined from.
    slices: Vec<(Slice, i64)>,
    /// [`Joined::encode_passing`].
    sum: Arc<[u8]>,
}

impl Runs {
    pub(super) fn new(most_bytes: usize) -> Self {
        let all = Vec::new();
        Self { most_bytes, all }
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.all.iter().map(|run| run.sum.len()).sum()
    }

    /// The sum of pieces that are slices of one length, where these are worth it: the one that is
    /// known, made of a known begin where there is one.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub(super) fn sum(
        &mut self,
        view: &dyn Moment,
        pieces: &[Piece],
        meter: Meter,
    ) -> Result<Option<Arc<[u8]>>, Error> {
        let slice = |piece: &Piece| match piece {
            Piece::Joined(slice) if !slice.is_shortest() => Some(*slice),
            Piece::Joined(_) | Piece::Rows(_) => None,
        };
        let slices: Option<Vec<Slice>> = pieces.iter().map(slice).collect();
        let slices = slices.filter(|slices| slices.len() >= LEAST && self.most_bytes > 0);
        let Some(slices) = slices else {
            return Ok(None);
        };
        let generations = view.generations(&slices)?;
        let slices: Vec<(Slice, i64)> = slices.into_iter().zip(generations).collect();
        let begins = |run: &&Run| slices.starts_with(&run.slices);
        let known = self
            .all
            .iter()
            .filter(begins)
            .max_by_key(|run| run.slices.len());
        let (mut sum, mut count) = (Joined::default(), 0);
        if let Some(known) = known {
            if known.slices == slices {
                return Ok(Some(Arc::clone(&known.sum)));
            }
            stored::add_encoded(&known.sum, &mut sum, meter)?;
            count = known.slices.len();
        }
        for (slice, _) in &slices[count..] {
            stored::add(view, *slice, &mut sum, meter)?;
        }
        let Ok(bytes) = sum.encode_passing() else {
            return Ok(None);
        };
        let sum = Arc::from(bytes);
        self.keep(slices, &sum);
        Ok(Some(sum))
    }

    /// In the place of the oldest ones, and of those that it goes on.
    fn keep(&mut self, slices: Vec<(Slice, i64)>, sum: &Arc<[u8]>) {
        self.all.retain(|run| {
            let [mine, other] = [&run.slices, &slices].map(|all| all.first().map(|one| one.0));
            mine != other
        });
        let sum = Arc::clone(sum);
        self.all.push(Run { slices, sum });
        while self.all.len() > MOST || self.bytes() > self.most_bytes {
            self.all.remove(0);
        }
    }
}
