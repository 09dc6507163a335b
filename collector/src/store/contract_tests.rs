//! What every store answers, whichever it is and whoever sent first: what a file answers that got
//! each batch once, host by host.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, prop, proptest};
use wire::{EventKind, EventRow, NatRow};

use super::history_tests::{END, History};
use super::probe_tests::{Probe, probes};
use super::*;
use crate::accept::Opened;
use crate::auth::CredentialId;
use crate::joined::{self, tests::restarted};
use crate::store::{Batches, Contents, Source, Which};

/// Everything has settled by then.
const LATER: i64 = NOW + 10_000_000;

/// An empty store.
pub(crate) struct Tried {
    pub(crate) batches: Box<dyn Batches>,
    pub(crate) source: Box<dyn Source>,
}

impl Tried {
    fn file(dir: &TempDir) -> Self {
        Self {
            batches: Box::new(store(dir)),
            source: Box::new(path(dir)),
        }
    }

    fn put(&mut self, batch: &Opened) -> Outcome {
        self.batches.put(&[batch], NOW).remove(0).unwrap()
    }

    /// Joins all slices that wait.
    fn join(&mut self) {
        let mut reader = self.source.open().unwrap();
        for _ in 0..1000 {
            let next = joined::next(&mut *reader, LATER, Meter::unlimited()).unwrap();
            let Some(finished) = next else { return };
            self.batches.put_joined(&finished, LATER).unwrap();
        }
        panic!("slices wait for ever");
    }
}

/// A history with rows of every kind.
fn varied(history: &History) -> Vec<Opened> {
    let mut counted: BTreeMap<_, u64> = BTreeMap::new();
    let batches = history.all_batches().into_iter().enumerate();
    let all = batches.map(|(at, opened)| {
        let mut batch = opened.batch;
        let header = &batch.header;
        let device = header.sequence % 3;
        let added = at as u64 % 7;
        let total = counted
            .entry((header.host, header.boot, device))
            .or_default();
        *total += added;
        let is_total = at % 5 == 0;
        batch.others.push(probes(&[Probe {
            total: is_total,
            since_ms: 0,
            device,
            count: if is_total { *total } else { added },
            depth: added,
        }]));
        batch.events.push(EventRow {
            kind: EventKind::Refused,
            time_us: header.end_ms * 1000,
            process_id: 1,
            local: endpoint("10.0.0.1:4000"),
            remote: endpoint("[fe80::1]:80"),
            token: at as u64,
            ..EventRow::default()
        });
        batch.nats.push(NatRow {
            netns: 7,
            client: endpoint("10.1.0.0:0").addr,
            dialled: endpoint("10.1.0.100:80"),
            source: endpoint("10.2.0.1:0").addr,
            server: endpoint("10.2.0.10:8080"),
            since_ms: header.start_ms / 60_000 * 60_000,
            opened: added,
            ..NatRow::default()
        });
        super::opened(batch)
    });
    all.collect()
}

/// What a store answers to questions of every kind.
fn answers(source: &dyn Source) -> Vec<String> {
    let mut said = Vec::new();
    let mut reader = source.open().unwrap();
    for window in [
        (0, END),
        (30_000, 90_000),
        (55_000, 61_000),
        (90_000, 91_000),
    ] {
        let window = Window {
            from_ms: window.0,
            to_ms: window.1,
        };
        let shown = joined::topology(&mut *reader, window, window, Meter::unlimited());
        let shown = serde_json::to_string_pretty(&shown.unwrap().document()).unwrap();
        said.push(format!("{window:?} {shown}"));
        for table in ["probe", "event", "nothing"] {
            for (intervals, silent) in [(false, false), (true, false), (false, true)] {
                let which = Which {
                    table: table.to_owned(),
                    host: None,
                    intervals,
                    silent,
                    most: 1000,
                };
                let mut rows = reader
                    .rows(&which, window, &mut Meter::unlimited())
                    .unwrap();
                // Those of one moment have no order.
                for table in &mut rows.tables {
                    table.rows.sort_by_cached_key(|row| format!("{row:?}"));
                }
                said.push(format!("{which:?} {rows:#?}"));
            }
        }
        // Those of a shorter time may be more than were active in it.
        if window.to_ms == END {
            let mut addresses = reader.addresses(window, &mut Meter::unlimited()).unwrap();
            addresses.sort_by_key(|one| (one.host.clone(), one.service.clone(), one.ip));
            said.push(format!("{addresses:#?}"));
        }
        said.push(chain(&mut *reader, window));
    }
    said.push(format!("{:#?}", reader.tables().unwrap()));
    said.push(format!(
        "{:#?}",
        reader.hosts(None, 100, usize::MAX).unwrap()
    ));
    said.push(format!("{:#?}", reader.credentials(false).unwrap()));
    said.push(format!("{:?}", reader.evicted().unwrap()));
    said.push(format!("{:?}", reader.newest_orders().unwrap()));
    said
}

