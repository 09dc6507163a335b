//! What each address of the API is, and who may ask it.
//!
//! The table of routes is the one place that says so: the router and the OpenAPI document
//! (`GET /api/v1/openapi.json`) are made from it.
//!
//! An answer to a batch has the form of [`wire::answer`], also when it is a refusal. Other
//! refusals are [`crate::api::Problem`]s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, patch, post, put};
use axum::{Json, Router};
use serde_json::Value;

use super::acceptor::Peer;
use super::app::{App, Shared};
use super::body::{Held, SENT};
use super::drain;
use super::fair::Party;
use super::people::{Found, Sent};
use super::refusal::{Form, error, refuse};
pub use super::scope::Scope;
use super::scope::permit;
use super::{
    alerting, audit, batches, declared, enrolment, health, page, people, questions, settings,
};
use crate::accept::{Reason, Refusal};
use crate::api::{self, Listed, Operation};
use crate::auth::Credential;
use crate::metrics::Durations;
use crate::time;

/// One address of the API. There is no other way into it than this table, so that there is no route
/// without a scope, and none that is not in the document; beside it are the files of the page
/// ([`page`]), which say nothing.
struct Route {
    operation: &'static Operation,
    scope: Scope,
    handler: Handler,
}

/// What answers.
enum Handler {
    /// The operation itself.
    Question,
    /// This.
    Own(fn() -> MethodRouter<Arc<App>>),
}

impl Route {
    /// A question of people to the store.
    const fn question(operation: &'static Operation) -> Self {
        Self {
            operation,
            scope: Scope::Readers,
            handler: Handler::Question,
        }
    }

    const fn own(
        operation: &'static Operation,
        scope: Scope,
        handler: fn() -> MethodRouter<Arc<App>>,
    ) -> Self {
        Self {
            operation,
            scope,
            handler: Handler::Own(handler),
        }
    }

    fn method(&self) -> Method {
        let method = self.operation.method.parse();
        method.expect("operations have methods of HTTP")
    }

    fn handler(&self) -> MethodRouter<Arc<App>> {
        match (&self.handler, self.operation.answer) {
            (Handler::Own(handler), _) => handler(),
            (Handler::Question, answer) => {
                let asked = (self.operation, answer.expect("a question has an answer"));
                let question = move |State(app): Shared, request: Request| {
                    questions::question(app, asked, request)
                };
                match self.operation.method {
                    "POST" => post(question),
                    _ => get(question),
                }
            }
        }
    }
}

