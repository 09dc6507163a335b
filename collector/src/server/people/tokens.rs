//! Tokens of users.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::own::{Removal, reach};
use super::password::unknown;
use super::person::Person;
use super::refusals::{not_changed, of_nobody};
use crate::access::{Access, NewToken, TOKEN_PREFIX, named, secret, token_name};
use crate::api::{AddToken, Ended, REVOKE_TOKEN, TOKENS, TokenMade, TokenShown, Tokens};
use crate::auth::CredentialId;
use crate::digest::{hex, sha256};
use crate::rank::Rank;
use crate::server::app::{App, Shared};
use crate::server::request::{Refused, answer, change, given, read};
use crate::time;

/// For how long a token is valid where nothing is said, and at most.
const LIFETIME: (Duration, Duration) = (
    Duration::from_secs(90 * 86_400),
    Duration::from_secs(366 * 86_400),
);

/// `GET /api/v1/tokens`
pub(in crate::server) async fn tokens(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(listed(app, person, request).await)
}

async fn listed(app: Arc<App>, person: Person, request: Request) -> Result<Response, Refused> {
    let given = given(&TOKENS, &mut request.into_parts().0).await?;
    let reach = reach(&person, &given)?;
    let of = reach.map(|reach| reach.user().map(str::to_owned));
    let Some(of) = of else {
        let none = Tokens { tokens: Vec::new() };
        return Ok(Json(none).into_response());
    };
    change(app, person.source, move |app| {
        let found = app.access.tokens(of.as_deref());
        let found = found.map_err(|error| unknown(app, error))?;
        let shown = found.into_iter().map(|token| TokenShown {
            id: hex(&named(token.id)),
            user: token.user,
            name: token.name,
            role: token.rank,
            made_ms: token.made_ms,
            expires_ms: token.expires_ms,
            used_ms: token.used_ms,
        });
        let tokens = shown.collect();
        Ok(Json(Tokens { tokens }).into_response())
    })
    .await
}

/// `POST /api/v1/tokens`
pub(in crate::server) async fn add_token(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(add(app, person, request).await.map(Json))
}

async fn add(app: Arc<App>, person: Person, request: Request) -> Result<TokenMade, Refused> {
    // A token that was stolen makes no others, which would outlive it.
    let session = person.session().ok_or_else(of_nobody)?.clone();
    let asked: AddToken = read(request).await?;
    let bad = |why: &str| Refused::new(StatusCode::BAD_REQUEST, "request", why);
    let name = token_name(&asked.name).map_err(bad)?;
    let lifetime = lifetime(asked.lifetime.as_deref()).ok_or_else(|| {
        bad("lifetime: expected a duration such as \"12h\" or \"90d\", at most \"366d\"")
    })?;
    let rank = asked.role.unwrap_or(Rank::Viewer);
    change(app, person.source, move |app| {
        let token = secret(TOKEN_PREFIX).map_err(|error| unknown(app, error))?;
        let now_ms = time::now_ms();
        let new = NewToken {
            user: &session.user,
            name: &name,
            rank,
            expires_ms: now_ms.saturating_add(time::whole_ms(lifetime)),
        };
        let expires_ms = new.expires_ms;
        let added = app.access.add_token(&new, &token, &person.actor(), now_ms);
        added.map_err(|why| not_changed(app, why))?;
        Ok(TokenMade {
            id: hex(&named(CredentialId(sha256(token.as_bytes())))),
            name,
            role: rank,
            expires_ms,
            token,
        })
    })
    .await
}

fn lifetime(text: Option<&str>) -> Option<Duration> {
    let (default, most) = LIFETIME;
    let Some(text) = text else {
        return Some(default);
    };
    notation::parse_duration(text).filter(|lifetime| !lifetime.is_zero() && *lifetime <= most)
}

/// `DELETE /api/v1/tokens/{id}`
pub(in crate::server) async fn revoke_token(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    let removal = Removal {
        operation: &REVOKE_TOKEN,
        what: "token",
        remove: Access::revoke_token,
        ended: Ended {
            sessions: 0,
            tokens: 1,
        },
    };
    answer(removal.run(app, person, request).await.map(Json))
}
