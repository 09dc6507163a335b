//! Everything the operator decided, section by section.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::files::Content;
use super::value::prefix::Prefix;
use super::value::{ByteSize, CpuShare, ExId, Glob, OptionKind, Secret};

/// At most this many keys: two bits of the option's flags name one.
pub const MAX_KEYS: usize = 4;

/// Everything the operator decided, with defaults filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// `[agent]`
    pub agent: Agent,
    /// `[scope]`
    pub scope: Scope,
    /// `[jail]`
    pub jail: Jail,
    /// `[budget]`
    pub budget: Budget,
    /// `[option]`
    pub option: WaybillOption,
    /// `[[key]]`, the one that writes (the highest epoch) first.
    pub keys: Vec<Key>,
    /// `[families]`: what is said of each by its name.
    pub families: BTreeMap<String, FamilySetting>,
    /// `[limits]`
    pub limits: Limits,
    /// `[spool]`
    pub spool: Spool,
    /// `[upload]`; without it batches only go to the spool.
    pub upload: Option<Upload>,
    /// `[fleet] public_key_file`: the key that signs orders; without it none are taken.
    pub orders_key: Option<[u8; wire::orders::KEY_BYTES]>,
    /// `[[service]]`, in the operator's order: the first match wins.
    pub services: Vec<ServiceRule>,
    /// `[log]`
    pub log: Log,
    /// What is accepted but should be looked at, one sentence each.
    pub warnings: Vec<String>,
    /// What it was made of.
    pub sources: Sources,
}

/// Texts that a configuration was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The configuration file's own.
    pub text: String,
    /// Every file that it names.
    pub files: BTreeMap<PathBuf, Content>,
}

/// `[agent]`: the agent itself.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The directory that becomes the agent's root.
    pub rootfs: PathBuf,
    /// How often counters are reported.
    pub interval: Duration,
    /// Name to report; `None` takes the host's own.
    pub hostname: Option<String>,
    /// How records come from the kernel.
    pub transport: TransportSetting,
    /// What connections are measured by.
    pub hooks: HooksSetting,
    /// How open connections are looked at.
    pub lists: ListsSetting,
}

/// How the operator wants open connections to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListsSetting {
    /// The best that the kernel has.
    Auto,
    /// By diagnostic sockets, although there may be iterators.
    Sockets,
}

/// What the operator wants connections to be measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HooksSetting {
    /// The best that the host allows.
    Auto,
    /// Programs in the kernel, or nothing.
    Kernel,
    /// Programs on probes at kernel functions, although there may be tracepoints.
    Kprobes,
    /// Packet sockets and the kernel's lists of sockets, although programs could be loaded.
    Sockets,
}

/// What the operator wants records to come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportSetting {
    /// The best that the kernel has.
    Auto,
    /// Perf buffers, although there may be a ring buffer.
    Perf,
}

/// Whether the operator wants a family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FamilySetting {
    /// Where it is of use.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Wherever it can be had.
    On,
}

/// `[scope]`: which connections.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Path below the cgroup2 root, `/` for everything; absolute, without `.` and `..`.
    pub cgroup: String,
}

/// `[jail]`: what the running agent may do.
#[derive(Clone, Debug)]
pub struct Jail {
    /// System calls that the plan does not need.
    pub seccomp: SeccompSetting,
    /// User and group it becomes after the start; 0 stays root.
    pub uid: u32,
    /// How readily the kernel kills it when memory runs out, -999 to 1000.
    pub oom_score_adj: i32,
    /// Most CPU, by a cgroup of its own; `None` makes none.
    pub cpu: Option<CpuShare>,
    /// Most memory, by a cgroup of its own; `None` makes none.
    pub memory: Option<ByteSize>,
}

/// `[budget]`: what the running agent may take before it does less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// CPU; `None` is not watched.
    pub cpu: Option<CpuShare>,
    /// Resident memory; `None` is not watched.
    pub memory: Option<ByteSize>,
}

/// What the operator wants done with system calls that the plan does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SeccompSetting {
    /// They are refused.
    Enforce,
    /// They are written to the kernel's audit log.
    Log,
    /// Nothing.
    Off,
}

/// `[option]`: the waybill TCP option.
#[derive(Clone, Debug)]
pub struct WaybillOption {
    /// Off: nothing is written.
    pub enabled: bool,
    /// How it is written.
    pub mode: ModeSetting,
    /// TCP option kind.
    pub kind: OptionKind,
    /// Experiment identifier.
    pub exid: ExId,
    /// Also write it on first-flight data that has room.
    pub on_data: bool,
    /// Answer on accepted connections that brought no valid waybill.
    pub answer: bool,
    /// Where it may be written to.
    pub destinations: Vec<Prefix>,
    /// Write it on loopback connections too.
    pub loopback: bool,
}

