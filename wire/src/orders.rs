//! Orders: what a collector tells its agents, as signed text.
//!
//! ```text
//! waybill-orders 1
//! version 1767225600
//! hosts *
//! option off
//! hosts edge-*
//! destinations 10.0.0.0/8 fc00::/7
//! ```
//!
//! Lines end with a line feed; the first two are always there. Each `hosts` line begins a rule for
//! the hosts whose name or id matches the pattern, and what is not said stays as it was. A key may be
//! the name of a family ([`families`]), which switches that family on or off. Of the
//! rules that match a host, the later one decides, key by key. The signature (Ed25519, RFC 8032)
//! covers the bytes of the text; the first line keeps them apart from everything else that the
//! same key may sign.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Name of the request header that carries the version an agent has; its absence says that the
/// agent takes no orders. Lower case, as HTTP libraries want it.
pub const HEADER: &str = "waybill-orders";
/// Bytes of the public key that they are verified with (RFC 8032, 5.1.5).
pub const KEY_BYTES: usize = 32;
/// Bytes that orders may have.
pub const MAX_BYTES: usize = 64 << 10;
/// Rules in one version.
pub const MAX_RULES: usize = 64;
/// Networks in one rule.
pub const MAX_NETWORKS: usize = 256;
/// Highest sampling level: one token in 2^32.
pub const MAX_LEVEL: u8 = 32;
/// Characters of a pattern: a host name has at most 253.
const MAX_PATTERN: usize = 253;
const FIRST_LINE: &str = "waybill-orders 1";

/// Why text is not orders. Nothing of it is taken then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}")]
pub struct Invalid {
    /// From 1; 0 for the text as a whole.
    pub line: usize,
    /// What would have been right.
    pub expected: Cow<'static, str>,
}

/// Families whose rows those of all others refer to.
const REFERRED_TO: [&str; 2] = ["process", "host"];

/// The families that can be switched on and off, by name: each that has a table, but for those whose
/// rows all others refer to.
#[must_use]
pub fn families() -> BTreeSet<&'static str> {
    let all = crate::tables().into_iter();
    let all = all.map(|table| table.family.as_str());
    all.filter(|family| !REFERRED_TO.contains(family)).collect()
}

/// An address range, without host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    addr: IpAddr,
    bits: u8,
}

impl Network {
    /// Its first address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Bits that are the same in all its addresses: 0..=32 or 0..=128.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "a network without host bits, such as 10.0.0.0/8 or fc00::/7";
        let (addr, digits) = text.split_once('/').ok_or(EXPECTED)?;
        let addr: IpAddr = addr.parse().map_err(|_| EXPECTED)?;
        let bits = u8::try_from(number(digits).ok_or(EXPECTED)?).map_err(|_| EXPECTED)?;
        let rest = match addr {
            IpAddr::V4(v4) if bits <= 32 => {
                u128::from(v4.to_bits().checked_shl(bits.into()).unwrap_or(0))
            }
            IpAddr::V6(v6) if bits <= 128 => v6.to_bits().checked_shl(bits.into()).unwrap_or(0),
            IpAddr::V4(_) | IpAddr::V6(_) => return Err(EXPECTED),
        };
        if rest == 0 {
            Ok(Self { addr, bits })
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

/// What is said to some hosts; `None` leaves a thing as the host's own configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directive {
    /// Whether the option may be written.
    pub option: Option<bool>,
    /// Where it may be written to.
    pub destinations: Option<Vec<Network>>,
    /// Whether sightings are sent.
    pub sightings: Option<bool>,
    /// Whether abnormal connections are sent one by one.
    pub events: Option<bool>,
    /// Whether the rows of a family are sent, by its name; see [`families`].
    pub families: BTreeMap<&'static str, bool>,
    /// Most sightings in one interval.
    pub sightings_per_interval: Option<u32>,
    /// Least sampling: at most one token in 2^n is kept.
    pub sample_level: Option<u8>,
}

impl Directive {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes over what `later` says.
    pub fn overlay(&mut self, later: &Self) {
        fn take<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        take(&mut self.option, &later.option);
        take(&mut self.destinations, &later.destinations);
        take(&mut self.sightings, &later.sightings);
        take(&mut self.events, &later.events);
        self.families.extend(&later.families);
        take(
            &mut self.sightings_per_interval,
            &later.sightings_per_interval,
        );
        take(&mut self.sample_level, &later.sample_level);
    }

