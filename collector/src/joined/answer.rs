//! One slice is joined, and windows are added up from slices and rows.

use crate::join::{self, Joined, Picture, cost};
use crate::meter::{Exceeded, Meter};
use crate::store::{Error, Finished, Moment, Piece, Questions, Slice, Waiting, Window};

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
    (read, spare_ms): (Window, i64),
    mut meter: Meter,
) -> Result<Picture, Error> {
    let view = reader.moment()?;
    let evicted = view.evicted_before_ms()?;
    let pieces = view.pieces(read)?;
    let (shown, pieces) = without_ends(window, pieces, spare_ms);
    let whole = view.whole_from(
        Window {
            from_ms: shown.from_ms,
            ..read
        },
        &pieces,
    )?;
    let mut sum = Joined::default();
    for piece in pieces {
        match piece {
            Piece::Joined(slice) => {
                // For the bound of rows.
                meter.row(0)?;
                sum.add(stored(&*view, slice, sum.edges(), meter)?);
            }
            Piece::Rows(rows) => add_rows(&*view, rows, &mut sum, meter)?,
        }
    }
    meter.bytes(Joined::cost(sum.edges()))?;
    let hosts = view.hosts(sum.copies())?;
    for (_, name) in &hosts {
        meter.bytes(cost::HOST + cost::text(name.len()))?;
    }
    let shown = (shown.from_ms, shown.to_ms);
    Ok(Picture::new(shown, sum, hosts, evicted).with_whole_from(whole))
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
    let Window { from_ms, to_ms } = window;
    let mut own = meter;
    own.bytes(Joined::cost(sum.edges()))?;
    let whole = view.window(window, &mut own);
    match whole.and_then(|input| Ok(join::joined(input, from_ms, own)?)) {
        Ok(joined) => {
            sum.add(joined);
            return Ok(());
        }
        Err(Error::Exceeded(Exceeded::Rows { .. } | Exceeded::Memory { .. }))
            if meter.is_for_parts() && to_ms.saturating_sub(from_ms) > SHORTEST_PART_MS => {}
        Err(error) => return Err(error),
    }
    let middle_ms = from_ms + (to_ms - from_ms) / 2;
    for (from_ms, to_ms) in [(from_ms, middle_ms), (middle_ms, to_ms)] {
        add_rows(view, Window { from_ms, to_ms }, sum, meter)?;
    }
    Ok(())
}

/// What was joined of a slice, to be added to something with so many edges.
fn stored(
    view: &dyn Moment,
    slice: Slice,
    known: usize,
    mut meter: Meter,
) -> Result<Joined, Error> {
    let bytes = view.joined(slice)?;
    let damaged = |_| Error::Damaged {
        what: "a slice that cannot be read",
    };
    let (edges, raw) = Joined::size(&bytes).map_err(damaged)?;
    meter.bytes(Joined::cost(known.saturating_add(edges)))?;
    // What is unpacked is gone when it is added.
    meter.clone().bytes(raw)?;
    let joined = Joined::decode(&bytes).map_err(damaged)?;
    meter.bytes(joined.more_than_cost())?;
    Ok(joined)
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
        sum.add(stored(view, part, sum.edges(), meter)?);
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
