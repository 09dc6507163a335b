//! `cargo xtask bench tax`: whether calls that are none of its business cost more beside an agent.

mod verdict;

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::lab::Lab;
use crate::lab::agent::{Agent, Settings};
use crate::lab::host::{Host, TOOL_DEADLINE};
use crate::program::calls::Costs;
use verdict::{Figure, Verdict};

/// Calls beside an agent in each mode that this machine can do, and beside none.
#[derive(Parser)]
#[command(name = "waybill-tax")]
struct Arguments {
    /// How often each mode is compared with no agent
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Batches of each call in each phase
    #[arg(long, default_value_t = 400)]
    batches: usize,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// Exit code when this machine is too noisy for an answer.
const NO_VERDICT: u8 = 3;

/// The mode that sees connections by packet sockets.
const SOCKETS: &str = "sockets";
/// What such a socket costs by itself, whoever opens it and whatever its filter does.
const PACKET_SOCKET: &str = "bare tap";

/// One of the costs.
type Cost = fn(&Costs) -> f64;

/// The calls, by the names of their figures.
const CALLS: [(&str, Cost); 4] = [
    ("getppid", |costs| costs.getppid),
    ("read /dev/zero", |costs| costs.read_zero),
    ("pipe round trip", |costs| costs.pipe),
    ("UDP round trip", |costs| costs.udp),
];

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    rounds: usize,
    batches: usize,
    figures: Vec<Figure>,
    /// Modes that the agent did not come out with here, and what it said.
    not_here: Vec<(String, String)>,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
struct Machine {
    kernel: String,
    processor: String,
    processors: usize,
    load: String,
}

/// Runs the measurement with the process's own arguments and prints it.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).and_then(|report| {
        print(&report, arguments.format)?;
        Ok(exit(&report.figures))
    }) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do when standard error is gone, too.
            writeln!(io::stderr(), "failed: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn exit(figures: &[Figure]) -> ExitCode {
    let has = |verdict| figures.iter().any(|figure| figure.verdict == verdict);
    if has(Verdict::Taxed) {
        ExitCode::FAILURE
    } else if has(Verdict::TooNoisy) {
        ExitCode::from(NO_VERDICT)
    } else {
        ExitCode::SUCCESS
    }
}

fn run(arguments: &Arguments) -> Result<Report> {
    ensure!(
        arguments.rounds > 1 && arguments.batches > 0,
        "too little to compare"
    );
    Lab::measure(&[], |lab| measure(lab, arguments))
}

/// What calls are made beside.
enum Beside {
    /// Nothing: the control.
    Nothing,
    /// A bare packet socket.
    PacketSocket,
    /// An agent, which runs meanwhile.
    Agent(Box<Agent>),
}

