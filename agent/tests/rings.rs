//! A second object shares the core's maps with the first, and a ring of its own keeps nothing out of
//! theirs, however many records are sent to it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use agent::family::connection::event::{self, Connection};
use agent::kernel::Counters;
use agent::loader::{Core, Scope, size_ring};
use agent::metrics::Metrics;
use agent::plan::Transport;
use agent::records::Ring;
use anyhow::{Context as _, Result, ensure};
use bpf::abi;
use bpf::counters::RECORD_KINDS;
use libbpf_rs::{MapCore as _, MapHandle, Object, ObjectBuilder, ProgramInput};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Of each ring, or of each CPU's buffer.
const BYTES: u64 = 2 << 20;
/// More than a ring has room for.
const FLOOD: u32 = 20_000;
/// What another family sends meanwhile; any ring has room for it, and any budget.
const FEW: u32 = 50;
/// What the core is told, and both programs read. The flood's records are one off.
const TOLD: u64 = 77;

fn main() -> ExitCode {
    let transports = [
        ("ring_buffer", Transport::RingBuffer),
        ("perf_buffer", Transport::PerfBuffer),
    ];
    let trials = transports.map(|(name, transport)| {
        let name = format!("a_flood_in_a_ring_of_its_own_keeps_nothing_out_of_another::{name}");
        Trial::ignorable_test(name, move || run(transport))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn run(transport: Transport) -> Result<Completion, Failed> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root"));
    }
    flood(transport).map_err(|error| format!("{error:#}"))?;
    Ok(Completion::Completed)
}

/// Two objects beside each other, of which one sends to a ring of its own.
struct Objects {
    core: Core,
    first: Object,
    second: Object,
    own: MapHandle,
}

impl Objects {
    fn load(transport: Transport) -> Result<Self> {
        let core = Core::load(transport, BYTES, Scope::named("/"))?;
        let mut told = core.told();
        told.scope_cgroup_id = TOLD;
        core.tell(told)?;
        let (first, second) = (object(&core, transport)?, object(&core, transport)?);
        let own = second.maps().find(|map| map.name() == "own");
        let own = MapHandle::try_from(&own.context("the object has a ring of its own")?)?;
        Ok(Self {
            core,
            first,
            second,
            own,
        })
    }
}

fn object(core: &Core, transport: Transport) -> Result<Object> {
    let bytes = match transport {
        Transport::RingBuffer => bpf::FLOOD_RING,
        Transport::PerfBuffer => bpf::FLOOD_PERF,
    };
    let mut object = ObjectBuilder::default().open_memory(bytes)?;
    core.lend(&mut object)?;
    if transport == Transport::RingBuffer {
        size_ring(&mut object, "own", BYTES)?;
    }
    Ok(object.load()?)
}

/// Runs a program on a packet, so many times.
fn send(object: &Object, program: &str, times: u32) -> Result<()> {
    let mut programs = object.progs_mut();
    let program = programs.find(|one| one.name() == program);
    let input = ProgramInput {
        data_in: Some(&[0; 64]),
        repeat: times,
        ..ProgramInput::default()
    };
    program
        .context("the object has the program")?
        .test_run(input)?;
    Ok(())
}

fn of(events: &[Connection], id: u64) -> usize {
    events.iter().filter(|event| event.id == id).count()
}

fn flood(transport: Transport) -> Result<()> {
    let objects = Objects::load(transport)?;
    let own = Ring {
        map: &objects.own,
        transport,
        bytes: BYTES,
    };
    // The one that is flooded comes first.
    let (records, metrics) = (&objects.core.records, Metrics::default());
    records.add(own)?;
    let decode = |bytes: &[u8]| event::decode(bytes).ok();
    let inbox = objects.core.subscribe(abi::WB_FAMILY_CONNECTION, decode)?;
    ensure!(records.descriptors().len() == 2, "one to wait for each");
    send(&objects.second, "wb_flood_own", FLOOD)?;
    send(&objects.first, "wb_flood_shared", FEW)?;
    send(&objects.second, "wb_flood_shared", FEW)?;

    let mut more = records.read(&metrics)?.more;
    let taken = inbox.take();
    let shared = of(&taken, TOLD);
    ensure!(
        shared == 2 * FEW as usize,
        "{shared} records of both objects in the first reading"
    );
    let mut flooded = of(&taken, TOLD + 1);
    ensure!(flooded > 0, "nothing of the flood in the first reading");
    if transport == Transport::RingBuffer {
        ensure!(more, "all of a full ring in one reading");
    }
    while more {
        more = records.read(&metrics)?.more;
        flooded += of(&inbox.take(), TOLD + 1);
    }
    let kind = RECORD_KINDS.first().context("a kind")?;
    let counted = Counters::read(&objects.core.counters)?.of_records(kind);
    let attempted = u64::from(FLOOD + 2 * FEW);
    let lost = counted.failed + counted.full;
    ensure!(counted.attempted == attempted, "{counted:?}");
    ensure!(lost > 0, "the flood had room");
    ensure!(
        flooded as u64 + shared as u64 + lost == attempted,
        "{flooded} and {shared} arrived: {counted:?}"
    );
    // Nobody is there for them any more: they are counted, and keep nothing waiting.
    drop(inbox);
    send(&objects.first, "wb_flood_shared", FEW)?;
    ensure!(
        !records.read(&metrics)?.more,
        "{FEW} records in one reading"
    );
    let decoded = metrics.record_decoded_total.get();
    let undelivered = metrics.record_dropped_undelivered_total.get();
    ensure!(
        (decoded, undelivered) == (attempted - lost, FEW.into()),
        "{decoded} decoded, {undelivered} undelivered"
    );
    Ok(())
}
