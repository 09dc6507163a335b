//! Orders on disk, so that a restart begins with the newest ones.
//!
//! There are two files with the same in them, written one after the other and each synced: an
//! emergency stop is not forgotten because one of them cannot be read.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use wire::orders::KEY_BYTES;

use crate::files;

use super::mailbox::UploadProgress;
use super::signed::Signed;
use super::standing::{Stage, Standing, Taken, verify};

const FILES: [&str; 2] = ["orders.json", "orders.json.copy"];
/// Two orders, each of whose bytes may take six in JSON.
const MAX_BYTES: u64 = 1 << 20;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    newest: Signed,
    stage: Written,
    before: Option<Signed>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Written {
    Trial,
    Proven,
    RolledBack,
}

/// Reads what was kept for a host, and says what is wrong with the files. Everything is verified
/// again. A trial begins anew.
///
/// Where there are files and none can be used, after damage or with another key in the configuration,
/// the option is off until the collector says how things stand: see [`Standing::lost`].
#[must_use]
pub fn load(
    directory: &Path,
    key: [u8; KEY_BYTES],
    names: &[String; 2],
    now_ms: u64,
) -> (Standing, Vec<String>) {
    let mut newest = Standing::new(key, names.clone());
    let (mut found, mut wrong) = (false, Vec::new());
    for name in FILES {
        match read(&directory.join(name), key, names, now_ms) {
            Ok(Some(standing)) => {
                if !found || standing.newest() > newest.newest() {
                    newest = standing;
                }
                found = true;
            }
            Ok(None) => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    if !found && !wrong.is_empty() {
        newest.lose();
    }
    (newest, wrong)
}

fn read(
    file: &Path,
    key: [u8; KEY_BYTES],
    names: &[String; 2],
    now_ms: u64,
) -> io::Result<Option<Standing>> {
    let mut standing = Standing::new(key, names.clone());
    let mut bytes = Vec::new();
    match files::open_own(fs::File::options().read(true), file) {
        Ok(file) => file.take(MAX_BYTES).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    let check = |signed: Signed| match verify(&key, &signed) {
        Ok(orders) => Ok(Taken { signed, orders }),
        Err(refusal) => Err(io::Error::other(refusal)),
    };
    standing.before = kept.before.map(check).transpose()?;
    let stage = match kept.stage {
        Written::Trial => Stage::Trial {
            since_ms: now_ms,
            begun: UploadProgress::default().begun,
        },
        Written::Proven => Stage::Proven,
        Written::RolledBack => Stage::RolledBack,
    };
    standing.newest = Some((check(kept.newest)?, stage));
    Ok(Some(standing))
}

/// What is to be kept of these orders, for [`write()`]; none when there are none.
#[must_use]
pub fn kept(standing: &Standing) -> Option<Vec<u8>> {
    let (newest, stage) = standing.newest.as_ref()?;
    let kept = Kept {
        newest: newest.signed.clone(),
        stage: match stage {
            Stage::Trial { .. } => Written::Trial,
            Stage::Proven => Written::Proven,
            Stage::RolledBack => Written::RolledBack,
        },
        before: standing.before.as_ref().map(|taken| taken.signed.clone()),
    };
    // Strings and names: nothing that JSON cannot say.
    serde_json::to_vec(&kept).ok()
}

/// Replaces both files; waits for the disk.
///
/// # Errors
/// The directory cannot be written; what was kept before is still there.
pub fn write(directory: &Path, kept: &[u8]) -> io::Result<()> {
    FILES
        .iter()
        .try_for_each(|name| files::replace_own(&directory.join(name), kept, true))
}
