//! Who may see a batch: the server that proves to be the one that was meant.

use crate::upload::Credential;
use crate::upload::tests::https::{Agent, serve};
use crate::upload::tests::server::{Authority, STORED, Service};

#[test]
fn a_server_of_another_authority_sees_nothing() {
    let (server, mut settings) = serve(|_| STORED);
    settings.ca_pem = Authority::new().pem();
    let agent = Agent::start(&settings);
    agent.put(1);
    agent.eventually_retried(1);
    agent.handle.kick();
    agent.eventually_retried(2);
    assert!(server.seen.is_empty());
    assert_eq!(agent.metrics.spool_depth.get(), 1);
}

#[test]
fn a_server_of_another_name_sees_nothing() {
    let authority = Authority::new();
    let server = Service::new(&authority.issue("other.example")).start(|_| STORED);
    let agent = Agent::start(&authority.settings(server.port));
    agent.put(1);
    agent.eventually_retried(1);
    assert!(server.seen.is_empty());
}

#[test]
fn the_servers_name_may_differ_from_the_address() {
    let authority = Authority::new();
    let server = Service::new(&authority.issue("collector.example")).start(|_| STORED);
    let mut settings = authority.settings(server.port);
    settings.server_name = Some("collector.example".to_owned());
    let agent = Agent::start(&settings);
    agent.put(1);
    let seen = server.next();
    assert_eq!(seen.server_name.as_deref(), Some("collector.example"));
    assert_eq!(
        seen.header("host"),
        Some(&*format!("collector.example:{}", server.port))
    );
    agent.eventually_acked(1);
}

#[test]
fn a_client_certificate_is_presented() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Service::for_clients_of(&authority.issue("127.0.0.1"), &clients).start(|_| STORED);
    let mut settings = authority.settings(server.port);

    let anonymous = Agent::start(&settings);
    anonymous.put(1);
    anonymous.eventually_retried(1);
    assert!(server.seen.is_empty());

    let identity = clients.issue("agent.example");
    settings.credential = Credential::Certificate {
        chain_pem: identity.chain_pem,
        key_pem: identity.key_pem,
    };
    let agent = Agent::start(&settings);
    agent.put(1);
    let seen = server.next();
    assert!(seen.client_certificate);
    assert_eq!(seen.header("authorization"), None);
    agent.eventually_acked(1);
}