    /// Says nothing about a key any more; an unknown one is left out.
    pub fn clear(&mut self, key: &str) {
        match key {
            "option" => self.option = None,
            "destinations" => self.destinations = None,
            "sightings" => self.sightings = None,
            "events" => self.events = None,
            "sightings_per_interval" => self.sightings_per_interval = None,
            "sample_level" => self.sample_level = None,
            family => {
                self.families.remove(family);
            }
        }
    }

    /// Key and value of everything that is said, in the order of the text.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        let networks = |list: &Vec<Network>| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            if list.is_empty() {
                NOWHERE.to_owned()
            } else {
                list.join(" ")
            }
        };
        let first = [
            ("option", self.option.map(switch)),
            ("destinations", self.destinations.as_ref().map(networks)),
            ("sightings", self.sightings.map(switch)),
            ("events", self.events.map(switch)),
        ];
        let last = [
            (
                "sightings_per_interval",
                self.sightings_per_interval.map(|n| n.to_string()),
            ),
            ("sample_level", self.sample_level.map(|n| n.to_string())),
        ];
        let families = self.families.iter();
        let families = families.map(|(name, on)| (*name, Some(switch(*on))));
        let all = first.into_iter().chain(families).chain(last);
        all.filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// Reads one key; says what was expected.
    ///
    /// # Errors
    /// The key is unknown or said before, or its value is not one.
    pub fn read(&mut self, key: &str, value: &str) -> Result<(), Cow<'static, str>> {
        match key {
            "option" => once(&mut self.option, switch(value)?),
            "destinations" => once(&mut self.destinations, networks(value)?),
            "sightings" => once(&mut self.sightings, switch(value)?),
            "events" => once(&mut self.events, switch(value)?),
            "sightings_per_interval" => {
                let count = number(value).and_then(|n| u32::try_from(n).ok());
                once(
                    &mut self.sightings_per_interval,
                    count.ok_or("a number below 2^32")?,
                )
            }
            "sample_level" => {
                let level = number(value).and_then(|n| u8::try_from(n).ok());
                let level = level.filter(|level| *level <= MAX_LEVEL);
                once(
                    &mut self.sample_level,
                    level.ok_or("a number from 0 to 32")?,
                )
            }
            name => {
                let family = family(name)?;
                match self.families.insert(family, switch(value)?) {
                    None => Ok(()),
                    Some(_) => Err(TWICE),
                }
            }
        }
        .map_err(Cow::Borrowed)
    }
}

/// The family of this name, if it can be switched.
fn family(name: &str) -> Result<&'static str, String> {
    let known = families();
    known.get(name).copied().ok_or_else(|| {
        let families: Vec<_> = known.into_iter().collect();
        let (keys, families) = (KEYS.join(", "), families.join(", "));
        format!("one of {keys}, or a family that can be switched, which are {families}")
    })
}

/// The keys that are no families.
const KEYS: [&str; 6] = [
    "option",
    "destinations",
    "sightings",
    "events",
    "sightings_per_interval",
    "sample_level",
];
const TWICE: &str = "each key once in a rule";

/// Stands for an empty list of destinations.
const NOWHERE: &str = "none";

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off"),
    }
}

fn networks(text: &str) -> Result<Vec<Network>, &'static str> {
    if text == NOWHERE {
        return Ok(Vec::new());
    }
    if text.split(' ').count() > MAX_NETWORKS {
        return Err("at most 256 networks");
    }
    text.split(' ').map(str::parse).collect()
}

/// Only digits, without a zero before them: one number has one text.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// What is said to the hosts that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `*` is any text, `?` one character; for the name or the id (32 hex digits) of a host.
    pub hosts: String,
    /// What is said to them.
    pub directive: Directive,
}

/// One version of what a fleet is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Grows with each change; never 0.
    pub version: u64,
    /// The later one decides.
    pub rules: Vec<Rule>,
}

