//! What each address of the API is, and who may ask it.
//!
//! | request | who | answer |
//! |---|---|---|
//! | `POST /api/v1/batches` | agents | `stored` or `duplicate`, with orders that the agent lacks; else the refusal of [`Reason`] |
//! | `GET /api/v1/topology?from_ms=&to_ms=` | readers | [`crate::topology::Topology`] |
//! | `GET /api/v1/hosts` | readers | [`crate::fleet::Fleet`] |
//! | `GET /metrics` | readers | Prometheus text |
//! | `GET /healthz` | anybody | 200 while batches can be stored, else 503, and nothing else |
//!
//! An answer to a batch has the form of [`wire::answer`], also when it is a refusal. Other
//! refusals are `{"error": <name>, "message": <sentence>}`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};

use super::acceptor::Peer;
use super::app::App;
use super::body::Held;
use super::fair::Party;
use super::refusal::{Form, refuse};
use super::{batches, questions};
use crate::accept::{Reason, Refusal};
use crate::auth::{Credential, Role, bearer};

/// How long any answer may take to be sent.
const SENT: Duration = Duration::from_secs(300);

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Whoever can connect: it says nothing about the fleet.
    Anybody,
    /// Credentials of [`Role::Agent`].
    Agents,
    /// Credentials of [`Role::Reader`].
    Readers,
}

/// One address of the API. There is no other way into the router than this table, so that there is
/// no route without a scope.
struct Route {
    method: Method,
    path: &'static str,
    scope: Scope,
    handler: fn() -> MethodRouter<Arc<App>>,
}

const ROUTES: [Route; 5] = [
    Route {
        method: Method::POST,
        path: "/api/v1/batches",
        scope: Scope::Agents,
        handler: || post(batches::batches),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/topology",
        scope: Scope::Readers,
        handler: || get(questions::topology),
    },
    Route {
        method: Method::GET,
        path: "/api/v1/hosts",
        scope: Scope::Readers,
        handler: || get(questions::hosts),
    },
    Route {
        method: Method::GET,
        path: "/metrics",
        scope: Scope::Readers,
        handler: || get(questions::metrics),
    },
    Route {
        method: Method::GET,
        path: "/healthz",
        scope: Scope::Anybody,
        handler: || get(questions::healthz),
    },
];

/// Every route: method, path and who may use it.
pub fn routes() -> impl Iterator<Item = (Method, &'static str, Scope)> {
    ROUTES
        .iter()
        .map(|route| (route.method.clone(), route.path, route.scope))
}

/// All routes, each behind the check of its scope.
pub(super) fn router(app: Arc<App>) -> Router {
    let behind = |scope: Option<Scope>, handler: MethodRouter<Arc<App>>| {
        let state = (Arc::clone(&app), scope);
        handler.layer(middleware::from_fn_with_state(state, authorize))
    };
    let nothing = behind(None, any(|| async { StatusCode::NOT_FOUND }));
    ROUTES
        .iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, behind(Some(route.scope), (route.handler)()))
        })
        // Strangers do not even learn which addresses there are.
        .fallback_service(nothing.with_state(Arc::clone(&app)))
        .with_state(app)
}

/// Lets through whoever has a valid credential for the scope; for none, any valid one.
async fn authorize(
    State((app, scope)): State<(Arc<App>, Option<Scope>)>,
    mut request: Request,
    next: Next,
) -> Response {
    if scope == Some(Scope::Anybody) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().cloned();
    let refusal = match (credential(&app, &peer, &request), scope) {
        (None, _) => Refusal::new(
            Reason::Unauthorized,
            "a valid bearer token or client certificate is needed",
        ),
        (Some(Credential { role, .. }), Some(Scope::Agents)) if role != Role::Agent => {
            Refusal::new(
                Reason::Forbidden,
                "this credential asks and does not send batches",
            )
        }
        (Some(Credential { role, .. }), Some(Scope::Readers)) if role != Role::Reader => {
            Refusal::new(
                Reason::Forbidden,
                "this credential sends batches and does not ask: people have a token of \
                 [auth] reader_token_file, or a certificate with a name of reader_names",
            )
        }
        (Some(credential), _) if let Err(refusal) = app.admits(&credential) => refusal,
        (Some(credential), _) => {
            request.extensions_mut().insert(credential);
            return work(&app, peer, credential, request, next).await;
        }
    };
    let form = if scope == Some(Scope::Agents) {
        Form::Batch(batches::key(request.headers()).ok())
    } else {
        Form::Plain
    };
    refuse(&app, &peer, form, refusal, Some(request.into_body())).await
}

/// Runs the request; its connection is at work until the answer was sent.
async fn work(
    app: &App,
    peer: Option<Peer>,
    credential: Credential,
    mut request: Request,
    next: Next,
) -> Response {
    let stranger = Party::of(IpAddr::from([0, 0, 0, 0]));
    let party = peer.as_ref().map_or(stranger, |peer| peer.party);
    let party = party.with(credential.id);
    let working = peer.map(|peer| peer.connection.work(party));
    request.extensions_mut().insert(party);
    let response = next.run(request).await;
    response.map(|body| Body::new(Held::new(body, SENT, &app.metrics, working)))
}

/// The credential of a request: its token where that is valid, else the certificate.
fn credential(app: &App, peer: &Option<Peer>, request: &Request) -> Option<Credential> {
    let header = request.headers().get(AUTHORIZATION);
    let token = header.and_then(|value| bearer(value.to_str().ok()?));
    let known = app.secrets.known();
    let certificate = || {
        let shown = peer.as_ref()?.certificate.as_ref()?;
        known.certificate(shown)
    };
    token
        .and_then(|token| known.token(token))
        .or_else(certificate)
}
