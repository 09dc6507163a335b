//! Connections: counted, bounded, through TLS, and labelled with what TLS found out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsAcceptor;
use tokio::net::TcpStream;
use tower_layer::Layer;

use super::connections::{Connection, Connections};
use super::fair::Party;
use super::secrets::Shown;
use super::stream::Watched;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::time;

/// What a handler may know of the other side.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its address.
    pub(super) address: SocketAddr,
    /// For whom its shares are counted, before a credential is known.
    pub(super) party: Party,
    /// The client certificate that it showed and TLS verified.
    pub(super) certificate: Option<Arc<Shown>>,
    /// Its place. Lives as long as the connection, for the connection's service holds it.
    pub(super) connection: Arc<Connection>,
}

/// Accepts TLS connections, at most a fixed number at once.
#[derive(Clone)]
pub(super) struct Acceptor {
    tls: RustlsAcceptor,
    connections: Arc<Connections>,
    metrics: Arc<Metrics>,
    full: Arc<Limiter>,
    failed: Arc<Limiter>,
}

impl Acceptor {
    pub(super) fn new(
        tls: RustlsAcceptor,
        connections: Arc<Connections>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            tls,
            connections,
            metrics,
            full: Arc::default(),
            failed: Arc::default(),
        }
    }
}

type Accepted<S> = io::Result<(
    <RustlsAcceptor as Accept<Watched, S>>::Stream,
    AddExtension<S, Peer>,
)>;

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = <RustlsAcceptor as Accept<Watched, S>>::Stream;
    type Service = AddExtension<S, Peer>;
    type Future = Pin<Box<dyn Future<Output = Accepted<S>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let address = stream.peer_addr()?;
            let party = Party::of(address.ip());
            // Before the handshake, for that is the expensive part.
            let Some(connection) = this.connections.admit(party, time::monotonic()) else {
                this.metrics.connections_dropped_full_total.add(1);
                if let Some(suppressed) = this.full.admit(time::now_ms()) {
                    log::warn!(peer:% = address, suppressed; "too many connections");
                }
                return Err(io::Error::other("too many connections"));
            };
            // Answers are small and complete: waiting to fill a segment only delays them.
            stream.set_nodelay(true)?;
            let switch = connection.switch();
            let stream = Watched::new(stream, Arc::clone(&switch), Arc::clone(&this.metrics));
            let (stream, service) =
                this.tls
                    .accept(stream, service)
                    .await
                    .inspect_err(|error| {
                        // Counted already.
                        if switch.is_off() {
                            return;
                        }
                        this.metrics.connections_dropped_handshake_total.add(1);
                        if let Some(suppressed) = this.failed.admit(time::now_ms()) {
                            log::warn!(peer:% = address, error:%, suppressed; "handshake failed");
                        }
                    })?;
            let shown = stream.get_ref().1.peer_certificates();
            let certificate = shown.and_then(Shown::new).map(Arc::new);
            let peer = Peer {
                address,
                party,
                certificate,
                connection: Arc::new(connection),
            };
            Ok((stream, Extension(peer).layer(service)))
        })
    }
}
