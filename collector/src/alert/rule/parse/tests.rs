//! What binds what, and where mistakes are.

use proptest::prelude::{any, proptest};

use super::{Op, What, parse};

/// With all parentheses.
fn whole(text: &str) -> String {
    fn write(what: &What) -> String {
        match what {
            What::Number(value, _) => format!("{value}"),
            What::Text(text) => format!("'{text}'"),
            What::Name(name) => name.clone(),
            What::Call(name, given) => {
                let given: Vec<_> = given.iter().map(|node| write(&node.what)).collect();
                format!("{name}({})", given.join(", "))
            }
            What::Unary(op, inner) => format!("({op:?} {})", write(&inner.what)),
            What::Binary(op, both) => {
                format!("({} {op:?} {})", write(&both.0.what), write(&both.1.what))
            }
        }
    }
    write(&parse(text).expect(text).what)
}

#[test]
fn what_binds_more_strongly_is_taken_first() {
    for (text, expected) in [
        ("1 + 2 * 3", "(1 Plus (2 Times 3))"),
        ("(1 + 2) * 3", "((1 Plus 2) Times 3)"),
        ("8 / 4 / 2", "((8 Per 4) Per 2)"),
        ("5 - 3 - 1", "((5 Minus 3) Minus 1)"),
        ("a or b and not c", "(a Or (b And (Not c)))"),
        ("not a > 1", "(Not (a More 1))"),
        ("-a * b", "((Minus a) Times b)"),
        (
            "d(x) > 200 ms and y < 5%",
            "((d(x) More 0.2) And (y Less 0.05))",
        ),
        ("max(a, b) >= 3MiB", "(max(a, b) AtLeast 3145728)"),
        ("a > 1 and b", "((a More 1) And b)"),
        ("x = 'it is'", "(x Same 'it is')"),
        ("r(x) > 3 MiB/s", "(r(x) More 3145728)"),
        (
            "r(x) > 10/s and 6/s(x) < 2",
            "((r(x) More 10) And ((6 Per s(x)) Less 2))",
        ),
    ] {
        assert_eq!(whole(text), expected, "{text}");
    }
}

#[test]
fn mistakes_say_where_they_are() {
    for (text, at, part) in [
        ("1 +", 3..3, "ends"),
        ("a > > b", 4..5, "expected"),
        ("a < b < c", 0..9, "join them with and"),
        ("d(x", 3..3, ", or )"),
        ("a ; b", 2..3, "no part"),
        ("5 parsecs > 1", 2..9, "no unit"),
        ("x = 'a", 4..6, "second"),
        ("1.2.3", 0..5, "no number"),
    ] {
        let mistake = parse(text).expect_err(text);
        assert_eq!(mistake.at, at, "{text}: {mistake:?}");
        assert!(mistake.why.contains(part), "{text}: {mistake:?}");
    }
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert!(parse(&deep).expect_err("deep").why.contains("deep"));
    assert!(parse(&"-".repeat(900)).is_err());
    assert!(
        parse(&"a".repeat(2000))
            .expect_err("long")
            .why
            .contains("at most")
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_itself(text in any::<String>()) {
        if let Err(mistake) = parse(&text) {
            assert!(mistake.at.end <= text.len());
            assert!(text.get(mistake.at).is_some());
        }
    }

    #[test]
    fn what_is_made_of_the_language_is_read_or_refused_within_itself(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "a", "d(", "(", ")", ",", " and ", " or ", " not ", "<", ">=", "1", "2 ms", "5%",
            "+", "-", "*", "/", "'x'", "/s", ".", "é",
        ]), 0..40),
    ) {
        let text = parts.concat();
        match parse(&text) {
            Err(mistake) => assert!(text.get(mistake.at).is_some()),
            Ok(node) => assert!(node.at.end <= text.len() && Op::Or != Op::And),
        }
    }
}
