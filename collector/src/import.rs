//! Batches that were carried by hand: verified, stored once, and receipted.
//!
//! A file is signed by the key of its installation. Whether that is the installation it says it is,
//! nobody can tell from the file: the key is pinned when an operator says so the first time, and
//! another key for the same host is refused from then on.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;
use wire::Limits;
use wire::export::{CONTEXT, Export, Receipt};

use crate::accept::{self, BatchKey, Opened};
use crate::digest::{hex, sha256};
use crate::files;
use crate::store::{self, Outcome, Store};

/// Largest file that is read into memory.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// Batches in one commit.
const GROUP: usize = 32;
/// Memory of the batches of one commit, unless one takes more.
const GROUP_BYTES: usize = 64 << 20;

/// Which keys are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that are pinned.
    Pinned,
    /// And the first one of each host.
    New,
    /// Whatever signed the file, from now on.
    Replaced,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The host, 32 hex digits.
    pub host: String,
    /// Batches stored now.
    pub stored: u64,
    /// Batches that had been stored before.
    pub duplicate: u64,
    /// Batches that cannot be taken, one sentence for each kind of reason.
    pub refused: Vec<String>,
    /// The receipt for what arrived.
    pub receipt: PathBuf,
    /// The key that is believed from now on, where another one or none was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_believed: Option<String>,
}

/// Reads a file that is not larger than any export here may be.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> { Ok(files::read(file, MAX_FILE_BYTES)?) };
    read().with_context(|| format!("read {}", file.display()))
}

/// Takes a file apart, once its signature is found right.
///
/// # Errors
/// A byte of it is not as it was signed.
pub fn verify(bytes: &[u8]) -> Result<Export<'_>> {
    let export = Export::parse(bytes)?;
    let message = [CONTEXT, &sha256(export.signed)[..]].concat();
    let key = UnparsedPublicKey::new(&ED25519, export.head.key);
    if key.verify(&message, export.signature).is_err() {
        bail!("the signature is wrong: the file was changed");
    }
    Ok(export)
}

/// Stores what is in an export and writes its receipt.
///
/// # Errors
/// The file is not as it was signed, or not by a key that is believed: nothing is stored then. Or
/// the store fails: what was stored before stays, and the same file can be imported again.
pub fn import(
    store: &mut Store,
    (bytes, receipt): (&[u8], PathBuf),
    trust: Trust,
    limits: &Limits,
    now_ms: i64,
) -> Result<Imported> {
    let export = verify(bytes)?;
    let (host, key) = (export.head.host, export.head.key);
    let is_new = believe(store, (&host, &key), trust, now_ms)?;
    let mut imported = Imported {
        key_believed: is_new.then(|| hex(&key)),
        host: hex(&host),
        receipt,
        ..Imported::default()
    };
    let mut arrived = Vec::new();
    let mut batches = export.batches.iter().peekable();
    while batches.peek().is_some() {
        let mut opened: Vec<Opened> = Vec::new();
        let mut memory = 0;
        while opened.len() < GROUP
            && let Some(batch) = batches.next_if(|batch| {
                memory += wire::memory(batch, limits);
                memory <= GROUP_BYTES || opened.is_empty()
            })
        {
            match accept::open_of(batch, &host, limits) {
                Ok(opened_now) => opened.push(Opened {
                    payload: Some(batch.to_vec()),
                    ..opened_now
                }),
                Err(refusal) => imported.refuse(refusal.detail),
            }
        }
        let group: Vec<&Opened> = opened.iter().collect();
        let outcomes = store.put(&group, now_ms);
        for (opened, outcome) in opened.iter().zip(outcomes) {
            let key = BatchKey::from(&opened.batch.header);
            match outcome {
                Ok(Outcome::Stored { .. }) => imported.stored += 1,
                Ok(Outcome::Duplicate) => imported.duplicate += 1,
                // Its word is the key of the file, not a credential.
                Ok(Outcome::Conflict | Outcome::Foreign) => {
                    imported.refuse("another batch is stored under its key".into());
                    continue;
                }
                Ok(Outcome::TooManyHosts) => {
                    imported.refuse("there are as many hosts as limits.hosts allows".into());
                    continue;
                }
                Err(error @ store::Error::TooLarge { .. }) => {
                    imported.refuse(error.to_string());
                    continue;
                }
                Err(error) => return Err(error).context("store a batch"),
            }
            arrived.push((key.boot, key.sequence));
        }
    }
    let text = Receipt::new(host, arrived).text();
    let file = &imported.receipt;
    // It is carried back by whoever brought the file, and holds no secret.
    let mut options = OpenOptions::new();
    files::make(options.truncate(true), file, 0o644)
        .and_then(|mut made| {
            made.write_all(text.as_bytes())?;
            made.sync_all()
        })
        .with_context(|| format!("write {}", file.display()))?;
    Ok(imported)
}

impl Imported {
    /// Keeps one sentence of each kind: a file may hold thousands of the same.
    fn refuse(&mut self, why: String) {
        if !self.refused.contains(&why) && self.refused.len() < GROUP {
            self.refused.push(why);
        }
    }
}

/// True where the key was not believed before.
fn believe(
    store: &mut Store,
    (host, key): (&[u8; 16], &[u8; 32]),
    trust: Trust,
    now_ms: i64,
) -> Result<bool> {
    let pinned = store.export_key(host)?;
    match (pinned, trust) {
        (Some(pinned), _) if pinned == *key => return Ok(false),
        (Some(pinned), Trust::Pinned | Trust::New) => bail!(
            "host {} is known by the key {}, and this file is signed by {}: somebody else's, or \
             the host was installed anew; --replace-key believes it from now on",
            hex(host),
            hex(&pinned),
            hex(key)
        ),
        (None, Trust::Pinned) => bail!(
            "host {} is not known: compare its key {} with what `waybill-agent export` said there, \
             then import with --trust",
            hex(host),
            hex(key)
        ),
        (None, Trust::New) | (_, Trust::Replaced) => {}
    }
    store.trust_exports(host, key, now_ms)?;
    Ok(true)
}
