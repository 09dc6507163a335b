//! The server: listens, and owns everything that runs until it is told to stop.
//!
//! [`start`] returns when the address is bound; [`Running`] is the handle. Stopping gracefully
//! lets requests end, then the writer thread store what was queued. Dropping the handle stops at
//! once: what was not answered was not promised.

mod acceptor;
mod alerting;
mod answers;
mod app;
mod audit;
mod batches;
mod body;
mod connections;
mod declared;
mod descriptors;
mod drain;
mod enrolment;
mod fair;
mod gate;
mod health;
mod joining;
mod judging;
mod levels;
mod logins;
mod opening;
mod packed;
mod page;
mod people;
mod questions;
mod refusal;
mod request;
mod routes;
mod scope;
mod secrets;
mod settings;
mod signals;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use notify::Notifier;
use tokio::runtime::Runtime;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::alert::outputs::Telling;
use crate::alert::store::AlertStore;
use crate::config::Config;
use crate::exit::Failure;
use crate::metrics::Metrics;
use crate::outputs::{Outputs, Status};
use crate::store::Health;
use crate::store::outbox::Outbox;
use crate::store::writer;
use acceptor::Acceptor;
use app::App;
pub use app::UNSENT;
use connections::Connections;
pub use descriptors::descriptors_for;
use drain::Drain;
use gate::{Gate, Place};
use joining::Joining;
use judging::Judging;
pub use routes::{Scope, openapi, routes};
use secrets::Follower;
pub use secrets::Secrets;
use signals::Signals;

/// Time a client has for its handshake, and for the head of each request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of the head of a request, and of an answer that wait to be written: each connection may
/// take as much.
const HEAD_BYTES: usize = 32 << 10;
/// What a connection takes: what it reads and writes, and its part of TLS.
pub const CONNECTION_BYTES: usize = 2 * HEAD_BYTES + (16 << 10);
/// What a service manager shows of a collector that serves.
const SERVING: &str = "takes batches and answers questions";
/// Time requests have to end when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// A server that listens.
pub struct Running {
    address: SocketAddr,
    handle: Handle<Place>,
    drain: Drain,
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
    signals: Signals,
    // In the order in which they must end.
    serving: Option<JoinHandle<io::Result<()>>>,
    runtime: Option<Runtime>,
    outputs: Outputs,
    telling: Telling,
    judge: Option<Judging>,
    joiner: Option<Joining>,
    writer: Option<std::thread::JoinHandle<()>>,
}

/// As [`start_as_service`], with nobody to tell.
///
/// # Errors
/// As there.
pub fn start(config: &Config) -> Result<Running, Failure> {
    start_as_service(config, Notifier::default())
}

/// Opens the store, binds the address and serves, and tells the service manager.
///
/// # Errors
/// When a secret, the store or the address cannot be had; each with its exit code.
pub fn start_as_service(config: &Config, notifier: Notifier) -> Result<Running, Failure> {
    let notifier = Arc::new(notifier);
    let metrics = Arc::new(Metrics::default());
    let follower = Follower::start(config, Arc::clone(&metrics))?;
    for advice in config.auth.advice() {
        log::warn!("{advice}");
    }
    let opened = opening::store(config)?;
    let outbox = opened.outbox;
    let (access, alerts) = opening::databases(config)?;
    let status = Arc::new(Status::new(&outbox));
    let (socket, address) = listen(config)?;
    let (ending, is_ending) = watch::channel(false);
    let writer = writer::spawn(
        opened.batches,
        config.limits.concurrent_batches,
        &config.store,
        Arc::clone(&metrics),
    )
    .context("start the store thread")?;
    let app = App::new(
        config,
        follower.current(),
        (access, Arc::clone(&alerts)),
        Arc::clone(&metrics),
        (writer.jobs, Arc::clone(&writer.health), writer.orders),
        Arc::clone(&status),
        (opened.source, is_ending.clone()),
    );
    let joiner = joining::start(&app).context("start the joining thread")?;
    let judge = judging::start(&app)?;
    let app = Arc::new(app);
    let runtime = runtime().context("start the runtime")?;
    let handle = Handle::new();
    let room = descriptors::room_for(config.limits.connections);
    let connections = Connections::new(room, Arc::clone(&metrics));
    let acceptor = Acceptor::new(
        RustlsAcceptor::new(follower.tls()).handshake_timeout(HEAD_TIMEOUT),
        Arc::clone(&connections),
        Arc::clone(&metrics),
    );
    let (serving, signals) = {
        let _context = runtime.enter();
        let signals = Signals::hear().context("hear signals")?;
        let hangup = signals::hangup().context("hear signals")?;
        runtime.spawn(follow(
            follower,
            hangup,
            Arc::clone(&notifier),
            Arc::clone(&metrics),
        ));
        if let Some(every) = notifier.every() {
            runtime.spawn(beat(every, Arc::clone(&notifier), writer.health));
        }
        let gate = Gate::new(socket.listener, is_ending, Arc::clone(&metrics));
        let gate = gate.context("watch the listener")?;
        let mut server = Server::<Place>::from_listener(gate)
            .acceptor(acceptor)
            .handle(handle.clone());
        bound_heads(server.http_builder());
        let service = routes::router(app).into_make_service();
        (runtime.spawn(server.http1_only().serve(service)), signals)
    };
    let (outputs, telling) = tell(config, (&outbox, &status), (&alerts, &metrics))?;
    log::info!(address:%, socket = socket.by; "listening");
    notifier.ready(SERVING);
    Ok(Running {
        drain: Drain::new(ending, connections),
        notifier,
        outputs,
        telling,
        address,
        handle,
        metrics,
        signals,
        serving: Some(serving),
        runtime: Some(runtime),
        judge: Some(judge),
        joiner: Some(joiner),
        writer: Some(writer.thread),
    })
}

