//! What was joined of slices, added up within what a meter has.

use crate::join::{Damaged, Joined};
use crate::meter::{Exceeded, Meter};
use crate::store::{Error, Moment, Slice};

/// Why something could not be added.
enum Refused {
    Damaged,
    Exceeded(Exceeded),
}

impl From<Damaged> for Refused {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Damaged => Self::Damaged {
                what: "a slice that cannot be read",
            },
            Refused::Exceeded(why) => Self::Exceeded(why),
        }
    }
}

/// Adds what was joined of a slice; after an error the sum is of no use.
pub(super) fn add(
    view: &dyn Moment,
    slice: Slice,
    sum: &mut Joined,
    meter: Meter,
) -> Result<(), Error> {
    add_encoded(&view.joined(slice)?, sum, meter)
}

/// The same of [`Joined::encode`].
pub(super) fn add_encoded(bytes: &[u8], sum: &mut Joined, mut meter: Meter) -> Result<(), Error> {
    let (_, raw) = Joined::size(bytes).map_err(Refused::from)?;
    // What is unpacked is gone when it is added.
    let mut unpacking = meter;
    unpacking.bytes(raw)?;
    let room = |edges| {
        let mut own = unpacking;
        own.bytes(Joined::cost(edges)).map_err(Refused::Exceeded)
    };
    room(sum.edges())?;
    sum.add_encoded(bytes, room)?;
    meter.bytes(Joined::cost(sum.edges()))?;
    meter.bytes(sum.more_than_cost())?;
    Ok(())
}
