//! `GET /api/v1/settings`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;

use super::app::Shared;
use super::request::{Refused, answer, given};
use crate::api::{Bounds, Keeping, SETTINGS, Settings};
use crate::config::Config;
use crate::time::whole_ms;

/// `GET /api/v1/settings`
pub(super) async fn settings(State(app): Shared, request: Request) -> Response {
    let given = given(&SETTINGS, &mut request.into_parts().0).await;
    let shown = given.map(|_| Json(of(&app.config)));
    answer(shown.map_err(Refused::from))
}

fn of(config: &Config) -> Settings {
    let Config {
        store,
        auth,
        limits,
        ..
    } = config;
    let whole = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Settings {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keeping: Keeping {
            rows_ms: whole_ms(store.retention),
            minutes_ms: whole_ms(store.retention_minutes),
            hours_ms: whole_ms(store.retention_hours),
            store_bytes: store.max_bytes,
            outbox_bytes: store.outbox_bytes,
            audit_ms: whole_ms(auth.audit_retention),
            session_idle_ms: whole_ms(auth.session_idle),
            session_ms: whole_ms(auth.session_lifetime),
        },
        bounds: Bounds {
            hosts: whole(limits.hosts),
            connections: whole(limits.connections),
            batch_bytes: whole(limits.batch_bytes),
            batch_rows: whole(limits.batch_rows),
            concurrent_queries: whole(limits.concurrent_queries),
            query_rows: whole(limits.query_rows),
            query_memory_bytes: whole(limits.query_memory),
            join_memory_bytes: whole(limits.join_memory),
        },
        outputs: config.outputs.iter().map(|one| one.name.clone()).collect(),
    }
}
