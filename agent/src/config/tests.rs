//! What operators write, and what they are told.

mod upload;
mod wrong;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::files::Content;
use super::value::Expected;
use super::{ByteSize, Config, Glob, OptionKind, Prefix, parse};

const EXAMPLE: &str = include_str!("../../../packaging/config/agent.toml.example");
const KEY: &str = "[[key]]\nepoch = 1\nsecret_file = \"/k\"\n";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const PEM_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";

/// Loads `text` as `/a.toml` beside files that a host would have.
fn load(text: &str) -> Result<Config, String> {
    let secret = "000102030405060708090A0B0C0D0E0F\n";
    let files: HashMap<&str, (&str, u32)> = HashMap::from([
        ("/k", (secret, 0o600)),
        ("/open", (secret, 0o644)),
        ("/short", ("abcdef", 0o600)),
        (
            "/marked",
            ("\u{feff}000102030405060708090A0B0C0D0E0F", 0o600),
        ),
        ("/token", ("s3cret\n", 0o600)),
        ("/proxy", ("me:s3cret of mine\n", 0o600)),
        ("/ca.pem", (PEM, 0o644)),
        ("/agent.pem", (PEM, 0o644)),
        ("/agent.key", (PEM_KEY, 0o600)),
        ("/etc/waybill/fleet.key", (secret, 0o600)),
        ("/etc/waybill/token", ("s3cret", 0o600)),
        ("/etc/waybill/ca.pem", (PEM, 0o644)),
    ]);
    let mut read = |path: &Path| match files.get(path.to_str().unwrap_or("")) {
        Some((text, mode)) => Ok(Content {
            bytes: text.as_bytes().to_vec(),
            mode: *mode,
        }),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    parse(Path::new("/a.toml"), text, &mut read).map_err(|error| error.to_string())
}

fn refused(text: &str) -> String {
    load(text).expect_err("this configuration is wrong")
}

/// The example with its commented defaults switched on.
fn example_in_full() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(line).collect()
}

#[test]
fn the_packaged_example_loads_as_it_is() {
    let config = load(EXAMPLE).unwrap();
    assert!(config.option.enabled);
    assert!(config.upload.is_none());
    assert!(config.services.is_empty());
}

#[test]
fn the_defaults_the_example_shows_are_those_of_the_code() {
    let mut shown = load(&example_in_full()).unwrap();
    let required_only = "[[key]]\nepoch = 1\nsecret_file = \"/etc/waybill/fleet.key\"\n\
        [upload]\nurl = \"https://collector.example:9443\"\nca_file = \"/etc/waybill/ca.pem\"\n\
        token_file = \"/etc/waybill/token\"\n\
        [[service]]\nname = \"billing\"\n\
        match = { exe = \"/opt/billing/*\", unit = \"billing-*.service\" }\n\
        tags = { team = \"pay\", tier = \"1\" }\n";
    let mut defaults = load(required_only).unwrap();
    // They are written differently.
    (shown.sources, defaults.sources) = Default::default();
    assert_eq!(format!("{shown:#?}"), format!("{defaults:#?}"));
}

#[test]
fn what_does_not_show_in_a_configuration_or_a_key_is_named() {
    let line = refused(&format!("{KEY}[agent]\n\u{feff}interval = \"5s\"\n"));
    assert!(
        line.contains(":5: ") && line.contains("byte-order mark"),
        "{line}"
    );
    let quotes = refused(&format!("{KEY}[agent]\ninterval = \u{201c}5s\u{201d}\n"));
    assert!(quotes.contains("quotation mark"), "{quotes}");
    let key = refused("[[key]]\nepoch = 1\nsecret_file = \"/marked\"\n");
    assert!(
        key.contains("32 hex digits") && key.contains("byte-order mark"),
        "{key}"
    );
    // A mark where a file begins, and the ends of lines of another system, harm nobody.
    load(&format!("\u{feff}{}", KEY.replace('\n', "\r\n"))).unwrap();
}

#[test]
fn the_same_texts_make_the_same_configuration_and_other_ones_are_judged_as_at_the_start() {
    let config = load(KEY).unwrap();
    let mut sources = config.sources.clone();
    assert_eq!(sources.files.len(), 1);
    let again = sources.read(Path::new("/a.toml")).unwrap();
    assert_eq!(format!("{config:#?}"), format!("{again:#?}"));
    let change = |sources: &mut super::Sources, text: &str| {
        let file = sources.files.get_mut(Path::new("/k")).unwrap();
        file.bytes = text.into();
        sources.read(Path::new("/a.toml"))
    };
    let next = change(&mut sources, "ffffffffffffffffffffffffffffffff\n").unwrap();
    assert_eq!(next.keys[0].secret.expose(), &[0xff; 16]);
    let error = change(&mut sources, "ff").unwrap_err().to_string();
    assert!(error.contains("key[0].secret_file"), "{error}");
}

