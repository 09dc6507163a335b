//! The configuration that is used: read, checked by who will use it, and how it says that the
//! collector is reached.

use std::path::Path;

use crate::config::{self, Config, Credentials};
use crate::paths::ENROLLED_FILE;
use crate::upload::proxy::{Environment, Proxy, from_environment};
use crate::upload::{self, Transport};

/// Reads the configuration; what the collector's files hold is checked by who will use them.
///
/// # Errors
/// Every mistake at once.
pub fn load(file: &Path) -> Result<Config, config::Error> {
    let config = config::load(file)?;
    if let Some(upload) = &config.upload {
        check(upload).map_err(|error| {
            let error = anyhow::Error::from(error);
            config::Error {
                problems: vec![format!("{}: upload: {error:#}", file.display())],
            }
        })?;
    }
    Ok(config)
}

/// Whether the configuration can work, before anything is sent.
///
/// # Errors
/// What cannot be used.
pub fn check(upload: &config::Upload) -> Result<(), upload::Error> {
    let settings = upload::Settings {
        proxy: configured_proxy(upload)?,
        ..settings(upload)
    };
    Transport::new(&settings).map(drop)
}

/// How to send, and through which proxy; that is said in the log.
pub fn reach(upload: &config::Upload) -> upload::Settings {
    upload::Settings {
        proxy: proxy(upload),
        ..settings(upload)
    }
}

fn settings(upload: &config::Upload) -> upload::Settings {
    upload::Settings {
        url: upload.url.clone(),
        server_name: upload.server_name.clone(),
        ca_pem: upload.ca_pem.clone(),
        credential: match &upload.credentials {
            Credentials::Certificate { chain_pem, key_pem } => upload::Credential::Certificate {
                chain_pem: chain_pem.clone(),
                key_pem: key_pem.expose().clone(),
            },
            Credentials::Enrolled(token) => upload::Credential::Enrolled {
                token: token.as_ref().map(|token| token.expose().clone()),
                file: ENROLLED_FILE.into(),
            },
            Credentials::Token(token) => upload::Credential::Token(token.expose().clone()),
        },
        proxy: None,
        timeout: upload.timeout,
    }
}

/// The proxy that the configuration names.
fn configured_proxy(upload: &config::Upload) -> Result<Option<Proxy>, upload::Error> {
    let Some(text) = upload.proxy.as_deref().filter(|text| *text != "none") else {
        return Ok(None);
    };
    let proxy = Proxy::parse(text).map_err(|expected| upload::Error::Proxy { expected })?;
    Ok(Some(with_secret(proxy, upload)))
}

fn with_secret(proxy: Proxy, upload: &config::Upload) -> Proxy {
    match &upload.proxy_secret {
        Some(secret) => proxy.with_secret(secret.expose().clone()),
        None => proxy,
    }
}

/// The proxy to go through, by configuration or else by environment; said once in the log.
fn proxy(upload: &config::Upload) -> Option<Proxy> {
    let through = |proxy: &Proxy, by: &str| {
        let address = proxy.to_string();
        ::log::info!(
            proxy = address.as_str(), by = by, credential = proxy.has_secret();
            "uploads go through a proxy"
        );
    };
    if upload.proxy.is_some() {
        // What cannot be read was refused with the configuration.
        let configured = configured_proxy(upload).ok().flatten();
        if let Some(proxy) = &configured {
            through(proxy, "upload.proxy");
        }
        return configured;
    }
    match from_environment(&upload.url, |name| std::env::var(name).ok()) {
        Environment::Silent => None,
        Environment::Through(proxy, by) => {
            let proxy = with_secret(proxy, upload);
            through(&proxy, by);
            Some(proxy)
        }
        Environment::Past(by) => {
            ::log::info!(by = by; "uploads go past the proxy of the environment");
            None
        }
        Environment::Unusable(by, expected) => {
            ::log::warn!(
                by = by, expected = expected;
                "the environment's proxy cannot be used, uploads go past it"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::configured_proxy;
    use crate::config::{Credentials, Secret, Upload};

    fn upload(proxy: Option<&str>) -> Upload {
        Upload {
            url: "https://c".into(),
            ca_pem: Vec::new(),
            credentials: Credentials::Token(Secret::new("t".into())),
            server_name: None,
            proxy: proxy.map(str::to_owned),
            proxy_secret: Some(Secret::new("me:s3cret".into())),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_configured_proxy_is_taken_none_is_none_and_a_wrong_one_is_refused() {
        let of = |text| configured_proxy(&upload(text));
        assert_eq!(of(None).unwrap(), None);
        assert_eq!(of(Some("none")).unwrap(), None);
        let proxy = of(Some("http://p:3128")).unwrap().unwrap();
        assert_eq!(proxy.to_string(), "http://p:3128");
        assert!(proxy.has_secret());
        let error = of(Some("socks5://p")).unwrap_err().to_string();
        assert!(error.starts_with("proxy: expected http://host"), "{error}");
    }
}
