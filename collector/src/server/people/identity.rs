//! Who asks: by a proxy's word, a token, a session or a certificate, the first of these that is valid.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::person::{How, Person};
use super::{cookie, proxy};
use crate::accept::Refusal;
use crate::access::{self, Access};
use crate::auth::{Credential, CredentialId, Role, bearer};
use crate::digest::sha256;
use crate::server::acceptor::Peer;
use crate::server::app::App;
use crate::server::request::party;
use crate::time;

/// What is used is remembered once in so long, in milliseconds: it costs a write.
const USED_MS: i64 = 60_000;

/// Who asks.
#[derive(Clone, Debug)]
pub(in crate::server) struct Found {
    pub(in crate::server) credential: Credential,
    /// Where it is one.
    pub(in crate::server) person: Option<Person>,
    /// What a browser may send by itself, so that it has to be known whose page it sends it for.
    pub(in crate::server) sent: Sent,
}

/// Whether a browser sends a credential by itself, with requests of whatever page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Sent {
    /// It does not.
    Knowingly,
    /// It may, and programs do, too.
    Perhaps,
    /// It does.
    ByItself,
}

/// Finds out who asks. Where a trusted proxy names somebody, nothing else that comes with the
/// request counts: it is the proxy's client who sent it.
///
/// # Errors
/// What the proxy says cannot be believed, or nobody can tell now.
pub(in crate::server) fn find(
    app: &Arc<App>,
    peer: Option<&Peer>,
    headers: &HeaderMap,
) -> Result<Option<Found>, Refusal> {
    if let Some(peer) = peer
        && let Some(person) = proxy::person(app, peer, headers)?
    {
        let id = CredentialId(sha256(format!("proxy\0{}", person.name).as_bytes()));
        return Ok(Some(found(id, person, Sent::ByItself)));
    }
    let source = peer.map(|peer| proxy::source(app, peer, headers));
    if let Some(found) = token(app, source, headers)? {
        return Ok(Some(found));
    }
    if let Some(found) = session(app, source, headers)? {
        return Ok(Some(found));
    }
    let shown = peer.and_then(|peer| peer.certificate.as_ref());
    let Some(shown) = shown else {
        return Ok(None);
    };
    let credential = app.certificate(shown)?;
    Ok(credential.map(|credential| of(credential, How::Certificate, source, Sent::Perhaps)))
}

/// From where a request comes, by the word of trusted proxies.
pub(super) fn source(app: &App, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?;
    Some(proxy::source(app, peer, request.headers()))
}

fn token(
    app: &Arc<App>,
    source: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Option<Found>, Refusal> {
    let header = headers.get(AUTHORIZATION);
    let Some(token) = header.and_then(|value| bearer(value.to_str().ok()?)) else {
        return Ok(None);
    };
    if let Some(known) = app.secrets.known().token(token) {
        return Ok(Some(of(known, How::Token, source, Sent::Knowingly)));
    }
    let now_ms = time::now_ms();
    let found = app.access.user_token(token, now_ms);
    let found = found.map_err(|error| app.cannot_judge(error))?;
    Ok(found.map(|token| {
        let id = token.id;
        if token
            .used_ms
            .is_none_or(|used_ms| now_ms - used_ms >= USED_MS)
        {
            remember(app, source, move |access| access.use_token(id, now_ms));
        }
        let person = Person {
            name: token.user.clone(),
            rank: token.rank,
            how: How::UserToken(token),
            source,
        };
        self::found(id, person, Sent::Knowingly)
    }))
}

fn session(
    app: &Arc<App>,
    source: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Option<Found>, Refusal> {
    let Some(secret) = cookie::of(headers) else {
        return Ok(None);
    };
    let (idle_ms, now_ms) = (app.idle_ms(), time::now_ms());
    let found = app.access.session(secret, idle_ms, now_ms);
    let found = found.map_err(|error| app.cannot_judge(error))?;
    Ok(found.map(|session| {
        let id = session.id;
        if now_ms - session.used_ms >= USED_MS.min(idle_ms / 10) {
            remember(app, source, move |access| access.use_session(id, now_ms));
        }
        let person = Person {
            name: session.user.clone(),
            rank: session.rank,
            how: How::Session(session),
            source,
        };
        self::found(id, person, Sent::ByItself)
    }))
}

/// Remembers that something is used, where there is room for it: else the next use does.
fn remember(
    app: &Arc<App>,
    source: Option<IpAddr>,
    write: impl FnOnce(&Access) -> Result<(), access::Error> + Send + 'static,
) {
    let Ok(place) = app.access_work.take(party(source), 1) else {
        return;
    };
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&app.access) {
            app.cannot_judge(error);
        }
        drop(place);
    });
}

/// A person whose name is known.
fn found(id: CredentialId, person: Person, sent: Sent) -> Found {
    Found {
        credential: Credential {
            id,
            role: Role::Person(person.rank),
            shared: true,
            identity: None,
        },
        person: Some(person),
        sent,
    }
}

/// A credential that is nobody's in particular.
fn of(credential: Credential, how: How, source: Option<IpAddr>, sent: Sent) -> Found {
    let person = match credential.role {
        Role::Agent => None,
        Role::Person(rank) => Some(Person {
            name: credential.id.to_string(),
            rank,
            how,
            source,
        }),
    };
    Found {
        credential,
        person,
        sent,
    }
}