const ROUTES: &[Route] = &[
    Route::own(&api::BATCHES, Scope::Agents, || post(batches::batches)),
    Route::question(&api::TOPOLOGY),
    Route::question(&api::NODE),
    Route::question(&api::EDGE),
    Route::question(&api::SEARCH),
    Route::question(&api::CHAIN),
    Route::question(&api::DIAGNOSIS),
    Route::own(&api::HOSTS, Scope::Readers, || get(questions::hosts)),
    Route::question(&api::FLEET),
    Route::question(&api::TABLES),
    Route::question(&api::ROWS),
    Route::question(&api::SERIES),
    Route::question(&api::EVENTS),
    Route::question(&api::MATRIX_CHECK),
    Route::question(&api::MATRIX_LEARNED),
    Route::question(&api::MATRIX_REPORT),
    Route::question(&api::MATRIX_FILE),
    Route::own(&api::MATRIX, Scope::Readers, || get(declared::matrix)),
    Route::own(&api::DECLARE, Scope::Operators, || put(declared::declare)),
    Route::own(&api::SETTINGS, Scope::Readers, || get(settings::settings)),
    Route::own(&api::AUDIT, Scope::Admins, || get(audit::audit)),
    Route::own(&api::DOCUMENT, Scope::Readers, || get(document)),
    Route::own(&api::METRICS, Scope::Readers, || get(questions::metrics)),
    Route::own(&api::ENROLL, Scope::Anybody, || post(enrolment::enroll)),
    Route::own(&api::RENEW, Scope::Agents, || post(enrolment::renew)),
    Route::own(&api::LOGIN, Scope::Anybody, || post(people::login)),
    Route::own(&api::LOGOUT, Scope::Readers, || post(people::logout)),
    Route::own(&api::WHOAMI, Scope::Readers, || get(people::whoami)),
    Route::own(&api::PASSWORD, Scope::Readers, || {
        post(people::change_password)
    }),
    Route::own(&api::SESSIONS, Scope::Readers, || get(people::sessions)),
    Route::own(&api::END_SESSION, Scope::Readers, || {
        delete(people::end_session)
    }),
    Route::own(&api::TOKENS, Scope::Readers, || get(people::tokens)),
    Route::own(&api::ADD_TOKEN, Scope::Readers, || post(people::add_token)),
    Route::own(&api::REVOKE_TOKEN, Scope::Readers, || {
        delete(people::revoke_token)
    }),
    Route::own(&api::USERS, Scope::Admins, || get(people::users)),
    Route::own(&api::ADD_USER, Scope::Admins, || post(people::add_user)),
    Route::own(&api::CHANGE_USER, Scope::Admins, || {
        patch(people::change_user)
    }),
    Route::own(&api::REMOVE_USER, Scope::Admins, || {
        delete(people::remove_user)
    }),
    Route::own(&api::ALERTS, Scope::Readers, || get(alerting::alerts)),
    Route::own(&api::ALERT, Scope::Readers, || get(alerting::alert)),
    Route::own(&api::ACKNOWLEDGE, Scope::Operators, || {
        post(alerting::acknowledge)
    }),
    Route::own(&api::UNACKNOWLEDGE, Scope::Operators, || {
        delete(alerting::unacknowledge)
    }),
    Route::own(&api::RULES, Scope::Readers, || get(alerting::rules)),
    Route::own(&api::SILENCES, Scope::Readers, || get(alerting::silences)),
    Route::own(&api::ADD_SILENCE, Scope::Operators, || {
        post(alerting::add_silence)
    }),
    Route::own(&api::CHANGE_SILENCE, Scope::Operators, || {
        put(alerting::change_silence)
    }),
    Route::own(&api::END_SILENCE, Scope::Operators, || {
        delete(alerting::end_silence)
    }),
    Route::own(&api::MAINTENANCE, Scope::Readers, || {
        get(alerting::maintenance)
    }),
    Route::own(&api::ADD_MAINTENANCE, Scope::Operators, || {
        post(alerting::add_maintenance)
    }),
    Route::own(&api::CHANGE_MAINTENANCE, Scope::Operators, || {
        put(alerting::change_maintenance)
    }),
    Route::own(&api::REMOVE_MAINTENANCE, Scope::Operators, || {
        delete(alerting::remove_maintenance)
    }),
    Route::own(&api::ENROLMENTS, Scope::Admins, || get(people::enrolments)),
    Route::own(&api::INVITE, Scope::Admins, || post(people::invite)),
    Route::own(&api::WITHDRAW, Scope::Admins, || delete(people::withdraw)),
    Route::own(&api::HEALTH, Scope::Anybody, || get(health::healthz)),
    Route::own(&api::READY, Scope::Anybody, || get(health::readyz)),
];

/// Every route: method, path and who may use it.
pub fn routes() -> impl Iterator<Item = (Method, &'static str, Scope)> {
    ROUTES
        .iter()
        .map(|route| (route.method(), route.operation.path, route.scope))
}

/// The OpenAPI document of all routes.
#[must_use]
pub fn openapi() -> Value {
    let listed = ROUTES.iter().map(|route| Listed {
        operation: route.operation,
        who: route.scope.name(),
    });
    api::document(&listed.collect::<Vec<_>>())
}

/// `GET /api/v1/openapi.json`
async fn document() -> Json<Value> {
    Json(openapi())
}

