//! The communication matrix that is declared here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

use super::app::{App, Shared};
use super::body::{self, Unread};
use super::fair::Party;
use super::people::Person;
use super::request::{Refused, answer, change, given};
use crate::access::{MatrixVersion, NewMatrix, NotDeclared};
use crate::api::Given;
use crate::api::{
    DECLARE, Declared, MATRIX, MATRIX_CHECK, MATRIX_FILE, MATRIX_REPORT, Matrix, Operation,
    Problem, VersionShown,
};
use crate::matrix::{self, MAX_BYTES};
use crate::time;

/// `GET /api/v1/matrix`
pub(super) async fn matrix(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(shown(app, person, request).await.map(Json))
}

async fn shown(app: Arc<App>, person: Person, request: Request) -> Result<Matrix, Refused> {
    let given = given(&MATRIX, &mut request.into_parts().0).await?;
    let version = version(&given);
    change(app, person.source, move |app| {
        let unread = |error| unreadable(app, error);
        let versions = app.access.matrix_versions().map_err(unread)?;
        let meant = |one: &&MatrixVersion| version.is_none_or(|version| version == one.version);
        let found = versions.iter().find(meant).cloned();
        let declared = match found {
            None if version.is_some() => return Err(unknown()),
            Some(found) if given.flag("rows") => {
                let read = app.access.declared(Some(found.version), MAX_BYTES);
                read.map_err(unread)?.map(with_rows)
            }
            found => found.map(|version| Declared {
                version: of(version),
                rows: Vec::new(),
                notes: Vec::new(),
            }),
        };
        let versions = versions.into_iter().map(of).collect();
        Ok(Matrix { declared, versions })
    })
    .await
}

fn with_rows((version, file): (MatrixVersion, Vec<u8>)) -> Declared {
    // It was read before it was taken; a newer collector may have taken more.
    let (flows, notes) = match matrix::read(&file) {
        Ok(read) => (read.flows, read.notes),
        Err(why) => (Vec::new(), vec![why.to_string()]),
    };
    Declared {
        version: of(version),
        rows: flows.into_iter().map(Into::into).collect(),
        notes,
    }
}

fn of(version: MatrixVersion) -> VersionShown {
    VersionShown {
        version: version.version,
        at_ms: version.at_ms,
        actor: version.actor,
        note: version.note,
        flows: version.flows,
    }
}

fn version(given: &Given) -> Option<i64> {
    given.text("version").and_then(|text| text.parse().ok())
}

/// `PUT /api/v1/matrix`
pub(super) async fn declare(
    State(app): Shared,
    Extension(person): Extension<Person>,
    Extension(party): Extension<Party>,
    request: Request,
) -> Response {
    answer(take(app, person, party, request).await.map(Json))
}

async fn take(
    app: Arc<App>,
    person: Person,
    party: Party,
    request: Request,
) -> Result<VersionShown, Refused> {
    let (mut head, mut sent) = request.into_parts();
    let given = given(&DECLARE, &mut head).await?;
    let share = app.answers.unsent.take(party, 0);
    let mut share = share.map_err(|_| Refused::busy())?;
    let read = body::read(&mut sent, MAX_BYTES, &mut share);
    let file = match tokio::time::timeout(app.config.limits.body_timeout, read).await {
        Ok(Ok(file)) => file,
        Ok(Err(why)) => return Err(unread(why)),
        Err(_) => {
            let (status, why) = (
                StatusCode::REQUEST_TIMEOUT,
                "the matrix did not arrive in time",
            );
            return Err(Refused::new(status, "slow", why));
        }
    };
    let taken = change(app, person.source, move |app| {
        let declared = matrix::read(&file).map_err(|why| {
            let why = format!("the matrix: {why}");
            Refused::new(StatusCode::BAD_REQUEST, "matrix", why)
        })?;
        let new = NewMatrix {
            file: &file,
            flows: u32::try_from(declared.flows.len()).unwrap_or(u32::MAX),
            note: given.text("note").unwrap_or_default(),
            base: given.text("base").and_then(|text| text.parse().ok()),
        };
        let made = app.access.declare(&new, &person.actor(), time::now_ms());
        made.map(of).map_err(|why| not_declared(app, why))
    })
    .await;
    drop(share);
    taken
}

fn unread(why: Unread) -> Refused {
    match why {
        Unread::TooLarge => {
            let why = format!("the matrix is longer than {MAX_BYTES} bytes");
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "size", why)
        }
        Unread::Broken => {
            let why = "the connection broke before the matrix was complete";
            Refused::new(StatusCode::BAD_REQUEST, "request", why)
        }
        Unread::NoRoom(_) => Refused::busy(),
    }
}

fn not_declared(app: &App, why: NotDeclared) -> Refused {
    match why {
        NotDeclared::Stale { .. } => Refused::new(StatusCode::CONFLICT, "stale", why.to_string()),
        NotDeclared::Packing(_) => Refused::busy(),
        NotDeclared::Access(error) => unreadable(app, error),
    }
}

fn unreadable(app: &App, error: crate::access::Error) -> Refused {
    app.cannot_judge(error);
    Refused::busy()
}

fn unknown() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "unknown", NONE)
}

const NONE: &str =
    "no matrix is declared here, or there is no such version: PUT /api/v1/matrix takes one";

/// Whether a question that came without a file is about the declared matrix.
pub(super) fn is_asked(operation: &Operation, given: &Given) -> bool {
    let takes = [MATRIX_CHECK.id, MATRIX_REPORT.id].contains(&operation.id);
    let names = operation.id == MATRIX_FILE.id && given.text("of") == Some("declared");
    (takes && given.body().is_empty()) || names
}

/// The file of the declared matrix, for a question about it.
///
/// # Errors
/// There is none, or it cannot be read now.
pub(super) async fn file(app: &Arc<App>, given: &Given) -> Result<Vec<u8>, Problem> {
    let (reader, version) = (Arc::clone(app), version(given));
    let read = tokio::task::spawn_blocking(move || {
        let found = reader.access.declared(version, MAX_BYTES);
        found.map_err(|error| reader.cannot_judge(error))
    });
    let later = || {
        Problem::new(
            503,
            "store",
            "the declared matrix cannot be read now; ask again",
        )
    };
    let found = read.await.map_err(|_| later())?.map_err(|_| later())?;
    let (_, file) = found.ok_or_else(|| Problem::unknown(NONE))?;
    Ok(file)
}