/// A mode with its agent, or what it is held against.
struct Subject {
    name: &'static str,
    beside: Beside,
    host: Host,
    /// Before, beside and after the agent, for each round.
    rounds: Vec<[Costs; 3]>,
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Report> {
    let mut subjects = Vec::new();
    for (name, beside) in [
        ("A/A", Beside::Nothing),
        (PACKET_SOCKET, Beside::PacketSocket),
    ] {
        subjects.push(Subject {
            name,
            beside,
            host: lab.host(&name.replace([' ', '/'], "-"))?,
            rounds: Vec::new(),
        });
    }
    let mut not_here = Vec::new();
    for (name, mode, settings) in modes()? {
        let host = lab.host(&name.replace(' ', "-"))?;
        let mut agent = Agent::start_on(lab, &host, None, &settings)?;
        let status = agent.status()?;
        agent.stop()?;
        if status.mode != mode {
            let said = status.plan.iter().find(|(family, _)| family == "mode");
            let said = said.map(|(_, said)| said.clone()).unwrap_or_default();
            not_here.push((name.to_owned(), said));
            continue;
        }
        subjects.push(Subject {
            name,
            beside: Beside::Agent(Box::new(agent)),
            host,
            rounds: Vec::new(),
        });
    }
    for _ in 0..arguments.rounds {
        for subject in &mut subjects {
            let phases = round(subject, arguments.batches)?;
            subject.rounds.push(phases);
        }
    }
    Ok(Report {
        machine: machine()?,
        rounds: arguments.rounds,
        batches: arguments.batches,
        figures: figures(&subjects),
        not_here,
    })
}

/// Before, beside and after.
fn round(subject: &mut Subject, batches: usize) -> Result<[Costs; 3]> {
    let bare = matches!(subject.beside, Beside::PacketSocket);
    let before = costs(&subject.host, batches, false)?;
    if let Beside::Agent(agent) = &mut subject.beside {
        agent.start()?;
    }
    let beside = costs(&subject.host, batches, bare)?;
    if let Beside::Agent(agent) = &mut subject.beside {
        agent.stop()?;
    }
    let after = costs(&subject.host, batches, false)?;
    Ok([before, beside, after])
}

/// Name, the mode that the agent must come out with, and its settings.
fn modes() -> Result<Vec<(&'static str, &'static str, Settings)>> {
    let with = |key: &str, value: &str| Settings::default().with(key, value);
    Ok(vec![
        ("sockops", "sockops", with("option.mode", "\"sockops\"")?),
        ("tc-clone", "tc-clone", with("option.mode", "\"tc-clone\"")?),
        ("observe", "observe", with("option.mode", "\"observe\"")?),
        (SOCKETS, "observe", with("agent.hooks", "\"sockets\"")?),
    ])
}

fn costs(host: &Host, batches: usize, packet_socket: bool) -> Result<Costs> {
    let mut command = host.lab_program("calls");
    command.args(["--batches", &batches.to_string()]);
    if packet_socket {
        command.arg("--beside-packet-socket");
    }
    let said = host.start("calls", command)?.succeed(TOOL_DEADLINE)?;
    serde_json::from_str(&said).with_context(|| format!("figures {said:?}"))
}

fn figures(subjects: &[Subject]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (call, cost) in CALLS {
        let rounds = |subject: &Subject| -> Vec<[f64; 3]> {
            let costs = subject.rounds.iter();
            costs.map(|phases| phases.each_ref().map(cost)).collect()
        };
        let [control, bare, modes @ ..] = subjects else {
            continue;
        };
        let control = rounds(control);
        let bare = Figure::of(call, bare.name, &rounds(bare), &control);
        for subject in modes {
            let figure = Figure::of(call, subject.name, &rounds(subject), &control);
            figures.push(match subject.name {
                SOCKETS => figure.beside_what_must_be(&bare),
                _ => figure,
            });
        }
        figures.push(bare.for_comparison());
    }
    figures
}

fn machine() -> Result<Machine> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("read {path}"));
    let processors = read("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    Ok(Machine {
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        processors: std::thread::available_parallelism()?.get(),
        load: read("/proc/loadavg")?.trim().to_owned(),
    })
}

fn print(report: &Report, format: Format) -> Result<()> {
    let mut out = io::stdout().lock();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
        return Ok(());
    }
    let machine = &report.machine;
    writeln!(
        out,
        "kernel {}, {} x {}, load {}; {} rounds of off, on, off; first percentile of {} batches",
        machine.kernel,
        machine.processors,
        machine.processor,
        machine.load,
        report.rounds,
        report.batches
    )?;
    writeln!(
        out,
        "{:<16} {:<9} {:>9} {:>9} {:>7} {:>7}  verdict",
        "call", "mode", "off ns", "on ns", "ratio", "A/A"
    )?;
    for figure in &report.figures {
        writeln!(
            out,
            "{:<16} {:<9} {:>9.1} {:>9.1} {:>7.3} {:>7.3}  {}",
            figure.call,
            figure.mode,
            figure.off_ns,
            figure.on_ns,
            figure.ratio,
            1.0 + figure.noise,
            figure.verdict.words()
        )?;
    }
    for (mode, said) in &report.not_here {
        writeln!(out, "{mode} cannot be had here: {said}")?;
    }
    Ok(())
}
