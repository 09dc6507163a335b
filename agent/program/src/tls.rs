//! Whom a client over HTTPS believes and what it shows, always with the ring provider.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// Why certificates or keys are not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates to verify the server by.
    #[error("certificate authority: expected one or more certificates in PEM")]
    Authority,
    /// The client certificate.
    #[error("client certificate: expected one or more certificates in PEM")]
    Certificate,
    /// The client's key.
    #[error("client key: expected a private key in PEM")]
    Key,
    /// Certificate and key do not fit together, or are of an unknown kind.
    #[error("client certificate and key")]
    Pair(#[source] rustls::Error),
}

/// The one provider of cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// All certificates of a PEM text; `None` where there is none, or one that is none.
#[must_use]
pub fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty())
}

/// What a client believes (none where it calls in the clear) and shows (chain and key), all PEM.
///
/// # Errors
/// What the client would only find out at its first connection, by a panic.
pub fn client(ca_pem: Option<&[u8]>, pair: Option<(&[u8], &[u8])>) -> Result<TlsConfig, Error> {
    let authorities = match ca_pem {
        None => Vec::new(),
        Some(pem) => certificates(pem).ok_or(Error::Authority)?,
    };
    let mut roots = RootCertStore::empty();
    for certificate in &authorities {
        roots
            .add(certificate.clone())
            .map_err(|_| Error::Authority)?;
    }
    let mut tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::Specific(Arc::new(owned(&authorities))));
    if let Some((chain_pem, key_pem)) = pair {
        let chain = certificates(chain_pem).ok_or(Error::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| Error::Key)?;
        let private = PrivateKey::from_pem(key_pem).map_err(|_| Error::Key)?;
        let shown = ClientCert::new_with_certs(&owned(&chain), private);
        ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(Error::Pair)?;
        tls = tls.client_cert(Some(shown));
    }
    Ok(tls.build())
}

fn owned(certificates: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    let certificates = certificates.iter();
    certificates
        .map(|der| Certificate::from_der(der).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_before_anything_is_called() {
        let signed = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (one, other) = (signed("one"), signed("other"));
        let (ca, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let (ca, key) = (ca.as_bytes(), key.as_bytes());
        assert!(client(None, None).is_ok());
        assert!(client(Some(ca), Some((ca, key))).is_ok());
        let none = b"nothing".as_slice();
        assert!(matches!(client(Some(none), None), Err(Error::Authority)));
        let wrong = |pair| client(Some(ca), Some(pair)).unwrap_err();
        assert!(matches!(wrong((none, key)), Error::Certificate));
        assert!(matches!(wrong((ca, none)), Error::Key));
        let stranger = other.signing_key.serialize_pem();
        assert!(matches!(wrong((ca, stranger.as_bytes())), Error::Pair(_)));
    }
}
