//! Tokens for enrolment, which admins make and take back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

use super::own::Removal;
use super::password::unknown;
use super::person::Person;
use crate::access::{ENROL_LONGEST, ENROL_PREFIX, Invitation, secret};
use crate::api::{ENROLMENTS, Ended, Enrolments, Invite, Invited, InvitedShown, WITHDRAW};
use crate::authority::is_name;
use crate::digest::hex;
use crate::server::app::{App, Shared};
use crate::server::request::{Refused, answer, change, given, read};
use crate::time;

/// For how long a token can be used where nothing is said.
const LIFETIME: Duration = Duration::from_secs(3600);
/// How often one may be used at most.
const USES: u32 = 1000;

/// `GET /api/v1/enrolments`
pub(in crate::server) async fn enrolments(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(listed(app, person, request).await.map(Json))
}

async fn listed(app: Arc<App>, person: Person, request: Request) -> Result<Enrolments, Refused> {
    given(&ENROLMENTS, &mut request.into_parts().0).await?;
    let is_open = app.secrets.known().authority().is_some();
    change(app, person.source, move |app| {
        let found = app.access.invited(time::now_ms());
        let found = found.map_err(|error| unknown(app, error))?;
        let shown = found.into_iter().map(|one| InvitedShown {
            id: hex(&one.id),
            name: one.name,
            uses_left: one.uses_left,
            made_ms: one.made_ms,
            expires_ms: one.expires_ms,
            actor: one.actor,
        });
        let invited = shown.collect();
        Ok(Enrolments { is_open, invited })
    })
    .await
}

/// `POST /api/v1/enrolments`
pub(in crate::server) async fn invite(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(make(app, person, request).await.map(Json))
}

async fn make(app: Arc<App>, person: Person, request: Request) -> Result<Invited, Refused> {
    if app.secrets.known().authority().is_none() {
        let why = "this collector enrolls nobody: [enroll] ca_cert_file is not set";
        return Err(Refused::new(StatusCode::NOT_FOUND, "no_authority", why));
    }
    let asked: Invite = read(request).await?;
    let bad = |why: &str| Refused::new(StatusCode::BAD_REQUEST, "request", why);
    if !is_name(&asked.name) {
        return Err(bad(
            "name: expected the name of a host, such as \"db1.example\"",
        ));
    }
    let uses = asked.uses.unwrap_or(1);
    if !(1..=USES).contains(&uses) {
        return Err(bad("uses: expected a whole number from 1 to 1000"));
    }
    let lifetime = lifetime(asked.lifetime.as_deref()).ok_or_else(|| {
        bad("lifetime: expected a duration such as \"1h\" or \"30d\", at most \"366d\"")
    })?;
    change(app, person.source, move |app| {
        let now_ms = time::now_ms();
        let invitation = Invitation {
            name: asked.name.to_ascii_lowercase(),
            token: secret(ENROL_PREFIX).map_err(|error| unknown(app, error))?,
            expires_ms: now_ms.saturating_add(time::whole_ms(lifetime)),
        };
        let made = app
            .access
            .invite(&invitation, uses, &person.actor(), now_ms);
        made.map_err(|error| unknown(app, error))?;
        Ok(Invited {
            name: invitation.name,
            token: invitation.token,
            expires_ms: invitation.expires_ms,
        })
    })
    .await
}

fn lifetime(text: Option<&str>) -> Option<Duration> {
    let Some(text) = text else {
        return Some(LIFETIME);
    };
    let lifetime = notation::parse_duration(text)?;
    (!lifetime.is_zero() && lifetime <= ENROL_LONGEST).then_some(lifetime)
}

/// `DELETE /api/v1/enrolments/{id}`
pub(in crate::server) async fn withdraw(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    let removal = Removal {
        operation: &WITHDRAW,
        what: "token for enrolment",
        // Only admins come here, and theirs are all.
        remove: |access, id, _, actor, now_ms| access.withdraw(id, actor, now_ms),
        ended: Ended {
            sessions: 0,
            tokens: 1,
        },
    };
    answer(removal.run(app, person, request).await.map(Json))
}
