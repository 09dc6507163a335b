//! Certificates: the server's chain with its names and times, and those of authorities.

use std::net::IpAddr;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::{Finding, Part};
use crate::config::Config;
use crate::{server, time, tls};

const PART: Part = Part("certificate");
/// Time before the end at which it should have been replaced, milliseconds.
const SOON_MS: i64 = 30 * 86_400_000;
/// What to do about one that ends.
const REPLACE: &str = "replace the file; it is read again by itself, and the log says so";

pub(super) fn examine(config: &Config, now_ms: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Whether key and certificate go together, and every token file is one.
    match server::Secrets::load(config) {
        Ok(_) => findings.push(PART.ok("listen.key_file", "goes with the certificate")),
        Err(failure) => findings.push(PART.failed(
            "files",
            format!("{:#}", failure.error),
            "`serve` does not start like this, and keeps what it read before while it runs",
        )),
    }
    let mut authorities = Vec::new();
    if let Some(file) = &config.listen.client_ca_file {
        authorities.push(("listen.client_ca_file", file.as_path()));
    }
    if let Some(enroll) = &config.enroll {
        authorities.push(("enroll.ca_cert_file", enroll.ca_cert_file.as_path()));
    }
    findings.extend(server_chain(&config.listen.cert_file, now_ms));
    for (key, file) in authorities {
        findings.extend(each(key, file, now_ms));
    }
    findings
}

fn server_chain(file: &Path, now_ms: i64) -> Vec<Finding> {
    let key = "listen.cert_file";
    let mut findings = each(key, file, now_ms);
    let Ok(chain) = tls::certificates(file) else {
        return findings;
    };
    findings.extend(names(&chain));
    findings.extend(order(&chain));
    findings
}

/// When each certificate of a file begins and ends.
fn each(key: &'static str, file: &Path, now_ms: i64) -> Vec<Finding> {
    let chain = match tls::certificates(file) {
        Ok(chain) => chain,
        Err(error) => {
            let what = format!("{:#}", anyhow::Error::new(error));
            let advice = "name a file with certificates in PEM that the collector may read";
            return vec![PART.failed(key, what, advice)];
        }
    };
    chain.iter().map(|der| times(key, der, now_ms)).collect()
}

fn times(key: &'static str, der: &CertificateDer<'_>, now_ms: i64) -> Finding {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return PART.failed(key, "no X.509 certificate", REPLACE);
    };
    let validity = certificate.validity();
    let ms = |at: i64| at.saturating_mul(1000);
    let (begin, end) = (
        ms(validity.not_before.timestamp()),
        ms(validity.not_after.timestamp()),
    );
    let what = format!(
        "{}: valid from {} to {}",
        certificate.subject(),
        time::rfc3339(begin),
        time::rfc3339(end)
    );
    // One that is short-lived by design is replaced in the last third of its time.
    let soon = SOON_MS.min(end.saturating_sub(begin) / 3);
    if now_ms < begin {
        PART.failed(key, what, "it is not valid yet: look at this host's clock")
    } else if now_ms >= end {
        PART.failed(key, format!("{what}: it has expired"), REPLACE)
    } else if now_ms >= end.saturating_sub(soon) {
        PART.warning(key, format!("{what}: it expires soon"), REPLACE)
    } else {
        PART.ok(key, what)
    }
}

/// The names by which agents may call the collector.
fn names(chain: &[CertificateDer<'_>]) -> Option<Finding> {
    let (_, own) = X509Certificate::from_der(chain.first()?).ok()?;
    let names = own.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names[..]);
    let names = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    Some(if names.is_empty() {
        PART.failed(
            "names",
            "no DNS name and no address in the subject alternative names",
            "agents look for the host of upload.url there and nowhere else",
        )
    } else {
        PART.ok("names", names.join(", "))
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok().map(|ip| ip.to_string())
}

/// Each certificate behind the first vouches for the one before it.
fn order(chain: &[CertificateDer<'_>]) -> Option<Finding> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der));
    let parsed: Vec<_> = parsed.collect::<Result<Vec<_>, _>>().ok()?;
    for pair in parsed.windows(2) {
        let (below, above) = (&pair[0].1, &pair[1].1);
        if below.verify_signature(Some(above.public_key())).is_err() {
            return Some(PART.failed(
                "chain",
                format!("{} has not signed {}", above.subject(), below.subject()),
                "put the server's certificate first, and behind each the one that signed it",
            ));
        }
    }
    let (_, last) = parsed.last()?;
    let what = match (parsed.len(), last.subject() == last.issuer()) {
        (1, true) => "signed by itself: agents need this very certificate as upload.ca_file".into(),
        (count, _) => format!(
            "{count} certificates, the last one signed by {}",
            last.issuer()
        ),
    };
    Some(PART.ok("chain", what))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::authority::Authority;
    use crate::doctor::State;

    const NOW_MS: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    fn made(days: u64) -> CertificateDer<'static> {
        let lifetime = Duration::from_secs(days * 86_400);
        let (pem, _) = Authority::create("an authority", lifetime, NOW_MS).unwrap();
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn times_are_judged_by_the_clock_that_is_given() {
        let of = |days: u64, after: i64| {
            let finding = times("listen.cert_file", &made(days), NOW_MS + after * DAY_MS);
            finding.state
        };
        assert_eq!(of(365, 1), State::Ok);
        assert_eq!(of(365, 340), State::Warning);
        assert_eq!(of(365, 366), State::Failed);
        assert_eq!(of(365, -30), State::Failed);
        // Two days of three are no reason to worry.
        assert_eq!(of(3, 1), State::Ok);
    }

    #[test]
    fn a_chain_is_in_order_and_has_names() {
        let (one, other) = (made(10), made(20));
        assert_eq!(order(std::slice::from_ref(&one)).unwrap().state, State::Ok);
        let wrong = order(&[one.clone(), other]).unwrap();
        assert_eq!(wrong.state, State::Failed);
        assert!(wrong.what.contains("has not signed"), "{}", wrong.what);
        assert_eq!(names(&[one]).unwrap().state, State::Failed);
        assert_eq!(address(&[10, 0, 0, 1]).as_deref(), Some("10.0.0.1"));
        assert_eq!(address(&[1]), None);
    }
}
