//! A proxy between the agent and the collector: it is asked by CONNECT (RFC 9110, 9.3.6) for a tunnel,
//! and TLS with the collector goes through it from end to end.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::ProxyProtocol;
use ureq::http::Uri;
use ureq::unversioned::transport::{ConnectionDetails, Connector, Transport, TransportAdapter};

use super::answer::words;
use crate::config::Prefix;

const EXPECTED: &str = "http://host[:port], a proxy that tunnels by CONNECT";
/// Bytes that a proxy may say before the tunnel is open.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// Variables that name a proxy for https, the first that is set counts.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy, and what it is told about who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`, an IPv6 address in brackets.
    address: String,
    /// `user:password`.
    secret: Option<String>,
}

impl fmt::Debug for Proxy {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`, port 80 by default.
    ///
    /// # Errors
    /// What would have been right; the text, which may hold a password, is not repeated.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parsed = ureq::Proxy::new(text).map_err(|_| EXPECTED)?;
        let uri = parsed.uri();
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().map(|all| all.as_str()).unwrap_or_default();
        let behind = authority.rsplit('@').next().unwrap_or_default();
        let port = behind.strip_prefix(parsed.host()).unwrap_or_default();
        let port_fits = match port.strip_prefix(':') {
            Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
            None => port.is_empty(),
        };
        if parsed.protocol() != ProxyProtocol::Http || !bare || !port_fits {
            return Err(EXPECTED);
        }
        let part = Option::unwrap_or_default;
        let secret = (parsed.username().is_some() || parsed.password().is_some())
            .then(|| format!("{}:{}", part(parsed.username()), part(parsed.password())));
        Ok(Self {
            address: format!("{}:{}", parsed.host(), parsed.port()),
            secret,
        })
    }

    /// The same for this `user:password`.
    #[must_use]
    pub fn with_secret(mut self, secret: String) -> Self {
        self.secret = Some(secret);
        self
    }

    /// Whether it knows a user.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// What the environment of the process says about proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Nothing.
    Silent,
    /// To go through this one; the variable that says so.
    Through(Proxy, &'static str),
    /// To go past the one it names, for this host.
    Past(&'static str),
    /// Something that cannot be done, so the agent goes past it: the variable and what is expected.
    Unusable(&'static str, &'static str),
}

/// What the environment says for a collector at `url`; `get` reads a variable.
pub fn from_environment(url: &str, get: impl Fn(&str) -> Option<String>) -> Environment {
    let set = |name: &&'static str| {
        let value = get(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (*name, value.to_owned()))
    };
    let Some((name, value)) = VARIABLES.iter().find_map(set) else {
        return Environment::Silent;
    };
    if let (Some((exception, list)), Ok(url)) =
        (EXCEPTIONS.iter().find_map(set), url.parse::<Uri>())
    {
        let port = url.port_u16().unwrap_or(443);
        let host = url.host().unwrap_or_default();
        if list
            .split([',', ' '])
            .any(|entry| excepts(entry, host, port))
        {
            return Environment::Past(exception);
        }
    }
    match Proxy::parse(&value) {
        Ok(proxy) => Environment::Through(proxy, name),
        Err(expected) => Environment::Unusable(name, expected),
    }
}

/// Whether an entry of `NO_PROXY` means this host: `*`, a name and those below it with or without a
/// leading dot, an address, a prefix; each with or without a port.
fn excepts(entry: &str, host: &str, port: u16) -> bool {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    let entry = entry.trim().to_ascii_lowercase();
    let (entry, of_port) = match entry.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') || name.ends_with(']') => {
            (name.to_owned(), number.parse() == Ok(port))
        }
        _ => (entry, true),
    };
    let entry = entry.trim_start_matches('[').trim_end_matches(']');
    if entry.is_empty() || !of_port {
        return false;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let prefix = entry.parse::<Prefix>();
        let alone = entry.parse() == Ok(address);
        return entry == "*" || alone || prefix.is_ok_and(|prefix| prefix.contains(address));
    }
    let name = entry.trim_start_matches('*').trim_start_matches('.');
    let below = || {
        host.strip_suffix(name)
            .is_some_and(|rest| rest.ends_with('.'))
    };
    entry == "*" || (!name.is_empty() && (host == name || below()))
}

/// Makes a connection with the proxy one with the collector.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// None where nobody stands between.
    pub(super) proxy: Option<Proxy>,
    /// The collector, `host:port`.
    pub(super) target: String,
}

impl<In: Transport> Connector<In> for Tunnel {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Ok(None);
        };
        match &self.proxy {
            None => Ok(Some(transport.boxed())),
            Some(proxy) => open(proxy, &self.target, details, transport.boxed()).map(Some),
        }
    }
}

/// Asks for the tunnel and reads the answer to its end.
fn open(
    proxy: &Proxy,
    target: &str,
    details: &ConnectionDetails<'_>,
    transport: Box<dyn Transport>,
) -> Result<Box<dyn Transport>, ureq::Error> {
    use std::io::Write as _;

    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(secret) = &proxy.secret {
        let encoded = BASE64_STANDARD.encode(secret);
        request.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
    }
    request.push_str("\r\n");
    let mut writer = TransportAdapter::new(transport, details.current_time.clone());
    writer.set_timeout(details.timeout);
    writer.write_all(request.as_bytes())?;
    writer.flush()?;
    let mut transport = writer.into_inner();
    let mut skipped = 0;
    loop {
        let more = transport.maybe_await_input(details.timeout)?;
        let buffers = transport.buffers();
        let input = buffers.input();
        let Some((length, status)) = head(input) else {
            if skipped + input.len() >= HEAD_MAX_BYTES || !more {
                return Err(refused(proxy, "its answer is none of a proxy"));
            }
            continue;
        };
        match status {
            Some(200..=299) => {
                buffers.input_consume(length);
                return Ok(transport);
            }
            Some(100..=199) if skipped < HEAD_MAX_BYTES => {
                skipped += length;
                buffers.input_consume(length);
            }
            Some(407) => {
                return Err(refused(
                    proxy,
                    match proxy.has_secret() {
                        true => "status 407: it does not take this user and password",
                        false => "status 407: it wants a user and a password",
                    },
                ));
            }
            Some(status) => {
                let line = input
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or_default();
                let words = words(line.get(13..).unwrap_or_default());
                return Err(refused(proxy, &format!("status {status} {words}")));
            }
            None => return Err(refused(proxy, "its answer is none of a proxy")),
        }
    }
}

/// Length of the head of an answer, once it is whole, and its status.
fn head(input: &[u8]) -> Option<(usize, Option<u16>)> {
    let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let line = input.get(..12)?;
    let status = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| std::str::from_utf8(rest.get(2..)?).ok()?.parse().ok());
    Some((end, status))
}

fn refused(proxy: &Proxy, why: &str) -> ureq::Error {
    ureq::Error::ConnectProxyFailed(format!("{proxy}: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str = "https://collector.example:9443/prefix";

    fn environment(variables: &[(&str, &str)]) -> Environment {
        from_environment(URL, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_proxy_is_http_with_host_and_port_and_its_password_is_never_shown() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example:3128/").unwrap();
        assert_eq!(proxy.address(), "proxy.example:3128");
        assert_eq!(proxy.secret.as_deref(), Some("me:p@ss"));
        for shown in [format!("{proxy}"), format!("{proxy:?}")] {
            assert!(
                !shown.contains("p@ss") && !shown.contains("p%40ss"),
                "{shown}"
            );
        }
        assert_eq!(Proxy::parse("proxy").unwrap().address(), "proxy:80");
        assert_eq!(
            Proxy::parse("http://[fd00::1]:8080").unwrap().address(),
            "[fd00::1]:8080"
        );
        for wrong in [
            "",
            "socks5://proxy:1080",
            "https://proxy:3128",
            "http://proxy:0",
            "http://proxy:99999",
            "http://proxy:",
            "http://proxy:3128/path",
            "ftp://proxy",
            "http://",
            "a b",
        ] {
            assert!(Proxy::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        let through = |text: &str, name| Environment::Through(Proxy::parse(text).unwrap(), name);
        assert_eq!(environment(&[]), Environment::Silent);
        assert_eq!(
            environment(&[("HTTPS_PROXY", " "), ("HTTP_PROXY", "http://a")]),
            Environment::Silent
        );
        let both = [("all_proxy", "http://b:2"), ("https_proxy", "http://a:1")];
        assert_eq!(environment(&both), through("http://a:1", "https_proxy"));
        assert_eq!(environment(&both[..1]), through("http://b:2", "all_proxy"));
        let socks = environment(&[("ALL_PROXY", "socks5://a:1")]);
        assert_eq!(socks, Environment::Unusable("ALL_PROXY", EXPECTED));
    }

    #[test]
    fn exceptions_are_names_addresses_and_prefixes() {
        for (entry, host, expected) in [
            ("*", "a.example", true),
            ("collector.example", "collector.example", true),
            ("COLLECTOR.example", "collector.EXAMPLE", true),
            ("example", "collector.example", true),
            (".example", "collector.example", true),
            ("*.example", "collector.example", true),
            ("ample", "collector.example", false),
            ("collector.example:9443", "collector.example", true),
            ("collector.example:443", "collector.example", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3:9443", "10.1.2.3", true),
            ("fd00::/8", "[fd00::1]", true),
            ("fd00::1", "[fd00::1]", true),
            ("[fd00::1]:9443", "[fd00::1]", true),
            ("[fd00::1]:1", "[fd00::1]", false),
            ("", "collector.example", false),
            (".", "collector.example", false),
            ("3", "10.1.2.3", false),
        ] {
            assert_eq!(excepts(entry, host, 9443), expected, "{entry} {host}");
        }
        let proxy = ("HTTPS_PROXY", "http://a:1");
        let past = environment(&[proxy, ("no_proxy", "localhost, .example")]);
        assert_eq!(past, Environment::Past("no_proxy"));
        assert!(matches!(
            environment(&[proxy, ("NO_PROXY", "other")]),
            Environment::Through(..)
        ));
    }

    #[test]
    fn the_head_of_an_answer_ends_with_an_empty_line() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\n\r\nrest"), Some((19, Some(200))));
        assert_eq!(head(b"HTTP/1.0 407\r\nA: b\r\n\r\n"), Some((22, Some(407))));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(head(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Some((23, None)));
    }

    proptest! {
        #[test]
        fn any_bytes_and_texts_are_survived(bytes: Vec<u8>, text in ".*", host in ".*") {
            let _ignored = (head(&bytes), Proxy::parse(&text), excepts(&text, &host, 1));
        }
    }
}
