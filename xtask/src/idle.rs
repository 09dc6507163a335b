//! `cargo xtask bench idle`: what the shipped agent costs while it has nothing to do.
//!
//! The agent runs in a network namespace and a cgroup of its own, so that it measures nothing
//! and touches nothing of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::stage::say;
use crate::{child, deps, rootfs, workspace};

/// Options of `bench idle`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds over which the CPU share is averaged
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Measure the developer's build: its figures are not those of the shipped agent
    #[arg(long)]
    debug: bool,
}

/// Resident memory that the project promises to stay below, in KiB.
const GOAL_RSS_KIB: u64 = 30 * 1024;

/// Share of one core that the project promises to stay below, in percent.
const GOAL_CPU_PERCENT: f64 = 0.5;

/// How long the agent may take until it measures.
const START: Duration = Duration::from_secs(30);

/// How long the agent may take to drain.
const STOP: Duration = Duration::from_secs(30);

/// Builds and runs the agent, prints the figures, and fails when a goal is missed.
///
/// # Errors
/// Without root, when the build fails, or when the agent does not start or stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    deps::run()?;
    let profile = rootfs::build_agent(!args.debug)?;
    let binary = workspace::binaries(profile)?.join("waybill-agent");
    let size = binary.metadata().context("find the agent")?.len();
    let how = if args.debug {
        "not stripped"
    } else {
        "stripped"
    };
    say(&format!("binary            {size} bytes, static, {how}"))?;

    let bed = TestBed::new(profile)?;
    let mut agent = bed.start(&binary)?;
    let figures = measure(&mut agent, Duration::from_secs(args.seconds));
    let stopped = stop(&mut agent);
    let figures = figures.with_context(|| bed.log())?;
    stopped.with_context(|| bed.log())?;

    say(&format!(
        "resident memory   {} KiB, of it anonymous {} KiB (goal: below {GOAL_RSS_KIB} KiB)",
        figures.rss_kib, figures.anonymous_kib
    ))?;
    say(&format!(
        "CPU               {:.3} % of one core over {} s (goal: below {GOAL_CPU_PERCENT} %)",
        figures.cpu_percent, args.seconds
    ))?;
    let met = figures.rss_kib < GOAL_RSS_KIB && figures.cpu_percent < GOAL_CPU_PERCENT;
    say(if met { "goals met" } else { "GOAL MISSED" })?;
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What was measured.
struct Figures {
    rss_kib: u64,
    anonymous_kib: u64,
    cpu_percent: f64,
}

fn measure(agent: &mut Child, window: Duration) -> Result<Figures> {
    let id = agent.id();
    let before = cpu_ns(id)?;
    let begin = Instant::now();
    // The window itself is the measurement; nothing is waited for.
    std::thread::sleep(window);
    let elapsed = begin.elapsed();
    if let Some(status) = agent.try_wait().context("look at the agent")? {
        bail!("the agent ended while it was measured: {status}");
    }
    let used = cpu_ns(id)?.saturating_sub(before);
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("read its memory")?;
    Ok(Figures {
        rss_kib: kib(&status, "VmRSS:").context("no VmRSS in /proc")?,
        anonymous_kib: kib(&status, "RssAnon:").context("no RssAnon in /proc")?,
        cpu_percent: 100.0 * Duration::from_nanos(used).as_secs_f64() / elapsed.as_secs_f64(),
    })
}

/// Nanoseconds that all threads of a process spent on a CPU.
///
/// From the scheduler: the ticks of /proc/PID/stat are too coarse for what idles.
fn cpu_ns(id: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{id}/task")).context("list its threads")? {
        let stat = fs::read_to_string(task?.path().join("schedstat"));
        // A thread that just ended has no figures left.
        let first = stat.ok().and_then(|text| {
            let word = text.split_whitespace().next()?;
            word.parse::<u64>().ok()
        });
        sum += first.unwrap_or(0);
    }
    Ok(sum)
}

/// The value of a line `name   123 kB`.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Asks the agent to drain and waits for it; kills it when it does not.
fn stop(agent: &mut Child) -> Result<()> {
    child::run(Command::new("kill").args(["-TERM", &agent.id().to_string()]))?;
    let ended = wait(STOP, || Ok(agent.try_wait()?.is_some()))?;
    if !ended {
        agent.kill().context("kill the agent")?;
    }
    let status = agent.wait().context("wait for the agent")?;
    ensure!(
        ended && status.success(),
        "the agent did not drain: {status}"
    );
    Ok(())
}