/// What is known of connections, without the numbers that ends have in this store alone.
fn chain(reader: &mut dyn crate::store::Questions, window: Window) -> String {
    let (client, dialled) = (endpoint("10.1.0.0:0").addr, endpoint("10.1.0.100:80"));
    let mut meter = Meter::unlimited();
    let of = (client, dialled);
    let mut said = Vec::new();
    for end in reader.ends(of, window, &mut meter).unwrap() {
        let of = (
            end.host.clone(),
            end.service.clone(),
            end.role,
            end.local,
            end.remote,
        );
        for port in 20_000..20_010 {
            for other in reader.others((&end, port), window, &mut meter).unwrap() {
                let other = (
                    other.end.host,
                    other.end.service,
                    other.port,
                    other.by_token,
                );
                said.push(format!("{port} {of:?} {other:?}"));
            }
        }
        said.push(format!("{of:?}"));
    }
    said.sort();
    let mut translations = reader.translations(of, window, &mut meter).unwrap();
    translations.sort_by_key(|one| (one.host.clone(), one.server));
    format!("{said:#?} {translations:#?}")
}

fn same(when: &str, tried: &dyn Source, reference: &dyn Source) {
    for (found, expected) in answers(tried).iter().zip(answers(reference)) {
        let (found, expected): (Vec<_>, Vec<_>) =
            (found.lines().collect(), expected.lines().collect());
        let at = found
            .iter()
            .zip(&expected)
            .position(|(found, expected)| found != expected);
        let at = at.or((found.len() != expected.len()).then_some(found.len().min(expected.len())));
        let around = |lines: &[&str], at: usize| {
            let end = lines.len().min(at + 8);
            [&lines[..1], &lines[at.saturating_sub(20).min(end)..end]]
                .concat()
                .join("\n")
        };
        if let Some(at) = at {
            if let Ok(dir) = std::env::var("WAYBILL_CONTRACT_DUMP") {
                std::fs::write(format!("{dir}/found"), found.join("\n")).unwrap();
                std::fs::write(format!("{dir}/expected"), expected.join("\n")).unwrap();
            }
            panic!(
                "{when}: {}\ninstead of\n{}",
                around(&found, at),
                around(&expected, at)
            );
        }
    }
}

/// One history, and the order in which its batches come, some of them twice: any.
pub(crate) fn deliveries() -> impl Strategy<Value = (History, Vec<usize>)> {
    restarted().prop_flat_map(|mut history| {
        // Of shorter ones, more would come late than one batch looks at.
        for agent in &mut history.agents {
            agent.interval = agent.interval.max(7000);
        }
        let all = history.all_batches().len();
        let again = prop::collection::vec(0..all, 0..5);
        let order = again.prop_flat_map(move |again| {
            Just((0..all).chain(again).collect::<Vec<usize>>()).prop_shuffle()
        });
        (Just(history), order)
    })
}

/// Whether a store answers as a file does that got the same batches in order.
pub(crate) fn answers_as_a_file(mut tried: Tried, (history, order): (&History, &[usize])) {
    let dir = TempDir::new().unwrap();
    let mut reference = Tried::file(&dir);
    let batches = varied(history);
    for outcome in reference
        .batches
        .put(&batches.iter().collect::<Vec<_>>(), NOW)
    {
        assert!(matches!(outcome, Ok(Outcome::Stored { .. })), "{outcome:?}");
    }
    let mut stored = vec![false; batches.len()];
    for together in order.chunks(32) {
        let group: Vec<&Opened> = together.iter().map(|at| &batches[*at]).collect();
        for (at, outcome) in together.iter().zip(tried.batches.put(&group, NOW)) {
            let again = std::mem::replace(&mut stored[*at], true);
            match outcome.unwrap() {
                Outcome::Duplicate => assert!(again),
                Outcome::Stored { unplaced, .. } => assert_eq!((again, unplaced), (false, 0)),
                other => panic!("{other:?}"),
            }
        }
    }
    same("by rows", &*tried.source, &*reference.source);
    tried.join();
    reference.join();
    same("by slices", &*tried.source, &*reference.source);
}

