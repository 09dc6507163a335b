//! From what was written to what is needed: defaults, ranges, and rules between keys.

use std::time::Duration;

use super::check::{duration, label, number, optional, required, size, value};
use super::files::Files;
use super::raw::{Raw, RawAgent, RawKey, RawLimits, RawOption, RawService, RawSpool};
use super::section::{At, Problems};
use super::value::Expected;
use super::{
    Agent, ByteSize, Config, ExId, Glob, HooksSetting, Key, Limits, ListsSetting, Log, MAX_KEYS,
    ModeSetting, OptionKind, Prefix, Scope, ServiceRule, Sources, Spool, TransportSetting,
    WaybillOption, bounds, families, upload,
};

const DEFAULT_ROOTFS: &str = "/opt/waybill/rootfs";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_DESTINATIONS: [&str; 4] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
/// The kernel map of destinations has room for as many, loopback included.
const MAX_DESTINATIONS: usize = 1024;
const MAX_SERVICES: usize = 1024;
const MAX_TAGS: usize = 16;
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Turns the raw file into a configuration, or at least finds all its mistakes.
///
/// The result is only worth something when `problems` stayed empty.
pub(super) fn validate(raw: Raw, files: &mut Files<'_>, problems: &mut Problems<'_>) -> Config {
    let option = option(raw.option, problems);
    let keys = keys(raw.keys, files, problems);
    let renamed = raw.nat_conntrack.is_some().then_some(families::RENAMED);
    let families = families::validate(raw.families, raw.nat_conntrack, problems);
    if option.enabled && keys.is_empty() && !problems.mentions("key") {
        problems.missing(
            "key",
            "at least one [[key]] with epoch and secret_file, because [option] enabled is true: \
             waybills are signed with it. Set [option] enabled = false to write none",
        );
    }
    Config {
        file: files.config_file().to_owned(),
        agent: agent(raw.agent, problems),
        scope: Scope {
            cgroup: value(raw.scope_cgroup, "/".into(), problems, cgroup),
        },
        jail: bounds::jail(raw.jail, problems),
        budget: bounds::budget(raw.budget, problems),
        option,
        keys,
        families,
        limits: limits(raw.limits, problems),
        spool: spool(raw.spool, problems),
        upload: raw
            .upload
            .and_then(|raw| upload::validate(raw, files, problems)),
        // Empty means none, so that the example can show the key.
        orders_key: raw
            .orders_key_file
            .filter(|file| !file.value.is_empty())
            .and_then(|file| files.orders_key(&file, problems)),
        services: services(raw.services, problems),
        log: Log {
            level: value(raw.log.level, ::log::LevelFilter::Info, problems, level),
            file: raw.log.file.is_some_and(|file| file.value),
        },
        warnings: files
            .take_warnings()
            .into_iter()
            .chain(renamed.map(str::to_owned))
            .collect(),
        sources: Sources {
            text: String::new(),
            files: files.take_found(),
        },
    }
}

fn agent(raw: RawAgent, problems: &mut Problems<'_>) -> Agent {
    Agent {
        rootfs: value(
            raw.rootfs,
            DEFAULT_ROOTFS.into(),
            problems,
            |text| match std::path::Path::new(&text) {
                path if path.is_absolute() && path.parent().is_some() => Ok(path.to_owned()),
                _ => Err(Expected(
                    "an absolute path of a directory other than /".into(),
                )),
            },
        ),
        interval: value(
            raw.interval,
            DEFAULT_INTERVAL,
            problems,
            duration(Duration::from_millis(100), 60 * MINUTE),
        ),
        // Empty means the host's own name, so that the example can show the key.
        hostname: optional(raw.hostname, problems, hostname).filter(|name| !name.is_empty()),
        transport: value(
            raw.transport,
            TransportSetting::Auto,
            problems,
            |text| match text.as_str() {
                "auto" => Ok(TransportSetting::Auto),
                "perf" => Ok(TransportSetting::Perf),
                _ => Err(Expected("\"auto\" or \"perf\"".into())),
            },
        ),
        lists: value(raw.lists, ListsSetting::Auto, problems, |text| {
            match text.as_str() {
                "auto" => Ok(ListsSetting::Auto),
                "sockets" => Ok(ListsSetting::Sockets),
                _ => Err(Expected("\"auto\" or \"sockets\"".into())),
            }
        }),
        hooks: value(raw.hooks, HooksSetting::Auto, problems, |text| {
            match text.as_str() {
                "auto" => Ok(HooksSetting::Auto),
                "kernel" => Ok(HooksSetting::Kernel),
                "kprobes" => Ok(HooksSetting::Kprobes),
                "sockets" => Ok(HooksSetting::Sockets),
                _ => Err(Expected(
                    "one of \"auto\", \"kernel\", \"kprobes\", \"sockets\"".into(),
                )),
            }
        }),
    }
}

