//! Whoever asks gets a fair share, in turn.

use super::*;
use proptest::prelude::{any, prop, prop_assert, proptest};

fn party(n: u8) -> Party {
    Party::of(IpAddr::from([10, 0, 0, n]))
}

/// Takes single units until no more are given.
fn fill(shares: &Arc<Shares>, n: u8) -> (Vec<Share>, Denied) {
    let mut taken = Vec::new();
    loop {
        match shares.take(party(n), 1) {
            Ok(share) => taken.push(share),
            Err(denied) => return (taken, denied),
        }
    }
}

#[test]
fn one_party_gets_half_and_the_next_half_of_the_rest() {
    let shares = Shares::new(16);
    let taken: Vec<_> = (1..=6).map(|n| fill(&shares, n)).collect();
    let counts: Vec<_> = taken.iter().map(|(taken, _)| taken.len()).collect();
    assert_eq!(counts, [8, 4, 2, 1, 1, 0]);
    assert_eq!(taken[0].1, Denied::Own);
    assert_eq!(taken[5].1, Denied::Others);
    drop(taken);
    assert_eq!(fill(&shares, 9).0.len(), 8);
}

#[test]
fn the_only_one_goes_to_whoever_comes_first() {
    let shares = Shares::new(1);
    let (one, denied) = fill(&shares, 1);
    assert_eq!((one.len(), denied), (1, Denied::Own));
    assert_eq!(fill(&shares, 2).1, Denied::Others);
}

#[test]
fn more_than_there_is_takes_all() {
    let shares = Shares::new(4);
    let all = shares.take(party(1), 1000).expect("all");
    assert_eq!(fill(&shares, 2).0.len(), 0);
    drop(all);
    assert_eq!(fill(&shares, 2).0.len(), 2);
}

#[test]
fn what_grows_is_given_back_whole() {
    let shares = Shares::new(10);
    let mut share = shares.take(party(1), 0).expect("nothing");
    for _ in 0..5 {
        share.grow(1).expect("half");
    }
    assert_eq!(share.grow(1), Err(Denied::Own));
    drop(share);
    assert_eq!(shares.state().free, 10);
    assert!(shares.state().held.is_empty());
}

#[tokio::test]
async fn who_holds_least_is_served_first_and_who_went_away_not_at_all() {
    let shares = Shares::new(2);
    let long = Duration::from_secs(60);
    let first = shares.take(party(1), 1).expect("free");
    let second = shares.take(party(2), 1).expect("free");
    let asked = |n| {
        let shares = Arc::clone(&shares);
        tokio::spawn(async move { shares.wait(party(n), 1, long).await })
    };
    let queued = |n: usize| {
        let shares = Arc::clone(&shares);
        async move {
            while shares.state().waiting.len() < n {
                tokio::task::yield_now().await;
            }
        }
    };
    let again = asked(1);
    queued(1).await;
    let gone = asked(3);
    queued(2).await;
    let other = asked(4);
    queued(3).await;
    gone.abort();
    drop(gone.await);
    // Party 1 has waited longest, and holds one; party 4 none.
    drop(second);
    let other = other.await.expect("runs").expect("served");
    assert!(!again.is_finished());
    drop((first, other));
    again.await.expect("runs").expect("served");
}

/// Runs on a thread of its own.
fn on_thread(
    shares: &Arc<Shares>,
    work: fn(&Arc<Shares>) -> bool,
) -> std::thread::JoinHandle<bool> {
    let shares = Arc::clone(shares);
    let thread = std::thread::Builder::new().name(String::from("waits"));
    thread.spawn(move || work(&shares)).expect("a thread")
}

#[test]
fn a_thread_has_its_turn_among_those_who_never_leave_one_free() {
    let shares = Shares::new(1);
    let mut held = shares.take(party(1), 1).expect("free");
    let mut before = shares.queue(party(2), 1).expect_err("held");
    let thread = on_thread(&shares, |shares| {
        shares.wait_on_thread(party(9), 1).is_some()
    });
    while shares.state().waiting.len() < 2 {
        std::thread::yield_now();
    }
    // Somebody always waits behind whoever has it.
    let mut turns = 0;
    for n in 3..250 {
        let next = shares.queue(party(n), 1).expect_err("held");
        drop(held);
        held = before.blocking_recv().expect("it is passed on");
        before = next;
        turns += 1;
        if shares.state().waiting.len() < 2 {
            break;
        }
    }
    assert!(turns <= 2, "{turns}");
    drop(held);
    assert!(thread.join().expect("runs"), "it had its turn");
}

#[test]
fn a_thread_waits_no_more_once_it_is_closed() {
    let shares = Shares::new(1);
    let held = shares.take(party(1), 1).expect("free");
    let thread = on_thread(&shares, |shares| {
        shares.wait_on_thread(party(2), 1).is_none()
    });
    while shares.state().waiting.is_empty() {
        std::thread::yield_now();
    }
    shares.close();
    assert!(thread.join().expect("runs"), "nothing came");
    assert!(shares.wait_on_thread(party(2), 1).is_none());
    drop(held);
    assert!(shares.wait_on_thread(party(2), 1).is_some(), "it is free");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends() {
    let shares = Shares::new(1);
    let held = shares.take(party(1), 1).expect("free");
    let wait = |n| shares.wait(party(n), 1, Duration::from_secs(3));
    assert_eq!(wait(1).await.err(), Some(Denied::Own));
    assert_eq!(wait(2).await.err(), Some(Denied::Others));
    let level = shares.level();
    assert_eq!(
        (level.most, level.used, level.waiting, level.refused),
        (1, 1, 0, 2)
    );
    drop(held);
    assert!(wait(2).await.is_ok());
}

#[test]
fn hosts_of_one_ipv6_network_are_one_party() {
    let of = |text: &str| Party::of(text.parse().expect("an address"));
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

proptest! {
    #[test]
    fn nothing_is_lost_or_given_twice(
        steps in prop::collection::vec((0_u8..4, 0_usize..6, any::<bool>()), 1..200),
    ) {
        let shares = Shares::new(20);
        let mut held: Vec<Share> = Vec::new();
        for (n, amount, back) in steps {
            if back {
                held.pop();
            } else if let Ok(share) = shares.take(party(n), amount) {
                held.push(share);
            }
            let sum: usize = held.iter().map(|share| share.amount).sum();
            prop_assert!(shares.state().free + sum == 20);
        }
    }
}