/// All routes, each behind the check of its scope.
pub(super) fn router(app: Arc<App>) -> Router {
    let behind = |scope: Option<Scope>, handler: MethodRouter<Arc<App>>| {
        let state = (Arc::clone(&app), scope);
        handler.layer(middleware::from_fn_with_state(state, authorize))
    };
    // Strangers do not even learn which addresses and methods there are.
    let mut router = Router::new();
    for (path, of_path) in by_path() {
        let allow = allow(&of_path);
        let others = any(move |method: Method| async move { other_method(&method, allow) });
        // What is for people alone tells agents nothing, with no method.
        let of_people = |route: &&Route| {
            let people = [Scope::Readers, Scope::Operators, Scope::Admins];
            people.contains(&route.scope)
        };
        let whose = of_path.iter().all(of_people).then_some(Scope::Readers);
        let mut methods = MethodRouter::new();
        for route in of_path {
            let durations = app.metrics.route(route.operation.id);
            let timed = middleware::from_fn_with_state(durations, timed);
            let handler = behind(Some(route.scope), route.handler().layer(timed));
            methods = methods.merge(handler);
        }
        let others = behind(whose, others).with_state::<()>(Arc::clone(&app));
        router = router.route(path, methods.fallback_service(others));
    }
    let nothing = behind(None, any(questions::nothing));
    let ending = app.ending.clone();
    router
        .fallback_service(nothing.with_state::<()>(Arc::clone(&app)))
        .with_state(Arc::clone(&app))
        .merge(page::router(app))
        .layer(middleware::from_fn_with_state(ending, drain::close))
}

fn by_path() -> BTreeMap<&'static str, Vec<&'static Route>> {
    let mut paths: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for route in ROUTES {
        paths.entry(route.operation.path).or_default().push(route);
    }
    paths
}

/// The methods of a path, for `Allow`.
fn allow(routes: &[&Route]) -> HeaderValue {
    let mut methods: Vec<&str> = routes.iter().map(|route| route.operation.method).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    HeaderValue::from_str(&methods.join(", ")).expect("names of methods")
}

/// Says which methods there are: as an answer to `OPTIONS`, as a refusal to others.
fn other_method(method: &Method, allow: HeaderValue) -> Response {
    let mut response = if *method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let allowed = allow.to_str().unwrap_or_default();
        let why = format!("this address takes {allowed}");
        error(StatusCode::METHOD_NOT_ALLOWED, "method", &why)
    };
    response.headers_mut().insert(ALLOW, allow);
    response
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
    let refusal = match admitted(&app, peer.as_ref(), scope, &request) {
        Err(refusal) => refusal,
        Ok(found) => {
            request.extensions_mut().insert(found.credential);
            if let Some(person) = found.person {
                request.extensions_mut().insert(person);
            }
            return work(&app, peer, found.credential, request, next).await;
        }
    };
    let form = if request.uri().path() == api::BATCHES.path {
        Form::Batch(batches::key(request.headers()).ok())
    } else {
        Form::Plain
    };
    // Whoever is not let in has none that counts.
    let who = (&peer, None);
    refuse(&app, who, form, refusal, Some(request.into_body())).await
}

/// Who asks, where they are let in.
fn admitted(
    app: &Arc<App>,
    peer: Option<&Peer>,
    scope: Option<Scope>,
    request: &Request,
) -> Result<Found, Refusal> {
    let found = people::find(app, peer, request.headers())?.ok_or_else(|| {
        let why = "a session, a valid bearer token or a client certificate is needed";
        Refusal::new(Reason::Unauthorized, why)
    })?;
    if let Some(scope) = scope {
        permit(found.credential.role, scope)?;
    }
    app.admits(&found.credential)?;
    // What only reads may be asked by whoever shows a link to it: its answer is for no page of others.
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    if found.person.is_some() && !reads && found.sent != Sent::Knowingly {
        people::check_origin(request.headers(), found.sent == Sent::ByItself)
            .map_err(|why| Refusal::new(Reason::CrossSite, why))?;
    }
    Ok(found)
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

/// Measures how long an answer takes, until it begins to be sent.
async fn timed(State(durations): State<Arc<Durations>>, request: Request, next: Next) -> Response {
    let begun = time::monotonic();
    let response = next.run(request).await;
    durations.observe(time::monotonic().duration_since(begun));
    response
}
