//! The collector's own authority for agents: makes itself, and certificates out of what agents ask
//! with.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::auth::CredentialId;
use crate::digest::sha256;

/// Longest request for a certificate, PEM; one with a key of the kinds that are taken has some 400
/// bytes.
pub const MAX_REQUEST: usize = 8 << 10;
/// How far a collector's clock may be behind the one that issued: several may stand behind one name.
const BACKDATED: Duration = Duration::from_secs(300);
/// Longest name of a host in a certificate; RFC 1035, 2.3.4.
const MAX_NAME: usize = 253;

/// Why no certificate or no authority was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority's certificate and key are no pair.
    #[error("the authority's certificate is not of this key")]
    Pair,
    /// What should be an authority's certificate or key is none.
    #[error("expected {0} in PEM")]
    Pem(&'static str),
    /// The request.
    #[error("{0}")]
    Request(&'static str),
    /// The library.
    #[error("cannot make the certificate")]
    Made(#[from] rcgen::Error),
    /// No random bytes.
    #[error("the kernel gives no random bytes")]
    Random,
}

/// What signs certificates of agents.
pub struct Authority {
    /// Its own certificate, PEM.
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    lifetime: Duration,
}

/// A certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, and the authority's behind it, PEM.
    pub pem: String,
    /// Its SHA-256.
    pub id: CredentialId,
    /// When it was made, Unix milliseconds.
    pub issued_ms: i64,
    /// Until when it is valid, Unix milliseconds.
    pub expires_ms: i64,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// A new authority, valid for `lifetime` from `now_ms`: its certificate and its key, PEM.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn create(name: &str, lifetime: Duration, now_ms: i64) -> Result<(String, String), Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = named(name);
        // What it signs signs nothing.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, lifetime, now_ms)?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// The authority of a certificate and its key, PEM; of several certificates the first one, the
    /// others are only believed.
    ///
    /// # Errors
    /// When they are none, or do not go together.
    pub fn load(pem: &str, key: &str, lifetime: Duration) -> Result<Self, Error> {
        let key = KeyPair::from_pem(key).map_err(|_| Error::Pem("the authority's private key"))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| Error::Pem("the authority's certificate"))?;
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| Error::Pem("the authority's certificate"))?;
        let of_key = key.subject_public_key_info();
        // The anchor's is without the outermost tag and length.
        if !of_key.ends_with(&anchor.subject_public_key_info) {
            return Err(Error::Pair);
        }
        let own = pem::encode(&der);
        Ok(Self {
            pem: own,
            issuer: Issuer::from_ca_cert_der(&der, key)?,
            lifetime,
        })
    }

    /// A certificate for the host `name`, of the public key in a request (PKCS #10, PEM). Nothing
    /// else of the request is taken.
    ///
    /// # Errors
    /// [`Error::Request`] says what is wrong with the request.
    pub fn sign(&self, request: &str, name: &str, now_ms: i64) -> Result<Issued, Error> {
        if request.len() > MAX_REQUEST {
            return Err(Error::Request("the request for a certificate is too long"));
        }
        // It proves by its signature that the sender has the key.
        let request = CertificateSigningRequestParams::from_pem(request).map_err(|_| {
            Error::Request(
                "expected a request for a certificate (PKCS #10) in PEM, signed by its key",
            )
        })?;
        let key = &request.public_key;
        let is_p256 = *key.algorithm() == PKCS_ECDSA_P256_SHA256 && key.der_bytes().len() == 65;
        if !is_p256 && *key.algorithm() != PKCS_ED25519 {
            return Err(Error::Request("expected a key of P-256 or Ed25519"));
        }
        let mut params = named(name);
        let alternative = name
            .try_into()
            .map_err(|_| Error::Request("no name of a host"))?;
        params.subject_alt_names = vec![rcgen::SanType::DnsName(alternative)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let expires_ms = validity(&mut params, self.lifetime, now_ms)?;
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Issued {
            pem: format!("{}{}", certificate.pem(), self.pem),
            id: CredentialId(sha256(certificate.der())),
            issued_ms: now_ms,
            expires_ms,
        })
    }
}

/// Whether a host can be called this: letters, digits, hyphens, underscores and dots.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    name.len() <= MAX_NAME
        && name
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.chars().all(fits))
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // RFC 5280 bounds a common name at 64 characters.
    let common: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

