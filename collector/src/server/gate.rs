//! Where connections come in: an address of the configuration, or a socket that a service manager
//! has opened and keeps, so that nobody is refused while the collector starts again.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use axum_server::{AddrListener, Address};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::time;

/// A socket that listens, and who opened it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) listener: StdListener,
    /// `configuration` or `service manager`.
    pub(super) by: &'static str,
}

/// The socket of the service manager where it passes one, else one of its own.
///
/// # Errors
/// When the address cannot be had, or what is passed is not one listening TCP socket.
pub(super) fn open(address: SocketAddr) -> anyhow::Result<Opened> {
    // Says nothing where the descriptors are meant for another process (`LISTEN_PID`).
    let mut passed = ListenFd::from_env();
    let (listener, by) = match passed.len() {
        0 => {
            let listener = StdListener::bind(address);
            let listener = listener.with_context(|| format!("listen on {address}"))?;
            (listener, "configuration")
        }
        1 => {
            let listener = passed.take_tcp_listener(0);
            let listener = listener.context("the socket of the service manager")?;
            let listener = listener.context("the socket of the service manager is taken")?;
            (listener, "service manager")
        }
        many => bail!("the service manager passes {many} sockets; the collector listens on one"),
    };
    listener
        .set_nonblocking(true)
        .context("set the socket up")?;
    Ok(Opened { listener, by })
}

/// Names [`Gate`] for [`axum_server`]; connections know their addresses themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place;

impl Address for Place {
    type Stream = TcpStream;
    type Listener = Gate;
}

/// Accepts until it is told to close.
#[derive(Debug)]
pub(super) struct Gate {
    listener: Mutex<Option<Arc<TcpListener>>>,
    closing: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    failures: Limiter,
}

impl Gate {
    /// Within the runtime. It closes when `closing` becomes true.
    pub(super) fn new(
        listener: StdListener,
        closing: watch::Receiver<bool>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self {
            listener: Mutex::new(Some(Arc::new(listener))),
            closing,
            metrics,
            failures: Limiter::new(),
        })
    }

    fn listener(&self) -> Option<Arc<TcpListener>> {
        let listener = self.listener.lock();
        listener.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn close(&self) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        // A socket of the service manager stays open there, with who waits in it.
        *listener = None;
    }

    /// `axum_server` comes again a moment later, so that nothing spins where no descriptor is left.
    fn failed(&self, error: &io::Error) {
        self.metrics.connections_accept_failed_total.add(1);
        if let Some(suppressed) = self.failures.admit(time::now_ms()) {
            log::warn!(error:%, suppressed; "a connection cannot be accepted");
        }
    }
}

impl AddrListener<TcpStream, Place> for Gate {
    async fn bind_to(_: Place) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, Place)> {
        let mut closing = self.closing.clone();
        if let Some(listener) = self.listener() {
            tokio::select! {
                biased;
                // Who has connected already is let in, also when it closes.
                accepted = listener.accept() => {
                    let (stream, _) = accepted.inspect_err(|error| self.failed(error))?;
                    return Ok((stream, Place));
                }
                // Whoever told it to close may be gone.
                _ = closing.wait_for(|closing| *closing) => {}
            }
            drop(listener);
            self.close();
        }
        pending().await
    }

    fn get_local_addr(&self) -> io::Result<Place> {
        Ok(Place)
    }
}
