//! The columns that no table describes.

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// A number that only rises; rows tell what the window added.
    Counter,
    /// A number.
    Gauge,
    /// Times, by how often each was seen.
    Histogram,
    /// Text.
    Text,
    /// Yes or no.
    Flag,
}

/// Columns of an edge that are no counters of a side.
pub(super) const EDGE: [(&str, Values, &str, &str); 21] = [
    (
        "client",
        Values::Text,
        "",
        "Node that calls: `<host>/<service>` or an address.",
    ),
    ("server", Values::Text, "", "Node that is called."),
    ("client_host", Values::Text, "", "Host id of the client."),
    ("server_host", Values::Text, "", "Host id of the server."),
    ("client_service", Values::Text, "", "Service of the client."),
    ("server_service", Values::Text, "", "Service of the server."),
    (
        "endpoint",
        Values::Text,
        "",
        "Address and port of the server.",
    ),
    ("port", Values::Gauge, "", "Port of the server."),
    (
        "vip",
        Values::Text,
        "",
        "Address that was called, where it is not the server's.",
    ),
    (
        "gateway",
        Values::Text,
        "",
        "Host that translates on the way.",
    ),
    ("joined", Values::Flag, "", "Whether both ends are known."),
    ("reason", Values::Text, "", "Why one end is not known."),
    (
        "confidence",
        Values::Gauge,
        "",
        "0 to 1, how sure the join is.",
    ),
    (
        "connections",
        Values::Gauge,
        "{connection}",
        "Connections that lived in the window.",
    ),
    (
        "open",
        Values::Gauge,
        "{connection}",
        "Connections open at the end of the window.",
    ),
    (
        "attempts",
        Values::Gauge,
        "{endpoint}",
        "Endpoints that were tried in vain.",
    ),
    (
        "sampled",
        Values::Flag,
        "",
        "Whether what it rests on was sampled.",
    ),
    (
        "verdict",
        Values::Text,
        "",
        "By the declared matrix: declared, undeclared, denied, expired or undecided.",
    ),
    (
        "flow",
        Values::Text,
        "",
        "Id of the declared flow that says so.",
    ),
    (
        "owner",
        Values::Text,
        "",
        "Owner of the declared flow that says so.",
    ),
    (
        "valid_for",
        Values::Gauge,
        "s",
        "Time until that flow ends, negative since; not known of one that does not end.",
    ),
];

/// Those of them that say what an edge is by the declared matrix.
pub const DECLARED: [&str; 4] = ["verdict", "flow", "owner", "valid_for"];

/// Columns of a host beside its counters.
pub(super) const HOST: [(&str, Values, &str, &str); 13] = [
    ("host", Values::Text, "", "Host id."),
    ("name", Values::Text, "", "Host name."),
    ("agent", Values::Text, "", "Version of the agent."),
    ("kernel", Values::Text, "", "Release of the kernel."),
    (
        "mode",
        Values::Text,
        "",
        "Injection mode: sockops, tc-clone or observe.",
    ),
    (
        "age",
        Values::Gauge,
        "s",
        "Time since its last batch arrived.",
    ),
    (
        "uptime",
        Values::Gauge,
        "s",
        "Time since the agent started.",
    ),
    (
        "batches_missing",
        Values::Gauge,
        "{batch}",
        "Numbers missing among the batches of the newest run.",
    ),
    (
        "clock_ahead",
        Values::Gauge,
        "ms",
        "By how much its clock is ahead of the collector's.",
    ),
    (
        "families_skipped",
        Values::Gauge,
        "{family}",
        "Families of probes that do not run.",
    ),
    (
        "paths_off",
        Values::Gauge,
        "{destination}",
        "Destinations for which the option is off.",
    ),
    (
        "copied",
        Values::Flag,
        "",
        "Whether several machines use its id.",
    ),
    (
        "losses",
        Values::Counter,
        "",
        "Everything that its agent dropped, evicted or set aside.",
    ),
];

/// Columns that rows of every described table have.
pub(super) const ROW: [(&str, &str); 5] = [
    ("host", "Host id."),
    ("hostname", "Host name."),
    ("service", "Service of the process, where it is known."),
    ("comm", "Kernel task name of the process."),
    ("exe", "Path of its executable."),
];
