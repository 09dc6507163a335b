//! Probes at kernel functions that end with the process: perf events of a type of their own (4.17,
//! commit e12f03d7031a), not entries of the tracing directory, which would outlive `kill -9`.

use std::path::Path;

use anyhow::{Context as _, Result};
use libbpf_rs::{Link, ProgramMut};

/// Where the kernel says that it has such events; libbpf reads the number of their type there.
pub const EVENTS: &str = "sys/bus/event_source/devices/kprobe";

/// Hangs a program on the entry of the function that its section names.
///
/// # Errors
/// The kernel has no such function or no such events, or does not let it be probed.
pub fn attach(program: &ProgramMut<'_>) -> Result<Link> {
    // Without the type libbpf would make an entry of the tracing directory.
    std::fs::metadata(Path::new("/").join(EVENTS).join("type"))
        .context("the kernel has no perf events that are probes")?;
    let section = program.section().to_string_lossy();
    let function = section.trim_start_matches("kprobe/");
    let link = program.attach_kprobe(false, function);
    link.with_context(|| format!("probe {function}"))
}
