//! Mistakes, one by one, and what is said of each.

use super::{KEY, refused};

/// Each wrong value, and what its message must contain: line, key and what was expected.
const WRONG: [(&str, &str); 53] = [
    (
        "[families]\nlistnr = \"off\"",
        "/a.toml:2: families.listnr: no such family, expected one of: connection, listener, nat",
    ),
    (
        "[families]\nhost = \"off\"",
        "families.host: no such family, expected one of: connection, listener, nat",
    ),
    (
        "[families]\nlistener = \"never\"",
        "families.listener: expected \"auto\", \"off\" or \"on\", found \"never\"",
    ),
    (
        "[families]\nnat = \"off\"\n[nat]\nconntrack = \"off\"",
        "/a.toml:2: families.nat: nat.conntrack says the same: leave that out",
    ),
    (
        "[agent]\nrootfs = \"opt\"",
        "/a.toml:2: agent.rootfs: expected an absolute path",
    ),
    (
        "[agent]\nrootfs = \"/\"",
        "/a.toml:2: agent.rootfs: expected an absolute path",
    ),
    (
        "[agent]\nrootfs = 1",
        "/a.toml:2: agent.rootfs: expected a string, found 1",
    ),
    (
        "[agent]\ninterval = \"10\"",
        "agent.interval: expected a duration such as",
    ),
    (
        "[agent]\ninterval = \"-1s\"",
        "agent.interval: expected a duration such as",
    ),
    (
        "[agent]\ninterval = \"2h\"",
        "agent.interval: expected a duration from 100ms to 1h",
    ),
    (
        "[agent]\ninterval = 10",
        "agent.interval: expected a string, found 10",
    ),
    (
        "[agent]\nhostname = \"a b\"",
        "agent.hostname: expected a host name",
    ),
    (
        "[agent]\nname = \"x\"",
        "/a.toml:2: agent.name: unknown key, expected one of: rootfs,",
    ),
    (
        "[scope]\ncgroup = \"a\"",
        "scope.cgroup: expected a cgroup path such as",
    ),
    (
        "[scope]\ncgroup = \"/a/../b\"",
        "scope.cgroup: expected a cgroup path such as",
    ),
    (
        "[option]\nenabled = 1",
        "option.enabled: expected true or false, found 1",
    ),
    ("[option]\nkind = 252", "option.kind: expected 253 or 254"),
    (
        "[option]\nkind = \"253\"",
        "option.kind: expected an integer, found \"253\"",
    ),
    (
        "[option]\nexid = 0x10000",
        "option.exid: expected a 16-bit experiment identifier",
    ),
    (
        "[option]\nexid = 0",
        "option.exid: expected a 16-bit experiment identifier",
    ),
    ("[option]\nexid = 0xF989", "0xF989 belongs to TCP Fast Open"),
    (
        "[option]\nmode = \"tc\"",
        "option.mode: expected \"auto\", \"sockops\", \"tc-clone\" or \"observe\", found \"tc\"",
    ),
    (
        "[option]\non_data = \"no\"",
        "option.on_data: expected true or false",
    ),
    (
        "[option]\nanswer = \"no\"",
        "option.answer: expected true or false",
    ),
    (
        "[option]\nloopback = 0",
        "option.loopback: expected true or false",
    ),
    (
        "[option]\ndestinations = \"10.0.0.0/8\"",
        "destinations: expected a list of strings",
    ),
    (
        "[option]\ndestinations = [1]",
        "option.destinations[0]: expected a string, found 1",
    ),
    (
        "[option]\ndestinations = [\"10.0.0.0\"]",
        "destinations[0]: expected a prefix such as",
    ),
    (
        "[option]\ndestinations = [\"10.0.0.1/8\"]",
        "without host bits: 10.0.0.0/8 instead",
    ),
    (
        "[option]\ndestinations = [\"::/129\"]",
        "destinations[0]: expected a prefix such as",
    ),
    (
        "[[key]]\nepoch = 2",
        "key[1].secret_file: missing, expected the path of a file",
    ),
    (
        "[[key]]\nsecret_file = \"/k\"",
        "/a.toml: key[1].epoch: missing, expected a number",
    ),
    (
        "[[key]]\nepoch = -1\nsecret_file = \"/k\"",
        "key[1].epoch: expected a number from 0",
    ),
    (
        "[[key]]\nepoch = 5\nsecret_file = \"/k\"",
        "key[1].epoch: expected an epoch that differs",
    ),
    (
        "[[key]]\nepoch = 2\nsecret_file = \"/none\"",
        "key[1].secret_file: cannot read /none",
    ),
    (
        "[[key]]\nepoch = 2\nsecret_file = \"k\"",
        "key[1].secret_file: expected an absolute path",
    ),
    (
        "[[key]]\nepoch = 2\nsecret_file = \"/short\"",
        "fleet key as 32 hex digits",
    ),
    (
        "[limits]\nconnections = 1",
        "limits.connections: expected a number from 64 to",
    ),
    (
        "[limits]\nedges = 1.5",
        "limits.edges: expected an integer, found 1.5",
    ),
    (
        "[limits]\nring_bytes = \"3MiB\"",
        "limits.ring_bytes: expected a power of two",
    ),
    (
        "[limits]\nring_bytes = \"4MB\"",
        "limits.ring_bytes: expected a size such as",
    ),
    (
        "[spool]\nmax_bytes = \"1KiB\"",
        "spool.max_bytes: expected a size from 1MiB to 1TiB",
    ),
    (
        "[spool]\nmax_age = \"1s\"",
        "spool.max_age: expected a duration from 1m to 365d",
    ),
    ("upload = 3", "/a.toml:1: upload: expected a table, found 3"),
    (
        "[[service]]\nmatch = { exe = \"*\" }",
        "service[0].name: missing",
    ),
    (
        "[[service]]\nname = \"a\"",
        "service[0].match: missing, expected at least one of exe",
    ),
    (
        "[[service]]\nname = \"a\"\nmatch = { exe = \"\" }",
        "service[0].match.exe: expected",
    ),
    (
        "[[service]]\nname = \"a\"\nmatch = { exe = 7 }",
        "service[0].match.exe: expected a string",
    ),
    (
        "[[service]]\nname = \"a\"\nmatch = { pid = \"7\" }",
        "match.pid: unknown key, expected",
    ),
    (
        "[[service]]\nname = \"a\\u0007\"\nmatch = { exe = \"*\" }",
        "service[0].name: expected",
    ),
    (
        "[service]\nname = \"a\"",
        "service: expected one or more [[service]] tables",
    ),
    (
        "[log]\nlevel = \"loud\"",
        "log.level: expected one of \"error\", \"warn\", \"info\"",
    ),
    (
        "[upstream]\n",
        "upstream: unknown key, expected one of: agent, scope, jail, budget",
    ),
];

#[test]
fn each_wrong_key_or_value_gets_a_message_with_file_key_and_what_was_expected() {
    for (text, expected) in WRONG {
        let text = format!("{text}\n{KEY}");
        // The table under test comes first for its line number; a second [[key]] comes last.
        let text = if text.starts_with("[[key]]") {
            format!("{KEY}{}", text.strip_suffix(KEY).unwrap())
        } else {
            text
        };
        let message = refused(&text);
        assert!(
            message.contains(expected),
            "for\n{text}\nthe message is\n{message}"
        );
        assert!(message.starts_with("/a.toml"), "{message}");
        assert_eq!(
            message.lines().count(),
            1,
            "for\n{text}\nthe message is\n{message}"
        );
    }
}
