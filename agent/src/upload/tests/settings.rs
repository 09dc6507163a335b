//! Settings that cannot work are refused before anything is sent, and never quoted if secret.

use program::tls;

use super::server::{Authority, TOKEN};
use crate::upload::{Credential, Error, Settings, Transport};

fn good() -> Settings {
    Authority::new().settings(9443)
}

fn refused(settings: &Settings) -> Error {
    Transport::new(settings).expect_err("refused")
}

#[test]
fn only_an_https_url_without_extras_is_accepted() {
    for url in [
        "",
        "collector",
        "collector:9443",
        "/api",
        "http://collector:9443",
        "http://127.0.0.1:9443",
        "ftp://collector",
        "https://",
        "https://user:password@collector",
        "https://collector/?x=1",
        "https://coll ector",
        "https://collector:99999",
        "https://collector:0",
        "https://collector:",
    ] {
        let settings = Settings {
            url: url.to_owned(),
            ..good()
        };
        assert!(matches!(refused(&settings), Error::Url { .. }), "{url}");
    }
    for url in [
        "https://collector",
        "https://[::1]:9443",
        "https://192.0.2.1/prefix",
        "HTTPS://c",
    ] {
        Transport::new(&Settings {
            url: url.to_owned(),
            ..good()
        })
        .expect(url);
    }
}

#[test]
fn a_server_name_is_a_name_or_an_address() {
    for name in ["collector.example", "192.0.2.1", "::1"] {
        Transport::new(&Settings {
            server_name: Some(name.to_owned()),
            ..good()
        })
        .expect(name);
    }
    for name in ["", "two names", "a/b", "a:1"] {
        let settings = Settings {
            server_name: Some(name.to_owned()),
            ..good()
        };
        assert!(
            matches!(refused(&settings), Error::ServerName { .. }),
            "{name}"
        );
    }
}

#[test]
fn an_authority_file_without_certificates_is_refused() {
    let noise = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in [&b""[..], b"nothing", noise] {
        let settings = Settings {
            ca_pem: pem.to_vec(),
            ..good()
        };
        assert!(matches!(
            refused(&settings),
            Error::Tls(tls::Error::Authority)
        ));
    }
}

#[test]
fn certificate_and_key_have_to_fit() {
    let authority = Authority::new();
    let (one, other) = (authority.issue("a"), authority.issue("b"));
    let settings = |chain_pem: &[u8], key_pem: &[u8]| Settings {
        credential: Credential::Certificate {
            chain_pem: chain_pem.to_vec(),
            key_pem: key_pem.to_vec(),
        },
        ..good()
    };
    Transport::new(&settings(&one.chain_pem, &one.key_pem)).expect("they fit");
    assert!(matches!(
        refused(&settings(&one.chain_pem, &other.key_pem)),
        Error::Tls(tls::Error::Pair(_))
    ));
    assert!(matches!(
        refused(&settings(b"", &one.key_pem)),
        Error::Tls(tls::Error::Certificate)
    ));
    assert!(matches!(
        refused(&settings(&one.chain_pem, &one.chain_pem)),
        Error::Tls(tls::Error::Key)
    ));
}

#[test]
fn a_token_is_one_word() {
    for token in ["", "two words", "line\nbreak", "tab\t", "\u{e9}"] {
        let settings = Settings {
            credential: Credential::Token(token.to_owned()),
            ..good()
        };
        assert!(matches!(refused(&settings), Error::Token), "{token:?}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let settings = good();
    let transport = Transport::new(&settings).expect("good");
    let bad = Settings {
        credential: Credential::Token(format!("{TOKEN} ")),
        ..settings.clone()
    };
    let error = refused(&bad);
    for text in [
        format!("{settings:?}"),
        format!("{transport:?}"),
        format!("{error:?} {error}"),
    ] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}