fn hostname(text: String) -> Result<String, Expected> {
    if text.len() > 253 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Expected(
            "a host name of at most 253 characters, without spaces".into(),
        ));
    }
    Ok(text)
}

fn cgroup(text: String) -> Result<String, Expected> {
    let wrong = || Expected("a cgroup path such as \"/\" or \"/system.slice\"".into());
    let inner = text.strip_prefix('/').ok_or_else(wrong)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok("/".into());
    }
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if inner.split('/').any(bad) {
        return Err(wrong());
    }
    Ok(format!("/{inner}"))
}

fn level(text: String) -> Result<::log::LevelFilter, Expected> {
    match text.as_str() {
        "error" => Ok(::log::LevelFilter::Error),
        "warn" => Ok(::log::LevelFilter::Warn),
        "info" => Ok(::log::LevelFilter::Info),
        "debug" => Ok(::log::LevelFilter::Debug),
        "trace" => Ok(::log::LevelFilter::Trace),
        _ => Err(Expected(
            "one of \"error\", \"warn\", \"info\", \"debug\", \"trace\"".into(),
        )),
    }
}

fn option(raw: RawOption, problems: &mut Problems<'_>) -> WaybillOption {
    let destinations = match raw.destinations {
        Some(list) => {
            if let Some(first_excess) = list.get(MAX_DESTINATIONS) {
                let at_most = format!("at most {MAX_DESTINATIONS} prefixes");
                problems.wrong(&first_excess.place, &at_most);
            }
            list.into_iter()
                .filter_map(|prefix| optional(Some(prefix), problems, |text| text.parse()))
                .collect()
        }
        None => default_destinations(),
    };
    WaybillOption {
        enabled: raw.enabled.is_none_or(|enabled| enabled.value),
        mode: value(raw.mode, ModeSetting::Auto, problems, |text| {
            match text.as_str() {
                "auto" => Ok(ModeSetting::Auto),
                "observe" => Ok(ModeSetting::Observe),
                "sockops" => Ok(ModeSetting::Sockops),
                "tc-clone" => Ok(ModeSetting::TcClone),
                _ => Err(Expected(
                    "\"auto\", \"sockops\", \"tc-clone\" or \"observe\"".into(),
                )),
            }
        }),
        kind: value(
            raw.kind,
            OptionKind::DEFAULT,
            problems,
            OptionKind::try_from,
        ),
        exid: value(raw.exid, ExId::DEFAULT, problems, ExId::try_from),
        on_data: raw.on_data.is_some_and(|on_data| on_data.value),
        answer: raw.answer.is_none_or(|answer| answer.value),
        destinations,
        loopback: raw.loopback.is_some_and(|loopback| loopback.value),
    }
}

fn default_destinations() -> Vec<Prefix> {
    DEFAULT_DESTINATIONS
        .iter()
        .map(|text| {
            text.parse()
                .expect("the defaults are prefixes: a test loads them")
        })
        .collect()
}

fn keys(raw: Vec<RawKey>, files: &mut Files<'_>, problems: &mut Problems<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        if index == MAX_KEYS {
            problems.missing(
                &raw.path,
                &format!("at most {MAX_KEYS} keys: the option names a key by two bits"),
            );
            break;
        }
        let epoch = required(
            raw.epoch,
            &format!("{}.epoch", raw.path),
            "a number",
            problems,
        );
        let file = required(
            raw.secret_file,
            &format!("{}.secret_file", raw.path),
            "the path of a file with 32 hex digits",
            problems,
        );
        let epoch_place = epoch.as_ref().map(|epoch| epoch.place.clone());
        let epoch = optional(epoch, problems, number(0, u32::MAX));
        let secret = file.and_then(|file| files.fleet_key(&file, problems));
        let (Some(epoch), Some(place)) = (epoch, epoch_place) else {
            continue;
        };
        if let Some(other) = keys.iter().find(|other| other.epoch % 4 == epoch % 4) {
            problems.wrong(
                &place,
                &format!(
                    "an epoch that differs modulo 4 from every other: {} is already there, and \
                     the option carries two bits of it",
                    other.epoch
                ),
            );
        }
        // A key whose secret could not be read still takes part in the check above.
        let secret = secret.unwrap_or_else(|| super::Secret::new([0; 16]));
        keys.push(Key { epoch, secret });
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.epoch));
    keys
}

