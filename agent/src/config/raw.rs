//! What the operator wrote: every key optional, every type checked, nothing interpreted.

use super::section::{At, Problems, Section};

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) agent: RawAgent,
    pub(super) scope_cgroup: Option<At<String>>,
    pub(super) jail: RawJail,
    pub(super) budget: RawBudget,
    pub(super) option: RawOption,
    pub(super) families: Vec<(String, At<String>)>,
    /// What `families.nat` was called when there was one.
    pub(super) nat_conntrack: Option<At<String>>,
    pub(super) keys: Vec<RawKey>,
    pub(super) limits: RawLimits,
    pub(super) spool: RawSpool,
    /// `None` when the section is absent.
    pub(super) upload: Option<RawUpload>,
    pub(super) orders_key_file: Option<At<String>>,
    pub(super) services: Vec<RawService>,
    pub(super) log: RawLog,
}

/// `[log]`
#[derive(Debug, Default)]
pub(super) struct RawLog {
    pub(super) level: Option<At<String>>,
    pub(super) file: Option<At<bool>>,
}

/// `[agent]`
#[derive(Debug, Default)]
pub(super) struct RawAgent {
    pub(super) rootfs: Option<At<String>>,
    pub(super) interval: Option<At<String>>,
    pub(super) hostname: Option<At<String>>,
    pub(super) transport: Option<At<String>>,
    pub(super) hooks: Option<At<String>>,
    pub(super) lists: Option<At<String>>,
}

/// `[jail]`
#[derive(Debug, Default)]
pub(super) struct RawJail {
    pub(super) seccomp: Option<At<String>>,
    pub(super) uid: Option<At<i64>>,
    pub(super) oom_score_adj: Option<At<i64>>,
    pub(super) cpu: Option<At<String>>,
    pub(super) memory: Option<At<String>>,
}

/// `[budget]`
#[derive(Debug, Default)]
pub(super) struct RawBudget {
    pub(super) cpu: Option<At<String>>,
    pub(super) memory: Option<At<String>>,
}

/// `[option]`
#[derive(Debug, Default)]
pub(super) struct RawOption {
    pub(super) enabled: Option<At<bool>>,
    pub(super) mode: Option<At<String>>,
    pub(super) kind: Option<At<i64>>,
    pub(super) exid: Option<At<i64>>,
    pub(super) on_data: Option<At<bool>>,
    pub(super) answer: Option<At<bool>>,
    pub(super) destinations: Option<Vec<At<String>>>,
    pub(super) loopback: Option<At<bool>>,
}

/// `[[key]]`
#[derive(Debug)]
pub(super) struct RawKey {
    pub(super) path: String,
    pub(super) epoch: Option<At<i64>>,
    pub(super) secret_file: Option<At<String>>,
}

/// `[limits]`
#[derive(Debug, Default)]
pub(super) struct RawLimits {
    pub(super) connections: Option<At<i64>>,
    pub(super) edges: Option<At<i64>>,
    pub(super) processes: Option<At<i64>>,
    pub(super) sightings_per_interval: Option<At<i64>>,
    pub(super) events_per_interval: Option<At<i64>>,
    pub(super) ring_bytes: Option<At<String>>,
}

/// `[spool]`
#[derive(Debug, Default)]
pub(super) struct RawSpool {
    pub(super) max_bytes: Option<At<String>>,
    pub(super) max_age: Option<At<String>>,
}

/// `[upload]`
#[derive(Debug, Default)]
pub(super) struct RawUpload {
    pub(super) url: Option<At<String>>,
    pub(super) ca_file: Option<At<String>>,
    pub(super) token_file: Option<At<String>>,
    pub(super) enroll_token_file: Option<At<String>>,
    pub(super) client_cert_file: Option<At<String>>,
    pub(super) client_key_file: Option<At<String>>,
    pub(super) server_name: Option<At<String>>,
    pub(super) proxy: Option<At<String>>,
    pub(super) proxy_auth_file: Option<At<String>>,
    pub(super) timeout: Option<At<String>>,
}

/// `[[service]]`
#[derive(Debug)]
pub(super) struct RawService {
    pub(super) path: String,
    pub(super) name: Option<At<String>>,
    pub(super) exe: Option<At<String>>,
    pub(super) comm: Option<At<String>>,
    pub(super) cgroup: Option<At<String>>,
    pub(super) unit: Option<At<String>>,
    pub(super) container: Option<At<String>>,
    pub(super) tags: Vec<(String, At<String>)>,
}

impl Raw {
    /// Reads the text; mistakes of syntax, type and key go to `problems`.
    ///
    /// `None` after mistakes of syntax: what recovery leaves may lack keys that are there, and
    /// complaining about those would mislead.
    pub(super) fn parse(problems: &mut Problems<'_>) -> Option<Self> {
        let document = problems.document()?;
        let mut root = Section::root(&document);
        let raw = Self {
            agent: agent(&mut root, problems),
            scope_cgroup: single(&mut root, problems, "scope", "cgroup"),
            jail: jail(&mut root, problems),
            budget: budget(&mut root, problems),
            option: option(&mut root, problems),
            keys: root
                .sections(problems, "key")
                .into_iter()
                .map(|s| key(s, problems))
                .collect(),
            families: root.section(problems, "families").pairs(problems),
            nat_conntrack: single(&mut root, problems, "nat", "conntrack"),
            limits: limits(&mut root, problems),
            spool: spool(&mut root, problems),
            upload: upload(&mut root, problems),
            orders_key_file: single(&mut root, problems, "fleet", "public_key_file"),
            services: root
                .sections(problems, "service")
                .into_iter()
                .map(|s| service(s, problems))
                .collect(),
            log: log(&mut root, problems),
        };
        root.finish(problems);
        Some(raw)
    }
}

