//! What a real collector stored of a fleet with enrolled, revoked and copied hosts, once it is joined.

use collector::join::{self, HostId, Joined};
use collector::joined;
use collector::meter::Meter;
use collector::store::{Piece, Reader, Slice, Store, Window};
use rcgen::KeyPair;

use crate::enrolment::{command, enroll, enrolling, identity, token};
use crate::support::pki::Identity;
use crate::support::site::{ROOM, Site, Who};
use crate::support::world::{Carry, Talk, World};

/// All that a test stores.
const WHOLE: Window = Window {
    from_ms: 0,
    to_ms: i64::MAX / 2,
};

fn talk<'a>(client: usize, from: &'a str, nat: Option<&'a str>) -> Talk<'a> {
    Talk {
        client: (client, "shop", from),
        server: (1, "postgres", "10.2.0.1:5432"),
        vip: Some("10.1.0.100:5432"),
        nat,
        carry: Carry::Client,
    }
}

/// Joins every slice, as if it were later, and gives the shortest ones.
fn join_all(site: &Site) -> Vec<Slice> {
    let mut store = Store::open(&site.store(), ROOM).expect("a store");
    let mut reader = Reader::open(&site.store()).expect("a store");
    let later = collector::time::now_ms() + 86_400_000;
    while let Some(done) = joined::next(&mut reader, later, Meter::unlimited()).expect("joined") {
        store.put_joined(&done, later).expect("stored");
    }
    let view = reader.view().expect("a view");
    let mut slices = Vec::new();
    for piece in view.pieces(WHOLE).expect("pieces") {
        match piece {
            Piece::Joined(slice) => slices.push(slice),
            Piece::Rows(rows) => unreachable!("not joined: {rows:?}"),
        }
    }
    let mut at = 0;
    while let Some(slice) = slices.get(at).copied() {
        if !slice.is_shortest() {
            slices.extend(view.parts(slice).expect("parts"));
        }
        at += 1;
    }
    slices.retain(|slice| slice.is_shortest());
    slices
}

#[test]
fn enrolled_hosts_beside_a_revoked_and_a_copied_one_are_joined_as_what_they_are() {
    let (site, running) = enrolling("90d");
    let at = running.address();
    let mut world = World::new();
    for name in ["shop-1", "db-1", "gone-1", "shop-1"] {
        world.host(name);
    }
    let certificate = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let invited = token(&site, name, &["--expires", "10m"]);
        identity(&enroll(&site, at, &invited, &key), &key)
    };
    let mut known: Vec<Identity> = ["shop-1.example", "db-1.example", "gone-1.example"]
        .map(certificate)
        .into();
    // The last machine was copied from the first one, with all that its agent keeps.
    known.push(Identity {
        certificate: known[0].certificate.clone(),
        key: known[0].key.clone(),
    });
    let gateway = Some("10.2.0.250");
    for interval in 0..6 {
        world.connect(&talk(0, "10.1.0.1", gateway), 5);
        world.connect(&talk(2, "10.1.0.3", gateway), 3);
        world.connect(&talk(3, "10.1.0.4", gateway), 2);
        if interval == 3 {
            command(&site, &["credential", "revoke", "--host", &"03".repeat(16)]);
        }
        for (host, mut batch) in world.tick().into_iter().enumerate() {
            if host == 3 {
                batch.header.host = [1; 16];
            }
            let answer = site
                .send_as(at, Who::Certificate(&known[host]), &batch)
                .expect("an answer");
            let expected = match host {
                2 if interval >= 3 => "revoked",
                _ => "stored",
            };
            assert_eq!(answer.word(), expected, "host {host}, interval {interval}");
        }
    }
    running.stop().expect("stopped");
    let slices = join_all(&site);
    let mut reader = Reader::open(&site.store()).expect("a store");
    let mut copies = std::collections::BTreeSet::new();
    for slice in slices {
        let view = reader.view().expect("a view");
        let body = view.joined(slice).expect("a body");
        let stored = Joined::decode(&body).expect("what was encoded");
        copies.extend(stored.copies().iter().copied());
        let window = slice.window();
        let input = view.window(window, &mut Meter::unlimited()).expect("rows");
        let now = join::joined(input, slice.start_ms, Meter::unlimited()).expect("joined");
        assert!(stored == now, "{slice:?}");
    }
    assert!(copies.contains(&HostId([101; 16])) && copies.contains(&HostId([104; 16])));
    let topology = joined::topology(&mut reader, WHOLE, WHOLE, Meter::unlimited())
        .expect("a topology")
        .document();
    let mut connections: Vec<u64> = topology.edges.iter().map(|one| one.connections).collect();
    connections.sort_unstable();
    // Of the revoked one what it told before; the server still tells of the rest.
    assert_eq!(connections, [9, 12, 30]);
    let rest: u64 = topology.unjoined.iter().map(|one| one.connections).sum();
    assert_eq!(rest, 9);
    let copied = |of: &collector::topology::Node| {
        let process = of.process.as_ref();
        process.is_some_and(|process| process.host_copied && process.service == "shop")
    };
    assert_eq!(topology.nodes.iter().filter(|of| copied(of)).count(), 2);
}
