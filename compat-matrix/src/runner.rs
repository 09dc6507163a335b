//! All wanted kernels, as many guests at a time as there are cores.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::initramfs::Initramfs;
use crate::judge::{self, Held, Outcome, Verdict};
use crate::kernel::Bootable;
use crate::machine::{self, Run};
use crate::matrix::{Defaults, Kernel};
use crate::payload;
use crate::qemu::{Accelerator, Guest, Qemu};
use crate::record::{News, Status};
use crate::say::Progress;

/// Guests with less memory get a compressed archive.
const SMALL_MIB: u32 = 320;

/// A kernel that says nothing within this time does not boot on the host's CPU.
const TRIAL: Duration = Duration::from_secs(10);

/// One guest that shall run.
#[derive(Debug)]
pub struct Job {
    /// The kernel's entry.
    pub kernel: Kernel,
    /// What it is held to.
    pub held: Held,
    /// The kernel, or why it cannot be had.
    pub bootable: Result<Bootable, String>,
}

/// What all guests of a run have in common.
#[derive(Debug)]
pub struct Runner<'a> {
    /// The emulator.
    pub qemu: &'a Qemu,
    /// How CPUs are had.
    pub accelerator: Accelerator,
    /// The archive that every guest gets.
    pub payload: &'a [u8],
    /// What entries do not say.
    pub defaults: &'a Defaults,
    /// Checks to run.
    pub checks: &'a [String],
    /// Faults to inject, for tests of this program.
    pub faults: &'a [String],
    /// Folder of BTF packs.
    pub packs: &'a Path,
    /// Whether every guest gets them, and not only those that are to have them.
    pub always_packs: bool,
    /// Where logs and results are kept, a folder for each kernel.
    pub folder: &'a Path,
    /// Guests at a time.
    pub at_a_time: usize,
    /// What is told while it lasts.
    pub progress: &'a Progress,
}

