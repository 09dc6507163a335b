//! How a server ends: nobody new is let in, each answer says that its connection ends with it, and
//! what is under way is finished.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::connections::Connections;
use crate::time;

/// Time in which connections that say nothing are kept, for a request may be on its way: it gets its
/// answer, and the other side learns that the connection ends.
const LINGER: Duration = Duration::from_secs(1);
/// Time between two looks at what is under way.
const LOOK: Duration = Duration::from_millis(10);

/// Whether the server ends.
pub(super) type Ending = watch::Receiver<bool>;

/// Lets a server end.
#[derive(Debug)]
pub(super) struct Drain {
    ending: watch::Sender<bool>,
    connections: Arc<Connections>,
}

impl Drain {
    pub(super) fn new(ending: watch::Sender<bool>, connections: Arc<Connections>) -> Self {
        Self {
            ending,
            connections,
        }
    }

    /// Returns when nothing is under way any more, at the latest after `most`; gives what is left of
    /// that.
    pub(super) async fn wait(&self, most: Duration) -> Duration {
        let begin = time::monotonic();
        self.ending.send_replace(true);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let now = time::monotonic();
            let waited = now.duration_since(begin);
            let (open, under_way) = self.connections.under_way(now);
            let over = open == 0 || (under_way == 0 && waited >= LINGER);
            if over || waited >= most {
                return most.saturating_sub(waited);
            }
        }
    }
}

/// Says with each answer of a server that ends that the connection does, too.
pub(super) async fn close(State(ending): State<Ending>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if *ending.borrow() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}
