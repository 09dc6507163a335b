//! `[upload]`.

use super::{KEY, load, refused};
use crate::config::Credentials;

#[test]
fn upload_needs_a_collector_a_ca_and_one_kind_of_credentials() {
    let upload = |keys: &str| format!("{KEY}[upload]\n{keys}");
    let message = refused(&upload(""));
    for key in [
        "upload.url: missing",
        "upload.ca_file: missing",
        "upload.token_file: missing",
    ] {
        assert!(message.contains(key), "{message}");
    }
    let good = "url = \"https://c:9443/\"\nca_file = \"/ca.pem\"\n";
    let with_token = load(&upload(&format!("{good}token_file = \"/token\"\n"))).unwrap();
    let upload_settings = with_token.upload.as_ref().unwrap();
    assert_eq!(upload_settings.url, "https://c:9443");
    assert!(!format!("{with_token:?}").contains("s3cret"));
    let pair = "client_cert_file = \"/agent.pem\"\nclient_key_file = \"/agent.key\"\n";
    let with_pair = load(&upload(&format!("{good}{pair}")))
        .unwrap()
        .upload
        .unwrap();
    assert!(matches!(
        with_pair.credentials,
        Credentials::Certificate { .. }
    ));
    for (keys, expected) in [
        (format!("{good}{pair}token_file = \"/token\"\n"), "not both"),
        (
            format!("{good}client_cert_file = \"/agent.pem\"\n"),
            "client_key_file beside it",
        ),
        (format!("{good}token_file = \"/ca.pem\"\n"), "one token"),
        (
            good.replace("/ca.pem", "/token") + "token_file = \"/token\"\n",
            "CERTIFICATE block",
        ),
    ] {
        let message = refused(&upload(&keys));
        assert!(message.contains(expected), "{message}");
    }
    for url in [
        "http://c",
        "https://",
        "https://:1",
        "https://u@c",
        "https://c/a?b",
        "https://c:99999",
        "https://c:",
        "https://[::1",
        "https://c d",
        "c",
    ] {
        let message = refused(&upload(&good.replace("https://c:9443/", url)));
        assert!(
            message.contains("upload.url: expected https://"),
            "{url}: {message}"
        );
    }
}

#[test]
fn a_proxy_has_its_password_in_a_file() {
    let upload = |keys: &str| {
        load(&format!(
            "{KEY}[upload]\nurl = \"https://c\"\nca_file = \"/ca.pem\"\n\
             token_file = \"/token\"\n{keys}"
        ))
    };
    let config = upload("proxy = \"http://p:3128\"\nproxy_auth_file = \"/proxy\"\n").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    let settings = config.upload.unwrap();
    assert_eq!(settings.proxy.as_deref(), Some("http://p:3128"));
    let secret = settings.proxy_secret.unwrap();
    assert_eq!(secret.expose(), "me:s3cret of mine");
    let empty = upload("proxy = \"\"\n").unwrap().upload.unwrap();
    assert!(empty.proxy.is_none() && empty.proxy_secret.is_none());
    for (keys, expected) in [
        (
            "proxy = \"http://me:s3cret@p\"\n",
            "belong in proxy_auth_file",
        ),
        ("proxy_auth_file = \"/token\"\n", "user:password"),
        ("proxy_auth_file = \"/none\"\n", "cannot read /none"),
    ] {
        let message = upload(keys).expect_err("wrong");
        assert!(
            message.contains(expected) && !message.contains("s3cret"),
            "{message}"
        );
    }
}
