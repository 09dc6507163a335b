//! Family `connection`: who talks to whom, what each end saw of a waybill, and what went wrong.

mod columns;

pub use columns::Columns;

use crate::cell::choice;
use crate::table::table;
use crate::value::{Endpoint, Histogram};

/// Series begin in steps of so many milliseconds after their agent did: a power of two, so that the
/// distances to the end of a batch have the same low bytes.
pub const SINCE_STEP_MS: u64 = 1 << 16;

choice! {
    /// Which side of a connection the reporting host is.
    Role;
    /// Called `connect`.
    #[default]
    Client = 0 "client",
    /// Called `accept`.
    Server = 1 "server",
}

table! {
    /// All connections between one process identity and one remote service, in one direction.
    ///
    /// One row per series and batch. A row with another `since_ms` is one of another series.
    EdgeRow is Series "edge" of "connection" version 1,
    sorted by |row| (
        (row.total, row.process_id, row.role, row.netns),
        (row.local, row.remote.port, row.remote.addr),
        (row.since_ms, row.opened),
    );

    /// Set: the numbers are totals since the series began, as of the end of the interval; not set:
    /// what the interval added.
    total: bool = Dimension "",
    /// Key of the process, unique within host and boot.
    process_id: u32 = Dimension "",
    /// Role of that process.
    role: Role = Dimension "" absent 9,
    /// Local end; the port is the service's own for a server and 0 for a client.
    local: Endpoint = Dimension "",
    /// Remote end; the port is the service's own for a client and 0 for a server.
    remote: Endpoint = Dimension "",
    /// Network namespace inode number.
    netns: u32 = Dimension "",
    /// Time from which the series counts, when it had counted nothing.
    ///
    /// Not before the agent's run, and not when another series with the same ends may have counted;
    /// apart from that up to [`SINCE_STEP_MS`] before its first connection.
    since_ms: u64 = Time "ms",
    /// Connections that reached ESTABLISHED while this run of the agent watched.
    ///
    /// Agents of schema 1.0 and 1.1 counted those here too that they found open.
    opened: u64 = Counter "{connection}",
    /// Connections that were open before this run of the agent watched, and that an earlier run may
    /// have counted as opened.
    ///
    /// In totals, `opened + adopted - closed` are open.
    adopted: u64 = Counter "{connection}",
    /// Connections that ended after having been established.
    closed: u64 = Counter "{connection}",
    /// Connection attempts that never reached ESTABLISHED.
    failed: u64 = Counter "{connection}",
    /// The part of `failed` that the peer answered with a reset.
    refused: u64 = Counter "{connection}",
    /// Established connections that this host ended with a reset.
    reset_local: u64 = Counter "{connection}" absent 10,
    /// Established connections that the peer (or a middlebox) ended with a reset.
    reset_remote: u64 = Counter "{connection}" absent 11,
    /// Payload bytes sent at least once, without retransmissions.
    bytes_sent: u64 = Counter "By" absent 0,
    /// Payload bytes received in order, each once.
    bytes_received: u64 = Counter "By" absent 1,
    /// Segments sent, retransmissions included.
    segments_sent: u64 = Counter "{segment}" absent 2,
    /// Segments received.
    segments_received: u64 = Counter "{segment}" absent 3,
    /// Segments retransmitted.
    retransmits: u64 = Counter "{segment}" absent 4,
    /// Segments received out of order.
    out_of_order: u64 = Counter "{segment}" absent 5,
    /// Segments received that advertised a zero window.
    zero_windows: u64 = Counter "{segment}" absent 6,
    /// SYN sent to ESTABLISHED, client role only.
    connect_latency: Histogram = Histogram "us" absent 7,
    /// Smoothed round-trip time, one value per connection and report.
    rtt: Histogram = Histogram "us" absent 8,
    /// What this host cannot measure: such a number is 0 and means nothing.
    absent: Columns = Dimension "",
}

impl EdgeRow {
    /// A total that has counted nothing since `since_ms`.
    #[must_use]
    pub fn new(ends: (u32, Role, Endpoint, Endpoint), netns: u32, since_ms: u64) -> Self {
        let (process_id, role, local, remote) = ends;
        Self {
            total: true,
            process_id,
            role,
            local,
            remote,
            netns,
            since_ms,
            ..Self::default()
        }
    }
}

choice! {
    /// What one end did with a token.
    Part;
    /// This end made the token and wrote the option.
    #[default]
    Wrote = 0 "wrote",
    /// This end read the option and its MAC was right.
    Read = 1 "read",
    /// Nobody needed to carry it: either end makes it from both initial sequence numbers
    /// ([`crate::fingerprint`]).
    Sequence = 2 "sequence",
}

choice! {
    /// Why a sighting was kept although not every one is.
    Kept;
    /// The token's value fell into the sampled part, which is the same on every host.
    #[default]
    Sampled = 0 "sampled",
    /// The connection was reset, failed or retransmitted.
    Abnormal = 1 "abnormal",
    /// The connection lived longer than one reporting interval.
    LongLived = 2 "long_lived",
    /// Among the first of its edge in this interval.
    First = 3 "first",
    /// The connection was open before this run of the agent watched: `start_us` says when it was
    /// found, and not when it began.
    Adopted = 4 "adopted",
}

