//! Which services, hosts and addresses one end of a declared flow means.
//!
//! A selector is a list of alternatives with commas between them; an alternative is one or more
//! terms with blanks between them that all have to be met: `service=nginx host=web-*`,
//! `tag:team=pay`, `namespace=prod`, an address, a network, `host/service`, the name of a service,
//! or `any`. In values, `*` stands for any text and `?` for any character; a value with blanks or
//! commas stands in double quotes.

use std::net::IpAddr;

use super::tri::Known;
use crate::escape::shorten;
use crate::network::Network;
use crate::topology::ProcessNode;

/// Most alternatives of a selector.
const ALTERNATIVES: usize = 64;
/// Characters of a refused text that are shown.
const SHOWN: usize = 60;

/// One end of a declared flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Vec<Term>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Any,
    Service(String),
    Host(String),
    Tag(String, String),
    Network(Network),
}

/// What is known of one end of an edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// The service, where the host reports.
    pub(super) process: Option<&'a ProcessNode>,
    /// Whether the service is only that host's rest: its process is not known.
    pub(super) is_unknown: bool,
}

impl Selector {
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut alternatives = vec![Vec::new()];
        for token in tokens(text)? {
            match token {
                Token::Comma => alternatives.push(Vec::new()),
                Token::Word { text, quoted } => {
                    let last = alternatives.last_mut().expect("there is always one");
                    last.extend(terms(&text, quoted)?);
                }
            }
        }
        if alternatives.iter().any(Vec::is_empty) {
            return Err(String::from(
                "expected a service, host, tag, address, network or \"any\"",
            ));
        }
        if alternatives.len() > ALTERNATIVES {
            return Err(format!("expected at most {ALTERNATIVES} alternatives"));
        }
        Ok(Self(alternatives))
    }

    /// Whether it names an address or a network.
    #[must_use]
    pub fn has_network(&self) -> bool {
        let is_network = |term: &Term| matches!(term, Term::Network(_));
        self.0.iter().flatten().any(is_network)
    }

    /// Whether it means this end, at one of these addresses: those that the end has (one of them is
    /// the one of the connections), and those that stand for it on the way.
    pub(super) fn means(&self, end: End<'_>, own: &[IpAddr], on_the_way: &[IpAddr]) -> Known {
        let alternatives = self.0.iter().map(|terms| {
            let terms = terms.iter().map(|term| term.means(end, own, on_the_way));
            terms.fold(Known::Yes, Known::and)
        });
        alternatives.fold(Known::No, Known::or)
    }

    /// Whether the agent of a host would see connections of this end: it names the host or an
    /// address of it, or what was seen on it. What else the host runs is not known.
    pub(super) fn is_seen_from(&self, host: End<'_>, own: &[IpAddr]) -> bool {
        self.0.iter().any(|terms| {
            let of = |term: &Term| match term {
                Term::Network(network) => Known::of(own.iter().any(|ip| network.has(*ip))),
                other => other.means(host, own, &[]),
            };
            let is_place = |term: &Term| matches!(term, Term::Host(_) | Term::Network(_));
            let all = terms.iter().map(of).fold(Known::Yes, Known::and);
            let placed = terms
                .iter()
                .any(|term| is_place(term) && of(term) == Known::Yes);
            all == Known::Yes || (all == Known::Unknown && placed)
        })
    }
}

impl Term {
    fn means(&self, end: End<'_>, own: &[IpAddr], on_the_way: &[IpAddr]) -> Known {
        match self {
            Self::Any => Known::Yes,
            Self::Network(network) => {
                if on_the_way.iter().any(|ip| network.has(*ip)) {
                    return Known::Yes;
                }
                Known::same(own.iter().map(|ip| Known::of(network.has(*ip))))
            }
            Self::Host(name) => end.process.map_or(Known::Unknown, |process| {
                let by_id = name.len() >= 8 && process.host.starts_with(name.as_str());
                Known::of(by_id || like(name, &process.hostname))
            }),
            Self::Service(name) => match end.process {
                Some(process) if !end.is_unknown => Known::of(like(name, &process.service)),
                _ => Known::Unknown,
            },
            Self::Tag(key, value) => match end.process {
                Some(process) if !end.is_unknown => {
                    let found = process.tags.get(key);
                    Known::of(found.is_some_and(|found| like(value, found)))
                }
                _ => Known::Unknown,
            },
        }
    }
}

enum Token {
    Comma,
    Word { text: String, quoted: bool },
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<(String, bool)> = None;
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default().1 = true;
            }
            // A comma of a Chinese keyboard means the same.
            ',' | '，' | ';' | '；' if !is_quoted => {
                tokens.extend(word.take().map(Token::from));
                tokens.push(Token::Comma);
            }
            c if c.is_whitespace() && !is_quoted => tokens.extend(word.take().map(Token::from)),
            c => word.get_or_insert_default().0.push(c),
        }
    }
    if is_quoted {
        return Err(String::from("expected a second double quote"));
    }
    tokens.extend(word.map(Token::from));
    Ok(tokens)
}

impl From<(String, bool)> for Token {
    fn from((text, quoted): (String, bool)) -> Self {
        Self::Word { text, quoted }
    }
}