/// Whether a store keeps what a batch is known by.
pub(crate) fn knows_batches_and_credentials(mut tried: Tried) {
    let mine = CredentialId([7; 32]);
    let by = |mut opened: Opened| {
        opened.credential = Some(mine);
        opened
    };
    let first = by(batch(1, vec![edge(0, 1)]));
    assert_eq!(tried.put(&first), STORED);
    assert_eq!(tried.put(&first), Outcome::Duplicate);
    let other = by(batch(1, vec![edge(0, 2)]));
    assert_eq!(tried.put(&other), Outcome::Conflict);
    // The credential speaks for the host that used it first.
    let mut foreign = batch(1, vec![]).batch;
    foreign.header.host = [9; 16];
    assert_eq!(tried.put(&by(opened(foreign))), Outcome::Foreign);
    let mut reader = tried.source.open().unwrap();
    let bound = reader.credentials(false).unwrap();
    assert_eq!(bound.len(), 1);
    assert_eq!(
        (bound[0].id, bound[0].host, bound[0].refused),
        (mine, [1; 16], 1)
    );
    assert_eq!(bound[0].last_refused, Some(([9; 16], NOW)));
    let hosts = reader.hosts(None, 10, usize::MAX).unwrap();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_eq!((hosts[0].batches, hosts[0].last_sequence), (1, 1));
}

/// A batch of a host with one edge.
pub(crate) fn batch_of_host(host: u8) -> Batch {
    let mut batch = batch(1, vec![edge(0, 1)]).batch;
    batch.header.host = [host; 16];
    batch
}

/// Whether a question ends where its meter does.
pub(crate) fn keeps_to_its_meter(mut tried: Tried) {
    for sequence in 1..=3 {
        tried.put(&batch(sequence, vec![edge(0, sequence)]));
    }
    let mut reader = tried.source.open().unwrap();
    let window = Window {
        from_ms: 0,
        to_ms: END,
    };
    let shown = joined::topology(&mut *reader, window, window, rows(0));
    let shown = shown.map(|_| ());
    assert!(
        matches!(shown, Err(Error::Exceeded(Exceeded::Rows { .. }))),
        "{shown:?}"
    );
}

#[test]
fn a_file_knows_batches_and_credentials() {
    knows_batches_and_credentials(Tried::file(&TempDir::new().unwrap()));
}

#[test]
fn a_question_to_a_file_keeps_to_its_meter() {
    keeps_to_its_meter(Tried::file(&TempDir::new().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(3) })]

    #[test]
    fn the_contents_of_a_file_make_the_same_file((history, order) in deliveries()) {
        let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (mut first, mut second) = (Tried::file(&old), Tried::file(&new));
        let batches = varied(&history);
        for at in order {
            first.put(&batches[at]);
        }
        let contents = Contents::open(&path(&old)).unwrap();
        let mut copied = 0;
        for run in contents.runs().unwrap() {
            let mut after = None;
            loop {
                let next = contents.batches(&run, after, (3, 40)).unwrap();
                let Some(last) = next.last() else { break };
                after = Some(last.opened.batch.header.sequence);
                for batch in &next {
                    let outcome = second.put(&batch.opened);
                    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
                    copied += 1;
                }
            }
        }
        assert_eq!(copied, batches.len());
        same("copied", &*second.source, &*first.source);
        first.join();
        second.join();
        same("copied, by slices", &*second.source, &*first.source);
    }

    #[test]
    fn a_file_answers_the_same_whoever_sends_first_and_whatever_comes_twice((history, order) in deliveries()) {
        answers_as_a_file(Tried::file(&TempDir::new().unwrap()), (&history, &order));
    }
}
