//! TLS: what the server offers, and what a questioner trusts. Always with the ring provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use program::tls::provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::Listen;
use crate::files;

/// Why certificates or keys are not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, or holds no PEM section of the kind.
    #[error("{}: expected {expected}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// The cause.
        #[source]
        source: Option<pem::Error>,
    },
    /// The key of the configuration that named the file.
    #[error("{key}")]
    Key {
        /// Its path.
        key: &'static str,
        /// What is wrong with the file.
        #[source]
        source: Box<Error>,
    },
    /// Certificate and key do not go together, or are of an unknown kind.
    #[error("{}: cannot be used for TLS", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Who judges client certificates.
pub type Verifier = Arc<dyn ClientCertVerifier>;

/// What the server offers.
///
/// A client certificate is asked for where there is who judges it, and one that is not of a CA known here ends
/// the handshake. A client without one gets as far as HTTP, where it needs a token: so it is told
/// 401 instead of being cut off, and `/healthz` works for everybody.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn server_config(listen: &Listen, verifier: Option<&Verifier>) -> Result<ServerConfig, Error> {
    let chain = certificates(&listen.cert_file).map_err(named("listen.cert_file"))?;
    let key = private_key(&listen.key_file).map_err(named("listen.key_file"))?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&listen.cert_file, e))?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|e| unusable(&listen.cert_file, e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// What a client offers to a server that the authorities in a file vouch for.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn client_config(
    ca_file: &Path,
    client: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_file)? {
        roots.add(certificate).map_err(|e| unusable(ca_file, e))?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(ca_file, e))?
        .with_root_certificates(roots);
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain)?, private_key(key)?)
            .map_err(|e| unusable(chain, e)),
    }
}

/// Who judges client certificates by the authorities in these files, each named by its key.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn client_verifier(files: &[(&'static str, &Path)]) -> Result<Option<Verifier>, Error> {
    let Some((_, first)) = files.first() else {
        return Ok(None);
    };
    let mut roots = RootCertStore::empty();
    for (key, file) in files {
        for certificate in certificates(file).map_err(named(key))? {
            roots.add(certificate).map_err(|e| unusable(file, e))?;
        }
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map(|verifier| Some(verifier as Verifier))
        .map_err(|e| unusable(first, e))
}

fn named(key: &'static str) -> impl Fn(Error) -> Error {
    move |error| Error::Key {
        key,
        source: Box::new(error),
    }
}

/// All certificates of a PEM file, at least one.
///
/// # Errors
/// When there is none.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |source| Error::File {
        file: file.to_owned(),
        expected: "PEM certificates",
        source,
    };
    let found: Vec<_> = files::read(file, files::MAX_SMALL)
        .map_err(pem::Error::Io)
        .and_then(|pem| CertificateDer::pem_slice_iter(&pem).collect())
        .map_err(|e| wrong(Some(e)))?;
    if found.is_empty() {
        return Err(wrong(None));
    }
    Ok(found)
}

/// The private key of a PEM file.
///
/// # Errors
/// When there is none.
pub fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let key = files::read(file, files::MAX_SMALL)
        .map_err(pem::Error::Io)
        .and_then(|pem| PrivateKeyDer::from_pem_slice(&pem));
    key.map_err(|source| Error::File {
        file: file.to_owned(),
        expected: "a PEM private key",
        source: Some(source),
    })
}

fn unusable(file: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unusable {
        file: file.to_owned(),
        source: Box::new(source),
    }
}
