mod limits;

use std::path::Path;

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;

const ID: &str = "000102030405060708090a0b0c0d0e0f";
/// Milliseconds.
const INTERVAL: u64 = 1000;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed of 32 bytes")
}

fn key(seed: u8) -> [u8; 32] {
    let pair = pair(seed);
    pair.public_key().as_ref().try_into().expect("32 bytes")
}

fn names() -> [String; 2] {
    ["edge-1".into(), ID.into()]
}

fn signed(seed: u8, body: &str) -> Signed {
    let signature = pair(seed).sign(body.as_bytes());
    Signed {
        body: body.to_owned(),
        signature: notation::hex(signature.as_ref()),
    }
}

fn body(version: u64, rest: &str) -> String {
    format!("waybill-orders 1\nversion {version}\n{rest}")
}

fn orders(version: u64, rest: &str) -> Signed {
    signed(1, &body(version, rest))
}

fn standing() -> Standing {
    Standing::new(key(1), names())
}

fn progress(begun: u64, answered: u64, unanswered: u64) -> UploadProgress {
    UploadProgress {
        begun,
        answered,
        unanswered,
    }
}

/// Takes orders at time 0 and reaches the collector with them.
fn proven(standing: &mut Standing, orders: Signed) {
    assert_eq!(
        standing.take(orders, 0, UploadProgress::default()),
        Ok(true)
    );
    let judged = standing.judge(1, INTERVAL, progress(2, 2, 0));
    assert_eq!(judged, Some(Outcome::Proven));
}

#[test]
fn signed_newer_orders_are_in_force_at_once() {
    let mut standing = standing();
    let off = orders(7, "hosts *\noption off\n");
    assert_eq!(
        standing.take(off.clone(), 0, UploadProgress::default()),
        Ok(true)
    );
    assert_eq!((standing.version(), standing.newest()), (7, 7));
    assert_eq!(standing.directive().option, Some(false));
    assert_eq!(standing.said(), "version 7: option off (on trial)");
    assert_eq!(standing.take(off, 0, UploadProgress::default()), Ok(false));
}

#[test]
fn what_is_not_signed_by_the_fleet_is_refused() {
    let mut standing = standing();
    let text = body(7, "hosts *\noption off\n");
    let mut cut = signed(1, &text);
    cut.signature.pop();
    let mut changed = signed(1, &text);
    changed.body = changed.body.replace("off", "on");
    for wrong in [signed(2, &text), cut, changed, Signed::default()] {
        let refused = standing.take(wrong, 0, UploadProgress::default());
        assert_eq!(refused, Err(Refusal::Signature));
    }
    assert_eq!((standing.version(), standing.directive().option), (0, None));
}

#[test]
fn an_older_version_and_a_second_one_of_the_same_number_are_refused() {
    let mut standing = standing();
    proven(&mut standing, orders(7, "hosts *\noption off\n"));
    for older in [
        orders(6, "hosts *\noption on\n"),
        orders(7, "hosts *\noption on\n"),
    ] {
        let refused = standing.take(older, 0, UploadProgress::default());
        assert!(matches!(refused, Err(Refusal::Older { newest: 7, .. })));
    }
    assert_eq!(standing.directive().option, Some(false));
}

#[test]
fn an_unknown_key_refuses_the_version_as_a_whole() {
    let mut standing = standing();
    let strange = orders(7, "hosts *\noption off\nexec reboot\n");
    let refused = standing.take(strange, 0, UploadProgress::default());
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
    assert_eq!(standing.newest(), 0);
}

#[test]
fn the_last_rule_that_names_a_host_decides_key_by_key() {
    let mut standing = standing();
    let rules = format!(
        "hosts *\noption off\nevents off\nhosts edge-?\noption on\nhosts db-*\nevents on\n\
         hosts {ID}\nsample_level 3\n"
    );
    proven(&mut standing, orders(1, &rules));
    let directive = standing.directive();
    assert_eq!(
        (directive.option, directive.events),
        (Some(true), Some(false))
    );
    assert_eq!(directive.sample_level, Some(3));
    proven(&mut standing, orders(2, "hosts db-*\nevents off\n"));
    assert_eq!(standing.said(), "version 2: nothing for this host");
}

#[test]
fn orders_that_cut_the_agent_off_are_rolled_back_but_not_before_their_time() {
    let mut standing = standing();
    proven(&mut standing, orders(1, "hosts *\nsample_level 1\n"));
    let at = progress(10, 10, 0);
    assert_eq!(
        standing.take(orders(2, "hosts *\nsample_level 2\n"), 100, at),
        Ok(true)
    );
    let trial = INTERVAL * u64::from(TRIAL_INTERVALS);
    let lost = progress(12, 11, 12);
    assert_eq!(standing.judge(99 + trial, INTERVAL, lost), None);
    let judged = standing.judge(100 + trial, INTERVAL, lost);
    assert_eq!(judged, Some(Outcome::RolledBack));
    assert_eq!((standing.version(), standing.newest()), (1, 2));
    assert_eq!(standing.directive().sample_level, Some(1));
    let said = standing.said();
    assert!(
        said.starts_with("version 1: sample_level 1 (2 rolled back"),
        "{said}"
    );
    // The next version is taken again, and the rolled-back one is nothing to go back to.
    assert_eq!(
        standing.take(orders(3, "hosts *\nsample_level 3\n"), 200, at),
        Ok(true)
    );
    assert_eq!(
        standing.judge(200 + trial, INTERVAL, lost),
        Some(Outcome::RolledBack)
    );
    assert_eq!(standing.version(), 1);
}

