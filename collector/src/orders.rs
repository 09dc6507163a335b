//! Orders of the fleet: how a version follows from the one before, and its signature. Pure, but for
//! keys, which are files.
//!
//! What is said to the whole fleet is said to all of it: it takes back what was said to some hosts
//! about the same thing. What is said to some hosts is an exception from then on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use wire::orders::{Directive, MAX_BYTES, Orders, Rule, check_pattern};

use crate::digest::{hex, unhex};
use crate::files;
use crate::store::SignedOrders;

/// Every host.
pub const EVERYBODY: &str = "*";
/// Bytes of a private key as RFC 8032, 5.1.5 begins with it.
const SEED_BYTES: usize = 32;

/// What to say from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What is said.
    pub set: Directive,
    /// Keys about which nothing is said any more.
    pub clear: Vec<String>,
}

/// The next version: what was said before, changed for the hosts that `hosts` names.
///
/// Versions follow the clock where they can: a store that was lost does not begin again below what
/// agents have seen, which they would take for a replay.
///
/// # Errors
/// The pattern is none, or orders would be beyond their bounds.
pub fn next(before: Option<&Orders>, hosts: &str, change: &Change, now_ms: i64) -> Result<Orders> {
    check_pattern(hosts).map_err(|expected| anyhow!("--hosts: expected {expected}"))?;
    let mut orders = before.cloned().unwrap_or_default();
    let now_s = u64::try_from(now_ms / 1000).unwrap_or(0);
    orders.version = now_s.max(orders.version + 1);
    let said = change.set.lines();
    let mut mine = Rule {
        hosts: hosts.to_owned(),
        directive: Directive::default(),
    };
    orders.rules.retain_mut(|rule| {
        if rule.hosts == hosts {
            mine.directive.overlay(&rule.directive);
            return false;
        }
        if hosts == EVERYBODY {
            let said = said.iter().map(|(key, _)| *key);
            let keys = said.chain(change.clear.iter().map(String::as_str));
            keys.for_each(|key| rule.directive.clear(key));
        }
        !rule.directive.is_empty()
    });
    change
        .clear
        .iter()
        .for_each(|key| mine.directive.clear(key));
    mine.directive.overlay(&change.set);
    if !mine.directive.is_empty() {
        let at = if hosts == EVERYBODY {
            0
        } else {
            orders.rules.len()
        };
        orders.rules.insert(at, mine);
    }
    let text = orders.text();
    match Orders::parse(text.as_bytes()) {
        Ok(read) if read == orders => Ok(orders),
        Ok(_) => bail!("these orders do not read as they were written"),
        Err(error) => Err(anyhow!(error).context(format!(
            "orders may have {MAX_BYTES} bytes and a bounded number of rules"
        ))),
    }
}

/// A key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(file: &Path) -> Result<Self> {
        let text = files::text(file)
            .with_context(|| format!("read the signing key {}", file.display()))?;
        let seed: Option<[u8; SEED_BYTES]> = unhex(text.trim());
        let pair = seed.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(&seed).ok());
        pair.map(Self).with_context(|| {
            format!(
                "{}: expected 64 hex digits, as `waybill-collector fleet keygen` writes them",
                file.display()
            )
        })
    }

    /// Makes a key: the private half in `file`, for its owner alone, and the public half beside it
    /// in `<file>.pub`, whose path is returned. An existing file is left alone.
    ///
    /// # Errors
    /// A file is there, or cannot be written.
    pub fn make(file: &Path) -> Result<PathBuf> {
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| anyhow!("the kernel gives no random bytes"))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| anyhow!("the random bytes are no key"))?;
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        write_new(file, 0o600, &hex(&seed))?;
        write_new(&public, 0o644, &hex(pair.public_key().as_ref()))?;
        Ok(public)
    }

    /// Signs orders.
    #[must_use]
    pub fn sign(&self, orders: &Orders, made_ms: i64) -> SignedOrders {
        let body = orders.text();
        let signature = self.0.sign(body.as_bytes());
        SignedOrders {
            version: orders.version,
            made_ms,
            signature: signature
                .as_ref()
                .try_into()
                .expect("an Ed25519 signature has 64 bytes"),
            body,
        }
    }
}

