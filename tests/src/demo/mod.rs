//! The demo: client -> FULLNAT gateway -> two backends, agents at both ends, one collector; or a
//! whole site with `--site`.
//!
//! Progress goes to standard error, the result to standard output. Every trace is removed at the
//! end, also after Ctrl-C.

mod page;
mod relay;
mod show;
mod site;
mod stage;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};

use self::show::{Format, Progress, Report};
use self::stage::Stage;
use crate::lab::binaries::Binaries;
use crate::lab::cgroup::Tree;
use crate::lab::needs::{self, Need};
use crate::lab::wait::{interrupt, interrupted, wait_for, wait_until};
use crate::lab::{Lab, leftovers};

/// Shows what Waybill finds between a client and two backends behind a NAT gateway.
///
/// All runs in network namespaces of its own; every trace is removed at the end, also after Ctrl-C.
#[derive(Parser)]
#[command(name = "cargo xtask demo", bin_name = "cargo xtask demo")]
struct Arguments {
    /// Show a site instead: 14 hosts with services, NAT, a declared matrix, and a fault that comes and
    /// goes, to look at on the page
    #[arg(long)]
    site: bool,
    /// End after the first look; status 0 only if every expected edge is there with the right counts,
    /// and of a site the expected verdicts and the alert, which takes some three minutes
    #[arg(long)]
    once: bool,
    /// How what is found is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only remove what killed demos and tests left behind
    #[arg(long, conflicts_with_all = ["once", "site"])]
    clean: bool,
}

/// Programs that the demo starts.
const PROGRAMS: [Need; 3] = [
    Need::Program("nginx"),
    Need::Program("curl"),
    Need::Program("python3"),
];

/// Requests per round and IP version.
const REQUESTS: u64 = 20;

/// How long a report may take from the kernel to the topology.
const SETTLE: Duration = Duration::from_secs(30);

/// Pause between two rounds of the endless demo.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs the demo with the process's own arguments.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut progress = Progress::new(io::stderr());
    match run(&arguments, &mut progress) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if interrupted() => {
            progress.say("interrupted; every trace is removed");
            // 128 + SIGINT, as shells report it.
            ExitCode::from(130)
        }
        Err(error) => {
            progress.say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether everything expected was found.
fn run(arguments: &Arguments, progress: &mut Progress) -> Result<bool> {
    let programs: &[Need] = if arguments.clean { &[] } else { &PROGRAMS };
    if let Some(reason) = needs::LAB
        .iter()
        .chain(programs)
        .find_map(|need| need.missing())
    {
        anyhow::bail!("{reason}");
    }
    if arguments.clean {
        let parent = std::env::temp_dir();
        let tree = Tree::find(&parent.join("wblab-cgroup2"))?;
        leftovers::sweep(&tree, &parent);
        tree.release()?;
        return Ok(true);
    }
    watch_signals()?;
    let lab = Lab::new(&Binaries::build()?)?;
    let shown = match arguments.site {
        true => site::show(&lab, arguments.once, arguments.format, progress),
        false => show_in(&lab, arguments, progress),
    };
    let closed = lab.close();
    let agreed = shown?;
    closed?;
    progress.say("every trace is removed");
    Ok(agreed)
}

/// Turns the signals that end programs into an interruption of every wait.
fn watch_signals() -> Result<()> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    // Blocked before any other thread exists, so that all inherit it and only this one is told.
    signals.thread_block().context("block signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            while signals.wait().is_ok() {
                interrupt();
            }
        })?;
    Ok(())
}

fn show_in(lab: &Lab, arguments: &Arguments, progress: &mut Progress) -> Result<bool> {
    let mut stage = Stage::set(lab, progress)?;
    let report = one_round(&mut stage, progress)?;
    print(&report, arguments.format)?;
    if arguments.once {
        return Ok(report.problem.is_none());
    }
    let _page = stage.open_page(progress)?;
    stage.say_where(progress);
    progress.say("traffic goes on; Ctrl-C ends the demo and removes every trace");
    loop {
        // An interruption is how this loop is meant to end.
        if wait_until(PAUSE, "interruption", || Ok(interrupted().then_some(()))).is_ok() {
            return Ok(true);
        }
        let report = match one_round(&mut stage, progress) {
            Ok(report) => report,
            Err(_) if interrupted() => return Ok(true),
            Err(error) => return Err(error),
        };
        print(&report, arguments.format)?;
    }
}

/// Sends one round of requests and waits until the topology tells the same as the programs.
fn one_round(stage: &mut Stage, progress: &mut Progress) -> Result<Report> {
    stage.send(REQUESTS, progress)?;
    let expected = stage.expected()?;
    progress.say("waiting until agents have reported and the collector has joined");
    stage.flush()?;
    let agreed = wait_for(SETTLE, "agreement", || {
        stage.collector.topology()?.check(&expected)
    });
    let problem = match agreed {
        Err(error) if interrupted() => return Err(error),
        Err(error) => Some(format!("{error:#}")),
        Ok(()) => None,
    };
    Ok(Report {
        table: stage.collector.query("topology", "table")?,
        topology: serde_json::from_str(&stage.collector.query("topology", "json")?)?,
        expected,
        problem,
    })
}

fn print(report: &Report, format: Format) -> Result<()> {
    let mut out = io::stdout().lock();
    let text = match format {
        Format::Table => report.as_table(),
        Format::Json => report.as_json()?,
    };
    out.write_all(text.as_bytes()).context("write result")?;
    out.flush().context("write result")
}
