//! `export` and `receipt`: batches that are carried by hand, for sites without a network.
//!
//! A file is complete or not there: it is written beside its place, synced and renamed, and only
//! then are its batches marked. Whatever ends an export, the next one goes on behind the last whole
//! file; at worst it repeats batches, which the collector stores once.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use notation::{hex, unhex};
use ring::digest::{self, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use wire::export::{CONTEXT, HEAD_BYTES, Head, MAX_RECEIPT_BYTES, Receipt, TAIL_BYTES};

use crate::cli::{ExportArgs, Format, ReceiptArgs};
use crate::clock::unix_ms;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::files;
use crate::paths::STATE_DIR;
use crate::reports::{print_json, print_lines, spool_path};
use crate::setup;
use crate::spool::{Exports, Sealed};

/// The key of this installation, below the state directory: 64 hex digits.
const KEY_FILE: &str = "export.key";
/// 64 digits and the end of the line; more is no key.
const MAX_KEY: u64 = 1 << 10;

/// One file.
#[derive(Debug, Serialize)]
struct Part {
    file: PathBuf,
    batches: u32,
    bytes: u64,
}

/// What was exported.
#[derive(Debug, Serialize)]
struct Report {
    /// Public half of the installation's key, 64 hex digits.
    key: String,
    files: Vec<Part>,
}

/// `export`.
///
/// # Errors
/// The configuration is wrong (2), the spool cannot be used (5), or a file cannot be written (1);
/// files that were reported or are in place are whole even then.
pub fn run(args: &ExportArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = setup::load(&args.report.file.config).or_exit(Exit::Usage)?;
    let rootfs = &config.agent.rootfs;
    let mut spool = Exports::open(&spool_path(rootfs)).or_exit(Exit::Store)?;
    let state = rootfs.join(STATE_DIR.trim_start_matches('/'));
    let key = key(&state.join(KEY_FILE)).or_exit(Exit::Runtime)?;
    let public = public(&key);
    let mut report = Report {
        key: hex(&public),
        files: Vec::new(),
    };
    let mut after = 0;
    loop {
        let place = Place::new(&args.out, report.files.len() + 1);
        let exported = export_part(&mut spool, args, &key, after, &place).or_exit(Exit::Runtime)?;
        let Some((part, last)) = exported else {
            break;
        };
        after = last;
        report.files.push(part);
    }
    match args.report.output.format {
        Format::Json => print_json(out, &report),
        Format::Human => print_lines(out, &lines(&report)),
    }
    .or_exit(Exit::Runtime)
}

fn lines(report: &Report) -> Vec<String> {
    if report.files.is_empty() {
        return vec!["nothing to export".into()];
    }
    let file = |part: &Part| {
        let (file, batches, bytes) = (part.file.display(), part.batches, part.bytes);
        format!("{file}: {batches} batches, {bytes} bytes")
    };
    let mut lines: Vec<String> = report.files.iter().map(file).collect();
    lines.push(format!("signed by {}", report.key));
    lines
}

/// Where a file goes.
struct Place<'a> {
    out: &'a Path,
    number: usize,
}

impl<'a> Place<'a> {
    fn new(out: &'a Path, number: usize) -> Self {
        Self { out, number }
    }

    fn path(&self, head: &Head) -> PathBuf {
        if self.out.is_dir() {
            let host = hex(&head.host[..4]);
            let name = format!("waybill-{host}-{}-{}.wbx", head.made_ms, self.number);
            return self.out.join(name);
        }
        let mut name = self.out.as_os_str().to_owned();
        if self.number > 1 {
            name.push(format!(".{}", self.number));
        }
        name.into()
    }
}

/// Writes one file and marks what is in it; gives the last row. `None`: nothing is left.
fn export_part(
    spool: &mut Exports,
    args: &ExportArgs,
    key: &Ed25519KeyPair,
    after: i64,
    place: &Place<'_>,
) -> Result<Option<(Part, i64)>> {
    let next = |spool: &Exports, after| spool.next(after, args.again).context("read the spool");
    let Some((row, first)) = next(spool, after)? else {
        return Ok(None);
    };
    let head = Head {
        key: public(key),
        host: first.host,
        made_ms: unix_ms(),
    };
    let path = place.path(&head);
    ensure!(!path.exists(), "{} is there already", path.display());
    let fresh = beside(&path)?;
    // What lies there is left over from an attempt that was broken off.
    fs::remove_file(&fresh).ok();
    let file = files::make_own(File::options().write(true).create_new(true), &fresh)
        .with_context(|| format!("make {}", fresh.display()))?;
    let mut writing = Writing::new(file);
    writing.write(&head.bytes())?;
    let (mut rows, mut at) = (Vec::new(), Some((row, first)));
    while let Some((row, sealed)) = at {
        let room = writing.bytes + 4 + (sealed.bytes.len() + TAIL_BYTES) as u64 <= args.max_size;
        // One batch is always taken, or a large one would never leave.
        if sealed.host != head.host || !(room || rows.is_empty()) {
            break;
        }
        writing.batch(&sealed)?;
        rows.push(row);
        at = next(spool, row)?;
    }
    let batches = u32::try_from(rows.len()).context("more batches than a file can have")?;
    let bytes = writing
        .finish(batches, key)
        .with_context(|| format!("write {}", fresh.display()))?;
    fs::rename(&fresh, &path).with_context(|| format!("make {}", path.display()))?;
    sync_folder(&path)?;
    spool
        .mark(&rows, head.made_ms)
        .context("mark what was exported")?;
    let part = Part {
        file: path,
        batches,
        bytes,
    };
    Ok(rows.last().map(|last| (part, *last)))
}