/// The terms that a word stands for.
fn terms(word: &str, quoted: bool) -> Result<Vec<Term>, String> {
    let value = |value: &str| {
        if value.is_empty() {
            let shown = shorten(word, SHOWN);
            return Err(format!("{shown}: expected a value behind \"=\""));
        }
        Ok(String::from(value))
    };
    if let Some((key, text)) = word.split_once('=') {
        let term = match key {
            "service" => Term::Service(value(text)?),
            "host" => Term::Host(value(text)?),
            "namespace" => Term::Tag(String::from("namespace"), value(text)?),
            "ip" | "cidr" => Term::Network(network(text)?),
            key => match key.strip_prefix("tag:") {
                Some(key) if !key.is_empty() => Term::Tag(key.into(), value(text)?),
                _ => {
                    let shown = shorten(key, SHOWN);
                    return Err(format!(
                        "{shown}: expected service=, host=, namespace=, tag:<key>= or ip="
                    ));
                }
            },
        };
        return Ok(vec![term]);
    }
    if word == "any" || word == "*" {
        return Ok(vec![Term::Any]);
    }
    // What has nothing but digits and what stands between them is an address, or a mistake in one;
    // a service with such a name is given as `service=`.
    let is_number = word.contains(':')
        || word
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'/'));
    if is_number && !quoted {
        return Ok(vec![Term::Network(network(word)?)]);
    }
    if let Some((host, service)) = word.split_once('/') {
        return Ok(vec![
            Term::Host(value(host)?),
            Term::Service(value(service)?),
        ]);
    }
    Ok(vec![Term::Service(value(word)?)])
}

fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).map_err(|why| format!("{}: {why}", shorten(text, SHOWN)))
}

/// Whether a text is like a pattern: `*` is any text, `?` any character.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stood, and up to where it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, reached)) = star {
            star = Some((at, reached + 1));
            (p, t) = (at + 1, reached + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::{End, Selector, like};
    use crate::matrix::tri::Known::{self, No, Unknown, Yes};
    use crate::topology::ProcessNode;

    fn web() -> ProcessNode {
        ProcessNode {
            host: String::from("00112233445566778899aabbccddeeff"),
            hostname: String::from("web-1"),
            service: String::from("nginx"),
            tags: [(String::from("team"), String::from("pay"))].into(),
            ..ProcessNode::default()
        }
    }

    fn means(selector: &str, own: &[&str], on_the_way: &[&str]) -> Known {
        let process = web();
        let end = End {
            process: Some(&process),
            is_unknown: false,
        };
        let ips = |texts: &[&str]| {
            texts
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<_>>()
        };
        let selector = Selector::parse(selector).expect(selector);
        selector.means(end, &ips(own), &ips(on_the_way))
    }

    #[test]
    fn names_and_addresses_are_met_together() {
        for selector in [
            "nginx",
            "service=ng*",
            "web-1/nginx",
            "web-?/nginx",
            "any",
            "host=web-1 tag:team=pay",
            "postgres, nginx",
            "postgres；nginx",
            "host=00112233",
            "\"nginx\"",
            "10.0.0.0/24 nginx",
        ] {
            assert_eq!(means(selector, &["10.0.0.7"], &[]), Yes, "{selector}");
        }
        for selector in [
            "postgres",
            "web-2/nginx",
            "tag:team=ops",
            "10.0.1.0/24",
            "namespace=x",
        ] {
            assert_eq!(means(selector, &["10.0.0.7"], &[]), No, "{selector}");
        }
    }

    #[test]
    fn which_of_several_addresses_it_was_is_not_known() {
        assert_eq!(
            means("10.0.0.0/24", &["10.0.0.7", "10.9.0.7"], &[]),
            Unknown
        );
        assert_eq!(means("10.0.0.0/8", &["10.0.0.7", "10.9.0.7"], &[]), Yes);
        assert_eq!(means("10.0.0.0/24", &[], &[]), Unknown);
        assert_eq!(means("10.0.5.1", &["10.0.0.7"], &["10.0.5.1"]), Yes);
    }

    #[test]
    fn a_host_that_does_not_report_has_no_name() {
        let end = End {
            process: None,
            is_unknown: false,
        };
        let own = ["10.0.0.7".parse().unwrap()];
        let means = |text| Selector::parse(text).unwrap().means(end, &own, &[]);
        assert_eq!(means("nginx"), Unknown);
        assert_eq!(means("nginx 10.1.0.0/16"), No);
        assert_eq!(means("10.0.0.7"), Yes);
        assert_eq!(means("any"), Yes);
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, expected) in [
            ("", "expected a service"),
            ("nginx,", "expected a service"),
            ("10.0.0.256", "expected an address"),
            ("10.0.0.0/33", "at most 32"),
            ("fe80::zz", "expected an address"),
            ("color=red", "expected service="),
            ("tag:=x", "expected service="),
            ("service=", "expected a value"),
            ("\"nginx", "second double quote"),
            ("web-1/", "expected a value"),
        ] {
            let why = Selector::parse(text).expect_err(text);
            assert!(why.contains(expected), "{text}: {why}");
        }
        assert!(Selector::parse(&"a,".repeat(65)).is_err());
    }

    #[test]
    fn patterns_end_and_do_not_grow_with_their_stars() {
        assert!(like("*", "") && like("a*b*c", "a--b--c") && !like("a*b*c", "a--b--"));
        assert!(like("", "") && !like("", "a") && !like("?", ""));
        let long = "a".repeat(2000);
        assert!(!like(&"*a".repeat(200), &"b".repeat(2000)));
        assert!(like(&"*a".repeat(200), &long));
    }
}
