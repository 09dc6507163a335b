use proptest::prelude::*;

use super::tests::{edge, host};
use super::{Link, Sample, Surroundings, candidates};
use crate::alert::finding::Subject;

fn sample(subject: Subject, metric: &str, before: &[f64], after: &[f64]) -> Sample {
    Sample {
        subject,
        metric: metric.to_owned(),
        unit: String::from("ms"),
        before: before.to_vec(),
        after: after.to_vec(),
        least: 0.1,
        confidence: Some(0.99),
    }
}

fn link(client: (&str, &str), server: (&str, &str)) -> Link {
    Link {
        edge: edge(client, server),
        client: format!("{}/{}", client.0, client.1),
        server: format!("{}/{}", server.0, server.1),
        hosts: [Some(client.0.to_owned()), Some(server.0.to_owned())],
    }
}

const USUAL: [f64; 6] = [1.0, 1.1, 0.9, 1.0, 1.2, 1.0];

#[test]
fn candidates_are_what_changed_along_calls_with_their_numbers() {
    let (web, api, db) = (("w", "web"), ("a", "api"), ("d", "pg"));
    let links = vec![
        link(web, api),
        link(api, db),
        link(("x", "cron"), ("y", "far")),
    ];
    let alerted = edge(web, api);
    let samples = vec![
        sample(alerted.clone(), "connect p95", &USUAL, &[9.0]),
        sample(edge(api, db), "connect p95", &USUAL, &[90.0]),
        sample(
            edge(("x", "cron"), ("y", "far")),
            "connect p95",
            &USUAL,
            &[900.0],
        ),
        sample(host("a"), "load", &USUAL, &[1.05]),
    ];
    let around = Surroundings::of(samples, links);
    let found = candidates(std::slice::from_ref(&alerted), &around);
    let names: Vec<_> = found
        .iter()
        .map(|one| (&one.change.subject, one.change.hops))
        .collect();
    // What is not on the way is none, nor what did not change.
    assert_eq!(names, [(&edge(api, db), 2), (&alerted, 0)]);
    let why = &found[0].why.en;
    let first = &found[0].change;
    assert_eq!((first.before, first.after, first.windows), (1.0, 90.0, 6));
    assert!(
        (first.score - 890.0).abs() < 10.0 || first.score == 1000.0,
        "{}",
        first.score
    );
    assert!(why.contains("90 ms, usual 1 ms"), "{why}");
    assert!(!first.low_confidence);
}

#[test]
fn there_are_at_most_three_and_weak_ones_say_so() {
    let web = ("w", "web");
    let servers = ["a", "b", "c", "d", "e"];
    let alerted = edge(web, ("s", "api"));
    let mut links = vec![link(web, ("s", "api"))];
    let mut samples = Vec::new();
    for server in servers {
        links.push(link(("s", "api"), (server, "x")));
        samples.push(sample(
            edge(("s", "api"), (server, "x")),
            "rtt",
            &[1.0],
            &[50.0],
        ));
    }
    let found = candidates(&[alerted], &Surroundings::of(samples, links));
    assert_eq!(found.len(), 3);
    assert!(
        found
            .iter()
            .all(|one| one.change.low_confidence && one.why.en.contains("hint"))
    );
}

#[test]
fn what_is_no_number_or_has_no_before_is_no_candidate() {
    let alerted = edge(("w", "web"), ("s", "api"));
    let links = vec![link(("w", "web"), ("s", "api"))];
    let samples = vec![
        sample(alerted.clone(), "a", &[], &[9.0]),
        sample(alerted.clone(), "b", &USUAL, &[]),
        sample(alerted.clone(), "c", &[f64::NAN], &[f64::INFINITY]),
    ];
    assert!(candidates(&[alerted], &Surroundings::of(samples, links)).is_empty());
}

proptest! {
    /// The same holds of candidates.
    #[test]
    fn the_order_of_samples_and_edges_does_not_matter(
        pairs in prop::collection::vec((0..5_u8, 0..5_u8, 0.0..100.0_f64), 1..20),
    ) {
        let name = |n: u8| ["a", "b", "c", "d", "e"][usize::from(n)];
        let mut links = Vec::new();
        let mut samples = Vec::new();
        for (at, (client, server, after)) in pairs.iter().enumerate() {
            let (client, server) = ((name(*client), "x"), (name(*server), "x"));
            links.push(link(client, server));
            let metric = format!("m{at}");
            samples.push(sample(edge(client, server), &metric, &USUAL, &[*after]));
        }
        let start = [links[0].edge.clone()];
        let around = Surroundings::of(samples.clone(), links.clone());
        links.reverse();
        samples.reverse();
        let turned = Surroundings::of(samples, links);
        prop_assert_eq!(candidates(&start, &around), candidates(&start, &turned));
    }
}
