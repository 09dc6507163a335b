//! How many rows of each kind were deleted.

/// What one step deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Keys of batches.
    pub batches: u64,
    /// Counter samples.
    pub samples: u64,
    /// Sightings.
    pub sightings: u64,
    /// Events.
    pub events: u64,
    /// Translations of gateways, with their samples.
    pub nats: u64,
    /// Subjects, series, flows, processes, runs, hosts and descriptions of tables.
    pub identities: u64,
    /// Slices of what was joined.
    pub slices: u64,
    /// True when another step has something to do now.
    pub more: bool,
}

impl Deleted {
    /// Rows of all kinds; what was joined of them is none.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.batches + self.samples + self.sightings + self.events + self.nats + self.identities
    }

    /// Whether any of it belonged to a time of which somebody may ask.
    pub(super) fn has_time(&self) -> bool {
        self.samples + self.sightings + self.events + self.nats > 0
    }

    /// Adds what another step deleted; `more` is that of the later one.
    pub fn add(&mut self, later: &Self) {
        self.batches += later.batches;
        self.samples += later.samples;
        self.sightings += later.sightings;
        self.events += later.events;
        self.nats += later.nats;
        self.identities += later.identities;
        self.slices += later.slices;
        self.more = later.more;
    }
}
