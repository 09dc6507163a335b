//! What histories are about, and how their numbers are drawn.

use super::fleet::Random;

/// What a history is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Nothing is in the way.
    Plain,
    /// Two sites with the same addresses, each with agents on one side only.
    Twins,
    /// Two to four gateways in a row.
    Chain,
    /// Connections that stay, beside short ones of other services of the same host.
    Pool,
    /// Agents that come when connections are open.
    Late,
    /// One in so many tokens is kept.
    Sampled,
    /// Hosts without agents behind the same gateway.
    Strangers,
    /// Processes that nobody knows.
    Owner,
    /// Connections whose direction agents do not know, and that both ends opened.
    Direction,
    /// All of it.
    Mixed,
}

pub(crate) const SHAPES: [Shape; 10] = [
    Shape::Plain,
    Shape::Twins,
    Shape::Chain,
    Shape::Pool,
    Shape::Late,
    Shape::Sampled,
    Shape::Strangers,
    Shape::Owner,
    Shape::Direction,
    Shape::Mixed,
];

/// How the numbers of a shape are drawn.
pub(super) struct Knobs {
    pub(super) twins: bool,
    pub(super) hops: u64,
    pub(super) held: u64,
    pub(super) late: u64,
    pub(super) level: u8,
    pub(super) most: u64,
    pub(super) absent: u64,
    /// Of the services of a client, those whose owner is never found.
    pub(super) unknown: u64,
    /// Of the connections of the others, those whose owner was not found in time.
    pub(super) unowned: u64,
    pub(super) strips: bool,
    pub(super) rewrites: bool,
    pub(super) keeps_ports: bool,
    pub(super) observes: u64,
    pub(super) part: bool,
    /// Of ends that are older than their agent, those whose direction it does not know.
    pub(super) directionless: u64,
    /// Connections that both ends opened at once.
    pub(super) crossed: u64,
}

pub(super) fn knobs(shape: Shape, random: &mut Random) -> Knobs {
    let mixed = shape == Shape::Mixed;
    let is = |one: Shape| shape == one || mixed;
    let one_in = |random: &mut Random, n| random.below(n) == 0;
    Knobs {
        twins: shape == Shape::Twins || mixed && one_in(random, 3),
        hops: match shape {
            Shape::Chain => 2 + random.below(3),
            Shape::Strangers | Shape::Pool => 1,
            _ => random.below(3),
        },
        held: if is(Shape::Pool) || is(Shape::Late) || is(Shape::Direction) {
            30
        } else {
            5
        },
        late: if is(Shape::Late) || is(Shape::Direction) {
            50
        } else {
            0
        },
        level: if is(Shape::Sampled) {
            u8::try_from(random.below(7)).expect("few")
        } else {
            0
        },
        most: if is(Shape::Sampled) { 800 } else { 40 },
        absent: if is(Shape::Strangers) { 40 } else { 0 },
        unknown: if is(Shape::Owner) { 30 } else { 0 },
        unowned: if is(Shape::Owner) { 5 } else { 0 },
        strips: shape != Shape::Plain && random.per_cent(25),
        rewrites: shape != Shape::Plain && random.per_cent(20),
        keeps_ports: random.per_cent(50),
        observes: if shape == Shape::Plain { 0 } else { 50 },
        part: is(Shape::Pool) || is(Shape::Late) || random.per_cent(30),
        directionless: if is(Shape::Direction) { 60 } else { 0 },
        crossed: if is(Shape::Direction) { 10 } else { 0 },
    }
}
