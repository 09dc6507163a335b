//! Sequence evidence: both ends of a TCP connection know both of its initial sequence numbers.
//!
//! No packet has to carry anything, so it works on hosts whose kernel lets nobody write an option,
//! and through gateways, which leave sequence numbers alone. A box that writes others (a proxy at
//! the level of TCP, a firewall that randomises them) makes the ends disagree: then nothing is
//! joined. Only the same two numbers at exactly one client and one server are believed.

use std::collections::BTreeSet;

use wire::{Part, Role};

use super::input::Input;
use super::seen::{End, Ends, EndsSeen, Places, Seen, is_new, report, single};
use super::token::{Connection, Half, Pairing, same_start};

/// Ends of one connection begin at one moment, by clocks that may be an hour apart: hosts without
/// time service drift by minutes, and a wrong time zone in the hardware clock is a whole hour.
/// What is further apart is rather a fingerprint that was reported again.
const CLOCKS_APART_US: u64 = 3_700_000_000;

/// The reports of one fingerprint.
#[derive(Default)]
struct Fingerprint {
    clients: EndsSeen,
    servers: EndsSeen,
}

/// Connections by tokens: an end of each, and their place in the list; sorted.
type ByEnd = Vec<(End, u32)>;

/// Pairs the sightings that were made from sequence numbers.
///
/// A connection that a token of `tokens` joins too is left to it. Where the two contradict each
/// other neither is believed: the token's connection is taken out.
pub(super) fn pair(input: &Input, places: &Places, tokens: &mut Pairing) -> Pairing {
    let mut pairing = Pairing::default();
    let mut known = Known::of(tokens);
    for of_one in input.sightings.chunk_by(|a, b| a.token == b.token) {
        let mut ends = Fingerprint::default();
        for sighting in of_one.iter().filter(|one| one.part == Part::Sequence) {
            let ends = match input.flows[sighting.flow].role {
                Role::Client => &mut ends.clients,
                Role::Server => &mut ends.servers,
            };
            report(input, places, ends, sighting);
        }
        match (single(&ends.clients), single(&ends.servers)) {
            (Ends::One(end), Ends::None) | (Ends::None, Ends::One(end)) => {
                pairing
                    .halves
                    .push(Half::new(of_one[0].token, Part::Sequence, end));
            }
            (Ends::One(client), Ends::One(server)) if may_be_one(&client.1, &server.1) => {
                let connection = Connection::new(of_one[0].token, client, server);
                known.add(tokens, connection, &mut pairing);
            }
            (Ends::None, Ends::None) => {}
            _ => {
                let all = ends.clients.values().chain(ends.servers.values());
                pairing.add_ambiguous(is_new(of_one), all.map(|seen| seen.flow));
            }
        }
    }
    known.take_out(tokens);
    pairing
}

/// Whether two ends with the same name can have begun together.
fn may_be_one(client: &Seen, server: &Seen) -> bool {
    let apart = client.start_us.saturating_sub(server.start_us);
    let clocks = i64::try_from(CLOCKS_APART_US).unwrap_or(i64::MAX);
    // An end that was found open began any time before.
    (client.adopted || apart <= clocks) && (server.adopted || apart >= -clocks)
}

/// What tokens joined.
struct Known {
    clients: ByEnd,
    servers: ByEnd,
    /// Those that sequence numbers contradict.
    doubtful: BTreeSet<usize>,
}

impl Known {
    fn of(tokens: &Pairing) -> Self {
        let by_end = |end: fn(&Connection) -> End| {
            let mut list: ByEnd = tokens.connections.iter().map(end).zip(0..).collect();
            list.sort_unstable();
            list
        };
        Self {
            clients: by_end(|connection| connection.client.1),
            servers: by_end(|connection| connection.server.1),
            doubtful: BTreeSet::new(),
        }
    }

    fn add(&mut self, tokens: &Pairing, new: Connection, pairing: &mut Pairing) {
        let at = |known: &ByEnd, end: &End, start: fn(&Connection) -> i64, adopted: bool| {
            let first = known.partition_point(|(other, _)| other < end);
            let list = known[first..].iter().take_while(|(other, _)| other == end);
            let list = list.map(|(_, at)| *at as usize);
            let begun = |at: &usize| start(&tokens.connections[*at]);
            if adopted {
                // The last one that had begun by then had these addresses still.
                let older = list.filter(|at| begun(at) <= start(&new));
                return older.max_by_key(begun).into_iter().collect();
            }
            list.filter(|at| same_start(begun(at), start(&new)))
                .collect::<BTreeSet<usize>>()
        };
        let by_client = at(
            &self.clients,
            &new.client.1,
            |c| c.start_us.0,
            new.adopted.0,
        );
        let by_server = at(
            &self.servers,
            &new.server.1,
            |c| c.start_us.1,
            new.adopted.1,
        );
        if by_client.is_empty() && by_server.is_empty() {
            pairing.connections.push(new);
        } else if by_client != by_server {
            pairing.add_ambiguous(new.is_new(), [new.client.0, new.server.0]);
            for at in by_client.union(&by_server) {
                let doubtful = &tokens.connections[*at];
                let flows = [doubtful.client.0, doubtful.server.0];
                pairing.ambiguous_flows.extend(flows);
                self.doubtful.insert(*at);
            }
        }
    }

    fn take_out(self, tokens: &mut Pairing) {
        let mut at = 0;
        tokens.connections.retain(|_| {
            at += 1;
            !self.doubtful.contains(&(at - 1))
        });
    }
}
