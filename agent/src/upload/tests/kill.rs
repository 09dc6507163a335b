//! `kill -9` in the middle of an upload: the batch is sent again under the same name.

use std::env;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::server::{Authority, Reply, STORED, Service};
use crate::delivery::Handle;
use crate::metrics::Metrics;
use crate::spool::Spool;
use crate::spool::tests::{Place, batch, eventually, id, roomy};
use crate::upload::{Settings, Transport, thread};

const URL: &str = "WAYBILL_TEST_URL";
const SPOOL: &str = "WAYBILL_TEST_SPOOL";
const AUTHORITY: &str = "WAYBILL_TEST_AUTHORITY";

fn start(spool: Spool, settings: &Settings, metrics: &Arc<Metrics>) -> Handle {
    let transport = Transport::new(settings).expect("settings");
    Handle::start_with(spool, Arc::clone(metrics), |client, metrics| {
        thread::start(transport, client, metrics)
    })
    .expect("start the threads")
}

/// Killed by `SIGKILL` when dropped, also by a failing test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("kill the agent");
        self.0.wait().expect("the end of the agent");
    }
}

#[test]
fn a_batch_in_flight_survives_a_kill() {
    let (authority, place) = (Authority::new(), Place::new());
    let script = |nth| if nth == 0 { Reply::Silence } else { STORED };
    let server = Service::new(&authority.issue("127.0.0.1")).start(script);
    let settings = authority.settings(server.port);

    let agent = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "upload::tests::kill::an_agent_of_its_own"])
        .env(URL, &settings.url)
        .env(SPOOL, place.path())
        .env(
            AUTHORITY,
            String::from_utf8(settings.ca_pem.clone()).expect("PEM is text"),
        )
        .stdout(Stdio::null())
        .spawn()
        .expect("start an agent");
    let agent = Killed(agent);
    let before = server.next();
    drop(agent);

    let mut spool = place.open();
    assert_eq!(
        spool.depth(),
        2,
        "nothing was acknowledged, nothing is lost"
    );
    let attempts: Vec<u64> = spool
        .ls(9)
        .expect("list")
        .iter()
        .map(|entry| entry.attempts)
        .collect();
    assert_eq!(attempts, [1, 0], "it was in flight");
    assert_eq!(spool.take_tally().found, 2);
    drop(spool);

    let metrics = Arc::<Metrics>::default();
    let handle = start(place.open(), &settings, &metrics);
    let after = server.next();
    assert_eq!(
        after.header("idempotency-key"),
        before.header("idempotency-key")
    );
    assert_eq!(
        after.header("idempotency-key"),
        Some(&*batch(1, 0).idempotency_key())
    );
    assert_eq!(after.body, before.body);
    eventually("both acks", || metrics.upload_acked_total.get() == 2);
    assert_eq!(metrics.spool_found_total.get(), 2);
    drop(handle);
}

/// The process that the test above starts and kills; by itself it does nothing.
#[test]
fn an_agent_of_its_own() {
    let Ok(url) = env::var(URL) else { return };
    let settings = Settings {
        url,
        ca_pem: env::var(AUTHORITY).expect("an authority").into_bytes(),
        timeout: Duration::from_secs(60),
        ..Authority::new().settings(0)
    };
    let path = env::var(SPOOL).expect("a path");
    let mut spool = Spool::open(path.as_ref(), roomy()).expect("open the spool");
    for sequence in [1, 2] {
        assert!(spool.put(&batch(sequence, 1000)));
    }
    assert_eq!(spool.ls(1).expect("list")[0].id, id(1));
    let metrics = Arc::default();
    let _handle = start(spool, &settings, &metrics);
    std::thread::park();
}
