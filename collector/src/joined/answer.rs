//! One slice is joined, and windows are added up from slices and rows.

use crate::join::{self, Joined, Picture, cost};
use crate::meter::Meter;
use crate::store::{Error, Finished, Moment, Piece, Questions, Slice, Waiting, Window};

/// The topology of a window, which is read as `read`; made within what `meter` has.
///
/// # Errors
/// Whatever the store reports.
pub fn topology(
    reader: &mut dyn Questions,
    window: Window,
    read: Window,
    mut meter: Meter,
) -> Result<Picture, Error> {
    let view = reader.moment()?;
    let shown = (window.from_ms, window.to_ms);
    let evicted = view.evicted_before_ms()?;
    let pieces = view.pieces(read)?;
    let whole = view.whole_from(read, &pieces)?;
    if let [Piece::Rows(rows)] = pieces[..] {
        let input = view.window(rows, &mut meter)?;
        return Ok(join::picture(input, shown, meter)?.with_whole_from(whole));
    }
    let mut sum = Joined::default();
    for piece in pieces {
        let next = match piece {
            Piece::Joined(slice) => stored(&*view, slice, sum.edges(), &mut meter)?,
            Piece::Rows(rows) => {
                // What was read has room for its edges; what is beyond them is given back.
                let mut own = meter;
                let input = view.window(rows, &mut own)?;
                let read = meter.bytes_left() - own.bytes_left();
                let joined = join::joined(input, rows.from_ms, own)?;
                meter.bytes(read.min(Joined::cost(joined.edges())))?;
                joined
            }
        };
        sum.add(next);
    }
    let hosts = view.hosts(sum.copies())?;
    for (_, name) in &hosts {
        meter.bytes(cost::HOST + cost::text(name.len()))?;
    }
    Ok(Picture::new(shown, sum, hosts, evicted).with_whole_from(whole))
}

/// What was joined of a slice, to be added to something with so many edges.
fn stored(
    view: &dyn Moment,
    slice: Slice,
    known: usize,
    meter: &mut Meter,
) -> Result<Joined, Error> {
    let bytes = view.joined(slice)?;
    let damaged = |_| Error::Damaged {
        what: "a slice that cannot be read",
    };
    let (edges, raw) = Joined::size(&bytes).map_err(damaged)?;
    meter.clone().bytes(raw + Joined::cost(edges))?;
    // Most edges of one slice are those of the next.
    meter.row(Joined::cost(edges.saturating_sub(known)))?;
    Joined::decode(&bytes).map_err(damaged)
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

fn join_slice(view: &dyn Moment, waiting: Waiting, mut meter: Meter) -> Result<Joined, Error> {
    let slice = waiting.slice;
    if slice.is_shortest() {
        let input = view.window(slice.window(), &mut meter)?;
        return Ok(join::joined(input, slice.start_ms, meter)?);
    }
    let mut sum = Joined::default();
    for part in view.parts(slice)? {
        let part = stored(view, part, sum.edges(), &mut meter)?;
        sum.add(part);
    }
    Ok(sum)
}
