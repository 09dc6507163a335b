//! Who may send and who may ask: credentials, what each is for, and how one is named.
//!
//! A credential is a bearer token of a configured file, or a client certificate that TLS has
//! verified. It is of one [`Role`]: agents write, people read. Where a request carries a valid
//! token, the token counts, and else the certificate.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::config::Auth;
use crate::digest::{hex, sha256};
use crate::rank::Rank;

/// Shortest token that is taken: 16 characters of base64 hold 96 bits.
const MIN_TOKEN: usize = 16;
/// Most tokens of one file.
const MAX_TOKENS: usize = 100_000;
/// The word behind a token that many hosts share.
const SHARED: &str = "shared";

/// Why a token file is not taken. Tokens never appear in a message.
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
    #[error("{file}, line {line}: expected {expected}{}", on_line(.unseen))]
    Token {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What would have been right.
        expected: &'static str,
        /// What on the line does not show.
        unseen: Option<&'static str>,
    },
    /// It holds none, or too many.
    #[error("{file}: expected 1 to {MAX_TOKENS} tokens, one per line, and found {count}")]
    Count {
        /// The file.
        file: String,
        /// Number found.
        count: usize,
    },
    /// A token of the file is also for something else.
    #[error(
        "{file}, line {line}: this token is in another file or line too, and a token is for one \
         thing: to send batches or to ask"
    )]
    Twice {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
    },
}

fn on_line(unseen: &Option<&'static str>) -> String {
    unseen.map_or_else(String::new, |what| format!(" (on the line is {what})"))
}

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends batches.
    Agent,
    /// Asks, and may do what the rank allows.
    Person(Rank),
}

/// SHA-256 of a token or of a certificate (DER): names it without giving it away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(pub [u8; 32]);

impl fmt::Display for CredentialId {
    /// The first 16 hex digits, as `sha256sum` or `openssl x509 -fingerprint -sha256` begin.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0[..8]))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

/// A credential that is valid here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Which one.
    pub id: CredentialId,
    /// What it is for.
    pub role: Role,
    /// Many hosts have it, so it speaks for none of them in particular.
    pub shared: bool,
    /// The name under which its host was enrolled, which may have other certificates.
    pub identity: Option<CredentialId>,
}

impl Credential {
    /// What binds a host to it; `None` for a shared one.
    #[must_use]
    pub fn of_one_host(&self) -> Option<CredentialId> {
        (!self.shared).then_some(self.identity.unwrap_or(self.id))
    }
}

/// A client certificate that TLS has verified: what of it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    id: CredentialId,
    /// DNS names of the subject, exactly as written there.
    names: Vec<String>,
}

impl Certificate {
    /// Of the peer's own certificate.
    #[must_use]
    pub fn new(der: &CertificateDer<'_>) -> Self {
        let names = EndEntityCert::try_from(der).map_or_else(
            |_| Vec::new(),
            |parsed| parsed.valid_dns_names().map(str::to_owned).collect(),
        );
        Self {
            id: CredentialId(sha256(der)),
            names,
        }
    }

    /// Which one it is.
    #[must_use]
    pub fn id(&self) -> CredentialId {
        self.id
    }
}

#[derive(Clone, Copy)]
struct Grant {
    role: Role,
    shared: bool,
}

/// All credentials of the configuration. Tokens are held as digests, so that looking one up tells
/// nothing about another.
#[derive(Clone, Default)]
pub struct Credentials {
    tokens: HashMap<CredentialId, Grant>,
    reader_names: Vec<String>,
    shared_names: Vec<String>,
    proxy_names: Vec<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} tokens)", self.tokens.len())
    }
}