fn write_new(file: &Path, mode: u32, text: &str) -> Result<()> {
    files::make(OpenOptions::new().create_new(true), file, mode)
        .and_then(|mut opened| writeln!(opened, "{text}"))
        .with_context(|| format!("make {}", file.display()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    /// Seconds of the test's clock.
    const NOW: u64 = 1_700_000_000;

    fn change(key: &str, value: &str) -> Change {
        let mut change = Change::default();
        change.set.read(key, value).expect("a value");
        change
    }

    fn follow(steps: &[(&str, Change)]) -> Orders {
        let steps = steps.iter();
        let orders = steps.fold(None, |before: Option<Orders>, (hosts, change)| {
            Some(next(before.as_ref(), hosts, change, 1_700_000_000_000).expect("orders"))
        });
        orders.expect("one step")
    }

    #[test]
    fn versions_follow_the_clock_and_always_grow() {
        let off = change("option", "off");
        let first = follow(&[("*", off.clone())]);
        assert_eq!(first.version, NOW);
        let second = next(Some(&first), "*", &off, 0).expect("orders");
        assert_eq!(second.version, NOW + 1);
        assert_eq!(next(None, "*", &off, -5).expect("orders").version, 1);
    }

    #[test]
    fn what_everybody_is_told_takes_back_every_exception() {
        let orders = follow(&[
            ("edge-*", change("option", "on")),
            ("edge-*", change("events", "off")),
            ("db", change("option", "on")),
            ("*", change("option", "off")),
        ]);
        let text = "hosts *\noption off\nhosts edge-*\nevents off\n";
        assert!(orders.text().ends_with(text), "{}", orders.text());
    }

    #[test]
    fn an_exception_comes_last_and_can_be_taken_back() {
        let steps = [
            ("*", change("option", "off")),
            ("db", change("option", "on")),
            ("edge-*", change("option", "on")),
            ("db", change("nat", "off")),
        ];
        let orders = follow(&steps);
        let hosts: Vec<_> = orders
            .rules
            .iter()
            .map(|rule| rule.hosts.as_str())
            .collect();
        assert_eq!(hosts, ["*", "edge-*", "db"]);
        assert_eq!(orders.rules[2].directive.option, Some(true));
        let back = Change {
            clear: vec!["option".into(), "nat".into()],
            ..Change::default()
        };
        let orders = next(Some(&orders), "db", &back, 0).expect("orders");
        assert_eq!(orders.rules.len(), 2);
    }

    #[test]
    fn a_pattern_that_is_none_and_too_many_rules_are_refused() {
        let off = change("option", "off");
        assert!(next(None, "a b", &off, 0).is_err());
        let mut orders = Orders::default();
        for n in 0..64 {
            orders = next(Some(&orders), &format!("host{n}"), &off, 0).expect("room");
        }
        assert!(next(Some(&orders), "one-more", &off, 0).is_err());
    }

    #[test]
    fn a_key_is_made_once_and_signs_what_its_public_half_verifies() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("fleet-orders.key");
        let public = SigningKey::make(&file).expect("made");
        assert!(SigningKey::make(&file).is_err(), "made twice");
        let key = SigningKey::load(&file).expect("a key");
        assert!(SigningKey::load(&place.path().join("none")).is_err());
        let signed = key.sign(&follow(&[("*", change("option", "off"))]), 7);
        let public = std::fs::read_to_string(public).expect("text");
        let public: [u8; 32] = unhex(public.trim()).expect("a key");
        UnparsedPublicKey::new(&ED25519, public)
            .verify(signed.body.as_bytes(), &signed.signature)
            .expect("a signature");
    }

    proptest! {
        #[test]
        fn any_steps_lead_to_orders_that_can_be_read(
            steps in proptest::collection::vec((0..4_usize, 0..7_usize, any::<bool>()), 1..20),
        ) {
            let changes = [
                change("option", "off"), change("option", "on"), change("nat", "off"),
                change("destinations", "10.0.0.0/8"), change("sample_level", "3"),
                Change { clear: vec!["option".into()], ..Change::default() },
                Change { clear: vec!["destinations".into(), "nat".into()], ..Change::default() },
            ];
            let hosts = ["*", "a*", "b", "00"];
            let mut orders = None;
            for (host, what, _) in steps {
                let made = next(orders.as_ref(), hosts[host], &changes[what], 0);
                let made = made.expect("orders");
                prop_assert!(made.rules.iter().all(|rule| !rule.directive.is_empty()));
                prop_assert!(made.rules.iter().skip(1).all(|rule| rule.hosts != EVERYBODY));
                orders = Some(made);
            }
        }
    }
}