choice! {
    /// Whether a connection goes on behind the interval that tells of it.
    Life;
    /// Agents before schema 1.2 do not say it.
    #[default]
    Unknown = 0 "unknown",
    /// It was open at the end of the interval.
    Open = 1 "open",
    /// It ended in the interval.
    Ended = 2 "ended",
}

table! {
    /// One end of one connection that carried a waybill.
    SightingRow is Links "sighting" of "connection" version 1,
    sorted by |row| (
        (row.process_id, row.role, row.netns, row.local.addr),
        (service(row.role, row.local, row.remote), row.remote.addr),
        (row.start_us, row.token),
    );

    /// The waybill's token.
    token: u64 = Dimension "",
    /// What this end did with it.
    part: Part = Dimension "",
    /// Set when the accepting side answered with its own token; never with part `sequence`.
    answer: bool = Dimension "",
    /// Role of the reporting process.
    role: Role = Dimension "",
    /// Why it was kept.
    kept: Kept = Dimension "",
    /// Whether the connection had ended by the end of the interval.
    ///
    /// One that goes on is told again when it ends.
    life: Life = Dimension "",
    /// The token was sampled at level `n`: one in `2^n` tokens is kept.
    sample_level: u8 = Dimension "",
    /// Key of the process.
    process_id: u32 = Dimension "",
    /// Local end as this host's TCP stack knows it.
    local: Endpoint = Dimension "",
    /// Remote end as this host's TCP stack knows it.
    remote: Endpoint = Dimension "",
    /// Network namespace inode number.
    netns: u32 = Dimension "",
    /// First segment seen.
    start_us: u64 = Time "us",
}

choice! {
    /// What happened to an abnormal connection.
    EventKind;
    /// Never established: no answer, or unreachable.
    #[default]
    Failed = 0 "failed",
    /// Never established: the peer answered with a reset.
    Refused = 1 "refused",
    /// Ended by a reset of this host.
    ResetLocal = 2 "reset_local",
    /// Ended by a reset from the peer or a middlebox.
    ResetRemote = 3 "reset_remote",
    /// Ended after more than the usual retransmissions.
    Retransmits = 4 "retransmits",
    /// Ended by a time-out after having been established.
    TimedOut = 5 "timed_out",
}

table! {
    /// One abnormal connection with its full tuple and numbers.
    EventRow is Events "event" of "connection" version 1,
    sorted by |row| (
        (row.process_id, row.role, row.netns, row.local.addr),
        (service(row.role, row.local, row.remote), row.remote.addr),
        (row.time_us, row.token),
    );

    /// What happened.
    kind: EventKind = Dimension "",
    /// When it ended.
    time_us: u64 = Time "us",
    /// Role of the process.
    role: Role = Dimension "",
    /// Key of the process.
    process_id: u32 = Dimension "",
    /// Local end.
    local: Endpoint = Dimension "",
    /// Remote end.
    remote: Endpoint = Dimension "",
    /// Network namespace inode number.
    netns: u32 = Dimension "",
    /// The waybill's token, 0 when the connection had none.
    token: u64 = Dimension "",
    /// The socket's errno at the end, 0 when none.
    errno: u32 = Dimension "",
    /// From the first segment to the end.
    duration_us: u64 = Gauge "us",
    /// Payload bytes sent.
    bytes_sent: u64 = Gauge "By",
    /// Payload bytes received.
    bytes_received: u64 = Gauge "By",
    /// Segments retransmitted.
    retransmits: u64 = Gauge "{segment}",
}

/// The port that names the service.
const fn service(role: Role, local: Endpoint, remote: Endpoint) -> u16 {
    match role {
        Role::Client => remote.port,
        Role::Server => local.port,
    }
}

table! {
    /// What one process did with the connections that it accepted, where several processes of one
    /// identity have some: one that is stuck sends nothing while its siblings do.
    ///
    /// A row comes with each interval in which one of them sent something and this one had a
    /// connection; what it did in other intervals is in no row and in no total.
    WorkerRow is Series "worker" of "connection" version 1,
    sorted by |row| (row.process_id, row.pid, row.since_ms, row.total);

    /// Set: the counters are totals since the series began, as of the end of the interval; not set:
    /// what the interval added.
    total: bool = Dimension "",
    /// Identity of the process.
    process_id: u32 = Dimension "",
    /// Its process id, as the agent sees it.
    pid: u32 = Dimension "",
    /// Time at which the series began, and counted from zero.
    since_ms: u64 = Time "ms",
    /// Connections open at the end of the interval that it accepted.
    open: u32 = Gauge "{connection}",
    /// Connections that it accepted.
    accepted: u64 = Counter "{connection}",
    /// Connections of those that ended.
    closed: u64 = Counter "{connection}",
    /// Payload bytes that it sent.
    bytes_sent: u64 = Counter "By",
    /// Payload bytes that reached its connections, whether it read them or not.
    bytes_received: u64 = Counter "By",
}
