//! Rows of one batch, packed: what its edges counted, its connections, those that lived
//! within its interval apart from the others, and its events.
//!
//! A batch is written where the last one ended, whatever its rows belong to; a window is a range of
//! blocks. Rows say what their interval added: a total becomes what it adds to what is known.

mod edges;
mod events;
mod lasting;
mod number;
mod sightings;
mod table;

pub(super) use edges::{Edge, Edges, Open};
pub(super) use events::Events;
pub(super) use lasting::{GoesOn, Lasting, Lastings};
pub(super) use number::{Few, Values, pack, unpack};
pub(super) use sightings::{Sighted, Sightings};
pub(super) use table::{
    Head, Kind, id_at, in_order, in_window, kinds, last, read, rewrite, write, written,
};
