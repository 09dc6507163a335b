use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{Access, Action, Actor, AuditQuery, Entry, Error, named};
use crate::auth::CredentialId;

const DAY_MS: i64 = 86_400_000;

fn open() -> (tempfile::TempDir, Access) {
    let dir = tempfile::TempDir::new().unwrap();
    let access = Access::open(&dir.path().join("access.db"), Duration::from_secs(86_400)).unwrap();
    (dir, access)
}

fn ann() -> Actor {
    Actor::remote("user", "ann", Some([192, 0, 2, 1].into()))
}

#[test]
fn what_is_revoked_is_so_for_others_that_have_the_file_open_and_says_who_and_why() {
    let (dir, access) = open();
    let beside = Access::open(&dir.path().join("access.db"), Duration::from_secs(1)).unwrap();
    let (id, other) = (CredentialId([7; 32]), CredentialId([8; 32]));
    assert!(!access.is_revoked(id).unwrap());
    let ids = [(named(id), Some(String::from("db1")))];
    assert_eq!(beside.revoke(&ids, "stolen", &ann(), 5).unwrap(), 1);
    assert!(access.is_revoked(id).unwrap() && !access.is_revoked(other).unwrap());
    // Who did it first and why is what counts.
    assert_eq!(beside.revoke(&ids, "again", &ann(), 6).unwrap(), 0);
    let all = access.revocations().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].at_ms, all[0].why.as_str()), (5, "stolen"));
    assert_eq!(all[0].actor, "user:ann");
    assert!(beside.reinstate(named(id), &ann(), 7).unwrap());
    assert!(!access.is_revoked(id).unwrap());
    assert!(!beside.reinstate(named(id), &ann(), 8).unwrap());
    let log = access.audit(&AuditQuery::default()).unwrap();
    let said: Vec<_> = log
        .iter()
        .map(|one| (one.action.as_str(), one.at_ms, one.source.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("credential.reinstated", 7, "192.0.2.1"),
            ("credential.revoked", 5, "192.0.2.1")
        ]
    );
    assert_eq!(log[0].before.as_ref().unwrap()["why"], "stolen");
}

#[test]
fn the_log_is_bounded_by_age_and_answers_by_windows_and_pages() {
    let (_dir, access) = open();
    let at = |day: i64| day * DAY_MS;
    for day in 0..3 {
        let entry = Entry::new(Action::OrdersChanged, day.to_string());
        access.record(&ann(), entry, at(day)).unwrap();
    }
    let days = |asked: &AuditQuery| {
        let log = access.audit(asked).unwrap();
        let days: Vec<_> = log.into_iter().map(|one| one.subject).collect();
        days.join(" ")
    };
    // A day is kept: the first one is gone.
    assert_eq!(days(&AuditQuery::default()), "2 1");
    let window = AuditQuery {
        from_ms: Some(at(1)),
        to_ms: Some(at(2)),
        ..AuditQuery::default()
    };
    assert_eq!(days(&window), "1");
    let page = AuditQuery {
        limit: Some(1),
        ..AuditQuery::default()
    };
    assert_eq!(days(&page), "2");
    let first = access.audit(&page).unwrap()[0].id;
    let next = AuditQuery {
        before_id: Some(first),
        ..page
    };
    assert_eq!(days(&next), "1");
    let last = access.last(Action::OrdersChanged).unwrap().unwrap();
    assert_eq!(last.subject, "2");
    assert_eq!(access.last(Action::CredentialRevoked).unwrap(), None);
}

#[test]
fn the_file_is_for_its_owner_alone_and_one_of_others_is_left_alone() {
    let (dir, _access) = open();
    for name in ["access.db", "access.db-wal", "access.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let other = dir.path().join("other.db");
    let db = rusqlite::Connection::open(&other).unwrap();
    db.execute_batch("CREATE TABLE x (y)").unwrap();
    let opened = Access::open(&other, Duration::from_secs(1));
    assert!(matches!(opened, Err(Error::Foreign)), "{opened:?}");
    let newer = dir.path().join("newer.db");
    drop(Access::open(&newer, Duration::from_secs(1)).unwrap());
    let db = rusqlite::Connection::open(&newer).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let opened = Access::open(&newer, Duration::from_secs(1));
    assert!(
        matches!(opened, Err(Error::Newer { version: 99 })),
        "{opened:?}"
    );
}
