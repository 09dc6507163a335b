//! Orders on disk, so that a restart begins with the newest ones.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;

use super::{KEY_BYTES, Reach, Signed, Stage, Standing, Taken, verify};

const FILE: &str = "orders.json";
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

/// Reads what was kept for a host. Everything is verified again: with another key in the
/// configuration, or after damage, there are no orders until the collector sends them.
///
/// A trial begins anew.
///
/// # Errors
/// The file is there and cannot be used.
pub fn load(
    directory: &Path,
    key: [u8; KEY_BYTES],
    names: &[String; 2],
    now_ms: u64,
) -> io::Result<Standing> {
    let mut standing = Standing::new(key, names.clone());
    let mut bytes = Vec::new();
    match files::open_own(fs::File::options().read(true), &directory.join(FILE)) {
        Ok(file) => file.take(MAX_BYTES).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(standing),
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
            begun: Reach::default().begun,
        },
        Written::Proven => Stage::Proven,
        Written::RolledBack => Stage::RolledBack,
    };
    standing.newest = Some((check(kept.newest)?, stage));
    Ok(standing)
}

/// Replaces the file in one step.
///
/// Without a sync, because the event loop does not wait for a disk: a power failure may take the
/// newest version, and the collector sends it again.
///
/// # Errors
/// The directory cannot be written.
pub fn save(directory: &Path, standing: &Standing) -> io::Result<()> {
    let Some((newest, stage)) = &standing.newest else {
        return Ok(());
    };
    let kept = Kept {
        newest: newest.signed.clone(),
        stage: match stage {
            Stage::Trial { .. } => Written::Trial,
            Stage::Proven => Written::Proven,
            Stage::RolledBack => Written::RolledBack,
        },
        before: standing.before.as_ref().map(|taken| taken.signed.clone()),
    };
    let text = serde_json::to_vec(&kept).map_err(io::Error::other)?;
    files::replace_own(&directory.join(FILE), &text, false)
}
