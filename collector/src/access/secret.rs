//! Secrets that are made here.

use data_encoding::BASE64URL_NOPAD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::error::Error;

/// So many random bytes.
///
/// # Errors
/// The kernel gives none.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Random).map(|()| bytes)
}

/// A secret of 256 random bits as text, behind a prefix by which it is known where it should not be.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn secret(prefix: &str) -> Result<String, Error> {
    let bytes: [u8; 32] = random()?;
    Ok(format!("{prefix}{}", BASE64URL_NOPAD.encode(&bytes)))
}
