//! One slice is joined, and windows are added up from slices and rows.

use super::runs::Runs;
use super::stored;
use crate::join::{self, Joined, Picture, cost};
use crate::meter::{Exceeded, Meter};
use crate::store::{Error, Finished, Moment, Piece, Questions, Waiting, Window};

/// Shortest part in which rows are joined, milliseconds. Agents tell of an interval at its end: in
/// shorter parts than these, few of two that talk to each other tell in the same one, and what only
/// addresses or gateways could join is not.
const SHORTEST_PART_MS: i64 = 2_000;

/// The topology of a window, which is read as `read`; made within what `meter` has.
///
/// # Errors
/// Whatever the store reports.
pub fn topology(
    reader: &mut dyn Questions,
    window: Window,
    read: Window,
    meter: Meter,
) -> Result<Picture, Error> {
    topology_about(reader, window, (read, 0), meter)
}

/// The same; where so much or less of it at either end is not joined yet, or not by itself, that is
/// left out, and the topology says which window it is of.
///
/// # Errors
/// As there.
pub fn topology_about(
    reader: &mut dyn Questions,
    window: Window,
    read: (Window, i64),
    meter: Meter,
) -> Result<Picture, Error> {
    let view = reader.moment()?;
    let shown = Shown::of(&*view, window, read)?;
    made(&*view, shown, meter, &mut Runs::default())
}

/// What a topology is made of.
pub(super) struct Shown {
    window: Window,
    pieces: Vec<Piece>,
    evicted_before_ms: Option<i64>,
    /// From when it is whole.
    whole_from_ms: Option<i64>,
}

impl Shown {
    /// As in [`topology_about`].
    pub(super) fn of(
        view: &dyn Moment,
        window: Window,
        (read, spare_ms): (Window, i64),
    ) -> Result<Self, Error> {
        let evicted_before_ms = view.evicted_before_ms()?;
        let pieces = view.pieces(read)?;
        let (window, pieces) = without_ends(window, pieces, spare_ms);
        let read = Window {
            from_ms: window.from_ms,
            ..read
        };
        let whole_from_ms = view.whole_from(read, &pieces)?;
        Ok(Self {
            window,
            pieces,
            evicted_before_ms,
            whole_from_ms,
        })
    }

    /// How much of its window is read as rows, milliseconds.
    pub(super) fn rows_ms(&self) -> i64 {
        let Window { from_ms, to_ms } = self.window;
        let rows = self.pieces.iter().map(|piece| match piece {
            Piece::Joined(_) => 0,
            Piece::Rows(rows) => rows.to_ms.min(to_ms) - rows.from_ms.max(from_ms),
        });
        rows.sum()
    }
}

/// A topology of that; `runs` has sums that were made before.
pub(super) fn made(
    view: &dyn Moment,
    shown: Shown,
    mut meter: Meter,
    runs: &mut Runs,
) -> Result<Picture, Error> {
    let length = |piece: &Piece| match piece {
        Piece::Joined(slice) => Some(slice.length_ms),
        Piece::Rows(_) => None,
    };
    let mut parts = Vec::new();
    // First, for a sum takes as much memory as the one below.
    for part in shown.pieces.chunk_by(|a, b| length(a) == length(b)) {
        parts.push((part, runs.sum(view, part, meter)?));
    }
    let mut sum = Joined::default();
    for (part, known) in parts {
        if let Some(known) = known {
            stored::add_encoded(&known, &mut sum, meter)?;
            continue;
        }
        for piece in part {
            match *piece {
                Piece::Joined(slice) => {
                    // For the bound of rows.
                    meter.row(0)?;
                    stored::add(view, slice, &mut sum, meter)?;
                }
                Piece::Rows(rows) => add_rows(view, rows, &mut sum, meter)?,
            }
        }
    }
    meter.bytes(Joined::cost(sum.edges()))?;
    let hosts = view.hosts(sum.copies())?;
    for (_, name) in &hosts {
        meter.bytes(cost::HOST + cost::text(name.len()))?;
    }
    let window = (shown.window.from_ms, shown.window.to_ms);
    let picture = Picture::new(window, sum, hosts, shown.evicted_before_ms);
    Ok(picture.with_whole_from(shown.whole_from_ms))
}

/// What is left of a window without rows at its ends that are at most so long, where anything is.
fn without_ends(window: Window, mut pieces: Vec<Piece>, spare_ms: i64) -> (Window, Vec<Piece>) {
    let mut shown = window;
    let is_spare = |from_ms: i64, to_ms: i64| spare_ms > 0 && to_ms - from_ms <= spare_ms;
    if let [Piece::Rows(first), _, ..] = pieces[..]
        && is_spare(window.from_ms, first.to_ms)
    {
        shown.from_ms = first.to_ms;
        pieces.remove(0);
    }
    if let [.., _, Piece::Rows(last)] = pieces[..]
        && is_spare(last.from_ms, window.to_ms)
    {
        shown.to_ms = last.from_ms;
        pieces.pop();
    }
    (shown, pieces)
}

