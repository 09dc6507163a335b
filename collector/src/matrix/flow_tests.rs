//! Lines of a matrix, and mistakes in them.

use super::{Action, Fields, Flow, Ports, Protocol, column};

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields {
        source: String::from("any"),
        destination: String::from("any"),
        ..Fields::default()
    };
    for (column, text) in pairs {
        *fields.field(column) = String::from(*text);
    }
    fields
}

#[test]
fn headings_are_known_as_operators_write_them() {
    for (heading, name) in [
        ("Source", "source"),
        (" Valid Until ", "valid_until"),
        ("目的端口", "port"),
        ("dst-port", "port"),
    ] {
        assert_eq!(column(heading), Some(name), "{heading}");
    }
    assert_eq!(column("colour"), None);
}

#[test]
fn ports_are_numbers_and_ranges() {
    let has = |text: &str, port| Ports::parse(text).expect(text).has(port);
    assert!(has("", 1) && has("any", 65535));
    assert!(has("80,443", 443) && has("80 443", 80) && !has("80、443", 81));
    assert!(has("8000-8999", 8999) && !has("8000~8999", 9000));
    for bad in ["0", "65536", "-1", "90-80", "http", "80-", "1-2-3"] {
        assert!(Ports::parse(bad).is_err(), "{bad}");
    }
    let cover = |text: &str, range| Ports::parse(text).unwrap().cover(range);
    assert_eq!(cover("1-100,101-200", (50, 150)), (true, true));
    assert_eq!(cover("1-100", (50, 150)), (false, true));
    assert_eq!(cover("1-49,151", (50, 150)), (false, false));
}

#[test]
fn a_day_is_valid_to_its_end() {
    let flow = Flow::parse(fields(&[("valid_until", "2027-03-31")]), 1).unwrap();
    let end = "2027-04-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    assert_eq!(flow.valid_until_ms, Some(end.as_millisecond() - 1));
    assert!(!flow.is_expired(end.as_millisecond() - 1) && flow.is_expired(end.as_millisecond()));
    let same = Flow::parse(fields(&[("valid_until", "2027/03/31")]), 1).unwrap();
    assert_eq!(same.valid_until_ms, flow.valid_until_ms);
    let never = Flow::parse(fields(&[("valid_until", "永久")]), 1).unwrap();
    assert!(!never.is_expired(i64::MAX));
}

#[test]
fn every_mistake_of_a_line_is_told() {
    let text = fields(&[
        ("source", ""),
        ("port", "x"),
        ("protocol", "quic?"),
        ("action", "perhaps"),
        ("valid_until", "soon"),
    ]);
    let mistakes = Flow::parse(text, 7).expect_err("five mistakes");
    let columns: Vec<&str> = mistakes.iter().map(|(column, _)| *column).collect();
    assert_eq!(
        columns,
        ["source", "port", "protocol", "action", "valid_until"]
    );
    let long = fields(&[("comment", &"x".repeat(5000))]);
    assert_eq!(Flow::parse(long, 1).expect_err("too long")[0].0, "comment");
}

#[test]
fn what_is_not_said_has_a_meaning() {
    let flow = Flow::parse(fields(&[]), 12).unwrap();
    assert_eq!(flow.id, "12");
    assert_eq!((flow.action, flow.protocol), (Action::Allow, Protocol::Tcp));
    let denied = Flow::parse(fields(&[("action", "禁止"), ("protocol", "UDP")]), 1).unwrap();
    assert_eq!(
        (denied.action, denied.protocol),
        (Action::Deny, Protocol::Other)
    );
}
