//! A tiny HTTPS server that does what a test tells it, and tells what it saw.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::upload::{Credential, Settings};

pub(super) const TOKEN: &str = "secret-of-the-test";

/// Signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(super) struct Identity {
    pub(super) chain_pem: Vec<u8>,
    pub(super) key_pem: Vec<u8>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(super) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    pub(super) fn issue(&self, name: &str) -> Identity {
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let key_pem = key.serialize_pem().into_bytes();
        Identity {
            chain_pem: certificate.pem().into_bytes(),
            key_pem,
        }
    }

    /// Settings for a server on this host whose certificate this authority signed.
    pub(super) fn settings(&self, port: u16) -> Settings {
        Settings {
            url: format!("https://127.0.0.1:{port}"),
            server_name: None,
            ca_pem: self.pem(),
            credential: Credential::Token(TOKEN.to_owned()),
            proxy: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    /// Connections are counted from 0.
    pub(super) connection: u64,
    /// Method, path and version.
    pub(super) request: String,
    /// `name: value`, in lower case.
    pub(super) headers: Vec<String>,
    pub(super) body: Vec<u8>,
    /// The name the client asked for in the handshake.
    pub(super) server_name: Option<String>,
    pub(super) client_certificate: bool,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let start = format!("{name}: ");
        self.headers
            .iter()
            .find_map(|line| line.strip_prefix(&start))
    }
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Status, further header lines, body; `KEY` in the body is the request's idempotency key.
    Answer(u16, &'static str, &'static str),
    /// The same as [`STORED`], and then the connection ends.
    Last,
    /// Interim answers that never end.
    Continue,
    /// Bytes instead of an answer.
    Raw(&'static [u8]),
    /// A head, and then a body that never ends.
    Endless,
    /// Nothing, until the client goes away.
    Silence,
}

const STORED_WORDS: &str = r#"{"status":"stored","batch":"KEY"}"#;
pub(super) const STORED: Reply = Reply::Answer(200, "", STORED_WORDS);

type Script = dyn Fn(u64) -> Reply + Send + Sync;

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) seen: Receiver<Request>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// How to serve.
pub(super) struct Service {
    config: Arc<ServerConfig>,
    port: u16,
}

impl Service {
    pub(super) fn new(identity: &Identity) -> Self {
        Self::with(identity, None)
    }

    /// Wants a certificate of the client that `authority` signed.
    pub(super) fn for_clients_of(identity: &Identity, authority: &Authority) -> Self {
        Self::with(identity, Some(authority))
    }

    /// On that port instead of a free one.
    pub(super) fn on(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    fn with(identity: &Identity, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("protocol versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).expect("an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let chain = CertificateDer::pem_slice_iter(&identity.chain_pem)
            .collect::<Result<_, _>>()
            .expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).expect("a key");
        let config = builder
            .with_single_cert(chain, key)
            .expect("a server's identity");
        Self {
            config: Arc::new(config),
            port: 0,
        }
    }

    /// Answers the n-th request, counted from 0, by `script`.
    pub(super) fn start(self, script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let (sender, seen) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accept = move || {
            let (requests, script) = (Arc::new(AtomicU64::new(0)), Arc::new(script));
            let mut connections = Vec::new();
            for (connection, stream) in (0..).zip(listener.incoming()) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let client = Client {
                    stream: stream.expect("a connection"),
                    connection,
                    config: Arc::clone(&self.config),
                    seen: sender.clone(),
                    requests: Arc::clone(&requests),
                    script: Arc::clone(&script) as Arc<Script>,
                };
                let thread = Builder::new().name("test-connection".to_owned());
                connections.push(
                    thread
                        .spawn(move || client.serve())
                        .expect("start a thread"),
                );
            }
        };
        let thread = Builder::new().name("test-server".to_owned()).spawn(accept);
        Server {
            port,
            seen,
            stop,
            thread: Some(thread.expect("start a thread")),
        }
    }
}

impl Server {
    pub(super) fn next(&self) -> Request {
        self.seen
            .recv_timeout(Duration::from_secs(30))
            .expect("a request")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept; connections end with their clients.
        let _woken = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server");
        }
    }
}

struct Client {
    stream: TcpStream,
    connection: u64,
    config: Arc<ServerConfig>,
    seen: Sender<Request>,
    requests: Arc<AtomicU64>,
    script: Arc<Script>,
}

impl Client {
    /// Until the client closes, or does something that is not HTTP.
    fn serve(self) {
        let connection = ServerConnection::new(Arc::clone(&self.config)).expect("a connection");
        let mut stream = BufReader::new(StreamOwned::new(connection, self.stream));
        loop {
            let Some((request, headers, body)) = read_request(&mut stream) else {
                return;
            };
            let nth = self.requests.fetch_add(1, Ordering::SeqCst);
            let tls = &stream.get_ref().conn;
            let seen = Request {
                connection: self.connection,
                request,
                headers,
                body,
                server_name: tls.server_name().map(str::to_owned),
                client_certificate: tls.peer_certificates().is_some(),
            };
            let key = seen
                .header("idempotency-key")
                .unwrap_or_default()
                .to_owned();
            let answer = |status: u16, headers: &str, body: &str| {
                let body = body.replace("KEY", &key);
                let length = body.len();
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            };
            let _told = self.seen.send(seen);
            let done = match (self.script)(nth) {
                Reply::Answer(status, headers, body) => {
                    let answer = answer(status, headers, body);
                    stream.get_mut().write_all(answer.as_bytes())
                }
                Reply::Last => {
                    let answer = answer(200, "", STORED_WORDS);
                    let _written = stream.get_mut().write_all(answer.as_bytes());
                    return;
                }
                Reply::Continue => interim(stream.get_mut()),
                Reply::Raw(bytes) => {
                    let _written = stream.get_mut().write_all(bytes);
                    return;
                }
                Reply::Endless => endless(stream.get_mut()),
                Reply::Silence => {
                    let _gone = stream.read(&mut [0]);
                    return;
                }
            };
            if done.is_err() {
                return;
            }
        }
    }
}

fn endless(stream: &mut impl Write) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")?;
    loop {
        stream.write_all(b"400\r\n")?;
        stream.write_all(&[b' '; 0x400])?;
        stream.write_all(b"\r\n")?;
    }
}

fn interim(stream: &mut impl Write) -> std::io::Result<()> {
    loop {
        stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100))?;
    }
}

fn read_request(stream: &mut impl BufRead) -> Option<(String, Vec<String>, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let request = lines.remove(0);
    let headers: Vec<String> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
        .collect();
    let length = headers
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|l| l.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((request, headers, body))
}
