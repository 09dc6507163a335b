//! Kills under load: whatever was acknowledged is there, once, and sums are those of the agents.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use collector::meter::Meter;
use collector::store::{Reader, Window};
use collector::time;

use crate::agents::{Agents, Rows, Sent};
use crate::arguments::Arguments;
use crate::sections::{BEGIN_MS, KEEP};
use crate::server::Server;
use crate::wait::wait_until;

/// Pauses between kills, milliseconds: some find the collector at its start, some at its upkeep.
const PAUSES_MS: [u64; 7] = [40, 150, 400, 900, 70, 1500, 250];
/// Time for the batch that is on its way.
const PATIENCE: Duration = Duration::from_secs(120);

/// Kills the collector so often, and compares.
pub(crate) fn run(arguments: &Arguments, kills: u32) -> Result<ExitCode> {
    let mut server = Server::start(&arguments.collector, KEEP)?;
    let count = *arguments.agents.first().context("no fleet")?;
    let from_ms = time::now_ms() - BEGIN_MS;
    let mut agents = Agents::new(&server, count, arguments.edges, from_ms)?;
    agents.collector_ends = true;
    let over = AtomicBool::new(false);
    let mut sent = Sent::default();
    let ended = std::thread::scope(|scope| {
        let killing = scope.spawn(|| {
            let killed = kill(&mut server, kills);
            over.store(true, Ordering::Relaxed);
            killed
        });
        let sending = (|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                sent.add(&agents.interval(Rows::All)?);
            }
            // One that nobody disturbs.
            sent.add(&agents.interval(Rows::All)?);
            Ok(())
        })();
        let killed = killing.join().map_err(|_| anyhow!("a thread ended"))?;
        sending.and(killed)
    });
    ended?;
    report(&server, &agents, (&sent, kills), from_ms)
}

fn kill(server: &mut Server, kills: u32) -> Result<()> {
    for pause in PAUSES_MS.iter().cycle().take(usize::try_from(kills)?) {
        let begin = Instant::now();
        wait_until(PATIENCE, "time of a kill", || {
            Ok((begin.elapsed() >= Duration::from_millis(*pause)).then_some(()))
        })?;
        server.kill(KEEP)?;
    }
    Ok(())
}

fn report(
    server: &Server,
    agents: &Agents,
    (sent, kills): (&Sent, u32),
    from_ms: i64,
) -> Result<ExitCode> {
    let path = server.store();
    let db = rusqlite::Connection::open(&path)?;
    let batches: i64 = db.query_row("SELECT count(*) FROM batch", (), |row| row.get(0))?;
    let checked: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0))?;
    let mut meter = Meter::new(usize::MAX, usize::MAX);
    let window = Window {
        from_ms: from_ms - 86_400_000,
        to_ms: agents.now_ms,
    };
    let input = Reader::open(&path)?.window(window, &mut meter)?;
    let counted = input.flows.iter().filter_map(|flow| flow.counters.as_ref());
    let connections: u64 = counted.map(|counters| counters.opened()).sum();
    let (batches, opened) = (batches.unsigned_abs(), agents.opened());
    let is_whole = batches == sent.batches && connections == opened && checked == "ok";
    let verdict = if is_whole { "met" } else { "missed" };
    write!(
        io::stdout().lock(),
        "{} agents, {kills} kills under load\n  \
         batches      acknowledged {:>10}  stored {batches:>10}\n  \
         connections  acknowledged {opened:>10}  stored {connections:>10}\n  \
         sent again: {} without an answer, {} refused; integrity check: {checked}\n{verdict}\n",
        agents.count(),
        sent.batches,
        sent.unanswered,
        sent.refused
    )?;
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
