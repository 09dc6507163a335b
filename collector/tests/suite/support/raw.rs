//! A connection whose bytes a test sends and reads as it likes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use collector::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wire::{Batch, CONTENT_TYPE};

use super::site::{Site, key};

/// TLS over TCP.
pub(crate) struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    pub(crate) fn connect(site: &Site, at: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in tls::certificates(&site.path("ca.crt")).expect("certificates") {
            roots.add(certificate).expect("certificate");
        }
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("connection");
        let socket = TcpStream::connect(at).expect("connect");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("timeout");
        Self(StreamOwned::new(connection, socket))
    }

    /// Ends the handshake, and asks nothing.
    pub(crate) fn shake_hands(mut self) -> Self {
        self.0
            .conn
            .complete_io(&mut self.0.sock)
            .expect("handshake");
        self
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send");
        self.0.flush().expect("send");
    }

    /// One more byte; whether it could be sent.
    pub(crate) fn drip(&mut self, byte: u8) -> bool {
        self.0
            .write_all(&[byte])
            .and_then(|()| self.0.flush())
            .is_ok()
    }

    /// The head of a request with a body of so many bytes.
    pub(crate) fn post(&mut self, token: &str, batch: &Batch, length: usize, connection: &str) {
        let head = format!(
            "POST /api/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: {CONTENT_TYPE}\r\n\
             Idempotency-Key: {}\r\nContent-Length: {length}\r\n\r\n",
            key(batch),
        );
        self.send(head.as_bytes());
    }

    /// Sends the head of a request, and all but the last byte of its body.
    pub(crate) fn begin(&mut self, token: &str, batch: &Batch) -> u8 {
        let body = wire::encode(batch);
        let (last, most) = body.split_last().expect("a body");
        self.post(token, batch, body.len(), "close");
        self.send(most);
        *last
    }

    /// Asks, and reads nothing of the answer.
    pub(crate) fn ask(&mut self, token: &str, path: &str) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        self.send(head.as_bytes());
    }

    /// One answer that says its length; the connection stays.
    pub(crate) fn one_answer(&mut self) -> String {
        let head = self.upto(b"\r\n\r\n");
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if let Some(length) = length {
            return head + &self.text(length);
        }
        // In pieces, each with its length before it; one without length is the last.
        let mut answer = head;
        loop {
            let line = self.upto(b"\r\n");
            let length = usize::from_str_radix(line.trim_end(), 16).expect("a length");
            answer.push_str(&self.text(length));
            self.upto(b"\r\n");
            if length == 0 {
                return answer;
            }
        }
    }

    fn text(&mut self, length: usize) -> String {
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        String::from_utf8(body).expect("text")
    }

    fn upto(&mut self, end: &[u8]) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(end) {
            self.0.read_exact(&mut byte).expect("a head");
            text.push(byte[0]);
        }
        String::from_utf8(text).expect("text")
    }

    /// Whether the server has hung up; reads what it had said before.
    pub(crate) fn is_closed(&mut self) -> bool {
        let short = Some(Duration::from_millis(20));
        self.0.sock.set_read_timeout(short).expect("timeout");
        let mut some = [0; 4096];
        loop {
            match self.0.read(&mut some) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    return !waits.contains(&error.kind());
                }
            }
        }
    }

    /// Everything the server says until it closes.
    pub(crate) fn answer(mut self) -> String {
        let mut text = Vec::new();
        match self.0.read_to_end(&mut text) {
            Ok(_) => {}
            // A server that hangs up on a broken request need not say good-bye in TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => {
                other.expect("an answer");
            }
        }
        String::from_utf8(text).expect("text")
    }
}