/// How the operator wants the option to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeSetting {
    /// The best that the kernel has.
    Auto,
    /// Not at all.
    Observe,
    /// By the kernel's TCP stack, or not at all.
    Sockops,
    /// By copies of packets, although the kernel's TCP stack may be able to.
    TcClone,
}

impl WaybillOption {
    /// The rules for a longest-prefix map: `true` where the option may be written.
    ///
    /// Loopback is its own switch, so that `0.0.0.0/0` does not silently include it.
    #[must_use]
    pub fn destination_rules(&self) -> Vec<(Prefix, bool)> {
        let loopback = [Prefix::LOOPBACK_V4, Prefix::LOOPBACK_V6];
        let mut rules: Vec<_> = self
            .destinations
            .iter()
            .filter(|prefix| !loopback.contains(prefix))
            .map(|prefix| (*prefix, true))
            .collect();
        rules.extend(loopback.map(|prefix| (prefix, self.loopback)));
        rules
    }
}

/// `[[key]]`: a fleet key.
#[derive(Clone, Debug)]
pub struct Key {
    /// Which generation; the highest writes, all read.
    pub epoch: u32,
    /// SipHash key.
    pub secret: Secret<[u8; 16]>,
}

impl Key {
    /// The two bits by which the option names the key, 0..=3; distinct among the configured ones.
    #[must_use]
    pub fn slot(&self) -> u8 {
        (self.epoch % 4) as u8
    }
}

/// `[limits]`: bounds of every table and queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections followed at once.
    pub connections: u32,
    /// Edges kept in one interval.
    pub edges: u32,
    /// Process identities.
    pub processes: u32,
    /// Sightings per interval.
    pub sightings_per_interval: u32,
    /// Abnormal-connection events per interval.
    pub events_per_interval: u32,
    /// Kernel-to-agent ring: a power of two, and at least one page.
    pub ring_bytes: ByteSize,
}

/// `[spool]`: the disk queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Payload bytes on disk.
    pub max_bytes: ByteSize,
    /// Age at which an unsent batch is evicted.
    pub max_age: Duration,
}

/// `[upload]`: the collector.
#[derive(Clone, Debug)]
pub struct Upload {
    /// `https://host[:port][/path]`.
    pub url: String,
    /// Certificates that may have signed the collector's, PEM.
    pub ca_pem: Vec<u8>,
    /// Who the agent is.
    pub credentials: Credentials,
    /// Name expected in the collector's certificate; `None` takes the URL's host.
    pub server_name: Option<String>,
    /// `http://host[:port]` of a proxy, or `none`; `None` leaves it to the environment.
    pub proxy: Option<String>,
    /// `user:password` for that proxy.
    pub proxy_secret: Option<Secret<String>>,
    /// Bound for one request.
    pub timeout: Duration,
}

/// How the agent proves itself to the collector.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Client certificate chain and its key, PEM.
    Certificate {
        /// Leaf first.
        chain_pem: Vec<u8>,
        /// Private key.
        key_pem: Secret<Vec<u8>>,
    },
    /// Bearer token.
    Token(Secret<String>),
    /// A certificate that the collector signs, got by this token; `None` where there is no token
    /// (any more).
    Enrolled(Option<Secret<String>>),
}

/// `[[service]]`: turns what a process is into what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// Service name.
    pub name: String,
    /// Path of the executable.
    pub exe: Option<Glob>,
    /// Kernel task name.
    pub comm: Option<Glob>,
    /// cgroup path.
    pub cgroup: Option<Glob>,
    /// systemd unit.
    pub unit: Option<Glob>,
    /// Container id.
    pub container: Option<Glob>,
    /// Business tags, sorted by key.
    pub tags: Vec<(String, String)>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines below this level are not written.
    pub level: ::log::LevelFilter,
    /// Once confined, write to a file in the jail instead of standard error.
    pub file: bool,
}

/// Why a configuration is not taken: every mistake that was found.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct Error {
    /// One line each: file, line, key, what was expected.
    pub problems: Vec<String>,
}

impl ServiceRule {
    /// True when the rule would match every process.
    pub(super) fn is_unconditional(&self) -> bool {
        let given = [
            &self.exe,
            &self.comm,
            &self.cgroup,
            &self.unit,
            &self.container,
        ];
        given.iter().all(|glob| glob.is_none())
    }
}
