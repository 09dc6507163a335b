//! Whether a request comes from a page of this collector, where a browser would send what is known of
//! its user by itself.
//!
//! A browser sends cookies, client certificates, and what a proxy knows it by, also with requests
//! that pages of others make. `Sec-Fetch-Site` (Fetch Metadata) says whose page it is and no page can
//! write it; browsers before it say `Origin` (RFC 6454).

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

/// The header of Fetch Metadata.
const SITE: &str = "sec-fetch-site";

/// Checks it. `must_say`: what says nothing is refused, for browsers would.
///
/// # Errors
/// What is wrong.
pub(in crate::server) fn check(headers: &HeaderMap, must_say: bool) -> Result<(), &'static str> {
    let mut sites = headers.get_all(SITE).iter().peekable();
    if sites.peek().is_some() {
        return match sites.all(|site| site == "same-origin") {
            true => Ok(()),
            false => Err("this request comes from a page of somebody else"),
        };
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return match must_say {
            false => Ok(()),
            true => Err(
                "the request does not say from which page it comes: send Origin, or ask with a token",
            ),
        };
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("https://"));
    let is_own = host.zip(origin).is_some_and(|(host, origin)| {
        let (host, origin) = (without_port(host), without_port(origin));
        !host.is_empty() && host.eq_ignore_ascii_case(origin)
    });
    match is_own && headers.get_all(ORIGIN).iter().count() == 1 {
        true => Ok(()),
        false => Err("this request comes from a page of somebody else"),
    }
}

/// Without the port that is meant where there is none.
fn without_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::check;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn pages_of_others_are_refused_and_own_ones_are_not() {
        let host = ("host", "waybill.example:9443");
        for good in [
            &[host, ("sec-fetch-site", "same-origin")][..],
            &[host, ("origin", "https://waybill.example:9443")],
            &[host, ("origin", "https://WAYBILL.example:9443")],
            &[
                ("host", "waybill.example"),
                ("origin", "https://waybill.example:443"),
            ],
            // What the browser says of the page counts more than a name that a proxy may have changed.
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://outside.example"),
            ],
        ] {
            assert_eq!(check(&headers(good), true), Ok(()), "{good:?}");
        }
        for bad in [
            &[host, ("sec-fetch-site", "cross-site")][..],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("sec-fetch-site", "none")],
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[
                host,
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://waybill.example:9443"),
            ],
            &[host, ("origin", "https://evil.example")],
            &[host, ("origin", "https://waybill.example")],
            &[host, ("origin", "http://waybill.example:9443")],
            &[host, ("origin", "null")],
            &[
                host,
                ("origin", "https://waybill.example:9443.evil.example"),
            ],
            &[("origin", "https://waybill.example")],
            &[("host", ""), ("origin", "https://")],
        ] {
            assert!(check(&headers(bad), true).is_err(), "{bad:?}");
            assert!(check(&headers(bad), false).is_err(), "{bad:?}");
        }
        assert!(check(&headers(&[host]), true).is_err());
        assert_eq!(check(&headers(&[host]), false), Ok(()));
    }
}
