//! A site: a directory with configuration and secrets, and a collector that runs on it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector::config::{self, Config};
use collector::meter::Meter;
use collector::server::{self, Running};
use collector::store::Bounds;
use collector::tls;
use serde_json::Value;
use tempfile::TempDir;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use wire::{Batch, CONTENT_TYPE};

use super::pki::{Authority, Identity};

/// The token of all agents.
pub(crate) const TOKEN: &str = "a-token-of-this-test";
/// A token of one agent's own.
pub(crate) const OWN: &str = "token-of-one-host-1";
/// Another one.
pub(crate) const OTHER: &str = "token-of-one-host-2";
/// The token of people who ask.
pub(crate) const READER: &str = "a-reader-of-this-test";
/// That of somebody else who asks.
pub(crate) const OTHER_READER: &str = "another-reader-of-this";
/// That of somebody who may ask everything.
pub(crate) const ADMIN: &str = "an-admin-of-this-test";
/// The name in the certificate of people who ask.
pub(crate) const READER_NAME: &str = "ops.example";

/// Bounds of a store that no test reaches.
pub(crate) const ROOM: Bounds = Bounds {
    max_bytes: 1 << 30,
    hosts: 1000,
};

/// At most so many rows, and memory without a bound.
pub(crate) fn rows(most: usize) -> Meter {
    Meter::new(most, usize::MAX)
}

/// Files, and the authority that signed the server.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    /// Signs clients, where the configuration names it.
    pub(crate) agents: Authority,
}