/// Threads that serve.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("http")
        .enable_all()
        .build()
}

/// Without a timer hyper waits for ever for the head of a request.
fn bound_heads<E>(builder: &mut hyper_util::server::conn::auto::Builder<E>) {
    let mut http = builder.http1();
    http.timer(TokioTimer::new());
    http.header_read_timeout(HEAD_TIMEOUT);
    http.max_buf_size(HEAD_BYTES);
}

/// Has the socket, and the address that it is bound to.
fn listen(config: &Config) -> anyhow::Result<(gate::Opened, SocketAddr)> {
    let opened = gate::open(config.listen.address)?;
    let address = opened.listener.local_addr();
    let address = address.context("ask for the bound address")?;
    Ok((opened, address))
}

/// Starts what passes batches on, and what tells alerts.
fn tell(
    config: &Config,
    (outbox, status): (&Arc<Outbox>, &Arc<Status>),
    (alerts, metrics): (&Arc<AlertStore>, &Arc<Metrics>),
) -> anyhow::Result<(Outputs, Telling)> {
    let outputs = Outputs::start(&config.outputs, &config.store.path, outbox, status);
    let telling = Telling::start(&config.alerts, alerts, metrics);
    Ok((
        outputs.context("start an output")?,
        telling.context("start an output of alerts")?,
    ))
}

/// Looks at the files of the configuration once in a period, and at once on SIGHUP.
async fn follow(
    mut follower: Follower,
    mut hangup: Signal,
    notifier: Arc<Notifier>,
    metrics: Arc<Metrics>,
) {
    let mut period = tokio::time::interval(follow::PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let at_once = tokio::select! {
            _ = period.tick() => false,
            _ = hangup.recv() => true,
        };
        refusal::say_held_back(&metrics);
        if at_once {
            notifier.reloading();
        }
        // A file system may take its time.
        let looked = tokio::task::spawn_blocking(move || {
            follower.look(at_once);
            follower
        });
        match looked.await {
            Ok(back) => follower = back,
            Err(_) => return log::error!("files are not followed any more"),
        }
        if at_once {
            notifier.ready(SERVING);
        }
    }
}

/// Tells the service manager that there is still somebody who answers and somebody who stores.
async fn beat(every: Duration, notifier: Arc<Notifier>, writer: Arc<Health>) {
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A thread that is slow is waited for: another process would wait for the same disk.
    while !writer.ended() {
        beats.tick().await;
        notifier.heartbeat();
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Serves until SIGTERM, SIGINT or SIGQUIT, then stops gracefully.
    ///
    /// # Errors
    /// When the listener failed.
    pub fn until_signal(mut self) -> anyhow::Result<()> {
        let runtime = self.runtime.as_ref().expect("taken only by stop and drop");
        let mut serving = self.serving.take().expect("taken only here and by stop");
        let (name, ended) = runtime.block_on(async {
            tokio::select! {
                name = self.signals.end() => (name, None),
                ended = &mut serving => ("", Some(ended)),
            }
        });
        if let Some(ended) = ended {
            ended.context("serve")?.context("accept connections")?;
            anyhow::bail!("the server ended by itself");
        }
        self.serving = Some(serving);
        log::info!(signal = name; "stopping");
        self.notifier.stopping();
        self.stop()
    }

    /// Stops gracefully: requests end, and what was queued is stored.
    ///
    /// # Errors
    /// When the listener or a thread failed.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) {
            let left = runtime.block_on(self.drain.wait(GRACE));
            self.handle.graceful_shutdown(Some(left));
            runtime
                .block_on(serving)
                .context("serve")?
                .context("accept connections")?;
            runtime.shutdown_timeout(GRACE);
        }
        // Before the writer saves how far they are.
        self.outputs.stop(GRACE);
        self.telling.stop(GRACE);
        self.join_writer()?;
        log::info!("stopped");
        Ok(())
    }

    /// The thread ends when the last queue to it is gone, and with the runtime and whoever joins they
    /// all are.
    fn join_writer(&mut self) -> anyhow::Result<()> {
        self.joiner = None;
        self.judge = None;
        let joined = self.writer.take().map(std::thread::JoinHandle::join);
        match joined {
            Some(Err(_)) => anyhow::bail!("the store thread panicked"),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.handle.shutdown();
            runtime.shutdown_timeout(GRACE);
        }
        if let Err(error) = self.join_writer() {
            log::error!(error:%; "stopping");
        }
    }
}
