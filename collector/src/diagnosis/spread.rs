//! How a client spreads its connections over servers that do the same, and whether one of them
//! differs from the others.

use super::judge::{Found, share};
use super::scene::{Scene, Sibling};
use super::statement::{Cause, Share, Verdict};

/// Connections from which their distribution means something.
const CONNECTIONS: u64 = 200;
/// A server that gets so many times its fair part has too much; of two, nine tenths.
const HOT: f64 = 1.8;
/// One that gets less than that of its fair part has too little.
const COLD: f64 = 0.2;
/// Parts that differ by less than that are the same as before.
const SAME: f64 = 1.3;
/// Most servers that are told.
const MOST: usize = 100;

/// The distribution, those that get most first, and how many there was no room for.
pub(super) fn shares(siblings: &[Sibling]) -> (Vec<Share>, u64) {
    let all = Sums::of(siblings);
    let per_cent = |part: f64| (part * 1e4).round() / 100.0;
    let told = |one: &Sibling| Share {
        edge: one.edge.clone(),
        server: one.server.clone(),
        endpoint: one.endpoint.clone(),
        opened: one.opened,
        share: share(one.opened, all.opened).map(per_cent),
        usual_share: all.usual(one).map(per_cent),
        resets: one.resets,
    };
    let mut shares: Vec<Share> = siblings.iter().map(told).collect();
    shares.sort_by(|a, b| (b.opened, &a.edge).cmp(&(a.opened, &b.edge)));
    let left_out = shares.len().saturating_sub(MOST) as u64;
    shares.truncate(MOST);
    (shares, left_out)
}

struct Sums {
    opened: u64,
    before: u64,
}

impl Sums {
    fn of(siblings: &[Sibling]) -> Self {
        let add = |sum: Self, one: &Sibling| Self {
            opened: sum.opened.saturating_add(one.opened),
            before: sum.before.saturating_add(one.before.unwrap_or(0)),
        };
        let none = Self {
            opened: 0,
            before: 0,
        };
        siblings.iter().fold(none, add)
    }

    /// The part that one had before; `None` where too little is known of then.
    fn usual(&self, one: &Sibling) -> Option<f64> {
        let known = self.before >= CONNECTIONS;
        known.then(|| share(one.before.unwrap_or(0), self.before))?
    }
}

/// Whether connections are spread evenly.
pub(super) fn judge(scene: &Scene) -> Option<Found> {
    let siblings = &scene.siblings;
    let servers = u64::try_from(siblings.len()).unwrap_or(u64::MAX);
    let fair = share(1, servers).filter(|_| servers >= 2)?;
    let most = siblings.iter().max_by_key(|one| one.opened)?;
    let least = siblings.iter().min_by_key(|one| one.opened)?;
    let all = Sums::of(siblings);
    let parts = [most, least].map(|one| share(one.opened, all.opened));
    let usual = [most, least].map(|one| all.usual(one));
    let one = |verdict| {
        Found::new(Cause::Unbalanced, verdict)
            .names("most", &most.server)
            .names("least", &least.server)
            .count("servers", Some(servers), None)
            .count("opened", Some(all.opened), None)
            .share("most_share", parts[0], usual[0])
            .share("least_share", parts[1], usual[1])
    };
    let [Some(hot), Some(cold)] = parts else {
        return Some(one(Verdict::Unknown));
    };
    if all.opened < CONNECTIONS {
        return Some(one(Verdict::Unknown));
    }
    if hot <= HOT * fair && cold >= COLD * fair {
        return Some(one(Verdict::RuledOut));
    }
    let as_before = usual[0].is_some_and(|before| hot < SAME * before)
        && usual[1].is_some_and(|before| cold * SAME > before);
    let found = match as_before {
        true => one(Verdict::Possible).form("as_before"),
        false => one(Verdict::Likely),
    };
    Some(found.weighs(hot - fair))
}

/// What the other servers reset, where that is far less than what this one does of its own; with
/// how many they are and what they got.
pub(super) fn others(scene: &Scene, resets: u64) -> Option<[u64; 3]> {
    let endpoint = &scene.edge.server_endpoint;
    let server = &scene.edge.server;
    let is_own = |one: &&Sibling| one.server == *server && one.endpoint == *endpoint;
    let others = || scene.siblings.iter().filter(|one| !is_own(one));
    let all: Vec<u64> = others().map(|one| one.resets).collect::<Option<_>>()?;
    let opened = others().fold(0, |sum: u64, one| sum.saturating_add(one.opened));
    let reset = all.iter().fold(0, |sum: u64, one| sum.saturating_add(*one));
    let own = share(resets, scene.edge.connections)?;
    let theirs = share(reset, opened).filter(|_| opened >= CONNECTIONS)?;
    let count = u64::try_from(all.len()).ok()?;
    (theirs * 4.0 < own).then_some([count, reset, opened])
}