/// Credentials of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    Nobody,
    Token(&'a str),
    Certificate(&'a Identity),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
    pub(crate) text: String,
    pub(crate) retry_after: Option<u64>,
}

impl Answer {
    /// `stored`, `duplicate`, or the name of the refusal.
    pub(crate) fn word(&self) -> &str {
        let word = self.json.get("error").or(self.json.get("status"));
        word.and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether an agent may delete the batch of this key.
    pub(crate) fn ends(&self, key: &str) -> bool {
        serde_json::from_str(&self.text).is_ok_and(|answer: wire::answer::Answer| answer.ends(key))
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            dir: TempDir::new().expect("directory"),
            authority: Authority::new("server authority"),
            agents: Authority::new("agent authority"),
        };
        let server = site.authority.server();
        site.write("server.crt", &server.certificate);
        site.write("server.key", &server.key);
        site.write("ca.crt", &site.authority.pem);
        site.write("agents.crt", &site.agents.pem);
        let tokens = format!("# this test\n{TOKEN} shared\n{OWN}\n{OTHER}\n");
        site.write("tokens", &tokens);
        site.write(
            "readers",
            &format!("{READER}\n{OTHER_READER}\n{ADMIN} admin\n"),
        );
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("write");
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("collector.db")
    }

    /// Writes the configuration file. Which credentials it takes: tokens, certificates.
    ///
    /// Retention is long, for simulated fleets live in the past.
    pub(crate) fn configure(&self, tokens: bool, certificates: bool, limits: &str) -> PathBuf {
        let dir = self.dir.path().display();
        let auth = if tokens {
            format!("agent_token_file = \"{dir}/tokens\"\nreader_token_file = \"{dir}/readers\"\n")
        } else {
            String::new()
        };
        let (mtls, names) = if certificates {
            let ca = format!("client_ca_file = \"{dir}/agents.crt\"");
            (ca, format!("reader_names = [\"{READER_NAME}\"]"))
        } else {
            Default::default()
        };
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\ncert_file = \"{dir}/server.crt\"\n\
             key_file = \"{dir}/server.key\"\n{mtls}\n[auth]\n{auth}{names}\n\
             [store]\npath = \"{dir}/collector.db\"\nretention = \"20000d\"\n[limits]\n{limits}\n"
        );
        self.write("collector.toml", &text);
        self.path("collector.toml")
    }

    pub(crate) fn config(&self, tokens: bool, certificates: bool, limits: &str) -> Config {
        config::load(&self.configure(tokens, certificates, limits)).expect("valid configuration")
    }

    /// Starts a collector in this process that takes tokens.
    pub(crate) fn start(&self, limits: &str) -> Running {
        start(&self.config(true, false, limits))
    }

    /// An HTTP client that trusts this site's server.
    pub(crate) fn client(&self, who: Who<'_>) -> ureq::Agent {
        let roots: Vec<_> = tls::certificates(&self.path("ca.crt"))
            .expect("certificates")
            .iter()
            .map(|der| Certificate::from_der(der).to_owned())
            .collect();
        let client = match who {
            Who::Certificate(identity) => {
                let chain = Certificate::from_pem(identity.certificate.as_bytes()).expect("PEM");
                let key = PrivateKey::from_pem(identity.key.as_bytes()).expect("PEM");
                Some(ClientCert::new_with_certs(&[chain], key))
            }
            Who::Nobody | Who::Token(_) => None,
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .client_cert(client)
            .unversioned_rustls_crypto_provider(tls::provider())
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_secs(60)))
            .build()
            .new_agent()
    }

    pub(crate) fn get(&self, at: SocketAddr, path: &str, who: Who<'_>) -> Answer {
        let mut request = self.client(who).get(format!("https://{at}{path}"));
        if let Who::Token(token) = who {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        answer(request.call().expect("an answer"))
    }

    /// Posts bytes under a key.
    pub(crate) fn post(
        &self,
        at: SocketAddr,
        who: Who<'_>,
        key: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        self.post_to(at, "/api/v1/batches", who, key, media_type, body)
    }

    /// The same to another path.
    pub(crate) fn post_to(
        &self,
        at: SocketAddr,
        path: &str,
        who: Who<'_>,
        key: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = self
            .client(who)
            .post(format!("https://{at}{path}"))
            .header("Content-Type", media_type)
            .header("Idempotency-Key", key);
        if let Who::Token(token) = who {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request.send(body).map(answer)
    }

    /// Posts a batch as an agent does.
    pub(crate) fn send(&self, at: SocketAddr, batch: &Batch) -> Answer {
        self.send_as(at, Who::Token(TOKEN), batch)
            .expect("an answer")
    }

    pub(crate) fn send_as(
        &self,
        at: SocketAddr,
        who: Who<'_>,
        batch: &Batch,
    ) -> Result<Answer, ureq::Error> {
        self.post(at, who, &key(batch), CONTENT_TYPE, &wire::encode(batch))
    }
}

/// The idempotency key of a batch.
pub(crate) fn key(batch: &Batch) -> String {
    collector::accept::BatchKey::from(&batch.header).to_string()
}

pub(crate) fn start(config: &Config) -> Running {
    server::start(config)
        .map_err(|failure| failure.error)
        .expect("a server")
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let text = response.body_mut().read_to_string().expect("text");
    Answer {
        status: response.status().as_u16(),
        json: serde_json::from_str(&text).unwrap_or_default(),
        text,
        retry_after,
    }
}

/// Number of rows of a table of the store, packed ones among them.
pub(crate) fn count(store: &Path, table: &str) -> i64 {
    let db = rusqlite::Connection::open(store).expect("store");
    let packed = "(SELECT coalesce(sum(row_count), 0) FROM block WHERE pieces > 0 AND kind";
    let sql = match table {
        "sample" => format!("SELECT {packed} = 0)"),
        "event" => format!("SELECT {packed} >= 16)"),
        "sighting" => format!("SELECT count(*) + {packed} BETWEEN 1 AND 15) FROM sighting"),
        table => format!("SELECT count(*) FROM {table}"),
    };
    db.query_row(&sql, (), |row| row.get(0)).expect("count")
}

/// What the command says on standard output; it has to end well.
pub(crate) fn waybill(arguments: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(arguments)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}
