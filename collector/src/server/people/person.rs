//! Who asks, where that is a person.

use std::net::IpAddr;

use crate::access::{Actor, Session, UserToken};
use crate::api::{By, SessionShown, Whoami};
use crate::digest::hex;
use crate::rank::Rank;
use crate::time;

/// A person who asks.
#[derive(Clone, Debug)]
pub(in crate::server) struct Person {
    /// A user's name, or what names a credential that is nobody's in particular.
    pub(super) name: String,
    pub(super) rank: Rank,
    pub(super) how: How,
    /// From where.
    pub(in crate::server) source: Option<IpAddr>,
}

/// By what it is known who asks.
#[derive(Clone, Debug)]
pub(super) enum How {
    Token,
    Certificate,
    UserToken(UserToken),
    Session(Session),
    Proxy,
}

impl Person {
    /// How it stands in the audit log.
    pub(in crate::server) fn actor(&self) -> Actor {
        let kind = match self.how {
            How::Token => "token",
            How::Certificate => "certificate",
            How::Proxy => "proxy",
            How::UserToken(_) | How::Session(_) => "user",
        };
        let mut actor = Actor::remote(kind, &self.name, self.source);
        if let How::UserToken(token) = &self.how {
            actor.who = format!("{} (token {})", actor.who, token.name);
        }
        actor
    }

    /// The local user who asks.
    pub(super) fn user(&self) -> Option<&str> {
        matches!(self.how, How::UserToken(_) | How::Session(_)).then_some(&self.name)
    }

    /// The session by which the person asks.
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.how {
            How::Session(session) => Some(session),
            _ => None,
        }
    }

    /// Whose things may be changed: those of anybody, or one's own; `None` for who has none.
    pub(super) fn reach(&self) -> Option<Reach<'_>> {
        match self.rank {
            Rank::Admin => Some(Reach::All),
            _ => self.user().map(Reach::Own),
        }
    }

    /// The same, for `GET /api/v1/whoami`.
    pub(super) fn shown(&self, idle_ms: i64) -> Whoami {
        let (by, session, expires_ms) = match &self.how {
            How::Token => (By::Token, None, None),
            How::Certificate => (By::Certificate, None, None),
            How::Proxy => (By::Proxy, None, None),
            How::UserToken(token) => (By::UserToken, None, Some(token.expires_ms)),
            How::Session(session) => {
                let used_now = Session {
                    used_ms: time::now_ms(),
                    ..session.clone()
                };
                let shown = shown(&used_now, idle_ms, Some(session));
                (By::Session, Some(shown), Some(session.expires_ms))
            }
        };
        Whoami {
            name: self.name.clone(),
            role: self.rank,
            by,
            is_user: self.user().is_some(),
            session,
            expires_ms,
        }
    }
}

/// Whose things somebody may see or change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach<'a> {
    All,
    Own(&'a str),
}

impl<'a> Reach<'a> {
    /// The user to whom it is bounded.
    pub(super) fn user(self) -> Option<&'a str> {
        match self {
            Self::All => None,
            Self::Own(user) => Some(user),
        }
    }
}

/// A session, as seen by whoever asks by `own`.
pub(super) fn shown(session: &Session, idle_ms: i64, own: Option<&Session>) -> SessionShown {
    let idle_ends_ms = session.used_ms.saturating_add(idle_ms);
    SessionShown {
        id: hex(&crate::access::named(session.id)),
        user: session.user.clone(),
        begun_ms: session.begun_ms,
        used_ms: session.used_ms,
        idle_ends_ms: idle_ends_ms.min(session.expires_ms),
        expires_ms: session.expires_ms,
        source: session.source.clone(),
        begun_by: session.method.clone(),
        is_this: own.is_some_and(|own| own.id == session.id),
    }
}
