//! Which tables of the store the written bytes are of: batches of a fleet into a store in this
//! process, while its write-ahead log is read along.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use collector::accept::Opened;
use collector::digest::sha256;
use collector::joined;
use collector::meter::Meter;
use collector::store::{Batches, Bounds, Retention, Source, Store};

use crate::agents::offline;
use crate::arguments::Arguments;

/// Batches of a commit, as many as share one where many hosts send.
const GROUP: usize = 32;
/// Bytes of the log's header, of a frame's, and of a page.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4096;

/// How often pages were written.
#[derive(Default)]
struct Pages {
    /// Into the log.
    logged: HashMap<u32, u64>,
    /// From the log into the file.
    copied: HashMap<u32, u64>,
}

/// The log as it was when it was last looked at.
struct Log {
    path: PathBuf,
    salt: Vec<u8>,
    frames: usize,
    /// Pages that are in it.
    pages: HashSet<u32>,
}

impl Log {
    fn new(store: &Path) -> Self {
        let mut path = store.as_os_str().to_owned();
        path.push("-wal");
        Self {
            path: path.into(),
            salt: Vec::new(),
            frames: 0,
            pages: HashSet::new(),
        }
    }

    /// Takes up what was written since the last look.
    fn look(&mut self, to: &mut Pages) -> Result<()> {
        let bytes = std::fs::read(&self.path)?;
        let Some(salt) = bytes.get(16..24) else {
            return Ok(());
        };
        if salt != self.salt {
            self.copy(to);
            (self.salt, self.frames) = (salt.to_vec(), 0);
        }
        let frames = bytes[LOG_HEADER..].chunks_exact(FRAME_HEADER + PAGE);
        for frame in frames.skip(self.frames) {
            if frame[8..16] != self.salt {
                break;
            }
            let page = u32::from_be_bytes(frame[..4].try_into()?);
            *to.logged.entry(page).or_default() += 1;
            self.pages.insert(page);
            self.frames += 1;
        }
        Ok(())
    }

    /// All of it went into the file.
    fn copy(&mut self, to: &mut Pages) {
        for page in self.pages.drain() {
            *to.copied.entry(page).or_default() += 1;
        }
    }
}

/// Processor time of this thread so far.
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let on_cpu = stat.split_whitespace().next().context("schedstat")?;
    Ok(Duration::from_nanos(on_cpu.parse()?))
}

/// Measures, and prints a line for each table.
pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let agents = arguments.agents.first().copied().unwrap_or(100);
    let folder = tempfile::TempDir::new()?;
    let path = folder.path().join("collector.db");
    let bounds = Bounds {
        max_bytes: u64::MAX,
        hosts: u64::MAX,
    };
    let mut store = Store::open(&path, bounds)?;
    let mut fleet = offline(agents, arguments.edges)?;
    let mut log = Log::new(&path);
    let (mut pages, mut bytes, mut batches) = (Pages::default(), 0_u64, 0_u64);
    let (mut now_ms, mut storing) = (0, Duration::ZERO);
    for interval in 0.. {
        let is_counted = interval > 6;
        for group in fleet.interval()?.chunks(GROUP) {
            now_ms = group[0].header.end_ms.cast_signed() + 1000;
            let opened: Vec<Opened> = group
                .iter()
                .map(|batch| {
                    let body = wire::encode(batch);
                    Opened {
                        digest: sha256(&body),
                        bytes: body.len(),
                        batch: batch.clone(),
                        credential: None,
                        payload: None,
                    }
                })
                .collect();
            let begun = cpu()?;
            for outcome in store.put(&opened.iter().collect::<Vec<_>>(), now_ms) {
                outcome?;
            }
            if is_counted {
                storing += cpu()? - begun;
                log.look(&mut pages)?;
                batches += opened.len() as u64;
                bytes += opened.iter().map(|one| one.bytes as u64).sum::<u64>();
            } else {
                log.look(&mut Pages::default())?;
            }
        }
        join(&mut store, &path, now_ms)?;
        log.look(&mut pages)?;
        if batches >= arguments.batches.into() {
            break;
        }
    }
    log.copy(&mut pages);
    writeln!(
        out,
        "{batches} batches of {} bytes, {storing:?} of a processor to store them",
        bytes / batches
    )?;
    print(&path, &pages, bytes, out)?;
    // Half of it by age.
    let mut pages = Pages::default();
    let age_ms = i64::try_from(fleet::INTERVAL_MS * batches / u64::from(agents))? / 2;
    let (mut retention, mut rows) = (Retention::new(age_ms), 0);
    let begun = cpu()?;
    loop {
        let deleted = store.retain(&mut retention, now_ms)?;
        log.look(&mut pages)?;
        rows += deleted.rows();
        if !deleted.more {
            break;
        }
    }
    log.copy(&mut pages);
    writeln!(
        out,
        "half of them deleted by age, {rows} rows: {:?} of a processor",
        cpu()? - begun
    )?;
    print(&path, &pages, bytes / 2, out)
}

fn join(store: &mut Store, path: &PathBuf, now_ms: i64) -> Result<()> {
    let mut reader = path.open()?;
    let unlimited = || Meter::new(usize::MAX, usize::MAX);
    while let Some(finished) = joined::next(&mut *reader, now_ms, unlimited())? {
        Batches::put_joined(store, &finished, now_ms)?;
    }
    Ok(())
}

fn print(path: &Path, pages: &Pages, bytes: u64, out: &mut impl Write) -> Result<()> {
    let db = rusqlite::Connection::open(path)?;
    let mut names = db.prepare("SELECT pageno, name FROM dbstat")?;
    let names = names.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names: HashMap<u32, String> = names.collect::<rusqlite::Result<_>>()?;
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    for name in names.values() {
        *held.entry(name).or_default() += 1;
    }
    let mut written: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (at, of) in [&pages.logged, &pages.copied].into_iter().enumerate() {
        for (page, count) in of {
            let name = names.get(page).map_or("(free)", String::as_str);
            written.entry(name).or_default()[at] += count;
        }
    }
    let mut written: Vec<_> = written.into_iter().collect();
    written.sort_unstable_by_key(|(_, [logged, copied])| std::cmp::Reverse(logged + copied));
    let part = |pages: u64| (pages * PAGE as u64) as f64 / bytes as f64;
    let mut all = [0, 0];
    writeln!(
        out,
        "{:32} {:>8} {:>8} {:>10}",
        "table", "logged", "copied", "holds KiB"
    )?;
    for (name, [logged, copied]) in written {
        all = [all[0] + logged, all[1] + copied];
        let held = held.get(name).copied().unwrap_or(0) * 4;
        writeln!(
            out,
            "{name:32} {:8.2} {:8.2} {held:10}",
            part(logged),
            part(copied)
        )?;
    }
    writeln!(
        out,
        "{:32} {:8.2} {:8.2}",
        "all, times the batches",
        part(all[0]),
        part(all[1])
    )
    .context("print")
}