fn limits(raw: RawLimits, problems: &mut Problems<'_>) -> Limits {
    const MOST: u32 = 1 << 22;
    Limits {
        connections: value(raw.connections, 65_536, problems, number(64, MOST)),
        edges: value(raw.edges, 16_384, problems, number(16, MOST)),
        processes: value(raw.processes, 8_192, problems, number(16, MOST)),
        sightings_per_interval: value(
            raw.sightings_per_interval,
            8_192,
            problems,
            number(16, MOST),
        ),
        events_per_interval: value(raw.events_per_interval, 4_096, problems, number(16, MOST)),
        ring_bytes: value(raw.ring_bytes, ByteSize::new(4 << 20), problems, |text| {
            let size = size(64 << 10, 1 << 30)(text)?;
            if !size.bytes().is_power_of_two() {
                return Err(Expected(
                    "a power of two such as \"1MiB\" or \"4MiB\"".into(),
                ));
            }
            Ok(size)
        }),
    }
}

fn spool(raw: RawSpool, problems: &mut Problems<'_>) -> Spool {
    Spool {
        max_bytes: value(
            raw.max_bytes,
            ByteSize::new(256 << 20),
            problems,
            size(1 << 20, 1 << 40),
        ),
        max_age: value(raw.max_age, 7 * DAY, problems, duration(MINUTE, 365 * DAY)),
    }
}

fn services(raw: Vec<RawService>, problems: &mut Problems<'_>) -> Vec<ServiceRule> {
    if let Some(excess) = raw.get(MAX_SERVICES) {
        problems.missing(
            &excess.path,
            &format!("at most {MAX_SERVICES} service rules"),
        );
        return Vec::new();
    }
    raw.into_iter().map(|raw| service(raw, problems)).collect()
}

fn service(raw: RawService, problems: &mut Problems<'_>) -> ServiceRule {
    let name = required(
        raw.name,
        &format!("{}.name", raw.path),
        "a service name",
        problems,
    );
    let match_key = format!("{}.match", raw.path);
    let mut glob = |field: Option<At<String>>| {
        optional(field, problems, |text| match text.as_str() {
            "" => Err(Expected(
                "a pattern such as \"/usr/sbin/nginx\" or \"*.service\"".into(),
            )),
            text => Ok(Glob::new(text)),
        })
    };
    let [exe, comm, cgroup, unit, container] =
        [raw.exe, raw.comm, raw.cgroup, raw.unit, raw.container].map(&mut glob);
    let rule = ServiceRule {
        name: optional(name, problems, label("a service name")).unwrap_or_default(),
        exe,
        comm,
        cgroup,
        unit,
        container,
        tags: tags(raw.tags, problems),
    };
    if rule.is_unconditional() && !problems.mentions(&match_key) {
        problems.missing(
            &match_key,
            "at least one of exe, comm, cgroup, unit, container, such as { exe = \"*/nginx\" }",
        );
    }
    rule
}

fn tags(raw: Vec<(String, At<String>)>, problems: &mut Problems<'_>) -> Vec<(String, String)> {
    if let Some((_, excess)) = raw.get(MAX_TAGS) {
        problems.wrong(&excess.place, &format!("at most {MAX_TAGS} tags"));
    }
    let mut tags: Vec<(String, String)> = Vec::new();
    for (key, text) in raw {
        if let Err(Expected(expected)) = label("a tag name")(key.clone()) {
            problems.wrong(&text.place, &expected);
        }
        if let Some(text) = optional(Some(text), problems, label("a tag value")) {
            tags.push((key, text));
        }
    }
    tags.sort();
    tags
}