impl Credentials {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// See [`Error`], with the key that named the file.
    pub fn load(auth: &Auth) -> Result<Self, (&'static str, Error)> {
        let mut known = Self {
            tokens: HashMap::new(),
            reader_names: auth.reader_names.clone(),
            shared_names: auth.shared_names.clone(),
            proxy_names: auth
                .proxy
                .as_ref()
                .map_or_else(Vec::new, |proxy| proxy.certificate_names.clone()),
        };
        let agent = Grant {
            role: Role::Agent,
            shared: false,
        };
        let reader = Grant {
            role: Role::Person(Rank::Viewer),
            shared: true,
        };
        // From before there were roles, when one token was everybody's.
        let old = Grant {
            shared: true,
            ..agent
        };
        for (key, path, grant) in [
            ("auth.agent_token_file", &auth.agent_token_file, agent),
            ("auth.reader_token_file", &auth.reader_token_file, reader),
            ("auth.token_file", &auth.token_file, old),
        ] {
            if let Some(path) = path {
                known.read(path, grant).map_err(|error| (key, error))?;
            }
        }
        Ok(known)
    }

    /// Reads one token per line; empty lines and lines that begin with `#` are skipped.
    fn read(&mut self, path: &Path, grant: Grant) -> Result<(), Error> {
        let file = path.display().to_string();
        let text = crate::files::text(path).map_err(|source| Error::Unreadable {
            file: file.clone(),
            source,
        })?;
        let mut count = 0;
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = at + 1;
            let wrong = |expected| Error::Token {
                file: file.clone(),
                line: line_number,
                expected,
                unseen: follow::unseen(line.as_bytes()),
            };
            let mut words = line.split_ascii_whitespace();
            let token = words.next().unwrap_or_default();
            if token.len() < MIN_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(wrong(
                    "a token of at least 16 printable characters without spaces",
                ));
            }
            let mut grant = grant;
            let (word, more) = (words.next(), words.next());
            match (word, more) {
                (None, _) => {}
                (Some(word), None)
                    if let (Role::Person(_), Some(rank)) = (grant.role, Rank::of(word)) =>
                {
                    grant.role = Role::Person(rank);
                }
                (Some(SHARED), None) if grant.role == Role::Agent => grant.shared = true,
                _ if grant.role == Role::Agent => {
                    return Err(wrong(
                        "nothing behind the token, or the word \"shared\" where many hosts have it",
                    ));
                }
                _ => {
                    return Err(wrong(
                        "nothing behind the token, or one of the words \"viewer\", \"operator\" and \
                         \"admin\"",
                    ));
                }
            }
            count += 1;
            let id = CredentialId(sha256(token.as_bytes()));
            if self.tokens.insert(id, grant).is_some() {
                let line = line_number;
                return Err(Error::Twice { file, line });
            }
        }
        if count == 0 || count > MAX_TOKENS {
            return Err(Error::Count { file, count });
        }
        Ok(())
    }

    /// The credential that a token is, if it is one.
    #[must_use]
    pub fn token(&self, token: &str) -> Option<Credential> {
        let id = CredentialId(sha256(token.as_bytes()));
        let Grant { role, shared } = *self.tokens.get(&id)?;
        let identity = None;
        Some(Credential {
            id,
            role,
            shared,
            identity,
        })
    }

    /// The credential that a verified certificate is: an agent's, unless its name says otherwise.
    #[must_use]
    pub fn certificate(&self, certificate: &Certificate) -> Credential {
        let named = |list: &[String]| certificate.names.iter().any(|name| list.contains(name));
        let (role, shared) = if named(&self.reader_names) {
            (Role::Person(Rank::Viewer), true)
        } else {
            (Role::Agent, named(&self.shared_names))
        };
        Credential {
            id: certificate.id,
            role,
            shared,
            identity: None,
        }
    }

    /// Whether a verified certificate is that of a proxy, which says who asks and is no credential.
    #[must_use]
    pub fn is_proxy(&self, certificate: &Certificate) -> bool {
        let is_proxy = |name| self.proxy_names.contains(name);
        certificate.names.iter().any(is_proxy)
    }

    /// The credential that a certificate of the collector's own authority is: an agent's, of one
    /// host, whatever name it has.
    #[must_use]
    pub fn own_certificate(&self, certificate: &Certificate) -> Credential {
        Credential {
            id: certificate.id,
            role: Role::Agent,
            shared: false,
            identity: None,
        }
    }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests;
