//! Orders only narrow what the host's own configuration allows.

use proptest::prelude::*;
use wire::orders::{Directive, Network};

use super::{key, names, signed, standing};
use crate::orders::limits::{Destinations, Mapped};
use crate::orders::*;

fn own(rules: &[(&str, bool)]) -> Own {
    let rule = |(text, allowed): &(&str, bool)| {
        let network: Network = text.parse().expect("a network");
        (Mapped::from(&network), *allowed)
    };
    Own {
        option: true,
        destinations: rules.iter().map(rule).collect(),
        sightings: 100,
    }
}

/// What the kernel finds for an address.
fn allowed(rules: &Destinations, addr: u128) -> bool {
    let host = Mapped::from((addr.to_be_bytes(), 128));
    let matching = rules.iter().filter(|(prefix, _)| prefix.covers(&host));
    matching
        .max_by_key(|(prefix, _)| prefix.bits)
        .is_some_and(|(_, allowed)| *allowed)
}

#[test]
fn orders_turn_off_and_never_on() {
    let mut off = own(&[]);
    off.option = false;
    let on = Directive {
        option: Some(true),
        sightings_per_interval: Some(500),
        ..Directive::default()
    };
    let done = narrow(&off, &on);
    assert_eq!((done.option, done.sightings), (false, 100));
}

#[test]
fn loopback_stays_forbidden_inside_ordered_networks() {
    let own = own(&[
        ("0.0.0.0/0", true),
        ("127.0.0.0/8", false),
        ("::1/128", false),
    ]);
    let everything = ["0.0.0.0/0", "127.0.0.0/16", "::ffff:7f00:0/112", "::/0"];
    let ordered = Directive {
        destinations: Some(
            everything
                .map(|text| text.parse().expect("a network"))
                .to_vec(),
        ),
        ..Directive::default()
    };
    let rules = narrow(&own, &ordered).destinations;
    for (addr, expected) in [("127.0.0.1", false), ("10.1.1.1", true)] {
        let addr: std::net::Ipv4Addr = addr.parse().expect("an address");
        assert_eq!(
            allowed(&rules, addr.to_ipv6_mapped().to_bits()),
            expected,
            "{addr}"
        );
    }
}

/// A small world, so that prefixes and addresses meet: four bits behind 124 others.
fn prefix() -> impl Strategy<Value = Network> {
    (0..16_u128, 124..=128_u8).prop_map(|(low, bits)| {
        let low = low >> (128 - bits) << (128 - bits);
        let addr = std::net::Ipv6Addr::from_bits(low);
        format!("{addr}/{bits}").parse().expect("a network")
    })
}

proptest! {
    #[test]
    fn exactly_what_both_allow_is_allowed_and_never_more_on_the_way(
        own in proptest::collection::vec((prefix(), any::<bool>()), 0..8),
        first in proptest::collection::vec(prefix(), 0..6),
        second in proptest::collection::vec(prefix(), 0..6),
        steps: u64,
    ) {
        let own = Own {
            option: true,
            destinations: own.iter().map(|(n, allowed)| (n.into(), *allowed)).collect(),
            sightings: 0,
        };
        let rules = |networks: &Vec<Network>| {
            let destinations = Some(networks.clone());
            narrow(&own, &Directive { destinations, ..Directive::default() }).destinations
        };
        let (from, to) = (rules(&first), rules(&second));
        // Any state between two sets: some rules of the first are gone, some of the second there.
        let mut between = from.clone();
        for (n, (prefix, allowed)) in to.iter().enumerate() {
            if steps >> n & 1 == 1 {
                between.insert(*prefix, *allowed);
            }
        }
        for (n, prefix) in from.keys().enumerate() {
            if steps >> (32 + n) & 1 == 1 && !to.contains_key(prefix) {
                between.remove(prefix);
            }
        }
        for addr in 0..16_u128 {
            let host = Mapped::from((addr.to_be_bytes(), 128));
            let ordered = second.iter().any(|network| Mapped::from(network).covers(&host));
            let owned = allowed(&own.destinations, addr);
            prop_assert_eq!(allowed(&to, addr), owned && ordered);
            prop_assert!(owned || !allowed(&between, addr));
        }
    }

    #[test]
    fn whatever_comes_is_refused_unless_the_fleet_signed_it(body: String, signature: String) {
        let mut standing = standing();
        let refused = standing.take(Signed { body, signature }, 0, UploadProgress::default());
        prop_assert_eq!(refused, Err(Refusal::Signature));
    }

    #[test]
    fn signed_garbage_is_refused_and_never_panics(body in "\\PC*|waybill-orders 1\nversion 9\n\\PC*") {
        let mut standing = standing();
        let taken = standing.take(signed(1, &body), 0, UploadProgress::default());
        prop_assert!(taken.is_err() == (standing.newest() == 0));
    }

    #[test]
    fn any_file_is_loaded_or_refused(bytes: Vec<u8>) {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("orders.json"), bytes).expect("written");
        prop_assert!(load(place.path(), key(1), &names(), 0).0.lost());
    }
}
