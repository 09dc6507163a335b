//! The cookie by which a session is known.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::api::SESSION_COOKIE;

/// The secret that a browser sends; `None` without one, and where there are several: nobody who
/// logged in here has two.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut found = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value);
    let first = found.next().filter(|secret| !secret.is_empty());
    first.filter(|_| found.next().is_none())
}

/// Gives a browser the secret, for so many seconds.
pub(super) fn set(secret: &str, seconds: i64) -> HeaderValue {
    let text = format!(
        "{SESSION_COOKIE}={secret}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"
    );
    HeaderValue::from_str(&text).expect("a secret is made of letters, digits, - and _")
}

/// Takes it back.
pub(super) fn clear() -> HeaderValue {
    set("", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    #[test]
    fn the_one_of_its_name_is_read_and_no_other() {
        assert_eq!(of(&with(&["__Host-waybill=abc"])), Some("abc"));
        assert_eq!(of(&with(&["a=b; __Host-waybill=abc;c=d"])), Some("abc"));
        assert_eq!(of(&with(&["a=b", "__Host-waybill=abc"])), Some("abc"));
        for none in [
            &["waybill=abc"][..],
            &["__Host-waybill="],
            &["__Host-waybill"],
            &["x__Host-waybill=abc"],
            &["__host-waybill=abc"],
            &["__Host-waybill=abc; __Host-waybill=abd"],
            &["__Host-waybill=abc", "__Host-waybill=abd"],
            &[],
        ] {
            assert_eq!(of(&with(none)), None, "{none:?}");
        }
    }

    #[test]
    fn no_script_and_no_other_site_gets_it() {
        let set = set("abc", 60);
        let set = set.to_str().unwrap();
        assert!(set.starts_with("__Host-waybill=abc; "), "{set}");
        for word in [
            "Path=/",
            "Max-Age=60",
            "Secure",
            "HttpOnly",
            "SameSite=Strict",
        ] {
            assert!(set.split("; ").any(|part| part == word), "{word}: {set}");
        }
        // With a domain, or another path, a browser does not take this prefix.
        assert!(!set.contains("Domain"));
        assert!(clear().to_str().unwrap().contains("Max-Age=0"));
    }
}
