use std::time::Duration;

use super::*;
use crate::rank::Rank;

const LASTING: Lasting = Lasting {
    idle_ms: 1000,
    longest_ms: 10_000,
};

fn open() -> (tempfile::TempDir, Access) {
    let dir = tempfile::TempDir::new().unwrap();
    let access = Access::open(&dir.path().join("access.db"), Duration::from_secs(86_400)).unwrap();
    (dir, access)
}

fn root() -> Actor {
    Actor::remote("user", "root", None)
}

/// A user without the cost of a password.
fn add(access: &Access, name: &str, rank: Rank) {
    let nobody = Hashed::of_nobody();
    access.add_user(name, rank, &nobody, &root(), 1).unwrap();
}

fn begin(access: &Access, user: &str, secret: &str, now_ms: i64) -> Option<Session> {
    let by = (user, Method::Password);
    access
        .begin_session(by, secret, LASTING, &root(), now_ms)
        .unwrap()
}

#[test]
fn a_session_goes_on_while_it_is_used_and_not_for_ever() {
    let (_dir, access) = open();
    add(&access, "ann", Rank::Operator);
    let begun = begin(&access, "ann", "secret", 100).unwrap();
    let at = |now_ms| access.session("secret", LASTING.idle_ms, now_ms).unwrap();
    assert_eq!(at(1099).map(|session| session.rank), Some(Rank::Operator));
    assert_eq!(at(1100), None, "idle");
    let mut now_ms = 100;
    while now_ms < 10_000 {
        now_ms += 900;
        if at(now_ms).is_some() {
            access.use_session(begun.id, now_ms).unwrap();
        }
    }
    assert_eq!(at(10_099).map(|session| session.expires_ms), Some(10_100));
    assert_eq!(at(10_100), None, "too old");
    assert_eq!(access.session("secret2", 1000, 101).unwrap(), None);
    assert_eq!(access.session("", 1000, 101).unwrap(), None);
}

#[test]
fn sessions_are_bounded_for_a_user_and_for_all_and_others_are_left_alone() {
    let (_dir, access) = open();
    for n in 0..120 {
        add(&access, &format!("user{n}"), Rank::Viewer);
    }
    let alive = |user: &str, now_ms| {
        access
            .sessions(Some(user), 1_000_000, now_ms)
            .unwrap()
            .len()
    };
    let lasting = Lasting {
        idle_ms: 1_000_000,
        longest_ms: 1_000_000,
    };
    let mut now_ms = 10;
    for n in 0..120 {
        for one in 0..21 {
            let (user, secret) = (format!("user{n}"), format!("{n}/{one}"));
            now_ms += 1;
            let by = (user.as_str(), Method::Password);
            access
                .begin_session(by, &secret, lasting, &root(), now_ms)
                .unwrap()
                .unwrap();
        }
    }
    assert_eq!(alive("user119", now_ms), 20);
    assert_eq!(
        access.sessions(None, 1_000_000, now_ms).unwrap().len(),
        2000
    );
    assert_eq!(alive("user0", now_ms), 0, "used longest ago");
}

#[test]
fn what_a_disabled_or_removed_user_had_is_gone_and_what_is_not_changed_is_not_written_down() {
    let (_dir, access) = open();
    add(&access, "ann", Rank::Admin);
    let token = format!("{TOKEN_PREFIX}x");
    let new = NewToken {
        user: "ann",
        name: "CI",
        rank: Rank::Operator,
        expires_ms: 1000,
    };
    access.add_token(&new, &token, &root(), 1).unwrap();
    begin(&access, "ann", "secret", 1).unwrap();
    access.make_link("ann", "link", 1000, &root(), 1).unwrap();
    let disable = |to| Change {
        is_disabled: Some(to),
        ..Change::default()
    };
    assert_eq!(
        access
            .change_user("ann", &disable(true), &root(), 2)
            .unwrap(),
        1
    );
    assert_eq!(access.user_token(&token, 3).unwrap(), None);
    assert!(begin(&access, "ann", "other", 3).is_none());
    assert!(access.is_disabled("ann").unwrap() && !access.is_disabled("bob").unwrap());
    let made = access.make_link("ann", "link2", 1000, &root(), 3);
    assert!(matches!(made, Err(NotChanged::Unknown)), "{made:?}");
    let records = access.audit(&AuditQuery::default()).unwrap().len();
    assert_eq!(
        access
            .change_user("ann", &disable(true), &root(), 3)
            .unwrap(),
        0
    );
    assert_eq!(access.audit(&AuditQuery::default()).unwrap().len(), records);
    access
        .change_user("ann", &disable(false), &root(), 4)
        .unwrap();
    // The link that was made before does not come back; the token does.
    let actor = |_: &str| root();
    let followed = access.follow_link("link", "s", LASTING, actor, 5).unwrap();
    assert_eq!(followed, None);
    let found = access.user_token(&token, 5).unwrap().unwrap();
    assert_eq!(found.rank, Rank::Operator);
    let viewer = Change {
        rank: Some(Rank::Viewer),
        ..Change::default()
    };
    access.change_user("ann", &viewer, &root(), 6).unwrap();
    assert_eq!(
        access.user_token(&token, 7).unwrap().unwrap().rank,
        Rank::Viewer
    );
    assert_eq!(access.user_token(&token, 1000).unwrap(), None, "expired");
    assert_eq!(access.remove_user("ann", &root(), 8).unwrap(), (0, 1));
    assert_eq!(access.user_token(&token, 9).unwrap(), None);
    for failed in [
        access.change_user("ann", &viewer, &root(), 9).map(drop),
        access.remove_user("ann", &root(), 9).map(drop),
        access.add_token(&new, &token, &root(), 9),
    ] {
        assert!(matches!(failed, Err(NotChanged::Unknown)), "{failed:?}");
    }
}

#[test]
fn a_token_is_told_from_others_before_anything_is_asked() {
    let (_dir, access) = open();
    add(&access, "ann", Rank::Viewer);
    let beyond = NewToken {
        user: "ann",
        name: "CI",
        rank: Rank::Admin,
        expires_ms: 1000,
    };
    let refused = access.add_token(&beyond, "wbu_x", &root(), 1);
    assert!(
        matches!(refused, Err(NotChanged::Beyond(Rank::Viewer))),
        "{refused:?}"
    );
    for n in 0..100 {
        let name = n.to_string();
        let new = NewToken {
            name: &name,
            rank: Rank::Viewer,
            ..beyond.clone()
        };
        access
            .add_token(&new, &format!("wbu_{n}"), &root(), 1)
            .unwrap();
    }
    let more = NewToken {
        rank: Rank::Viewer,
        ..beyond
    };
    let refused = access.add_token(&more, "wbu_y", &root(), 1);
    assert!(
        matches!(refused, Err(NotChanged::TooMany(100))),
        "{refused:?}"
    );
}

#[test]
fn names_are_kept_in_small_letters_and_are_no_markup() {
    assert_eq!(
        user_name("Ann.Smith+x@Corp-1.example"),
        Ok("ann.smith+x@corp-1.example".into())
    );
    for bad in [
        "",
        " ann",
        "a b",
        "-x",
        ".x",
        "a/b",
        "a\nb",
        "é",
        "a\0",
        "<b>",
        &"x".repeat(129),
    ] {
        assert!(user_name(bad).is_err(), "{bad:?}");
    }
    assert_eq!(token_name(" CI of é "), Ok("CI of é".into()));
    for bad in ["", "  ", "a\nb", &"x".repeat(65)] {
        assert!(token_name(bad).is_err(), "{bad:?}");
    }
}