fn beside(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .with_context(|| format!("--out {}: not a file or folder", path.display()))?;
    let mut fresh = std::ffi::OsString::from(".");
    fresh.push(name);
    fresh.push(".part");
    Ok(path.with_file_name(fresh))
}

/// So that a power failure does not take what is marked.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("sync {}", folder.display()))
}

/// A file that is summed up on the way.
struct Writing {
    file: BufWriter<File>,
    sum: digest::Context,
    bytes: u64,
}

impl Writing {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::with_capacity(HEAD_BYTES << 10, file),
            sum: digest::Context::new(&SHA256),
            bytes: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn batch(&mut self, sealed: &Sealed) -> Result<()> {
        let length = wire::export::length(sealed.bytes.len());
        let length = length.with_context(|| format!("batch {} has no length", sealed.id))?;
        self.write(&length)
            .and_then(|()| self.write(&sealed.bytes))
            .context("write the file")
    }

    fn finish(mut self, batches: u32, key: &Ed25519KeyPair) -> io::Result<u64> {
        self.write(&wire::export::tail(batches))?;
        let message = [CONTEXT, self.sum.clone().finish().as_ref()].concat();
        self.write(key.sign(&message).as_ref())?;
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(self.bytes)
    }
}

fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    let public = key.public_key().as_ref().try_into();
    public.expect("an Ed25519 public key has 32 bytes")
}

/// The key of this installation, made the first time.
fn key(file: &Path) -> Result<Ed25519KeyPair> {
    let made = || -> Result<[u8; 32]> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| anyhow!("the kernel gives no random bytes"))?;
        let digits = hex(&seed);
        let mut opened = files::make_own(File::options().write(true).create_new(true), file)?;
        writeln!(opened, "{digits}")?;
        opened.sync_all()?;
        Ok(seed)
    };
    let seed = match files::read_own(file, MAX_KEY) {
        Ok(text) => unhex(String::from_utf8_lossy(&text).trim())
            .context("expected 64 hex digits; delete it to make another"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => made(),
        Err(error) => Err(error.into()),
    };
    let seed = seed.with_context(|| format!("key of this installation {}", file.display()))?;
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| anyhow!("the key cannot be used"))
}

/// `receipt`.
///
/// # Errors
/// A receipt is none (2), or the spool cannot be used (5).
pub fn receipt(args: &ReceiptArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let config = setup::load(&args.report.file.config).or_exit(Exit::Usage)?;
    // All of them first: one that is damaged must not leave the others half done.
    let receipts = args.files.iter().map(|file| read_receipt(file));
    let receipts = receipts.collect::<Result<Vec<_>>>().or_exit(Exit::Usage)?;
    let mut spool = Exports::open(&spool_path(&config.agent.rootfs)).or_exit(Exit::Store)?;
    let mut deleted = 0;
    for receipt in &receipts {
        let named = Some((&receipt.host, &receipt.batches[..]));
        deleted += spool.release(named).or_exit(Exit::Store)?;
    }
    if args.forget {
        deleted += spool.release(None).or_exit(Exit::Store)?;
    }
    match args.report.output.format {
        Format::Json => print_json(out, &serde_json::json!({ "deleted": deleted })),
        Format::Human => print_lines(out, &[format!("{deleted} exported batches deleted")]),
    }
    .or_exit(Exit::Runtime)
}

fn read_receipt(file: &Path) -> Result<Receipt> {
    let read = || -> Result<Receipt> {
        let bytes = files::read(file, MAX_RECEIPT_BYTES as u64)?;
        Ok(Receipt::parse(&bytes)?)
    };
    read().with_context(|| format!("receipt {}", file.display()))
}

#[cfg(test)]
mod tests;
