//! Nothing that was answered is lost, and nothing runs over, where the machine lacks something: room
//! on the disk, a store that answers, files that can be opened.
//!
//! `WAYBILL_SOAK=1` repeats each of them some ten times.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::Batch;

use crate::crash::{PROGRAM, Serve, batch};
use crate::metrics::series;
use crate::outputs::skipped;
use crate::support::site::{Answer, READER, Site, TOKEN, Who, count, key};
use crate::support::until;

const MIB: u64 = 1 << 20;
/// By how much what is resident may grow while nothing can be stored.
const GROWTH: u64 = 48 * MIB;

fn rounds(few: u32) -> u32 {
    match std::env::var_os("WAYBILL_SOAK") {
        Some(_) => 10 * few,
        None => few,
    }
}

/// What a process has in memory, bytes.
fn resident(serve: &Serve) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.child.id()));
    let status = status.expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

/// A batch of so many events that no two share much.
fn large(agent: u8, sequence: u64, events: u64) -> Batch {
    let mut batch = batch(agent, sequence);
    let event = batch.events.remove(0);
    let mut state = u64::from(agent) << 32 | sequence | 1 << 63;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for n in 0..events {
        let mut event = event.clone();
        (event.time_us, event.token) = (n, random());
        (event.bytes_sent, event.bytes_received) = (random() >> 20, random() >> 20);
        event.duration_us = random() >> 30;
        batch.events.push(event);
    }
    batch
}

/// What the collector said to a batch that it could not store.
fn refused(answer: &Answer) {
    assert!(matches!(answer.status, 429 | 503), "{}", answer.text);
    assert!(answer.retry_after.is_some(), "{}", answer.text);
}

/// A file system of memory, in a mount namespace of its own that a process holds.
struct Disk {
    holder: Child,
    at: PathBuf,
}

impl Disk {
    /// Below a site's folder; `None` where that is not allowed.
    fn mount(site: &Site, bytes: u64) -> Option<Self> {
        let at = site.path("disk");
        fs::create_dir(&at).expect("directory");
        let script =
            format!("mount -t tmpfs -o size={bytes} none \"$0\" && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .arg(&at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare");
        let mut said = [0; 6];
        let out = holder.stdout.as_mut().expect("piped");
        if std::io::Read::read_exact(out, &mut said).is_err() {
            drop(holder.wait());
            skipped("no file system can be mounted in a namespace");
            return None;
        }
        Some(Self { holder, at })
    }

