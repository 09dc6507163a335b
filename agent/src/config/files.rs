//! The files a configuration names: read once, before the jail, bounded and checked.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use notation::unhex;
use wire::orders::KEY_BYTES;

use super::section::{At, Problems};
use super::value::Secret;
use crate::files;

/// Far above every certificate bundle; a wrong path must not fill the memory.
pub const MAX_FILE: u64 = 4 << 20;
const FLEET_KEY: &str =
    "a file with the fleet key as 32 hex digits (make one with: openssl rand -hex 16)";

const ORDERS_KEY: &str = "a file with the fleet's public key as 64 hex digits (the .pub file of: \
                          waybill-collector fleet keygen)";

/// What a file holds, and who may read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

impl fmt::Debug for Content {
    /// Without the secret that it may be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes, {:04o})", self.bytes.len(), self.mode)
    }
}

/// Reads a regular file of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// It cannot be read, is something else, or is larger.
pub fn read(path: &Path) -> io::Result<Content> {
    let file = files::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("larger than {MAX_FILE} bytes")));
    }
    Ok(Content {
        bytes,
        mode: metadata.permissions().mode() & 0o7777,
    })
}

/// Reads named files and collects what is worth a warning.
pub(super) struct Files<'r> {
    config_file: PathBuf,
    read: &'r mut dyn FnMut(&Path) -> io::Result<Content>,
    warnings: Vec<String>,
    found: BTreeMap<PathBuf, Content>,
}

impl<'r> Files<'r> {
    pub(super) fn new(
        config_file: &Path,
        read: &'r mut dyn FnMut(&Path) -> io::Result<Content>,
    ) -> Self {
        Self {
            config_file: config_file.to_owned(),
            read,
            warnings: Vec::new(),
            found: BTreeMap::new(),
        }
    }

    /// Every file that was read.
    pub(super) fn take_found(&mut self) -> BTreeMap<PathBuf, Content> {
        std::mem::take(&mut self.found)
    }

    pub(super) fn config_file(&self) -> &Path {
        &self.config_file
    }

    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn content(&mut self, path: &At<String>, problems: &mut Problems<'_>) -> Option<Content> {
        if !Path::new(&path.value).is_absolute() {
            problems.wrong(&path.place, "an absolute path");
            return None;
        }
        match (self.read)(Path::new(&path.value)) {
            Ok(content) => {
                self.found
                    .insert(PathBuf::from(&path.value), content.clone());
                Some(content)
            }
            Err(error) => {
                problems.unusable(&path.place, &format!("cannot read {}: {error}", path.value));
                None
            }
        }
    }

    fn secret(&mut self, path: &At<String>, problems: &mut Problems<'_>) -> Option<Vec<u8>> {
        let content = self.content(path, problems)?;
        if content.mode & 0o007 != 0 {
            self.warnings.push(format!(
                "{}: {} holds a secret and is open to every user (mode {:04o}); chmod 0600 it",
                path.place.key, path.value, content.mode
            ));
        }
        Some(content.bytes)
    }

    /// A fleet key of 32 hex digits.
    pub(super) fn fleet_key(
        &mut self,
        path: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<Secret<[u8; 16]>> {
        let bytes = self.secret(path, problems)?;
        let key = parse_fleet_key(&bytes);
        if key.is_none() {
            wrong(path, FLEET_KEY, &bytes, problems);
        }
        key
    }

    /// A public key of 64 hex digits.
    pub(super) fn orders_key(
        &mut self,
        path: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<[u8; KEY_BYTES]> {
        let bytes = self.content(path, problems)?.bytes;
        let text = std::str::from_utf8(&bytes).ok().map(str::trim);
        let key = text.and_then(unhex);
        if key.is_none() {
            wrong(path, ORDERS_KEY, &bytes, problems);
        }
        key
    }

    /// A token that is used once: its file may be gone.
    pub(super) fn spent_token(
        &mut self,
        path: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<Option<Secret<String>>> {
        let is_absolute = Path::new(&path.value).is_absolute();
        match (self.read)(Path::new(&path.value)) {
            Err(error) if is_absolute && error.kind() == io::ErrorKind::NotFound => Some(None),
            _ => self.token(path, problems).map(Some),
        }
    }

    /// A bearer token: the first line of the file.
    pub(super) fn token(
        &mut self,
        path: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<Secret<String>> {
        let bytes = self.secret(path, problems)?;
        let token = std::str::from_utf8(&bytes).ok().map(str::trim);
        let token = token.filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_graphic()));
        if token.is_none() {
            let expected = "a file with one token of printable ASCII characters";
            wrong(path, expected, &bytes, problems);
        }
        token.map(|token| Secret::new(token.to_owned()))
    }

    /// `user:password` for a proxy: the first line of the file.
    pub(super) fn user_and_password(
        &mut self,
        path: &At<String>,
        problems: &mut Problems<'_>,
    ) -> Option<Secret<String>> {
        let bytes = self.secret(path, problems)?;
        let text = std::str::from_utf8(&bytes)
            .ok()
            .map(|text| text.trim_end_matches(['\r', '\n']));
        let fits = |text: &&str| text.contains(':') && !text.chars().any(char::is_control);
        let text = text.filter(fits);
        if text.is_none() {
            wrong(
                path,
                "a file with one line, user:password",
                &bytes,
                problems,
            );
        }
        text.map(|text| Secret::new(text.to_owned()))
    }

    /// A PEM file with at least one block whose label ends in `label`.
    pub(super) fn pem(
        &mut self,
        path: &At<String>,
        label: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<u8>> {
        let bytes = self.content(path, problems)?.bytes;
        check_pem(bytes, path, label, problems)
    }

    /// A PEM file that only its owner should read.
    pub(super) fn secret_pem(
        &mut self,
        path: &At<String>,
        label: &str,
        problems: &mut Problems<'_>,
    ) -> Option<Secret<Vec<u8>>> {
        let bytes = self.secret(path, problems)?;
        check_pem(bytes, path, label, problems).map(Secret::new)
    }
}

fn check_pem(
    bytes: Vec<u8>,
    path: &At<String>,
    label: &str,
    problems: &mut Problems<'_>,
) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(&bytes);
    let block = |line: &str| {
        let name = line
            .trim()
            .strip_prefix("-----BEGIN ")
            .and_then(|l| l.strip_suffix("-----"));
        name.is_some_and(|name| name.ends_with(label))
    };
    if text.lines().any(block) {
        return Some(bytes);
    }
    let expected = format!("a PEM file with a {label} block");
    wrong(path, &expected, &bytes, problems);
    None
}

/// Says what was expected, and what in the file does not show and may be what is wrong.
fn wrong(path: &At<String>, expected: &str, bytes: &[u8], problems: &mut Problems<'_>) {
    match follow::unseen(bytes) {
        Some(what) => problems.wrong(&path.place, &format!("{expected}; in it is {what}")),
        None => problems.wrong(&path.place, expected),
    }
}

fn parse_fleet_key(bytes: &[u8]) -> Option<Secret<[u8; 16]>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    unhex(text).map(Secret::new)
}
