//! The checks, in the order in which they are asked for.

mod doctor;
mod edges;
mod gateway;
mod harm;
mod jail;
mod listeners;
mod loss;
mod memory;
mod modes;
mod residue;
mod run;
mod stage;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::lab::binaries::Binaries;
use tests::lab::{End, Lab};

use crate::kernel;
use crate::order::{Check, Order};
use crate::report::{Line, Report};
use crate::say::say;
use run::Run;

/// Runs what is ordered.
///
/// # Errors
/// When nothing can be reported; a failed check is a result.
pub(crate) fn run(payload: &Path, here: bool) -> Result<()> {
    let order = Order::read(payload)?;
    let report = if here {
        Report::standard()?
    } else {
        kernel::measure_run_times();
        Report::serial()?
    };
    let mut run = Run {
        order,
        payload: payload.to_owned(),
        report,
        binaries: Binaries {
            agent: payload.join("rootfs").join(tests::lab::agent::AGENT),
            collector: payload.join("bin/waybill-collector"),
        },
        here,
        doctor: Value::Null,
        labless: None,
        peak: memory::Used::default(),
    };
    // Every other check reads what the agent promises on this kernel.
    let examined = doctor::examine(&run);
    match examined {
        Ok(doctor) => run.doctor = doctor,
        Err(error) => run.put("agent", "doctor/report", Duration::ZERO, Err(error))?,
    }
    run.labless = memory::too_small();
    if run.labless.is_some() && !here {
        // Nobody will start it, and here every file takes memory.
        std::fs::remove_file(&run.binaries.collector).ok();
    } else if run.order.checks.iter().any(|check| *check != Check::Doctor) {
        run.labless = try_lab(&run.binaries).err().map(|error| {
            say(&format!("no labs: {error:#}"));
            error.to_string()
        });
    }
    for check in run.order.checks.clone() {
        match check {
            Check::Doctor => doctor::run(&mut run)?,
            Check::Edges => edges::run(&mut run)?,
            Check::Harm => harm::run(&mut run)?,
            Check::Jail => jail::run(&mut run)?,
            Check::Listeners => listeners::run(&mut run)?,
            Check::Loss => loss::run(&mut run)?,
            Check::Residue => residue::run(&mut run)?,
        }
    }
    for (name, value) in run.peak.measures() {
        run.report.line(&Line::Measure { name, value })?;
    }
    run.report.line(&Line::Done { complete: true })
}

/// Builds the smallest lab: two hosts and a link, by which hosts are joined everywhere.
fn try_lab(binaries: &Binaries) -> Result<()> {
    let kinds = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    ensure!(
        kinds.contains("cgroup2"),
        "the kernel has no cgroup2, in which a lab's hosts are branches"
    );
    let lab = Lab::new(binaries)?;
    let (one, other) = (lab.host("one")?, lab.host("other")?);
    let end = |host, addresses| End {
        host,
        device: "eth0",
        addresses,
    };
    lab.link(
        &end(&one, &["10.0.0.1/30", "fd00::1/64"]),
        &end(&other, &["10.0.0.2/30", "fd00::2/64"]),
    )?;
    lab.close()
}