impl Orders {
    /// Reads the text of orders, all of it or nothing.
    ///
    /// # Errors
    /// The first line that is not as it must be. It never panics, whatever the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let whole = |expected: &'static str| Invalid {
            line: 0,
            expected: expected.into(),
        };
        if bytes.len() > MAX_BYTES {
            return Err(whole("at most 65536 bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| whole("UTF-8"))?;
        let text = text
            .strip_suffix('\n')
            .ok_or(whole("a line feed at the end"))?;
        let mut orders = Self::default();
        for (at, line) in text.split('\n').enumerate() {
            orders.read_line(at, line).map_err(|expected| Invalid {
                line: at + 1,
                expected,
            })?;
        }
        if orders.version == 0 {
            return Err(whole("a version"));
        }
        Ok(orders)
    }

    fn read_line(&mut self, at: usize, line: &str) -> Result<(), Cow<'static, str>> {
        if at == 0 {
            let known = line == FIRST_LINE;
            return known
                .then_some(())
                .ok_or(Cow::Borrowed("\"waybill-orders 1\""));
        }
        let (key, value) = line.split_once(' ').ok_or("a key, a space and a value")?;
        if at == 1 {
            let version = (key == "version").then(|| number(value)).flatten();
            // The store of a collector has signed integers.
            let version = version.filter(|n| *n > 0 && i64::try_from(*n).is_ok());
            self.version = version.ok_or("\"version\" and a number from 1")?;
            return Ok(());
        }
        if key == "hosts" {
            if self.rules.len() == MAX_RULES {
                return Err("at most 64 rules".into());
            }
            self.rules.push(Rule {
                hosts: check_pattern(value)?.to_owned(),
                directive: Directive::default(),
            });
            return Ok(());
        }
        let rule = self.rules.last_mut().ok_or("\"hosts\" before other keys")?;
        rule.directive.read(key, value)
    }

    /// The text; [`Orders::parse`] reads it back.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nversion {}\n", self.version);
        for rule in &self.rules {
            text += &format!("hosts {}\n", rule.hosts);
            for (key, value) in rule.directive.lines() {
                text += &format!("{key} {value}\n");
            }
        }
        text
    }
}