/// Asks again until `done` or the deadline; true when done.
fn wait(deadline: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let begin = Instant::now();
    while !done()? {
        if begin.elapsed() > deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(true)
}

/// The agent's surroundings; dropping it removes them.
///
/// Its names have the form of a lab's, so a killed measurement is cleaned up by the next lab.
struct TestBed {
    cgroup: PathBuf,
    directory: PathBuf,
}

impl TestBed {
    fn new(profile: &str) -> Result<Self> {
        let id = std::process::id();
        let name = format!("wblab-{id}-{}-1", started(id)?);
        let bed = Self {
            cgroup: cgroup2_mount()?.join(&name),
            directory: std::env::temp_dir().join(&name),
        };
        fs::create_dir(&bed.cgroup)
            .with_context(|| format!("make {} (needs root)", bed.cgroup.display()))?;
        fs::create_dir(&bed.directory).context("make a directory for the agent")?;
        rootfs::assemble(profile, &bed.rootfs())?;
        fs::write(
            bed.directory.join("fleet.key"),
            format!("{}\n", "0f".repeat(16)),
        )?;
        let scope = bed.cgroup.file_name().context("a cgroup has a name")?;
        let config = format!(
            "[agent]\nrootfs = {:?}\n[scope]\ncgroup = \"/{}\"\n\
             [[key]]\nepoch = 1\nsecret_file = {:?}\n",
            bed.rootfs(),
            scope.display(),
            bed.directory.join("fleet.key"),
        );
        fs::write(bed.config(), config)?;
        Ok(bed)
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    fn config(&self) -> PathBuf {
        self.directory.join("agent.toml")
    }

    /// What the agent said, to explain a failure.
    fn log(&self) -> String {
        let said = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        format!("the agent said:\n{said}")
    }

    /// Starts the agent in a network namespace that ends with it, and waits until it measures.
    fn start(&self, binary: &Path) -> Result<Child> {
        let log = fs::File::create(self.directory.join("log"))?;
        let mut agent = Command::new("unshare")
            .arg("--net")
            .arg(binary)
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start the agent")?;
        // The jail's /run is mounted for the agent alone, so it is looked at from inside.
        let status = Path::new("/proc")
            .join(agent.id().to_string())
            .join("root/run/status.json");
        let ready = wait(START, || {
            if let Some(code) = agent.try_wait()? {
                bail!("the agent ended: {code}; {}", self.log());
            }
            Ok(status.exists())
        });
        if !ready.as_ref().is_ok_and(|ready| *ready) {
            // It may have ended by itself, which the message then says.
            agent.kill().ok();
            agent.wait().ok();
            ready?;
            bail!("the agent was not ready in time; {}", self.log());
        }
        Ok(agent)
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        // What is left in spite of this is removed by the next lab.
        fs::remove_dir(&self.cgroup).ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Start time of a process in clock ticks since boot: with the id, it names a process for good.
fn started(id: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("read /proc")?;
    // The name in parentheses may hold blanks; field 22 is the 20th after it.
    let field = stat
        .rsplit_once(')')
        .and_then(|(_, fields)| fields.split_whitespace().nth(19));
    field
        .and_then(|text| text.parse().ok())
        .context("no start time in /proc")
}

/// Where the cgroup2 tree is mounted.
fn cgroup2_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
    });
    mount.context("no cgroup2 tree is mounted here")
}

#[cfg(test)]
mod tests {
    use super::{cpu_ns, kib, started};

    #[test]
    fn memory_is_read_in_kib() {
        let status = "VmRSS:\t    4892 kB\nRssAnon:\t     416 kB\n";
        assert_eq!(kib(status, "VmRSS:"), Some(4892));
        assert_eq!(kib(status, "RssAnon:"), Some(416));
        assert_eq!(kib(status, "Missing:"), None);
    }

    #[test]
    fn this_process_has_a_start_and_has_used_the_cpu() {
        let id = std::process::id();
        assert!(started(id).unwrap() > 0);
        assert!(cpu_ns(id).unwrap() > 0);
    }
}
