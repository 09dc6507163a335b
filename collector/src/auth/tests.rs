use super::{Certificate, CredentialId, Credentials, Error, Rank, Role, bearer};
use crate::config::Auth;

const ONE: &str = "0123456789abcdef";
const TWO: &str = "fedcba9876543210";

/// Texts of the agents', the readers' and the old file.
fn load(texts: [Option<&str>; 3]) -> Result<Credentials, Error> {
    let dir = tempfile::TempDir::new().unwrap();
    let mut paths = texts.into_iter().zip(["agents", "readers", "old"]);
    let mut file = || {
        let (text, name) = paths.next().unwrap();
        let path = dir.path().join(name);
        text.map(|text| std::fs::write(&path, text).map(|()| path).unwrap())
    };
    let auth = Auth {
        agent_token_file: file(),
        reader_token_file: file(),
        token_file: file(),
        ..Auth::default()
    };
    Credentials::load(&auth).map_err(|(_, error)| error)
}

fn agents(text: &str) -> Result<Credentials, Error> {
    load([Some(text), None, None])
}

#[test]
fn only_configured_tokens_are_known() {
    let known = agents(&format!("# fleet\n\n{ONE}\n  {TWO}  \n")).unwrap();
    assert!(known.token(ONE).is_some() && known.token(TWO).is_some());
    for other in [
        "",
        "# fleet",
        "0123456789abcde",
        "0123456789abcdef0",
        "0123456789ABCDEF",
    ] {
        assert_eq!(known.token(other), None, "{other}");
    }
    assert_eq!(Credentials::default().token(""), None);
}

#[test]
fn a_token_is_of_its_file_and_of_one_host_unless_it_says_so() {
    let third = "third-token-of-all";
    let agents = format!("{ONE}\n{TWO} shared\n");
    let known = load([Some(&agents), Some("reader-of-the-fleet\n"), Some(third)]).unwrap();
    let of = |token| {
        let found = known.token(token).unwrap();
        (found.role, found.of_one_host().is_some())
    };
    assert_eq!(of(ONE), (Role::Agent, true));
    assert_eq!(of(TWO), (Role::Agent, false));
    assert_eq!(
        of("reader-of-the-fleet"),
        (Role::Person(Rank::Viewer), false)
    );
    // The key from before: it sends, for any host, and does not ask.
    assert_eq!(of(third), (Role::Agent, false));
}

#[test]
fn a_file_without_proper_tokens_is_refused() {
    let line = |text: &str| match agents(text) {
        Err(Error::Token { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        agents("# nothing\n"),
        Err(Error::Count { count: 0, .. })
    ));
    assert_eq!(line(&format!("{ONE}\nshort\n")), 2);
    assert_eq!(line(&format!("{ONE} abcdef\n")), 1);
    assert_eq!(line(&format!("{ONE} shared too\n")), 1);
    assert!(matches!(
        load([None, Some(&format!("{ONE} shared\n")), None]),
        Err(Error::Token { line: 1, .. })
    ));
    let many: String = (0..=100_000).map(|n| format!("{n:016}\n")).collect();
    assert!(matches!(
        agents(&many),
        Err(Error::Count { count: 100_001, .. })
    ));
}

#[test]
fn a_token_for_two_things_is_refused() {
    assert!(matches!(
        load([Some(ONE), Some(ONE), None]),
        Err(Error::Twice { line: 1, .. })
    ));
    assert!(matches!(
        agents(&format!("{ONE}\n{ONE} shared\n")),
        Err(Error::Twice { line: 2, .. })
    ));
}

#[test]
fn a_message_never_shows_a_token() {
    let message = agents("0123456789abcde\u{e9}secret\n")
        .unwrap_err()
        .to_string();
    assert!(!message.contains("secret"));
    assert_eq!(
        format!("{:?}", agents(ONE).unwrap()),
        "Credentials(1 tokens)"
    );
}

#[test]
fn a_certificate_is_an_agents_unless_its_name_is_a_readers() {
    let known = Credentials {
        reader_names: vec!["ops.example".into()],
        shared_names: vec!["fleet.example".into()],
        ..Credentials::default()
    };
    let of = |names: &[&str]| {
        let found = known.certificate(&Certificate {
            id: CredentialId([7; 32]),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        });
        (found.role, found.of_one_host().is_some())
    };
    assert_eq!(of(&[]), (Role::Agent, true));
    assert_eq!(of(&["web.example"]), (Role::Agent, true));
    assert_eq!(of(&["web.example", "fleet.example"]), (Role::Agent, false));
    assert_eq!(of(&["ops.example"]), (Role::Person(Rank::Viewer), false));
    // Names are compared as they are written: no pattern is anybody.
    assert_eq!(of(&["*.example"]), (Role::Agent, true));
}

#[test]
fn a_mark_before_a_token_is_named() {
    let error = agents(&format!("\u{feff}{ONE}\n")).unwrap_err();
    assert!(error.to_string().contains("byte-order mark"), "{error}");
    let known = agents(&format!("{ONE}\r\n{TWO} shared\r\n")).unwrap();
    assert!(known.token(TWO).is_some_and(|one| one.shared));
}

#[test]
fn the_scheme_is_bearer_in_any_case() {
    assert_eq!(bearer("bearer abc"), Some("abc"));
    assert_eq!(bearer("Bearer  abc "), Some("abc"));
    assert_eq!(bearer("Basic abc"), None);
    assert_eq!(bearer("Bearer"), None);
}

#[test]
fn a_person_has_the_rank_behind_the_token_and_none_is_a_viewer() {
    let ranks = "a-viewer-of-the-fleet\nan-operator-of-it operator\nan-admin-of-the-fleet admin\n";
    let known = load([None, Some(ranks), None]).unwrap();
    let of = |token| known.token(token).map(|found| found.role);
    for (token, rank) in [
        ("a-viewer-of-the-fleet", Rank::Viewer),
        ("an-operator-of-it", Rank::Operator),
        ("an-admin-of-the-fleet", Rank::Admin),
    ] {
        assert_eq!(of(token), Some(Role::Person(rank)));
    }
    assert!(Rank::Viewer < Rank::Operator && Rank::Operator < Rank::Admin);
    for wrong in ["root", "Admin", "admin operator", "shared"] {
        let text = format!("{ONE} {wrong}\n");
        assert!(load([None, Some(&text), None]).is_err(), "{wrong}");
    }
    // An agent has none.
    assert!(agents(&format!("{ONE} admin\n")).is_err());
}