/// A pattern for hosts as it may stand in a rule.
///
/// # Errors
/// Says what was expected.
pub fn check_pattern(text: &str) -> Result<&str, &'static str> {
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.chars().count() > MAX_PATTERN || text.contains(bad) {
        return Err("a pattern of at most 253 characters, without spaces");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "waybill-orders 1\nversion 7\nhosts *\noption off\nhosts edge-*\noption on\n\
                        destinations 10.0.0.0/8 fc00::/7\nsightings off\nevents on\nlistener on\n\
                        nat off\n\
                        sightings_per_interval 512\nsample_level 3\n";

    #[test]
    fn orders_survive_writing_and_reading() {
        let orders = Orders::parse(TEXT.as_bytes()).expect("orders");
        assert_eq!(orders.version, 7);
        assert_eq!(orders.text(), TEXT);
        let nowhere = TEXT.replace("10.0.0.0/8 fc00::/7", "none");
        let orders = Orders::parse(nowhere.as_bytes()).expect("orders");
        assert_eq!(orders.rules[1].directive.destinations, Some(Vec::new()));
        assert_eq!(orders.text(), nowhere);
    }

    #[test]
    fn anything_unknown_refuses_the_whole_text() {
        for (from, to) in [
            ("waybill-orders 1", "waybill-orders 2"),
            ("version 7", "version 0"),
            ("version 7", "version 07"),
            ("version 7", "version 9223372036854775808"),
            ("version 7\n", ""),
            ("hosts *\n", ""),
            ("hosts *", "hosts a b"),
            ("option off", "option maybe"),
            ("option off", "option off\noption on"),
            ("nat off", "nat off\nnat off"),
            ("nat off", "nat maybe"),
            ("nat off", "process off"),
            ("nat off", "host off"),
            ("option off", "exec rm"),
            ("option off", "option off "),
            ("option off\n", "option off\n\n"),
            ("10.0.0.0/8", "10.0.0.1/8"),
            ("10.0.0.0/8", "10.0.0.0/33"),
            ("fc00::/7", "fc00::/+7"),
            ("sample_level 3\n", "sample_level 3"),
            ("sample_level 3", "sample_level 33"),
            ("sample_level", "Sample_level"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            assert!(Orders::parse(text.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn families_are_switched_by_the_names_that_their_tables_have() {
        let mut directive = Directive::default();
        for family in families() {
            assert!(!KEYS.contains(&family), "{family} is a key");
            directive.read(family, "off").expect("a family");
        }
        let off: Vec<_> = directive.lines().into_iter().collect();
        let all = ["connection", "listener", "nat"];
        assert_eq!(off, all.map(|family| (family, "off".to_owned())));
        let mut later = Directive::default();
        later.read("nat", "on").expect("a family");
        directive.overlay(&later);
        assert_eq!(directive.lines()[2], ("nat", "on".to_owned()));
        let unknown = Directive::default().read("listnr", "off").unwrap_err();
        assert_eq!(
            unknown,
            "one of option, destinations, sightings, events, sightings_per_interval, sample_level, \
             or a family that can be switched, which are connection, listener, nat"
        );
    }

    #[test]
    fn every_key_can_be_taken_back() {
        let mut directive = Orders::parse(TEXT.as_bytes()).expect("orders").rules[1]
            .directive
            .clone();
        for (key, _) in directive.lines() {
            directive.clear(key);
        }
        assert!(directive.is_empty());
    }

    #[test]
    fn size_rules_and_networks_are_bounded() {
        let many = |n: usize, line: &str| TEXT.to_owned() + &line.repeat(n);
        assert!(Orders::parse(many(62, "hosts a\n").as_bytes()).is_ok());
        assert!(Orders::parse(many(63, "hosts a\n").as_bytes()).is_err());
        let list = |n: usize| {
            format!(
                "hosts a\ndestinations {}\n",
                vec!["10.0.0.0/8"; n].join(" ")
            )
        };
        assert!(Orders::parse(many(1, &list(256)).as_bytes()).is_ok());
        assert!(Orders::parse(many(1, &list(257)).as_bytes()).is_err());
        assert!(Orders::parse(many(1, &"x".repeat(MAX_BYTES)).as_bytes()).is_err());
    }

    fn directive() -> impl Strategy<Value = Directive> {
        let network = prop_oneof![Just("10.0.0.0/8"), Just("::/0"), Just("192.0.2.7/32")]
            .prop_map(|text| text.parse().expect("a network"));
        let networks = proptest::collection::vec(network, 0..4);
        let switches = proptest::array::uniform3(any::<Option<bool>>());
        let names = proptest::sample::select(families().into_iter().collect::<Vec<_>>());
        let families = proptest::collection::btree_map(names, any::<bool>(), 0..3);
        (
            switches,
            families,
            proptest::option::of(networks),
            any::<Option<u32>>(),
            0..=MAX_LEVEL,
        )
            .prop_map(
                |([option, sightings, events], families, destinations, count, level)| Directive {
                    option,
                    destinations,
                    sightings,
                    events,
                    families,
                    sightings_per_interval: count,
                    sample_level: (level > 0).then_some(level),
                },
            )
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
            prop_assert!(Orders::parse(&bytes).is_err());
        }

        #[test]
        fn a_changed_byte_is_read_as_what_it_says_or_refused(at in 0..TEXT.len(), byte: u8) {
            let mut bytes = TEXT.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(orders) = Orders::parse(&bytes) {
                let text = orders.text();
                prop_assert_eq!(Orders::parse(text.as_bytes()), Ok(orders));
            }
        }

        #[test]
        fn any_orders_survive_writing_and_reading(
            version in 1..=u64::MAX / 2,
            directives in proptest::collection::vec(directive(), 0..5),
        ) {
            let rules = directives.into_iter().enumerate();
            let rules = rules.map(|(n, directive)| Rule { hosts: format!("h{n}*"), directive });
            let orders = Orders { version, rules: rules.collect() };
            prop_assert_eq!(Orders::parse(orders.text().as_bytes()), Ok(orders));
        }
    }
}
