//! What was joined of slices, read within what a meter has.

use crate::join::Joined;
use crate::meter::Meter;
use crate::store::{Error, Moment, Slice};

/// What was joined of a slice, to be added to something with so many edges.
pub(super) fn stored(
    view: &dyn Moment,
    slice: Slice,
    known: usize,
    meter: Meter,
) -> Result<Joined, Error> {
    decoded(&view.joined(slice)?, known, meter)
}

/// The same of [`Joined::encode`].
pub(super) fn decoded(bytes: &[u8], known: usize, mut meter: Meter) -> Result<Joined, Error> {
    let damaged = |_| Error::Damaged {
        what: "a slice that cannot be read",
    };
    let (edges, raw) = Joined::size(bytes).map_err(damaged)?;
    meter.bytes(Joined::cost(known.saturating_add(edges)))?;
    // What is unpacked is gone when it is added.
    meter.clone().bytes(raw)?;
    let joined = Joined::decode(bytes).map_err(damaged)?;
    meter.bytes(joined.more_than_cost())?;
    Ok(joined)
}
