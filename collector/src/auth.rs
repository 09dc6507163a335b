//! Who may send and ask: a valid bearer token, or a valid client certificate.
//!
//! Either one suffices where both are configured, so that a fleet can move from one to the other.
//! Certificates are verified by TLS before a request exists; here is the part about tokens.

use std::path::Path;

use subtle::{Choice, ConstantTimeEq};

use crate::accept::digest;

/// Shortest token that is taken: 16 characters of base64 hold 96 bits.
const MIN_TOKEN: usize = 16;
/// Most tokens: each request is compared with all of them.
const MAX_TOKENS: usize = 1024;

/// Why a token file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the token file {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It holds something else than tokens.
    #[error(
        "{file}, line {line}: expected a token of at least {MIN_TOKEN} printable characters without spaces"
    )]
    Token {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
    },
    /// It holds none, or too many.
    #[error("{file}: expected 1 to {MAX_TOKENS} tokens, one per line, and found {count}")]
    Count {
        /// The file.
        file: String,
        /// Number found.
        count: usize,
    },
}

/// The configured tokens, as digests: comparing them tells nothing about a token's length.
#[derive(Clone, Default)]
pub struct Tokens(Vec<[u8; 32]>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// Reads one token per line; empty lines and lines that begin with `#` are skipped.
    ///
    /// # Errors
    /// See [`Error`]. Tokens never appear in a message.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            file: file.clone(),
            source,
        })?;
        let mut tokens = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() < MIN_TOKEN || !line.bytes().all(|b| b.is_ascii_graphic()) {
                let line = at + 1;
                return Err(Error::Token { file, line });
            }
            tokens.push(digest(line.as_bytes()));
        }
        let count = tokens.len();
        if count == 0 || count > MAX_TOKENS {
            return Err(Error::Count { file, count });
        }
        Ok(Self(tokens))
    }

    /// True for a configured token. It always takes as long as comparing with all of them.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        let offered = digest(token.as_bytes());
        let found = self.0.iter().fold(Choice::from(0), |found, known| {
            found | known.ct_eq(&offered)
        });
        found.into()
    }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::{Error, Tokens, bearer};

    fn load(text: &str) -> Result<Tokens, Error> {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        Tokens::load(&path)
    }

    #[test]
    fn only_configured_tokens_are_known() {
        let tokens = load("# fleet\n\n0123456789abcdef\n  fedcba9876543210  \n").unwrap();
        assert!(tokens.contains("0123456789abcdef") && tokens.contains("fedcba9876543210"));
        for other in [
            "",
            "# fleet",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert!(!tokens.contains(other), "{other}");
        }
        assert!(!Tokens::default().contains(""));
    }

    #[test]
    fn a_file_without_proper_tokens_is_refused() {
        assert!(matches!(
            load("# nothing\n"),
            Err(Error::Count { count: 0, .. })
        ));
        assert!(matches!(
            load("0123456789abcdef\nshort\n"),
            Err(Error::Token { line: 2, .. })
        ));
        assert!(matches!(
            load("0123456789 abcdef\n"),
            Err(Error::Token { line: 1, .. })
        ));
        let many = "0123456789abcdef\n".repeat(1025);
        assert!(matches!(load(&many), Err(Error::Count { count: 1025, .. })));
    }

    #[test]
    fn a_message_never_shows_a_token() {
        let message = load("0123456789abcde\u{e9}secret\n")
            .unwrap_err()
            .to_string();
        assert!(!message.contains("secret"));
        let tokens = load("0123456789abcdef").unwrap();
        assert_eq!(format!("{tokens:?}"), "Tokens(1)");
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
