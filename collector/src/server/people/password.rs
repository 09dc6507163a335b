//! Passwords over the network: tried a few at a time, as often as may be, and each as long.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;

use crate::access::{
    self, Action, Actor, Entry, Hashed, check_password, made_up_password, user_name,
};
use crate::server::app::App;
use crate::server::fair::{Denied, Share};
use crate::server::request::{Refused, TURN, party};
use crate::time;

/// Takes an attempt to prove who one is.
///
/// # Errors
/// There were too many.
pub(super) fn attempt(app: &App, user: Option<&str>, source: IpAddr) -> Result<(), Refused> {
    let taken = app.logins.take(user, source, time::monotonic());
    taken.map_err(|wait: Duration| {
        app.metrics.logins_refused_limited_total.add(1);
        let why = "too many attempts for this user or from this address; come again later";
        let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "attempts", why);
        refused.after(wait.as_secs() + 1)
    })
}

/// The user whose password this is, by the name under which it is kept; `None` where it is nobody's,
/// which takes as long, whether or not there is such a user.
///
/// # Errors
/// There were too many attempts, or there is no place to try it now.
pub(super) async fn prove(
    app: &Arc<App>,
    source: IpAddr,
    user: &str,
    password: String,
) -> Result<Option<String>, Refused> {
    // What is no name is tried like one that nobody has.
    let name = user_name(user).unwrap_or_default();
    attempt(app, Some(&name), source)?;
    let place = place(app, source).await?;
    let trying = Arc::clone(app);
    let tried = tokio::task::spawn_blocking(move || {
        let tried = proven(&trying, &name, &password, source);
        drop(place);
        tried.map(|is_right| (name, is_right))
    });
    let tried = tried.await.map_err(|_| Refused::busy())?;
    let (name, is_right) = tried.map_err(|error| unknown(app, error))?;
    if !is_right {
        return Ok(None);
    }
    app.logins.give_back(Some(&name), source);
    Ok(Some(name))
}

fn proven(app: &App, name: &str, password: &str, source: IpAddr) -> Result<bool, access::Error> {
    let kept = app.access.password(name)?;
    let is_known = kept.is_some();
    let (hashed, is_disabled) = kept.unwrap_or_else(|| (Hashed::of_nobody(), true));
    let is_right = hashed.is_of(password)? && is_known && !is_disabled;
    if !is_right {
        let why = match (is_known, is_disabled) {
            (false, _) => "no such user",
            (true, true) => "disabled",
            (true, false) => "password",
        };
        failed(app, is_known.then_some(name), why, source)?;
    }
    Ok(is_right)
}

/// Counts an attempt in vain, and writes it down. What is no user's name may be a password that was
/// typed in the wrong place, so it is not.
pub(super) fn failed(
    app: &App,
    user: Option<&str>,
    why: &str,
    source: IpAddr,
) -> Result<(), access::Error> {
    app.metrics.logins_failed_total.add(1);
    let Some(suppressed) = app.logins.record(time::monotonic()) else {
        return Ok(());
    };
    let peer = source.to_string();
    log::warn!(user = user.unwrap_or("unknown"), peer, why, suppressed; "login failed");
    let entry = Entry::new(Action::LoginFailed, user.unwrap_or("unknown"));
    let entry = entry.after(json!({ "why": why, "suppressed": suppressed }));
    let actor = Actor::remote("login", "unknown", Some(source));
    app.access.record(&actor, entry, time::now_ms())
}

/// What is kept of a new password: of the given one, or of one that is made here and given back.
///
/// # Errors
/// The password cannot be taken, or there is no place to hash it now.
pub(super) async fn kept(
    app: &Arc<App>,
    source: IpAddr,
    (user, given): (&str, Option<String>),
) -> Result<(Hashed, Option<String>), Refused> {
    if let Some(given) = &given {
        check_password(given, user)
            .map_err(|why| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "password", why))?;
    }
    let place = place(app, source).await?;
    let hashed = tokio::task::spawn_blocking(move || {
        let (password, made) = match given {
            Some(given) => (given, None),
            None => {
                let made = made_up_password()?;
                (made.clone(), Some(made))
            }
        };
        let hashed = Hashed::of(&password)?;
        drop(place);
        Ok((hashed, made))
    });
    let hashed = hashed.await.map_err(|_| Refused::busy())?;
    hashed.map_err(|error| unknown(app, error))
}

/// A place for one that costs memory and a core for a moment.
async fn place(app: &App, source: IpAddr) -> Result<Share, Refused> {
    let place = app.logins.places.wait(party(Some(source)), 1, TURN).await;
    place.map_err(|denied| {
        app.metrics.logins_refused_busy_total.add(1);
        match denied {
            Denied::Own => {
                let why = "this address tries as many passwords at once as it may";
                Refused::new(StatusCode::TOO_MANY_REQUESTS, "busy", why).after(5)
            }
            Denied::Others => Refused::busy(),
        }
    })
}

/// That it cannot be told now.
pub(super) fn unknown(app: &App, error: access::Error) -> Refused {
    app.cannot_judge(error);
    Refused::busy()
}