    /// A file on it as others see it.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        let inside = self.at.strip_prefix("/").expect("absolute");
        root.join(inside).join(name)
    }

    /// Bytes that are left on it.
    fn free(&self) -> u64 {
        let left = nix::sys::statvfs::statvfs(&self.path("")).expect("a file system");
        left.blocks_available() * left.fragment_size()
    }

    /// A collector whose store is there.
    fn serve(&self, site: &Site) -> Serve {
        let config = site.configure(true, false, "");
        let text = fs::read_to_string(&config).expect("text");
        let store = site.store().display().to_string();
        let moved = self.at.join("collector.db").display().to_string();
        fs::write(&config, text.replace(&store, &moved)).expect("write");
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        Serve::run(
            command
                .arg(PROGRAM)
                .arg("serve")
                .arg("--config")
                .arg(config),
        )
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is mounted goes with the last process in its namespace.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

fn ready(site: &Site, at: SocketAddr) -> u16 {
    site.get(at, "/readyz", Who::Nobody).status
}

/// Sends until it is stored, as agents do.
fn store(site: &Site, at: SocketAddr, batch: &Batch) {
    until("it is stored", || {
        let answer = site.send(at, batch);
        (answer.status == 200 || {
            refused(&answer);
            false
        })
        .then_some(())
    });
}

#[test]
fn with_the_disk_full_batches_are_refused_and_what_was_answered_is_there_also_after_a_kill() {
    const EVENTS: u64 = 1000;
    const ROOM: u64 = 4 * MIB;
    let site = Site::new();
    let Some(disk) = Disk::mount(&site, 256 * MIB) else {
        return;
    };
    let mut serve = disk.serve(&site);
    // What takes the room may be anything.
    let ballast = disk.path("ballast");
    let mut sequence = 0;
    for round in 0..rounds(2) {
        let takes = disk.free().saturating_sub(ROOM);
        fs::write(&ballast, vec![1; usize::try_from(takes).expect("fits")]).expect("room");
        let mut unanswered = Vec::new();
        loop {
            sequence += 1;
            let batch = large(1, sequence, EVENTS);
            let answer = site.send(serve.at, &batch);
            if answer.status != 200 {
                refused(&answer);
                unanswered.push(batch);
                break;
            }
            assert!(sequence < 1000, "it never fills");
        }
        let before = resident(&serve);
        for _ in 0..12 {
            sequence += 1;
            let batch = large(1, sequence, EVENTS);
            let answer = site.send(serve.at, &batch);
            // Where a little room is left, it is taken.
            if answer.status != 200 {
                refused(&answer);
                unanswered.push(batch);
            }
        }
        assert_eq!(ready(&site, serve.at), 503);
        assert!(resident(&serve) < before + GROWTH);
        let text = site.get(serve.at, "/metrics", Who::Token(READER)).text;
        assert!(series(&text)["waybill_collector_store_commits_failed_total"] > 0.0);
        if round % 2 == 1 {
            serve.child.kill().expect("kill");
            drop(serve);
            fs::remove_file(&ballast).expect("removed");
            serve = disk.serve(&site);
        } else {
            // It comes back by itself.
            fs::remove_file(&ballast).expect("removed");
            until("it is ready", || {
                (ready(&site, serve.at) == 200).then_some(())
            });
        }
        for batch in &unanswered {
            store(&site, serve.at, batch);
        }
    }
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    // SQLite would follow the link that leads there, and come out here.
    fs::copy(disk.path("collector.db"), site.store()).expect("a copy");
    let sent = i64::try_from(sequence).expect("few");
    assert_eq!(count(&site.store(), "batch"), sent);
    assert_eq!(count(&site.store(), "event"), sent * EVENTS.cast_signed());
}

/// Agents that send one batch after the other, each until it is stored. Counts what is refused.
fn load(
    (site, at): (&Site, SocketAddr),
    agent: u8,
    over: &AtomicBool,
    (sent, turned_away): (&AtomicU64, &AtomicU64),
) {
    let client = site.client(Who::Nobody);
    let (mut sequence, mut stored) = (1, true);
    while !over.load(Ordering::Relaxed) || !stored {
        let batch = large(agent, sequence, 500);
        let request = client
            .post(format!("https://{at}/api/v1/batches"))
            .header("Authorization", format!("Bearer {TOKEN}"))
            .header("Content-Type", wire::CONTENT_TYPE)
            .header("Idempotency-Key", key(&batch));
        let answer = request.send(wire::encode(&batch)).expect("an answer");
        stored = answer.status() == 200;
        if stored {
            sent.fetch_add(1, Ordering::Relaxed);
            sequence += 1;
        } else {
            assert!(matches!(answer.status().as_u16(), 429 | 503), "{answer:?}");
            assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
            turned_away.fetch_add(1, Ordering::Relaxed);
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    }
}

#[test]
fn while_the_store_does_not_answer_batches_are_refused_in_bounded_memory_and_none_is_lost() {
    const AGENTS: u8 = 24;
    let site = Site::new();
    let serve = Serve::start(&site, "concurrent_batches = 4");
    let over = AtomicBool::new(false);
    let (sent, turned_away) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for agent in 1..=AGENTS {
            let (site, over, counts) = (&site, &over, (&sent, &turned_away));
            let at = serve.at;
            scope.spawn(move || load((site, at), agent, over, counts));
        }
        let stored = || sent.load(Ordering::Relaxed);
        for _ in 0..rounds(1) {
            let begin = stored();
            until("there is load", || (stored() > begin + 50).then_some(()));
            let before = resident(&serve);
            // Somebody else writes, and does not end.
            let db = rusqlite::Connection::open(site.store()).expect("store");
            db.busy_timeout(std::time::Duration::from_secs(30))
                .expect("set");
            db.execute_batch("BEGIN IMMEDIATE").expect("a lock");
            let refusals = turned_away.load(Ordering::Relaxed);
            until("batches are refused", || {
                (turned_away.load(Ordering::Relaxed) > refusals + 40).then_some(())
            });
            assert!(resident(&serve) < before + GROWTH);
            db.execute_batch("ROLLBACK").expect("no lock");
        }
        let begin = stored();
        until("it goes on", || (stored() > begin + 50).then_some(()));
        over.store(true, Ordering::Relaxed);
    });
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    let sent = i64::try_from(sent.into_inner()).expect("few");
    assert_eq!(count(&site.store(), "batch"), sent);
    assert_eq!(count(&site.store(), "event"), sent * 500);
}

/// Sets how many files a process may open.
fn limit(serve: &Serve, files: usize) {
    let set = Command::new("prlimit")
        .arg(format!("--pid={}", serve.child.id()))
        .arg(format!("--nofile={files}:"))
        .status();
    assert!(set.expect("prlimit").success());
}

#[test]
fn without_files_to_open_it_goes_on_says_so_and_lets_in_who_waited() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let at = serve.at;
    let client = site.client(Who::Nobody);
    let send = |batch: &Batch| {
        let request = client
            .post(format!("https://{at}/api/v1/batches"))
            .header("Authorization", format!("Bearer {TOKEN}"))
            .header("Content-Type", wire::CONTENT_TYPE)
            .header("Idempotency-Key", key(batch));
        let mut answer = request.send(wire::encode(batch)).expect("an answer");
        // Read to its end: the connection is used again.
        let text = answer.body_mut().read_to_string().expect("text");
        assert_eq!(answer.status(), 200, "{text}");
    };
    let counted = || {
        let request = client.get(format!("https://{at}/metrics"));
        let request = request.header("Authorization", format!("Bearer {READER}"));
        let mut answer = request.call().expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        let series = series(&text);
        [
            "connections_accept_failed_total",
            "open_files_exhausted_total",
        ]
        .map(|name| series[&*format!("waybill_collector_{name}")])
    };
    send(&batch(1, 1));
    let mut sequence = 1;
    for _ in 0..rounds(1) {
        // What is open stays open.
        limit(&serve, 3);
        let waiting: Vec<_> = (2..6).map(|agent| (agent, sequence + 1)).collect();
        std::thread::scope(|scope| {
            let before = counted();
            for (agent, sequence) in &waiting {
                let site = &site;
                scope.spawn(move || {
                    let answer = site.send(at, &batch(*agent, *sequence));
                    assert_eq!(answer.word(), "stored");
                });
            }
            until("it says so", || {
                let now = counted();
                (now[0] > before[0] && now[1] > before[1]).then_some(())
            });
            // Who has a connection is answered all the time.
            for _ in 0..20 {
                sequence += 1;
                send(&batch(1, sequence));
            }
            limit(&serve, 4096);
        });
        sequence += 10;
    }
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    for said in ["a connection cannot be accepted", "no more can be opened"] {
        assert!(log.contains(said), "{log}");
    }
}