#[test]
fn an_agent_that_has_nothing_to_send_is_not_cut_off() {
    let mut standing = standing();
    let at = progress(5, 5, 4);
    assert_eq!(
        standing.take(orders(1, "hosts *\nnat off\n"), 0, at),
        Ok(true)
    );
    for quiet in [at, progress(6, 6, 4), progress(7, 6, 4)] {
        assert_eq!(standing.judge(u64::MAX, INTERVAL, quiet), None);
    }
    assert!(standing.on_trial());
    assert_eq!(
        standing.judge(u64::MAX, INTERVAL, progress(7, 7, 4)),
        Some(Outcome::Proven)
    );
    assert_eq!(standing.judge(u64::MAX, INTERVAL, progress(9, 7, 9)), None);
}

#[test]
fn an_outage_does_not_undo_an_emergency() {
    let mut standing = standing();
    proven(&mut standing, orders(1, "hosts *\noption on\nevents off\n"));
    let off = orders(2, "hosts *\noption off\nevents on\n");
    assert_eq!(standing.take(off, 0, UploadProgress::default()), Ok(true));
    assert_eq!(
        standing.judge(u64::MAX, INTERVAL, progress(1, 0, 1)),
        Some(Outcome::RolledBack)
    );
    let directive = standing.directive();
    assert_eq!(
        (directive.option, directive.events),
        (Some(false), Some(false))
    );
}

/// Writes them as the agent does.
fn save(place: &Path, standing: &Standing) {
    let kept = kept(standing).expect("orders");
    write(place, &kept).expect("written");
}

/// What the next start finds, and how many files were wrong.
fn read(place: &Path, seed: u8) -> (Standing, usize) {
    let (standing, wrong) = load(place, key(seed), &names(), 50);
    (standing, wrong.len())
}

#[test]
fn a_restart_begins_with_the_newest_orders_and_with_their_trial() {
    let place = tempfile::tempdir().expect("a directory");
    let (nothing, wrong) = read(place.path(), 1);
    assert_eq!((nothing.newest(), nothing.lost(), wrong), (0, false, 0));
    let mut standing = standing();
    assert!(kept(&standing).is_none());
    proven(&mut standing, orders(1, "hosts *\nevents off\n"));
    assert_eq!(
        standing.take(
            orders(2, "hosts *\noption on\n"),
            0,
            UploadProgress::default()
        ),
        Ok(true)
    );
    save(place.path(), &standing);
    let (mut again, _) = read(place.path(), 1);
    assert_eq!((again.version(), again.on_trial()), (2, true));
    assert_eq!(
        again.judge(u64::MAX, INTERVAL, progress(1, 0, 1)),
        Some(Outcome::RolledBack)
    );
    save(place.path(), &again);
    let (again, wrong) = read(place.path(), 1);
    assert_eq!((again.version(), again.newest(), wrong), (1, 2, 0));
    assert_eq!(again.said(), standing_after_roll_back());
    assert!(read(place.path(), 2).0.lost(), "another key");
}

/// An emergency stop, as it is kept.
fn stop() -> Standing {
    let mut standing = standing();
    proven(&mut standing, orders(7, "hosts *\noption off\n"));
    standing
}

#[test]
fn a_file_torn_at_any_length_costs_nothing_while_the_other_is_whole() {
    let place = tempfile::tempdir().expect("a directory");
    save(place.path(), &stop());
    for name in ["orders.json", "orders.json.copy"] {
        let file = place.path().join(name);
        let whole = std::fs::read(&file).expect("read");
        for cut in 0..whole.len() {
            std::fs::write(&file, &whole[..cut]).expect("torn");
            let (standing, wrong) = read(place.path(), 1);
            assert_eq!((standing.version(), standing.lost(), wrong), (7, false, 1));
            assert_eq!(standing.directive().option, Some(false), "{name}: {cut}");
        }
        std::fs::write(&file, &whole).expect("whole again");
    }
}

#[test]
fn with_both_files_torn_no_option_is_written_until_the_collector_has_spoken() {
    let place = tempfile::tempdir().expect("a directory");
    save(place.path(), &stop());
    let files = ["orders.json", "orders.json.copy"].map(|name| place.path().join(name));
    let whole = std::fs::read(&files[0]).expect("read");
    for cut in 0..whole.len() {
        for file in &files {
            std::fs::write(file, &whole[..cut]).expect("torn");
        }
        let (standing, wrong) = read(place.path(), 1);
        assert_eq!((standing.newest(), wrong), (0, 2), "{cut}");
        assert_eq!(standing.directive().option, Some(false), "{cut}");
        assert!(standing.said().contains("lost"), "{}", standing.said());
    }
    let (mut told, _) = read(place.path(), 1);
    told.has_none();
    assert_eq!(told.directive().option, None);
    let (mut ordered, _) = read(place.path(), 1);
    proven(&mut ordered, orders(8, "hosts *\noption on\n"));
    assert_eq!(ordered.directive().option, Some(true));
}

#[test]
fn of_two_files_the_newer_one_counts() {
    let place = tempfile::tempdir().expect("a directory");
    save(place.path(), &stop());
    let mut newer = stop();
    proven(&mut newer, orders(8, "hosts *\nevents off\n"));
    // The power went between the two.
    for name in ["orders.json", "orders.json.copy"] {
        save(place.path(), &stop());
        std::fs::write(place.path().join(name), kept(&newer).expect("orders")).expect("written");
        assert_eq!(read(place.path(), 1).0.version(), 8, "{name}");
    }
}

fn standing_after_roll_back() -> &'static str {
    "version 1: events off (2 rolled back: the collector did not answer)"
}