#[test]
fn families_are_switched_by_name_and_the_old_key_of_nat_is_still_read() {
    use crate::config::FamilySetting::{Auto, Off, On};
    let written = format!("{KEY}[families]\nlistener = 'off'\nnat = 'on'");
    let config = load(&written).unwrap();
    let all = ["connection", "listener", "nat"].map(|name| config.family(name));
    assert_eq!(all, [Auto, Off, On]);
    let config = load(&format!("{KEY}[nat]\nconntrack = 'off'")).unwrap();
    assert_eq!(config.family("nat"), Off);
    assert_eq!(
        config.warnings,
        ["nat.conntrack is families.nat now; the old key is still read"]
    );
}

#[test]
fn the_example_shows_every_key() {
    let wrong = "x = 1\n[agent]\nx = 1\n[scope]\nx = 1\n[jail]\nx = 1\n[budget]\nx = 1\n[option]\nx = 1\n[[key]]\nx = 1\n\
        [limits]\nx = 1\n[spool]\nx = 1\n[upload]\nx = 1\n[[service]]\nx = 1\n\
        match = { x = 1 }\n[fleet]\nx = 1\n[log]\nx = 1\n\
        [families]\nx = 'on'\n";
    let message = refused(wrong);
    let lists = message
        .lines()
        .filter_map(|line| line.split_once("expected one of: "));
    let keys: Vec<&str> = lists.flat_map(|(_, keys)| keys.split(", ")).collect();
    assert!(keys.len() > 40, "{message}");
    for key in keys {
        assert!(
            EXAMPLE.contains(key),
            "packaging/config/agent.toml.example lacks {key}"
        );
    }
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = load(KEY).unwrap();
    assert_eq!(config.agent.rootfs, Path::new("/opt/waybill/rootfs"));
    assert_eq!(config.agent.interval, Duration::from_secs(10));
    assert_eq!(config.scope.cgroup, "/");
    assert_eq!(
        (config.option.kind.get(), config.option.exid.get()),
        (253, 0x5742)
    );
    assert!(config.option.answer && !config.option.on_data && !config.option.loopback);
    assert_eq!(config.spool.max_bytes, ByteSize::new(256 << 20));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let message = refused(
        "colour = 1\n[agent]\ninterval = 3\n[option]\nkind = 1\nexid = 0\n[log]\nlevel = \"x\"\n",
    );
    for part in [
        "a.toml:1: colour",
        ":3: agent.interval",
        ":5: option.kind",
        ":6: option.exid",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(message.contains(":8: log.level"), "{message}");
    assert!(
        message.contains("key: missing, expected at least one [[key]]"),
        "{message}"
    );
}

#[test]
fn wrong_syntax_names_the_line() {
    let message = refused("[agent]\ninterval = \n");
    assert!(message.starts_with("/a.toml:2: "), "{message}");
}

#[test]
fn an_enabled_option_without_a_key_is_refused_and_a_disabled_one_is_not() {
    assert!(refused("").contains("at least one [[key]]"));
    assert!(load("[option]\nenabled = false\n").is_ok());
}

#[test]
fn the_highest_epoch_comes_first_and_a_fifth_key_is_refused() {
    let key = |epoch: u32| format!("[[key]]\nepoch = {epoch}\nsecret_file = \"/k\"\n");
    let config = load(&[1, 4, 3].map(key).concat()).unwrap();
    let epochs: Vec<u32> = config.keys.iter().map(|key| key.epoch).collect();
    assert_eq!(epochs, [4, 3, 1]);
    assert_eq!(config.keys[0].slot(), 0);
    assert_eq!(config.keys[0].secret.expose()[..3], [0, 1, 2]);
    assert!(refused(&[1, 2, 3, 4, 5].map(key).concat()).contains("key[4]: missing, expected at"));
}

#[test]
fn a_secret_that_every_user_can_read_is_a_warning() {
    let config = load("[[key]]\nepoch = 1\nsecret_file = \"/open\"\n").unwrap();
    assert!(
        config.warnings[0].contains("/open holds a secret"),
        "{:?}",
        config.warnings
    );
    assert!(load(KEY).unwrap().warnings.is_empty());
}

#[test]
fn destination_rules_keep_loopback_out_unless_it_is_switched_on() {
    let wide = "[option]\ndestinations = [\"0.0.0.0/0\", \"127.0.0.0/8\"]\n";
    let rules = load(&format!("{wide}{KEY}"))
        .unwrap()
        .option
        .destination_rules();
    assert!(rules.contains(&(Prefix::LOOPBACK_V4, false)));
    assert!(!rules.contains(&(Prefix::LOOPBACK_V4, true)));
    let on = load(&format!("{wide}loopback = true\n{KEY}"))
        .unwrap()
        .option
        .destination_rules();
    assert!(on.contains(&(Prefix::LOOPBACK_V4, true)));
    assert!(on.contains(&(Prefix::LOOPBACK_V6, true)));
}

#[test]
fn service_rules_keep_the_order_and_sort_the_tags() {
    let text = format!(
        "{KEY}[[service]]\nname = \"a\"\nmatch = {{ comm = \"x\" }}\ntags = {{ z = \"1\", b = \"2\" }}\n\
         [[service]]\nname = \"b\"\nmatch = {{ comm = \"*\" }}\n"
    );
    let services = load(&text).unwrap().services;
    assert_eq!(
        services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(services[0].tags[0].0, "b");
}

#[test]
fn prefixes_are_mapped_so_that_one_trie_serves_both_families() {
    let prefix: Prefix = "10.0.0.0/8".parse().unwrap();
    let (addr, bits) = prefix.mapped();
    assert_eq!((bits, &addr[10..13]), (104, [0xff, 0xff, 10].as_slice()));
    assert!(prefix.contains("10.255.0.1".parse().unwrap()));
    assert!(!prefix.contains("11.0.0.1".parse().unwrap()));
    assert!(
        "0.0.0.0/0"
            .parse::<Prefix>()
            .unwrap()
            .contains("8.8.8.8".parse().unwrap())
    );
    assert!(
        !"::/0"
            .parse::<Prefix>()
            .unwrap()
            .contains("8.8.8.8".parse().unwrap())
    );
}

#[test]
fn globs_match_whole_texts() {
    for (pattern, text, matches) in [
        ("nginx", "nginx", true),
        ("nginx", "nginx2", false),
        ("*", "", true),
        ("*/nginx", "/usr/sbin/nginx", true),
        ("*a*b*c", "xxaxxbxxc", true),
        ("*a*b*c", "xxaxxcxxb", false),
        ("?", "ü", true),
        ("?", "", false),
        ("a**", "a", true),
    ] {
        assert_eq!(
            Glob::new(pattern).matches(text),
            matches,
            "{pattern} {text}"
        );
    }
}

#[test]
fn option_kinds_are_the_experimental_ones() {
    assert!(OptionKind::try_from(254).is_ok());
    let Expected(expected) = OptionKind::try_from(255).unwrap_err();
    assert!(expected.contains("253 or 254"));
}

proptest! {
    #[test]
    fn sizes_survive_writing_and_reading(bytes in any::<u64>()) {
        prop_assert_eq!(ByteSize::new(bytes).to_string().parse::<ByteSize>().unwrap().bytes(), bytes);
    }

    #[test]
    fn a_v4_prefix_contains_its_own_addresses(addr in any::<u32>(), bits in 0_u8..=32) {
        let addr = std::net::Ipv4Addr::from_bits(addr);
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        let network = std::net::Ipv4Addr::from_bits(addr.to_bits() & mask);
        let prefix: Prefix = format!("{network}/{bits}").parse().unwrap();
        prop_assert!(prefix.contains(IpAddr::V4(addr)));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z=\"{}0-9\\n. #']{0,200}") {
        let _outcome = load(&text);
    }

    #[test]
    fn globs_without_wildcards_match_only_themselves(text in "[a-z/.]{0,20}", other in "[a-z/.]{0,20}") {
        prop_assert_eq!(Glob::new(&text).matches(&other), text == other);
    }
}

#[test]
fn bounds_and_budget_are_read_and_can_be_empty() {
    let config = load(&format!(
        "[jail]\nuid = 0\noom_score_adj = -5\ncpu = \"0.5%\"\nmemory = \"64MiB\"\n\
         [budget]\ncpu = \"\"\nmemory = \"\"\n{KEY}"
    ))
    .unwrap();
    assert_eq!((config.jail.uid, config.jail.oom_score_adj), (0, -5));
    assert_eq!(config.jail.cpu.unwrap().per_mille(), 5);
    assert_eq!(config.jail.cpu.unwrap().to_string(), "0.5%");
    assert_eq!(config.jail.memory, Some(ByteSize::new(64 << 20)));
    assert_eq!((config.budget.cpu, config.budget.memory), (None, None));
    let defaults = load(KEY).unwrap();
    assert_eq!((defaults.jail.cpu, defaults.jail.memory), (None, None));
    assert_eq!(defaults.budget.cpu.unwrap().to_string(), "25%");
    for (wrong, expected) in [
        ("[jail]\nuid = -1\n", "jail.uid: expected a number from 0"),
        ("[jail]\noom_score_adj = -1000\n", "from -999 to 1000"),
        (
            "[jail]\ncpu = \"5\"\n",
            "jail.cpu: expected a share of one CPU",
        ),
        (
            "[jail]\nmemory = \"1MiB\"\n",
            "jail.memory: expected a size from 16MiB",
        ),
        (
            "[budget]\ncpu = \"0%\"\n",
            "budget.cpu: expected a share of one CPU",
        ),
        (
            "[budget]\ncpu = \"1.25%\"\n",
            "budget.cpu: expected a share of one CPU",
        ),
        (
            "[budget]\nmemory = \"lots\"\n",
            "budget.memory: expected a size",
        ),
    ] {
        let message = refused(&format!("{wrong}{KEY}"));
        assert!(message.contains(expected), "{message}");
    }
}