impl Runner<'_> {
    /// Runs all and returns their outcomes in the order of the jobs.
    #[must_use]
    pub fn all(&self, jobs: Vec<Job>) -> Vec<Outcome> {
        let count = jobs.len();
        let queue: Mutex<VecDeque<(usize, Job)>> =
            Mutex::new(jobs.into_iter().enumerate().collect());
        let outcomes: Mutex<Vec<(usize, Outcome)>> = Mutex::new(Vec::with_capacity(count));
        std::thread::scope(|scope| {
            for _ in 0..self.at_a_time.clamp(1, count.max(1)) {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
                        let Some((at, job)) = next else { return };
                        let outcome = self.one(&job);
                        if let Ok(mut outcomes) = outcomes.lock() {
                            outcomes.push((at, outcome));
                        }
                    }
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_default();
        outcomes.sort_by_key(|(at, _)| *at);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn one(&self, job: &Job) -> Outcome {
        let id = &job.kernel.id;
        let outcome = match &job.bootable {
            Ok(bootable) => self
                .guest(job, bootable)
                .unwrap_or_else(|error| Outcome::never_started(&job.held, format!("{error:#}"))),
            Err(why) => Outcome::never_started(&job.held, why.clone()),
        };
        let words = match outcome.status {
            Verdict::Infrastructure => outcome.infrastructure.clone().unwrap_or_default(),
            _ => format!(
                "mode {}, edges {}/{}",
                outcome.mode, outcome.edges.0, outcome.edges.1
            ),
        };
        let name = outcome.status.name();
        self.progress
            .say(id, &format!("{name}: {words} ({:.1} s)", outcome.seconds));
        if let Err(error) = keep(&self.folder.join(id), &outcome) {
            self.progress
                .say(id, &format!("the result is not kept: {error:#}"));
        }
        outcome
    }

    fn guest(&self, job: &Job, bootable: &Bootable) -> Result<Outcome> {
        let id = &job.kernel.id;
        let folder = self.folder.join(id);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let initrd = folder.join("initrd.cpio");
        self.write_initrd(job, bootable, &initrd)?;
        let console = folder.join("console.log");
        let guest = Guest {
            image: bootable.image.clone(),
            initrd: initrd.clone(),
            command_line: self.command_line(&job.kernel),
            memory_mib: self.memory(&job.kernel),
            cpus: job.kernel.cpus.unwrap_or(1),
            console: console.clone(),
            accelerator: self.accelerator,
        };
        let deadline = Duration::from_secs(self.defaults.timeout_s);
        let outcome = attempts(&job.held, &mut |attempt| {
            if attempt > 1 {
                self.progress
                    .say(id, "ended before it was ready; once more");
            }
            self.progress
                .say(id, &format!("booting {}", bootable.release));
            machine::run(self.qemu.guest(&guest), &console, deadline, &mut |news| {
                self.tell(id, news);
            })
        })?;
        // As large as a guest's memory, and made again by every run.
        fs::remove_file(initrd).ok();
        Ok(outcome)
    }

    fn command_line(&self, kernel: &Kernel) -> String {
        // Otherwise the kernel gives its first file system half of the memory.
        let small = self.memory(kernel) < SMALL_MIB;
        let whole = if small { " rootfstype=ramfs" } else { "" };
        let common = &self.defaults.command_line;
        format!("{common}{whole} {}", kernel.command_line)
    }

    fn memory(&self, kernel: &Kernel) -> u32 {
        kernel.memory_mib.unwrap_or(self.defaults.memory_mib)
    }

    fn write_initrd(&self, job: &Job, bootable: &Bootable, to: &PathBuf) -> Result<()> {
        // The guest gives up before it is killed, so that it can say so.
        let order = json!({
            "kernel_id": job.kernel.id,
            "checks": self.checks,
            "faults": self.faults,
            "modes": job.kernel.modes.as_ref().unwrap_or(&self.defaults.modes),
            // Who asks for modes gets these and no others.
            "edge_modes": match job.kernel.modes {
                Some(_) => &[],
                None => self.defaults.edge_modes.as_slice(),
            },
            "timeout_s": self.defaults.timeout_s.saturating_sub(20).max(10),
        });
        let mut bytes = self.payload.to_vec();
        let mut own = payload::own(bootable, &order.to_string())?;
        if self.always_packs || job.kernel.packs {
            payload::add_packs(&mut own, self.packs)?;
        }
        own.write(&mut bytes)?;
        if self.memory(&job.kernel) < SMALL_MIB {
            // The archive and what comes out of it are in memory at the same time.
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&bytes)?;
            bytes = packed.finish()?;
        }
        fs::write(to, bytes).with_context(|| format!("write {}", to.display()))
    }

    fn tell(&self, id: &str, news: &News) {
        match news {
            News::Ready(release) => self.progress.say(id, &format!("ready: {release}")),
            News::Check(check) => {
                let reason = match check.status {
                    Status::Pass => String::new(),
                    _ => format!(": {}", check.reason),
                };
                let line = format!(
                    "{:<4} {} ({:.1} s){reason}",
                    check.status.name(),
                    check.name,
                    check.seconds
                );
                self.progress.say(id, &line);
            }
            News::Done | News::Other => {}
        }
    }
}

/// Runs a guest, and once more if it ended before it was ready; judges the last attempt.
///
/// # Errors
/// When it cannot be started at all.
pub fn attempts(held: &Held, run: &mut dyn FnMut(u32) -> Result<Run>) -> Result<Outcome> {
    let first = run(1)?;
    if !judge::died_before_ready(&first) {
        return Ok(judge::judge(held, first, 1));
    }
    Ok(judge::judge(held, run(2)?, 2))
}

/// How CPUs are had: the host's own where it is asked for and a kernel begins to talk on it.
///
/// That `/dev/kvm` is there says nothing: hosts that are guests themselves often have one on which
/// common kernels do not get as far as their first line.
///
/// # Errors
/// When the trial's files cannot be written.
pub fn accelerator(
    wanted: bool,
    qemu: &Qemu,
    image: Option<&Path>,
    folder: &Path,
) -> Result<Accelerator> {
    let Some(image) = image.filter(|_| wanted) else {
        return Ok(Accelerator::Tcg);
    };
    fs::create_dir_all(folder)?;
    let initrd = folder.join("trial.cpio");
    let mut bytes = Vec::new();
    Initramfs::default().write(&mut bytes)?;
    fs::write(&initrd, bytes)?;
    let console = folder.join("trial.log");
    let guest = Guest {
        image: image.to_owned(),
        initrd,
        command_line: "console=ttyS0 panic=-1".into(),
        memory_mib: 256,
        cpus: 1,
        console: console.clone(),
        accelerator: Accelerator::Kvm,
    };
    let run = machine::run(qemu.guest(&guest), &console, TRIAL, &mut |_| ())?;
    Ok(if run.log.contains("Linux version") {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    })
}

/// Name of the file with a kernel's last outcome.
const OUTCOME: &str = "outcome.json";

fn keep(folder: &Path, outcome: &Outcome) -> Result<()> {
    fs::create_dir_all(folder)?;
    let text = serde_json::to_string_pretty(outcome)?;
    fs::write(folder.join(OUTCOME), text)?;
    Ok(())
}

/// The last outcome of a kernel.
///
/// # Errors
/// When there is none, or it is of another version of this program.
pub fn last(folder: &Path, id: &str) -> Result<Outcome> {
    let path = folder.join(id).join(OUTCOME);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("no result of {id} yet: `compat-matrix run --kernel {id}`"))?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}
