//! The collector dies in the middle: what was answered is there, and nothing is there twice.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use wire::Batch;

use crate::support::site::{Site, TOKEN, Who, count};
use crate::support::until;
use crate::support::world::World;

/// The program that is tried.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_waybill-collector");
/// Batches that agents send in these tests, and agents.
const BATCHES: u64 = 60;
const AGENTS: u8 = 3;

/// `serve` as a process of its own; killed when dropped.
pub(crate) struct Serve {
    pub(crate) child: Child,
    pub(crate) at: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
}

impl Serve {
    pub(crate) fn start(site: &Site, limits: &str) -> Self {
        let config = site.configure(true, false, limits);
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(config);
        Self::run(&mut command)
    }

    /// The same by a command of its own, which becomes the collector.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("start");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let at = loop {
            line.clear();
            assert!(
                log.read_line(&mut line).expect("log") > 0,
                "ended before it listened"
            );
            if let Some((_, rest)) = line.split_once("listening address=") {
                let address = rest.split_whitespace().next().expect("address");
                break address.parse().expect("address");
            }
        };
        Self { child, at, log }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// Sends a signal, waits for the end, and returns exit code and the rest of the log.
    pub(crate) fn end(self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        self.ended()
    }

    /// Waits for the end, and returns exit code and the rest of the log.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut rest).expect("log");
        (self.child.wait().expect("ends").code(), rest)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn batch(agent: u8, sequence: u64) -> Batch {
    let mut world = World::new();
    let host = world.host("one");
    world.event(host, sequence);
    let mut batch = world.tick().remove(0);
    batch.header.host = [agent; 16];
    batch.header.sequence = sequence;
    batch
}

#[test]
fn after_a_kill_every_answered_batch_is_there_and_none_twice() {
    let site = Site::new();
    let mut serve = Serve::start(&site, "");
    let at = serve.at;
    let acked: Vec<AtomicU64> = (0..AGENTS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for agent in 0..AGENTS {
            let (site, acked) = (&site, &acked[usize::from(agent)]);
            scope.spawn(move || {
                for sequence in 1..=BATCHES {
                    // Without an answer nothing was promised.
                    match site.send_as(at, Who::Token(TOKEN), &batch(agent, sequence)) {
                        Ok(answer) if answer.status == 200 => {
                            acked.store(sequence, Ordering::SeqCst);
                        }
                        _ => return,
                    }
                }
            });
        }
        let total = || acked.iter().map(|n| n.load(Ordering::SeqCst)).sum::<u64>();
        until("some batches are answered", || {
            (total() >= 20).then_some(())
        });
        serve.child.kill().expect("kill");
        serve.child.wait().expect("ends");
    });
    drop(serve);

    let again = Serve::start(&site, "");
    let mut duplicates = 0;
    for agent in 0..AGENTS {
        let answered = acked[usize::from(agent)].load(Ordering::SeqCst);
        for sequence in 1..=BATCHES {
            let answer = site.send(again.at, &batch(agent, sequence));
            assert_eq!(answer.status, 200, "{}", answer.text);
            if sequence <= answered {
                assert_eq!(
                    answer.word(),
                    "duplicate",
                    "agent {agent}, batch {sequence}"
                );
            }
            duplicates += u64::from(answer.word() == "duplicate");
        }
    }
    assert!(duplicates >= 20);
    let (code, _) = again.end("TERM");
    assert_eq!(code, Some(0));
    let all = i64::from(AGENTS) * i64::try_from(BATCHES).expect("few");
    assert_eq!(count(&site.store(), "batch"), all);
    assert_eq!(count(&site.store(), "event"), all);
}

#[test]
fn a_server_that_is_dropped_has_stored_what_it_answered() {
    let site = Site::new();
    for round in 0..3 {
        let running = site.start("");
        for sequence in 1..=5 {
            let answer = site.send(running.address(), &batch(0, round * 5 + sequence));
            assert_eq!(answer.word(), "stored");
        }
        drop(running);
        assert_eq!(
            count(&site.store(), "event"),
            i64::try_from(round * 5 + 5).expect("few")
        );
    }
}

#[test]
fn sigterm_and_sigint_end_it_well() {
    for signal in ["TERM", "INT"] {
        let site = Site::new();
        let serve = Serve::start(&site, "");
        assert_eq!(site.send(serve.at, &batch(0, 1)).word(), "stored");
        let (code, log) = serve.end(signal);
        assert_eq!(code, Some(0), "{log}");
        assert!(
            log.contains(&format!("msg=stopping signal=SIG{signal}")),
            "{log}"
        );
        assert!(log.contains(" msg=stopped"), "{log}");
        // The write-ahead log was folded into the database.
        assert!(!site.path("collector.db-wal").exists());
    }
}
