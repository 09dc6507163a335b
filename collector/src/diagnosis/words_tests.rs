//! What is said is said in both languages, with its names.

use super::tests::{percentiles, scene, siblings, with};
use super::*;

#[test]
fn all_sentences_name_what_they_promise_in_both_languages() {
    let mut scenes = vec![
        scene(),
        with(
            |client| {
                client.failed = 9;
                client.refused = 4;
                client.retransmits = Some(300);
                client.zero_windows = Some(3);
                client.reset_remote = Some(40);
                client.out_of_order = Some(4000);
                client.rtt_us = Some(percentiles(9000));
                client.connect_latency_us = Some(percentiles(3_000_000));
            },
            |server| {
                server.opened = 900;
                server.retransmits = Some(20);
                server.zero_windows = Some(3);
                server.reset_local = Some(1);
            },
        ),
    ];
    let mut lost = scenes[1].clone();
    lost.listening = Some(Listening {
        sockets: 1,
        backlog: 5,
        queue_most: Some(9),
        drops: Some(4),
    });
    lost.ends[0].agent = Some(Agent {
        silent_ms: 120_000,
        lost: 1,
    });
    lost.ends[1].unseen = Some("nobody reports from there".to_owned());
    lost.unseen_hop = true;
    lost.edge.confidence = 0.3;
    let mut bare = lost.clone();
    bare.edge.client_counters = None;
    bare.listening = None;
    bare.usual = None;
    let mut alone = scenes[1].clone();
    alone.siblings = siblings([8000, 1000, 1000]);
    let server = alone.edge.server_counters.as_mut().expect("a side");
    server.reset_local = Some(40);
    let (mut few, mut as_before) = (alone.clone(), alone.clone());
    few.siblings = siblings([1, 1, 1]);
    for one in &mut as_before.siblings {
        one.before = Some(one.opened);
    }
    scenes.extend([lost, bare, alone, few, as_before]);
    for scene in &scenes {
        for language in [Language::English, Language::Chinese] {
            let all = diagnose(scene, language);
            for text in all.statements.iter().flat_map(|one| {
                let next = one.next.as_ref();
                [Some(&one.text), next].into_iter().flatten()
            }) {
                assert!(!text.contains(['{', '}']), "{text}");
                assert!(!text.contains("?"), "a name that is not there: {text}");
                let chinese = text.chars().any(|c| ('\u{4e00}'..'\u{9fff}').contains(&c));
                assert_eq!(chinese, language == Language::Chinese, "{text}");
            }
        }
    }
}

/// Each cause can be judged in each way in which the file has words for it, and in no other.
#[test]
fn every_cause_has_words_in_both_languages() {
    let words: toml::Table = include_str!("words.toml").parse().expect("TOML");
    assert_eq!(words.len(), 22);
    for (cause, of) in words {
        let of = of.as_table().expect("a table");
        let has = |what: &str| of.keys().any(|key| key.starts_with(what));
        assert!(has("shown") || has("unknown"), "{cause}");
        assert_eq!(has("shown"), of.contains_key("next"), "{cause}");
        for said in of.values() {
            for language in ["en", "zh"] {
                assert!(said[language].as_str().is_some_and(|text| !text.is_empty()));
            }
        }
    }
}

#[test]
fn braces_in_names_are_names() {
    let mut scene = with(|client| client.zero_windows = Some(50), |_| {});
    scene.ends[1].name = "{client}<b>{nothing}".to_owned();
    let said = diagnose(&scene, Language::English).headline;
    assert!(said.starts_with("{client}<b>{nothing} does not read"));
}
