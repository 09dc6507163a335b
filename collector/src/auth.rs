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
    /// Asks.
    Reader,
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
}

impl Credential {
    /// What binds a host to it; `None` for a shared one.
    #[must_use]
    pub fn of_one_host(&self) -> Option<CredentialId> {
        (!self.shared).then_some(self.id)
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
        };
        let agent = Grant {
            role: Role::Agent,
            shared: false,
        };
        let reader = Grant {
            role: Role::Reader,
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
            match (words.next(), words.next()) {
                (None, _) => {}
                (Some(SHARED), None) if grant.role == Role::Agent => grant.shared = true,
                _ if grant.role == Role::Agent => {
                    return Err(wrong(
                        "nothing behind the token, or the word \"shared\" where many hosts have it",
                    ));
                }
                _ => return Err(wrong("nothing behind the token")),
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
        Some(Credential { id, role, shared })
    }

    /// The credential that a verified certificate is: an agent's, unless its name says otherwise.
    #[must_use]
    pub fn certificate(&self, certificate: &Certificate) -> Credential {
        let named = |list: &[String]| certificate.names.iter().any(|name| list.contains(name));
        let (role, shared) = if named(&self.reader_names) {
            (Role::Reader, true)
        } else {
            (Role::Agent, named(&self.shared_names))
        };
        Credential {
            id: certificate.id,
            role,
            shared,
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
mod tests {
    use super::{Certificate, CredentialId, Credentials, Error, Role, bearer};
    use crate::config::Auth;

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "fedcba9876543210";

    /// Texts of the agents', the readers' and the old file.
    fn load(texts: [Option<&str>; 3]) -> Result<Credentials, Error> {
        let dir = tempfile::TempDir::new().unwrap();
        let mut paths = texts.into_iter().zip(["agents", "readers", "old"]);
        let mut file = || {
            let (text, name) = paths.next().unwrap();
            let path = dir.path().join(name);
            text.map(|text| std::fs::write(&path, text).map(|()| path).unwrap())
        };
        let auth = Auth {
            agent_token_file: file(),
            reader_token_file: file(),
            token_file: file(),
            ..Auth::default()
        };
        Credentials::load(&auth).map_err(|(_, error)| error)
    }

    fn agents(text: &str) -> Result<Credentials, Error> {
        load([Some(text), None, None])
    }

    #[test]
    fn only_configured_tokens_are_known() {
        let known = agents(&format!("# fleet\n\n{ONE}\n  {TWO}  \n")).unwrap();
        assert!(known.token(ONE).is_some() && known.token(TWO).is_some());
        for other in [
            "",
            "# fleet",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert_eq!(known.token(other), None, "{other}");
        }
        assert_eq!(Credentials::default().token(""), None);
    }

    #[test]
    fn a_token_is_of_its_file_and_of_one_host_unless_it_says_so() {
        let third = "third-token-of-all";
        let agents = format!("{ONE}\n{TWO} shared\n");
        let known = load([Some(&agents), Some("reader-of-the-fleet\n"), Some(third)]).unwrap();
        let of = |token| {
            let found = known.token(token).unwrap();
            (found.role, found.of_one_host().is_some())
        };
        assert_eq!(of(ONE), (Role::Agent, true));
        assert_eq!(of(TWO), (Role::Agent, false));
        assert_eq!(of("reader-of-the-fleet"), (Role::Reader, false));
        // The key from before: it sends, for any host, and does not ask.
        assert_eq!(of(third), (Role::Agent, false));
    }

    #[test]
    fn a_file_without_proper_tokens_is_refused() {
        let line = |text: &str| match agents(text) {
            Err(Error::Token { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert!(matches!(
            agents("# nothing\n"),
            Err(Error::Count { count: 0, .. })
        ));
        assert_eq!(line(&format!("{ONE}\nshort\n")), 2);
        assert_eq!(line(&format!("{ONE} abcdef\n")), 1);
        assert_eq!(line(&format!("{ONE} shared too\n")), 1);
        assert!(matches!(
            load([None, Some(&format!("{ONE} shared\n")), None]),
            Err(Error::Token { line: 1, .. })
        ));
        let many: String = (0..=100_000).map(|n| format!("{n:016}\n")).collect();
        assert!(matches!(
            agents(&many),
            Err(Error::Count { count: 100_001, .. })
        ));
    }

    #[test]
    fn a_token_for_two_things_is_refused() {
        assert!(matches!(
            load([Some(ONE), Some(ONE), None]),
            Err(Error::Twice { line: 1, .. })
        ));
        assert!(matches!(
            agents(&format!("{ONE}\n{ONE} shared\n")),
            Err(Error::Twice { line: 2, .. })
        ));
    }

    #[test]
    fn a_message_never_shows_a_token() {
        let message = agents("0123456789abcde\u{e9}secret\n")
            .unwrap_err()
            .to_string();
        assert!(!message.contains("secret"));
        assert_eq!(
            format!("{:?}", agents(ONE).unwrap()),
            "Credentials(1 tokens)"
        );
    }

    #[test]
    fn a_certificate_is_an_agents_unless_its_name_is_a_readers() {
        let known = Credentials {
            reader_names: vec!["ops.example".into()],
            shared_names: vec!["fleet.example".into()],
            ..Credentials::default()
        };
        let of = |names: &[&str]| {
            let found = known.certificate(&Certificate {
                id: CredentialId([7; 32]),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
            });
            (found.role, found.of_one_host().is_some())
        };
        assert_eq!(of(&[]), (Role::Agent, true));
        assert_eq!(of(&["web.example"]), (Role::Agent, true));
        assert_eq!(of(&["web.example", "fleet.example"]), (Role::Agent, false));
        assert_eq!(of(&["ops.example"]), (Role::Reader, false));
        // Names are compared as they are written: no pattern is anybody.
        assert_eq!(of(&["*.example"]), (Role::Agent, true));
    }

    #[test]
    fn a_mark_before_a_token_is_named() {
        let error = agents(&format!("\u{feff}{ONE}\n")).unwrap_err();
        assert!(error.to_string().contains("byte-order mark"), "{error}");
        let known = agents(&format!("{ONE}\r\n{TWO} shared\r\n")).unwrap();
        assert!(known.token(TWO).is_some_and(|one| one.shared));
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
