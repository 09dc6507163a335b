//! The join: rows of many hosts in, one topology out. Pure: no store, no clock, no order.
//!
//! ```text
//! flows ------> rows (node, role, addresses) ------------------> share -> edges, unjoined
//! sightings --> token, sequence: pair ends -> links (row, row) -^
//! nats -------> conntrack: what is left and a gateway knows ----^
//!               address: what is left, where both sides agree --^
//!               halves: what forbids the two last ones
//! ```
//!
//! The same input in any order, and with any sighting repeated, gives the same topology. Nothing
//! is thrown away: each row's counters are divided among its edges without a remainder.
//!
//! What is joined ([`Joined`]) can be kept, and windows that follow one another add up: each side of
//! a connection belongs to the window in which its agent told of it.

mod added;
mod address;
mod attempts;
mod candidates;
mod codec;
pub mod confidence;
mod conntrack;
pub mod cost;
mod direction;
mod edges;
mod halves;
mod input;
mod joined;
mod links;
mod nodes;
mod parts;
mod picture;
mod present;
mod reason;
mod reporters;
mod rows;
mod runs;
mod seen;
mod sequence;
mod shares;
mod side;
mod sum;
#[cfg(test)]
mod tests;
mod token;

use crate::meter::{Exceeded, Meter};
use crate::topology::Topology;
pub use codec::Damaged;
pub use input::{Flow, HostId, Input, Nat, Presence, Process, Sighting};
pub use joined::Joined;
pub use picture::{Picture, Told};
pub(crate) use rows::UNKNOWN_SERVICE;
pub use runs::Run;

/// Joins what many hosts reported for the window `from_ms..=to_ms`.
///
/// # Panics
/// Where an index of `input` points nowhere, which is a mistake of the caller.
#[must_use]
pub fn topology(input: &Input, from_ms: i64, to_ms: i64) -> Topology {
    let picture = picture(input.clone(), (from_ms, to_ms), Meter::unlimited());
    picture.expect("memory without a bound").document()
}

/// The same, without writing it down, and giving up what is used up as it goes. `meter` is for
/// what evidence links; for the rows of `input` the caller has taken [`cost`] from it.
///
/// # Errors
/// Evidence links more than there is memory for.
///
/// # Panics
/// As [`topology`].
pub fn picture(mut input: Input, window: (i64, i64), meter: Meter) -> Result<Picture, Exceeded> {
    let hosts = std::mem::take(&mut input.hosts);
    let evicted = input.evicted_before_ms;
    let joined = joined(input, window.0, meter)?;
    Ok(Picture::new(window, joined, hosts, evicted))
}

/// The same without the names of hosts, to be kept or added up. The window begins at `from_ms`.
///
/// # Errors
/// As [`picture`].
///
/// # Panics
/// As [`topology`].
pub fn joined(mut input: Input, from_ms: i64, mut meter: Meter) -> Result<Joined, Exceeded> {
    direction::settle(&mut input);
    let counted = input.flows.iter().filter(|flow| flow.counters.is_some());
    let supposed = counted.count() * cost::COUNTERS;
    let mut rows = rows::Rows::collect(&mut input, from_ms);
    meter.give(supposed);
    meter.bytes(rows.counted_bytes())?;
    meter.bytes(rows.all.len() * cost::ROW)?;
    // There are no links yet where there are sightings, and no edges where there is what they joined.
    let sightings = input.sightings.len();
    meter.give(sightings * (cost::SIGHTING - cost::JOINED));
    let mut links = links::Links::new(meter);
    input.sightings.shrink_to_fit();
    token::sort(&mut input.sightings);
    let places = seen::Places::of(&input);
    let mut tokens = token::pair(&input, &places);
    let mut sequences = sequence::pair(&input, &places, &mut tokens);
    present::settle(&input, &mut tokens, &mut sequences);
    let reporters = reporters::Reporters::of(&input);
    input.sightings = Vec::new();
    drop(places);
    links.add_tokens(&input, &rows, &tokens.connections);
    links.add_sequences(&input, &rows, &sequences.connections);
    let processes = nodes::processes(&input, &rows.nodes);
    let flows = std::mem::take(&mut input.flows).len();
    let ambiguous = (tokens.ambiguous, sequences.ambiguous);
    let halves = halves::Halves::of(&mut rows, reporters, tokens, sequences);
    links.check()?;
    links.set_apart(&mut rows);
    shares::account(&mut rows, &mut links);
    conntrack::link(&input, &mut rows, &mut links, &halves);
    input.nats = Vec::new();
    links.check()?;
    shares::fill(&mut rows, &mut links, &halves);
    address::link(&mut rows, &mut links, &halves);
    links.check()?;
    shares::ranges(&rows, &mut links, &halves);
    drop(halves);
    let mut meter = links.check()?;
    meter.give(sightings * cost::JOINED + flows * cost::FLOW);
    meter.bytes(edges::at_most(&rows, &links) * edges::COST)?;
    let keys = std::mem::take(&mut rows.nodes);
    let edges = edges::assemble(rows, links);
    let hosts = (input.reported, input.copies);
    Ok(Joined::new((keys, processes), hosts, edges, ambiguous))
}