fn agent(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawAgent {
    let mut section = root.section(problems, "agent");
    let raw = RawAgent {
        rootfs: section.string(problems, "rootfs"),
        interval: section.string(problems, "interval"),
        hostname: section.string(problems, "hostname"),
        transport: section.string(problems, "transport"),
        hooks: section.string(problems, "hooks"),
        lists: section.string(problems, "lists"),
    };
    section.finish(problems);
    raw
}

fn jail(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawJail {
    let mut section = root.section(problems, "jail");
    let raw = RawJail {
        seccomp: section.string(problems, "seccomp"),
        uid: section.integer(problems, "uid"),
        oom_score_adj: section.integer(problems, "oom_score_adj"),
        cpu: section.string(problems, "cpu"),
        memory: section.string(problems, "memory"),
    };
    section.finish(problems);
    raw
}

fn budget(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawBudget {
    let mut section = root.section(problems, "budget");
    let raw = RawBudget {
        cpu: section.string(problems, "cpu"),
        memory: section.string(problems, "memory"),
    };
    section.finish(problems);
    raw
}

fn single(
    root: &mut Section<'_, '_>,
    problems: &mut Problems<'_>,
    name: &'static str,
    key: &'static str,
) -> Option<At<String>> {
    let mut section = root.section(problems, name);
    let value = section.string(problems, key);
    section.finish(problems);
    value
}

fn log(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawLog {
    let mut section = root.section(problems, "log");
    let raw = RawLog {
        level: section.string(problems, "level"),
        file: section.boolean(problems, "file"),
    };
    section.finish(problems);
    raw
}

fn option(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawOption {
    let mut section = root.section(problems, "option");
    let raw = RawOption {
        enabled: section.boolean(problems, "enabled"),
        mode: section.string(problems, "mode"),
        kind: section.integer(problems, "kind"),
        exid: section.integer(problems, "exid"),
        on_data: section.boolean(problems, "on_data"),
        answer: section.boolean(problems, "answer"),
        destinations: section.strings(problems, "destinations"),
        loopback: section.boolean(problems, "loopback"),
    };
    section.finish(problems);
    raw
}

fn key(mut section: Section<'_, '_>, problems: &mut Problems<'_>) -> RawKey {
    let raw = RawKey {
        path: section.path.clone(),
        epoch: section.integer(problems, "epoch"),
        secret_file: section.string(problems, "secret_file"),
    };
    section.finish(problems);
    raw
}

fn limits(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawLimits {
    let mut section = root.section(problems, "limits");
    let raw = RawLimits {
        connections: section.integer(problems, "connections"),
        edges: section.integer(problems, "edges"),
        processes: section.integer(problems, "processes"),
        sightings_per_interval: section.integer(problems, "sightings_per_interval"),
        events_per_interval: section.integer(problems, "events_per_interval"),
        ring_bytes: section.string(problems, "ring_bytes"),
    };
    section.finish(problems);
    raw
}

fn spool(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> RawSpool {
    let mut section = root.section(problems, "spool");
    let raw = RawSpool {
        max_bytes: section.string(problems, "max_bytes"),
        max_age: section.string(problems, "max_age"),
    };
    section.finish(problems);
    raw
}

fn upload(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Option<RawUpload> {
    let mut section = root.section(problems, "upload");
    section.table?;
    let raw = RawUpload {
        url: section.string(problems, "url"),
        ca_file: section.string(problems, "ca_file"),
        token_file: section.string(problems, "token_file"),
        enroll_token_file: section.string(problems, "enroll_token_file"),
        client_cert_file: section.string(problems, "client_cert_file"),
        client_key_file: section.string(problems, "client_key_file"),
        server_name: section.string(problems, "server_name"),
        proxy: section.string(problems, "proxy"),
        proxy_auth_file: section.string(problems, "proxy_auth_file"),
        timeout: section.string(problems, "timeout"),
    };
    section.finish(problems);
    Some(raw)
}

fn service(mut section: Section<'_, '_>, problems: &mut Problems<'_>) -> RawService {
    let name = section.string(problems, "name");
    let mut matches = section.section(problems, "match");
    let tags = section.section(problems, "tags").pairs(problems);
    let raw = RawService {
        path: section.path.clone(),
        name,
        exe: matches.string(problems, "exe"),
        comm: matches.string(problems, "comm"),
        cgroup: matches.string(problems, "cgroup"),
        unit: matches.string(problems, "unit"),
        container: matches.string(problems, "container"),
        tags,
    };
    matches.finish(problems);
    section.finish(problems);
    raw
}
