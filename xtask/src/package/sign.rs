//! Sums and signatures of what is shipped; `waybill-agent verify` is the other side.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use notation::{hex, unhex};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Variable that names the file with the signing key.
const VARIABLE: &str = "WAYBILL_SIGNING_KEY";

/// A signing key.
pub(super) struct Key(Ed25519KeyPair);

impl Key {
    /// The key in `file`, or in the one that `WAYBILL_SIGNING_KEY` names; none where neither is
    /// given.
    ///
    /// # Errors
    /// When the file cannot be read or holds anything but 64 hexadecimal digits.
    pub(super) fn find(file: Option<&Path>) -> Result<Option<Self>> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let Some(file) = file.map(Path::to_owned).or(named) else {
            return Ok(None);
        };
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        Self::parse(text.trim())
            .with_context(|| format!("{}: a signing key", file.display()))
            .map(Some)
    }

    /// A key from its seed in hexadecimal digits.
    ///
    /// # Errors
    /// When there are not 64 of them.
    pub(super) fn parse(digits: &str) -> Result<Self> {
        let seed =
            unhex::<32>(digits).context("is 64 hexadecimal digits (openssl rand -hex 32)")?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        pair.map(Self).map_err(|_| anyhow!("was not taken"))
    }

    /// The public key, as operators get it.
    pub(super) fn public(&self) -> String {
        hex(self.0.public_key().as_ref()) + "\n"
    }

    /// Signs a text. The same text has the same signature each time (RFC 8032).
    pub(super) fn sign(&self, text: &str) -> String {
        hex(self.0.sign(text.as_bytes()).as_ref()) + "\n"
    }
}

/// Lines `<sha256>  <path>` of these paths below `folder`, sorted.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn sums(folder: &Path, paths: &[String]) -> Result<String> {
    let mut sorted: Vec<&String> = paths.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for path in sorted {
        text += &format!("{}  {path}\n", sum(&folder.join(path))?);
    }
    Ok(text)
}

/// SHA-256 of a file, in digits.
///
/// # Errors
/// When it cannot be read.
pub(super) fn sum(file: &Path) -> Result<String> {
    let content = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(hex(digest(&SHA256, &content).as_ref()))
}

/// Writes `SHA256SUMS`, its signature and the public key into `folder`.
///
/// # Errors
/// Those of the file system.
pub(super) fn write(folder: &Path, paths: &[String], key: Option<&Key>) -> Result<()> {
    let sums = sums(folder, paths)?;
    if let Some(key) = key {
        fs::write(folder.join("SHA256SUMS.sig"), key.sign(&sums)).context("write the signature")?;
    }
    fs::write(folder.join("SHA256SUMS"), sums).context("write the sums")
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_of_the_standard_signs_as_the_standard_says() {
        // RFC 8032, 7.1, test 1: an empty message.
        let key = Key::parse("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .expect("a key");
        assert_eq!(
            key.public(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\n"
        );
        assert!(
            key.sign("")
                .starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974")
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(63)] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
    }
}
