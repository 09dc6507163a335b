//! The address: free for a collector that does not run, answered by one that does.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::Value;

use super::finding::{Finding, Part};
use super::running::Running;
use crate::config::Config;
use crate::{escape, tls};

const PART: Part = Part("address");
/// Time for each step of a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

pub(super) fn examine(config: &Config, running: Option<&Running>) -> Vec<Finding> {
    let address = config.listen.address;
    if address.port() == 0 {
        return vec![PART.ok("listen.address", "the kernel chooses a port")];
    }
    match TcpListener::bind(address) {
        Ok(_) if running.is_some() => vec![PART.failed(
            "listen.address",
            format!("{address}: nobody listens, though the collector runs"),
            "it listens once its store is open, which its log tells; else on a socket of the \
             service manager (`socket` in the line `listening`)",
        )],
        Ok(_) => vec![PART.ok("listen.address", format!("{address}: free"))],
        Err(error) if error.kind() == ErrorKind::AddrInUse => vec![taken(config, running)],
        Err(error) => vec![PART.failed(
            "listen.address",
            format!("{address}: {error}"),
            "take an address of this host, and a port above 1023 for an account that is not root",
        )],
    }
}

fn taken(config: &Config, running: Option<&Running>) -> Finding {
    let address = config.listen.address;
    let wrong = |what: String, advice: &str| PART.failed("listen.address", what, advice);
    match ask(config) {
        Ok((200, _)) if running.is_some() => {
            PART.ok("listen.address", format!("{address}: answers and is ready"))
        }
        Ok((200, _)) => PART.warning(
            "listen.address",
            format!("{address}: a collector with this certificate answers and is ready"),
            "it serves by another configuration, or on another account's behalf",
        ),
        Ok((status, why)) => wrong(
            format!("{address}: not ready ({status}): {why}"),
            "mend what it names; its log says more",
        ),
        Err(error) => wrong(
            format!("{address}: {error:#}"),
            "another program has the address, or the collector has not read its new certificate \
             yet: its log says whether it can be used",
        ),
    }
}

/// What the collector says of itself: a status, and what is wrong.
fn ask(config: &Config) -> anyhow::Result<(u16, String)> {
    let chain = tls::certificates(&config.listen.cert_file)?;
    let own = chain.into_iter().next().context("no certificate")?;
    let address = reachable(config.listen.address);
    let socket = TcpStream::connect_timeout(&address, TIMEOUT).context("connect")?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let client = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Same(own)))
        .with_no_client_auth();
    let name = ServerName::IpAddress(address.ip().into());
    let connection = ClientConnection::new(Arc::new(client), name)?;
    let mut stream = StreamOwned::new(connection, socket);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("ask")?;
    let mut answer = Vec::new();
    // An end without a word of TLS is an end as well.
    if let Err(error) = stream.take(MAX_ANSWER).read_to_end(&mut answer)
        && answer.is_empty()
    {
        return Err(anyhow::Error::new(error).context("ask"));
    }
    read(&String::from_utf8_lossy(&answer)).context("it does not answer as a collector does")
}

/// Loopback, where it listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn read(answer: &str) -> Option<(u16, String)> {
    let status = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let body: Value = serde_json::from_str(body).ok()?;
    let checks = body["checks"].as_array()?.iter();
    let wrong: Vec<&str> = checks.filter_map(|check| check["why"].as_str()).collect();
    Some((status, escape::shorten(&wrong.join("; "), 300)))
}

/// Takes the certificate of the configuration and no other.
#[derive(Debug)]
struct Same(CertificateDer<'static>);

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.0 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(String::from(
            "it shows another certificate than listen.cert_file has",
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = tls::provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{reachable, read};

    #[test]
    fn an_answer_is_read_and_what_is_none_is_not() {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\n";
        let body = r#"{"ready":false,"checks":[{"name":"store","ok":false,"why":"full"},{"name":"writer","ok":true}]}"#;
        let answer = format!("{head}{body}");
        assert_eq!(read(&answer), Some((503, String::from("full"))));
        for none in ["", "HTTP/1.1 200 OK\r\n\r\nhello", "SSH-2.0-OpenSSH\r\n"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9443"), "127.0.0.1:9443");
        assert_eq!(of("[::]:9443"), "[::1]:9443");
        assert_eq!(of("10.0.0.1:1"), "10.0.0.1:1");
    }
}