/// Sets the times and a serial number; until when it is valid, Unix milliseconds.
fn validity(params: &mut CertificateParams, lifetime: Duration, now_ms: i64) -> Result<i64, Error> {
    let now = Duration::from_secs(u64::try_from(now_ms / 1000).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    // The last second of the year 9998: dates in certificates have four digits.
    let expires = now
        .saturating_add(lifetime)
        .min(Duration::from_secs(253_370_764_799));
    params.not_after = epoch + expires;
    let mut serial = [0; 16];
    SystemRandom::new()
        .fill(&mut serial)
        .map_err(|_| Error::Random)?;
    // Positive, and as long as it is: RFC 5280, 4.1.2.2.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(crate::time::whole_ms(expires))
}

mod pem {
    use data_encoding::BASE64;

    /// A certificate as PEM (RFC 7468).
    pub(super) fn encode(der: &[u8]) -> String {
        let text = BASE64.encode(der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::RootCertStore;
    use rustls::pki_types::UnixTime;
    use rustls::server::WebPkiClientVerifier;
    use std::sync::Arc;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW_MS: i64 = 1_800_000_000_000;

    fn authority() -> (String, Authority) {
        let (pem, key) = Authority::create("agents of a test", 100 * DAY, NOW_MS).unwrap();
        let authority = Authority::load(&pem, &key, DAY).unwrap();
        (pem, authority)
    }

    fn request(key: &KeyPair, ask: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::default();
        ask(&mut params);
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    /// Whether TLS would take it for a client's, some days from the begin.
    fn is_valid(ca: &str, issued: &Issued, days: u32) -> bool {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crate::tls::provider())
                .build()
                .unwrap();
        let own = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
        let now = Duration::from_millis(NOW_MS.unsigned_abs()) + days * DAY;
        let now = UnixTime::since_unix_epoch(now);
        verifier.verify_client_cert(&own, &[], now).is_ok()
    }

    #[test]
    fn a_certificate_has_the_name_of_the_token_and_only_the_key_of_the_request() {
        let (pem, authority) = authority();
        let key = KeyPair::generate().unwrap();
        let greedy = request(&key, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let name = "ops.example".try_into().unwrap();
            params.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
        });
        let issued = authority.sign(&greedy, "db1.example", NOW_MS).unwrap();
        assert_eq!(issued.expires_ms, NOW_MS + 86_400_000);
        let der = CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap();
        assert_eq!(issued.id, CredentialId(sha256(&der)));
        let parsed = webpki::EndEntityCert::try_from(&der).unwrap();
        let names: Vec<_> = parsed.valid_dns_names().collect();
        assert_eq!(names, ["db1.example"]);
        let info = parsed.subject_public_key_info();
        assert_eq!(info.as_ref(), key.subject_public_key_info());
        assert!(is_valid(&pem, &issued, 0));
        assert!(!is_valid(&pem, &issued, 2), "expired");
        let (other, _) = Authority::create("another", 100 * DAY, NOW_MS).unwrap();
        assert!(!is_valid(&other, &issued, 0));
        // It signs nothing, and is no server.
        let anchored = Authority::load(&issued.pem, &key.serialize_pem(), DAY).unwrap();
        let below = anchored.sign(&request(&key, |_| {}), "x", NOW_MS).unwrap();
        let chain = CertificateDer::from_pem_slice(below.pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crate::tls::provider())
                .build()
                .unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(NOW_MS.unsigned_abs()));
        let verified = verifier.verify_client_cert(&chain, std::slice::from_ref(&der), now);
        assert!(verified.is_err());
    }

    #[test]
    fn two_certificates_of_one_key_are_two() {
        let (_, authority) = authority();
        let key = KeyPair::generate().unwrap();
        let sign = || {
            authority
                .sign(&request(&key, |_| {}), "a", NOW_MS)
                .unwrap()
                .id
        };
        assert_ne!(sign(), sign());
    }

    #[test]
    fn what_is_no_request_of_a_good_key_is_refused() {
        let (_, authority) = authority();
        let key = KeyPair::generate().unwrap();
        let good = request(&key, |_| {});
        let why = |request: &str| {
            authority
                .sign(request, "a", NOW_MS)
                .unwrap_err()
                .to_string()
        };
        assert!(why("").contains("expected a request"));
        assert!(why(&"x".repeat(MAX_REQUEST + 1)).contains("too long"));
        let strange = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(why(&request(&strange, |_| {})).contains("P-256"));
        // The signature is what proves that the sender has the key.
        let mut der =
            rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes())
                .unwrap()
                .to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        let forged = pem::encode(&der).replace("CERTIFICATE", "CERTIFICATE REQUEST");
        assert!(why(&forged).contains("expected a request"));
    }

    #[test]
    fn certificate_and_key_of_an_authority_must_go_together() {
        let (pem, _) = Authority::create("one", DAY, NOW_MS).unwrap();
        let (_, key) = Authority::create("two", DAY, NOW_MS).unwrap();
        assert!(matches!(Authority::load(&pem, &key, DAY), Err(Error::Pair)));
        assert!(matches!(Authority::load("", &key, DAY), Err(Error::Pem(_))));
        assert!(matches!(Authority::load(&pem, "", DAY), Err(Error::Pem(_))));
    }

    #[test]
    fn names_are_names_of_hosts() {
        for name in ["a", "db1.example", "A-b_c.d", &"x".repeat(63)] {
            assert!(is_name(name), "{name}");
        }
        let long = ["x"; 128].join(".");
        for name in [
            "",
            ".",
            "a..b",
            "*.example",
            "a b",
            "é",
            "a/b",
            &"x".repeat(64),
            &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes: Vec<u8>, at: usize, to: u8) {
            let (_, authority) = authority();
            let text = pem::encode(&bytes).replace("CERTIFICATE", "CERTIFICATE REQUEST");
            prop_assert!(authority.sign(&text, "a", NOW_MS).is_err());
            let key = KeyPair::generate().unwrap();
            let mut der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(
                request(&key, |_| {}).as_bytes(),
            )
            .unwrap()
            .to_vec();
            let at = at % der.len();
            der[at] = to;
            let text = pem::encode(&der).replace("CERTIFICATE", "CERTIFICATE REQUEST");
            // Whatever came of it, it is judged.
            drop(authority.sign(&text, "a", NOW_MS));
        }
    }
}
