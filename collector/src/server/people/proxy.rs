//! What a reverse proxy says of its client: who it is, and where.
//!
//! It is believed from where the configuration says that proxies are, and from nowhere else.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName};

use super::person::{How, Person};
use crate::accept::{Reason, Refusal};
use crate::access::user_name;
use crate::config::Proxy;
use crate::server::acceptor::Peer;
use crate::server::app::App;
use crate::{escape, time};

/// Addresses of those that a request passed, each added by the next one.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Most groups of one person that are looked at.
const GROUPS: usize = 1000;

/// The person whom a trusted proxy names. A name from elsewhere is ignored and counted.
///
/// # Errors
/// A proxy names nobody, or more than one, or somebody who may do nothing here.
pub(super) fn person(
    app: &App,
    peer: &Peer,
    headers: &HeaderMap,
) -> Result<Option<Person>, Refusal> {
    let Some(proxy) = &app.config.auth.proxy else {
        return Ok(None);
    };
    let Some(says) = &proxy.says else {
        return Ok(None);
    };
    let groups = says.groups.as_ref();
    if !headers.contains_key(&says.user) && groups.is_none_or(|name| !headers.contains_key(name)) {
        return Ok(None);
    }
    if !is_trusted(app, proxy, peer)? {
        app.metrics.proxy_headers_ignored_total.add(1);
        return Ok(None);
    }
    let refused = |why: String| {
        app.metrics.proxy_headers_refused_total.add(1);
        Err(Refusal::new(Reason::Forbidden, why))
    };
    let Some(said) = one(headers, &says.user) else {
        return refused(format!(
            "the proxy names nobody, or more than one: expected one header {} that it has set itself",
            says.user
        ));
    };
    let Ok(name) = user_name(said) else {
        let shown = escape::shorten(said, 40);
        return refused(format!(
            "the proxy names {shown}, which is no name of a user"
        ));
    };
    let groups = groups.map_or_else(Vec::new, |name| list(headers, name));
    let Some(rank) = says.rank(groups.into_iter().take(GROUPS)) else {
        return refused(format!("{name} is in no group of [auth.proxy] roles"));
    };
    // Whoever is locked out here stays so, by whatever way they come.
    match app.access.is_disabled(&name) {
        Ok(false) => {}
        Ok(true) => {
            let why = format!("user {name} is disabled");
            return Err(Refusal::new(Reason::Revoked, why));
        }
        Err(error) => return Err(app.cannot_judge(error)),
    }
    Ok(Some(Person {
        name,
        rank,
        how: How::Proxy,
        source: Some(source(app, peer, headers)),
    }))
}

/// The address of whoever asks: that of the peer, or what trusted proxies say of it.
pub(super) fn source(app: &App, peer: &Peer, headers: &HeaderMap) -> IpAddr {
    let address = peer.address.ip();
    let Some(proxy) = &app.config.auth.proxy else {
        return address;
    };
    match is_trusted(app, proxy, peer) {
        Ok(true) => forwarded(proxy, headers).unwrap_or(address),
        _ => address,
    }
}

/// The last address that was not added by a proxy of ours: what stands before it anybody may have
/// written.
fn forwarded(proxy: &Proxy, headers: &HeaderMap) -> Option<IpAddr> {
    let is_proxy = |ip: &IpAddr| !proxy.networks.is_empty() && proxy.is_at(*ip);
    let name = HeaderName::from_static(FORWARDED_FOR);
    for text in list(headers, &name).into_iter().rev() {
        match text.parse::<IpAddr>() {
            Ok(ip) if is_proxy(&ip) => {}
            found => return found.ok(),
        }
    }
    None
}

fn is_trusted(app: &App, proxy: &Proxy, peer: &Peer) -> Result<bool, Refusal> {
    if !proxy.is_at(peer.address.ip()) {
        return Ok(false);
    }
    if proxy.certificate_names.is_empty() {
        return Ok(true);
    }
    let known = app.secrets.known();
    let shown = peer.certificate.as_ref();
    match shown.and_then(|shown| known.proxy(shown, time::now_ms())) {
        None => Ok(false),
        Some(id) => {
            let revoked = app.access.is_revoked(id);
            revoked
                .map(|is| !is)
                .map_err(|error| app.cannot_judge(error))
        }
    }
}

/// The value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    match all.next() {
        None => first
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|text| !text.is_empty()),
        Some(_) => None,
    }
}

/// All values of a header, also of several lines.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let all = lines.flat_map(|line| line.split(',')).map(str::trim);
    all.filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::network::Network;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn what_a_client_writes_about_its_address_is_not_believed() {
        let proxy = Proxy {
            networks: vec![Network::parse("10.0.0.0/24").unwrap()],
            certificate_names: Vec::new(),
            says: None,
        };
        let of = |lines: &[&str]| forwarded(&proxy, &headers(lines)).map(|ip| ip.to_string());
        assert_eq!(of(&["192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(
            of(&["1.2.3.4, 192.0.2.7, 10.0.0.9"]).as_deref(),
            Some("192.0.2.7")
        );
        assert_eq!(of(&["1.2.3.4", "192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(of(&["1.2.3.4, nonsense"]), None);
        assert_eq!(of(&["10.0.0.8"]), None);
        assert_eq!(of(&[]), None);
    }
}
