//! Files in a directory: lines of JSON, or Apache Arrow IPC, one file for each table.
//!
//! A file gets its name when it is complete and on disk: until then it is `.NAME-...partial`, which a
//! start removes, for what is in it was not counted as sent.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::json;
use super::sink::{Done, Later, Parcel, Sink};
use crate::config::{self, Format};
use crate::files;
use crate::unpack::Writing;

/// Tables that have files at once.
const TABLES: usize = 64;
/// What a file is called until it is complete.
const PARTIAL: &str = ".partial";

/// Files of one output.
pub(super) struct Files {
    name: String,
    config: config::File,
    clock: fn() -> i64,
    waiting: Vec<Parcel>,
    open: Option<Open>,
    /// Whether what an earlier run left was removed.
    clean: bool,
}

/// Files that are being written, all of the same batches.
struct Open {
    first: i64,
    last: i64,
    since_ms: i64,
    written: Written,
}

enum Written {
    Lines {
        file: File,
        path: PathBuf,
        bytes: u64,
    },
    Tables(Vec<Writing>),
}

impl Files {
    pub(super) fn new(name: &str, config: config::File, clock: fn() -> i64) -> Self {
        Self {
            name: name.to_owned(),
            config,
            clock,
            waiting: Vec::new(),
            open: None,
            clean: false,
        }
    }

    /// Removes files that an earlier run did not complete.
    fn clean(&mut self) -> Result<()> {
        if self.clean {
            return Ok(());
        }
        let folder = &self.config.path;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let begin = format!(".{}-", self.name);
        let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Of an output whose name begins with this one's, digits do not follow.
            let ours = name.strip_prefix(&begin).is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && rest.ends_with(PARTIAL)
            });
            if ours {
                fs::remove_file(entry.path())
                    .with_context(|| format!("remove {}", entry.path().display()))?;
            }
        }
        self.clean = true;
        Ok(())
    }

    /// Writes what was taken.
    fn write(&mut self) -> Result<()> {
        self.clean()?;
        for parcel in std::mem::take(&mut self.waiting) {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(Open::new(
                    &self.name,
                    &self.config,
                    &parcel,
                    (self.clock)(),
                )?),
            };
            open.add(&self.name, &self.config, &parcel)?;
        }
        Ok(())
    }

    fn is_complete(&self, end: bool) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let age_ms = (self.clock)().saturating_sub(open.since_ms);
            let most_ms = crate::time::whole_ms(self.config.max_age);
            end || open.bytes() >= self.config.max_bytes || !(0..most_ms).contains(&age_ms)
        })
    }

    fn complete(&mut self) -> Result<Option<Done>> {
        let Some(open) = self.open.take() else {
            return Ok(None);
        };
        let position = open.last;
        open.finish(&self.name, &self.config)?;
        Ok(Some(Done {
            position,
            refused: 0,
            why: None,
        }))
    }
}

impl Sink for Files {
    fn take(&mut self, parcel: Parcel) {
        self.waiting.push(parcel);
    }

    fn is_busy(&self) -> bool {
        false
    }

    fn send(&mut self, end: bool) -> Result<Option<Done>, Later> {
        let written = self.write().and_then(|()| match self.is_complete(end) {
            true => self.complete(),
            false => Ok(None),
        });
        written.map_err(|why| {
            // What was written is in nobody's hands yet: it is written again.
            self.waiting.clear();
            self.open = None;
            self.clean = false;
            Later {
                again: true,
                ..Later::from(why)
            }
        })
    }
}

impl Open {
    fn new(name: &str, config: &config::File, parcel: &Parcel, now_ms: i64) -> Result<Self> {
        let first = parcel.position;
        let written = match config.format {
            Format::Arrow => Written::Tables(Vec::new()),
            Format::Json => {
                let path = config.path.join(format!(".{name}-{first:020}{PARTIAL}"));
                let mut options = OpenOptions::new();
                let file = files::make(options.truncate(true), &path, files::GROUP)
                    .with_context(|| format!("make {}", path.display()))?;
                Written::Lines {
                    file,
                    path,
                    bytes: 0,
                }
            }
        };
        Ok(Self {
            first,
            last: first,
            since_ms: now_ms,
            written,
        })
    }

    fn bytes(&self) -> u64 {
        match &self.written {
            Written::Lines { bytes, .. } => *bytes,
            Written::Tables(tables) => tables.iter().map(Writing::size).sum(),
        }
    }

    fn add(&mut self, name: &str, config: &config::File, parcel: &Parcel) -> Result<()> {
        self.last = parcel.position;
        for table in &parcel.tables {
            match &mut self.written {
                Written::Lines { file, path, bytes } => {
                    let mut lines = Vec::new();
                    json::lines(&parcel.header, table, &mut lines);
                    file.write_all(&lines)
                        .with_context(|| format!("write {}", path.display()))?;
                    *bytes += lines.len() as u64;
                }
                Written::Tables(tables) => {
                    let mut known = tables
                        .iter()
                        .position(|writing| writing.is_of(&table.table));
                    if known.is_none() {
                        if tables.len() >= TABLES {
                            anyhow::bail!("more than {TABLES} tables at once");
                        }
                        let number = tables.len();
                        let first = self.first;
                        let file = format!(".{name}-{first:020}-{number}{PARTIAL}");
                        tables.push(Writing::open(config.path.join(file), &table.table)?);
                        known = Some(number);
                    }
                    if let Some(at) = known {
                        tables[at].add(&parcel.header, table)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// On disk, then under its name, then the name on disk.
    fn finish(self, name: &str, config: &config::File) -> Result<()> {
        let span = format!("{:020}-{:020}", self.first, self.last);
        let mut moves = Vec::new();
        match self.written {
            Written::Lines { file, path, .. } => {
                file.sync_all()
                    .with_context(|| format!("sync {}", path.display()))?;
                moves.push((path, format!("{name}-{span}.jsonl")));
            }
            Written::Tables(tables) => {
                for (number, writing) in tables.into_iter().enumerate() {
                    // Hosts may describe a table in two ways.
                    let table = writing.table_name().to_owned();
                    let path = writing.finish()?.file;
                    moves.push((path, format!("{name}-{span}-{table}-{number}.arrow")));
                }
            }
        }
        for (from, to) in moves {
            let to = config.path.join(to);
            fs::rename(&from, &to).with_context(|| format!("rename to {}", to.display()))?;
        }
        File::open(&config.path)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("sync {}", config.path.display()))
    }
}
