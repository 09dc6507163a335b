//! The store and the disk that it is on.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::clickhouse;
use super::finding::{Finding, Part};
use crate::config::Config;
use crate::store::Error;
use crate::store::look::{self, Look};
use crate::{escape, time};

const PART: Part = Part("store");
/// How long a check of all pages may take here.
const CHECK: Duration = Duration::from_secs(10);
/// Free bytes below which nothing goes on for long: the log beside the store may take as much.
const LEAST_FREE: u64 = 256 << 20;
/// What retention may lag behind: a pass of it begins once in an hour at the latest.
const LAG: Duration = Duration::from_secs(2 * 3600);

/// Also what is in the store, where it can be read.
pub(super) fn examine(config: &Config, now_ms: i64) -> (Vec<Finding>, Option<Look>) {
    if let Some(servers) = config.store.servers() {
        return (clickhouse::examine(servers), None);
    }
    let path = &config.store.path;
    let mut findings = Vec::from_iter(directory(path));
    findings.extend(disk(config));
    let look = match look::look(path) {
        Ok(look) => look,
        Err(error) => {
            findings.push(unreadable(path, &error));
            return (findings, None);
        }
    };
    findings.push(PART.ok(
        "version",
        format!(
            "{}, of this program; {} batches of {} hosts",
            look.version, look.batches, look.hosts
        ),
    ));
    findings.push(integrity(path));
    findings.push(age(config, &look, now_ms));
    if let Some(evicted) = look.evicted {
        findings.push(PART.warning(
            "evicted",
            format!(
                "{} rows made room since the store was made, last at {}",
                evicted.rows,
                time::rfc3339(evicted.at_ms)
            ),
            "raise store.max_bytes, or shorten store.retention",
        ));
    }
    (findings, Some(look))
}

fn directory(path: &Path) -> Option<Finding> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let shown = folder.display();
    match access(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => None,
        Err(error) => Some(PART.failed(
            "directory",
            format!("{shown}: {}", error.desc()),
            "make it, writable for the collector's account; run doctor as that account",
        )),
    }
}

fn disk(config: &Config) -> Option<Finding> {
    let path = &config.store.path;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let disk = statvfs(folder).ok()?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    let file = path.metadata().map_or(0, |file| file.len());
    let most = config.store.max_bytes;
    let what = format!("{free} bytes free, the store has {file} of {most}");
    Some(if free < LEAST_FREE {
        PART.failed(
            "disk",
            what,
            "make room: soon no batch can be stored, and agents keep what they have",
        )
    } else if file.saturating_add(free) < most {
        PART.warning(
            "disk",
            what,
            "the disk is full before the store is: lower store.max_bytes, so that the oldest make \
             room in time, or give it a larger disk",
        )
    } else {
        PART.ok("disk", what)
    })
}

fn unreadable(path: &Path, error: &Error) -> Finding {
    let what = format!("{}: {}", path.display(), error.with_causes());
    match error {
        Error::Open(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            PART.warning("file", what, "`serve` makes it; nothing is stored yet")
        }
        Error::Older => PART.warning("file", what, "start `serve` once"),
        Error::Newer { .. } => PART.failed("file", what, "install the newer version again"),
        Error::Foreign => PART.failed("file", what, "name another file as store.path"),
        _ => PART.failed(
            "file",
            what,
            "look at its owner and mode; where it is damaged, put a backup in its place \
             (`waybill-collector store restore`)",
        ),
    }
}

fn integrity(path: &Path) -> Finding {
    match look::quick_check(path, CHECK) {
        Ok(None) => PART.ok(
            "integrity",
            format!(
                "no damage in {} s, and not all was read; `waybill-collector store check` reads all",
                CHECK.as_secs()
            ),
        ),
        Ok(Some(faults)) if faults.is_empty() => {
            PART.ok("integrity", "every page is as SQLite wrote it")
        }
        Ok(Some(faults)) => PART.failed(
            "integrity",
            escape::shorten(&faults.join("; "), 500),
            "stop `serve`, move the store away and put a backup in its place \
             (`waybill-collector store restore`)",
        ),
        Err(error) => unreadable(path, &error),
    }
}

fn age(config: &Config, look: &Look, now_ms: i64) -> Finding {
    let Some((oldest, newest)) = look.ends_ms else {
        return PART.ok("data", "none yet");
    };
    let retention = time::whole_ms(config.store.retention);
    let what = format!(
        "from {} to {}, retention {} s",
        time::rfc3339(oldest),
        time::rfc3339(newest),
        config.store.retention.as_secs()
    );
    let bound = now_ms
        .saturating_sub(retention)
        .saturating_sub(time::whole_ms(LAG));
    if oldest < bound {
        PART.warning(
            "data",
            what,
            "retention is behind: it deletes while `serve` runs; look at \
             waybill_collector_retention_failures_total",
        )
    } else {
        PART.ok("data", what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn each_failure_of_opening_has_its_state_and_advice() {
        let of = |error: Error| {
            let finding = unreadable(Path::new("/x.db"), &error);
            assert!(finding.advice.is_some_and(|advice| advice.len() > 10));
            finding.state
        };
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(of(Error::Open(missing)), State::Warning);
        assert_eq!(of(Error::Open(denied)), State::Failed);
        assert_eq!(of(Error::Older), State::Warning);
        assert_eq!(of(Error::Newer { version: 99 }), State::Failed);
        assert_eq!(of(Error::Foreign), State::Failed);
    }
}
