//! What the tables of connections may hold, and what found no room.

/// Bounds of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections remembered.
    pub connections: usize,
    /// Edges.
    pub edges: usize,
    /// Sightings in one interval.
    pub sightings: usize,
    /// Events in one interval.
    pub events: usize,
}

/// What folding had to leave out; each is a counter of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Connections beyond the table's bound: counted at their close only.
    pub connections_full: u64,
    /// Changes that went to the catch-all edge because the table of edges was full.
    pub edges_overflowed: u64,
    /// Sightings beyond the interval's bound.
    pub sightings_dropped: u64,
    /// Sightings left out by consistent sampling, which is no loss.
    pub sightings_unsampled: u64,
    /// Events beyond the interval's bound.
    pub events_dropped: u64,
    /// Events left out to stay within the agent's budget.
    pub events_spared: u64,
    /// Connections of no process: nobody was found who opened, accepted or listens.
    pub connections_unowned: u64,
    /// Connections whose close was lost on the way: their last numbers are missing.
    pub connections_lost: u64,
    /// Processes beyond the bound of those that are told beside their siblings.
    pub workers_full: u64,
}