/// Adds what is joined of the rows of a window, beside which `meter` has room for `sum`. Where they do
/// not fit and `meter` allows it, its halves are joined one after the other, and add up as slices do.
fn add_rows(
    view: &dyn Moment,
    window: Window,
    sum: &mut Joined,
    meter: Meter,
) -> Result<(), Error> {
    let mut too_long_ms = i64::MAX;
    add_parts(view, window, &mut too_long_ms, sum, meter)
}

/// The same; windows of `too_long_ms` were too long already, and with more in `sum` still are.
fn add_parts(
    view: &dyn Moment,
    window: Window,
    too_long_ms: &mut i64,
    sum: &mut Joined,
    meter: Meter,
) -> Result<(), Error> {
    let Window { from_ms, to_ms } = window;
    let length_ms = to_ms.saturating_sub(from_ms);
    if length_ms < *too_long_ms {
        let mut own = meter;
        own.bytes(Joined::cost(sum.edges()))?;
        let whole = view.window(window, &mut own);
        match whole.and_then(|input| Ok(join::joined(input, from_ms, own)?)) {
            Ok(joined) => {
                sum.add(joined);
                return Ok(());
            }
            Err(Error::Exceeded(Exceeded::Rows { .. } | Exceeded::Memory { .. }))
                if meter.is_for_parts() && length_ms > SHORTEST_PART_MS => {}
            Err(error) => return Err(error),
        }
        *too_long_ms = length_ms;
    }
    let middle_ms = from_ms + length_ms / 2;
    for (from_ms, to_ms) in [(from_ms, middle_ms), (middle_ms, to_ms)] {
        add_parts(view, Window { from_ms, to_ms }, too_long_ms, sum, meter)?;
    }
    Ok(())
}

/// Joins the next slice that waits, within what `meter` has; `None` where none does.
///
/// # Errors
/// Whatever the store reports, but for a slice that takes more than `meter` has: that is finished as
/// too large.
pub fn next(
    reader: &mut dyn Questions,
    now_ms: i64,
    meter: Meter,
) -> Result<Option<Finished>, Error> {
    let view = reader.moment()?;
    let Some(waiting) = view.next_slice(now_ms)? else {
        return Ok(None);
    };
    let joined = match join_slice(&*view, waiting, meter) {
        Ok(joined) => Some(joined),
        Err(Error::Exceeded(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Some(Finished::new(waiting, joined.as_ref())))
}

fn join_slice(view: &dyn Moment, waiting: Waiting, meter: Meter) -> Result<Joined, Error> {
    let (slice, mut sum) = (waiting.slice, Joined::default());
    if slice.is_shortest() {
        add_rows(view, slice.window(), &mut sum, meter.for_parts())?;
        return Ok(sum);
    }
    for part in view.parts(slice)? {
        stored::add(view, part, &mut sum, meter)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::without_ends;
    use crate::store::{Piece, Slice, Window};

    const fn rows(from_ms: i64, to_ms: i64) -> Piece {
        Piece::Rows(Window { from_ms, to_ms })
    }

    const fn slice(start_ms: i64) -> Piece {
        Piece::Joined(Slice {
            length_ms: 100,
            start_ms,
        })
    }

    #[test]
    fn ends_that_are_short_enough_are_left_out_and_nothing_else() {
        let of = |from_ms, to_ms, spare_ms, pieces: &[Piece]| {
            let (shown, left) = without_ends(Window { from_ms, to_ms }, pieces.to_vec(), spare_ms);
            (shown.from_ms, shown.to_ms, left)
        };
        let both = [rows(70, 100), slice(100), rows(200, 260)];
        assert_eq!(
            of(70, 250, 0, &both),
            (70, 250, both.to_vec()),
            "to the moment"
        );
        assert_eq!(of(70, 250, 29, &both), (70, 250, both.to_vec()));
        assert_eq!(of(70, 250, 30, &both), (100, 250, both[1..].to_vec()));
        assert_eq!(of(70, 250, 50, &both), (100, 200, vec![slice(100)]));
        // Rows between slices are no end, and rows alone are all that there is.
        let middle = [slice(0), rows(100, 110), slice(200)];
        assert_eq!(of(0, 300, 500, &middle), (0, 300, middle.to_vec()));
        assert_eq!(of(0, 40, 500, &[rows(0, 40)]), (0, 40, vec![rows(0, 40)]));
        let two = [rows(70, 100), slice(100)];
        assert_eq!(of(70, 200, 500, &two), (100, 200, vec![slice(100)]));
    }
}
