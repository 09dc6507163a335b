//! The command line.

mod arguments;
mod bless;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use arguments::{Cli, Command, Part, Run, Selection};

use crate::baseline;
use crate::bundle::Bundle;
use crate::cache::Cache;
use crate::golden::Golden;
use crate::judge::{Held, Outcome, Verdict};
use crate::kernel::{Network, Store};
use crate::matrix::{Kernel, MATRIX, Matrix, Payload, Tier};
use crate::mirror::Mirror;
use crate::payload;
use crate::qemu::{Accelerator, Qemu};
use crate::report::{self, Format};
use crate::runner::{self, Job, Runner};
use crate::say::Progress;
use crate::verdict;

/// Exit code of a wrong command line, and of what cannot even begin.
pub const USAGE: u8 = 2;

/// The family of checks with the agent's report.
const REPORT: &str = "doctor";

/// Exit code when a kernel is not as it must be.
const FAILED: u8 = 1;

/// Exit code when nothing failed and something has no result.
const NO_RESULT: u8 = 3;

/// Runs the program.
///
/// # Errors
/// When the command line cannot be followed at all.
pub fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let place = Place::find(&cli)?;
    let code = match &cli.command {
        Command::Run(args) => place.run(args),
        Command::List => place.list(),
        Command::Fetch(selection) => place.fetch(selection),
        Command::Bless(selection) => place.bless(selection),
        Command::Verdict(selection) => place.verdict(selection),
    };
    match code {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        code => code.map(ExitCode::from),
    }
}

/// True when whoever read our output went away, as `head` does; that is not a failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}

/// Everything that a command needs.
struct Place {
    matrix: Matrix,
    payload: Payload,
    /// Where goldens are; `None` without a source tree.
    folder: Option<PathBuf>,
    cache: Cache,
    mirror: Result<Mirror>,
    network: Network,
    progress: Progress,
}

impl Place {
    fn find(cli: &Cli) -> Result<Self> {
        let in_tree = Path::new("compat-matrix/matrix.toml").exists();
        let folder = cli
            .matrix
            .clone()
            .or_else(|| in_tree.then(|| PathBuf::from("compat-matrix")));
        let text = match &folder {
            Some(folder) => {
                let path = folder.join("matrix.toml");
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?
            }
            None => MATRIX.to_owned(),
        };
        let cache = match &cli.cache {
            Some(cache) => cache.clone(),
            None if in_tree => PathBuf::from("target/compat-matrix"),
            None => users_cache()?,
        };
        Ok(Self {
            matrix: Matrix::parse(&text).context("matrix.toml")?,
            payload: Payload::current()?,
            folder,
            cache: Cache::open(&cache)?,
            mirror: match &cli.mirror {
                Some(uri) => Ok(Mirror::given(uri)),
                None => Mirror::configured(Path::new("/etc/apt")),
            },
            network: if cli.offline {
                Network::Never
            } else {
                Network::AsNeeded
            },
            progress: Progress::new(Box::new(std::io::stderr())),
        })
    }

    fn store(&self, network: Network) -> Store<'_> {
        Store {
            cache: &self.cache,
            progress: &self.progress,
            wanted: &self.payload.modules.wanted,
            mirror: self.mirror.as_ref().ok(),
            network,
            configs: self.folder.as_ref().map(|folder| folder.join("kernels")),
        }
    }

    fn runs(&self) -> PathBuf {
        self.cache.path("runs")
    }

    /// The kernels that a selection means.
    fn selected(&self, selection: &Selection) -> Result<Vec<Kernel>> {
        if selection.kernel.is_empty() {
            let all = selection.suite == Part::All;
            let wanted = |kernel: &&Kernel| all || kernel.tier == Tier::Required;
            return Ok(self.matrix.kernels.iter().filter(wanted).cloned().collect());
        }
        selection
            .kernel
            .iter()
            .map(|name| self.named(name))
            .collect()
    }

    fn named(&self, name: &str) -> Result<Kernel> {
        if let Some(kernel) = self.matrix.kernel(name) {
            return Ok(kernel.clone());
        }
        let files: Vec<PathBuf> = name.split(',').map(PathBuf::from).collect();
        if let Some(missing) = files.iter().find(|file| !file.exists()) {
            let ids: Vec<_> = self.matrix.kernels.iter().map(|k| k.id.as_str()).collect();
            bail!(
                "{}: neither a file nor one of {}",
                missing.display(),
                ids.join(", ")
            );
        }
        Ok(Kernel::of_files(arguments::id_of(&files)?, files))
    }

    fn held(&self, kernel: &Kernel, origin: String) -> Result<Held> {
        let read = |below: String| -> Result<Option<String>> {
            let Some(path) = self.folder.as_ref().map(|folder| folder.join(below)) else {
                return Ok(None);
            };
            match fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
            }
        };
        let golden = read(format!("expected/{}.toml", kernel.id))?;
        let programs = read(format!("verifier/{}.csv", kernel.id))?;
        Ok(Held {
            id: kernel.id.clone(),
            title: kernel.title.clone(),
            tier: kernel.tier,
            origin,
            verdict: kernel.verdict.clone(),
            golden: golden.as_deref().map(Golden::parse).transpose()?,
            baseline: programs.as_deref().map(baseline::parse).transpose()?,
            more_percent: self.matrix.verifier.more_instructions_percent,
            report: true,
        })
    }

    fn run(&self, args: &Run) -> Result<u8> {
        arguments::refuse(args)?;
        let store = self.store(self.network);
        let mut kernels = self.selected(&args.selection)?;
        for kernel in &mut kernels {
            arguments::adjust(kernel, args);
        }
        let qemu = Qemu::find(args.qemu.as_deref(), &store, &self.payload.qemu)?;
        self.progress.say("QEMU", &qemu.version);
        for kernel in &kernels {
            qemu.can_have(kernel.cpus.unwrap_or(1))
                .with_context(|| kernel.id.clone())?;
        }
        let payload = self.shared(&store, args)?;
        let packs = self.cache.path("btf");
        let adjusted = args.packs.is_some()
            || args.memory.is_some()
            || args.append.is_some()
            || !args.modes.is_empty();
        let whole = args.checks.is_empty() && args.faults.is_empty() && !adjusted;
        let mut jobs = Vec::new();
        for kernel in kernels {
            let bootable = match store.get(&kernel) {
                // What a user gave is no kernel: that is no result, and takes no other one's place.
                Err(error) if self.matrix.kernel(&kernel.id).is_none() => {
                    return Err(error.context("this cannot be booted"));
                }
                other => other.map_err(|error| format!("{error:#}")),
            };
            let origin = bootable
                .as_ref()
                .map_or(String::new(), |b| b.origin.clone());
            let mut held = self.held(&kernel, arguments::as_booted(&origin, &kernel))?;
            if !whole {
                // A part of the checks, or another machine, cannot look like the whole.
                held.golden = None;
                held.baseline = None;
            }
            if adjusted {
                held.verdict = None;
            }
            let named = |name: &String| name == REPORT;
            held.report = args.checks.is_empty() || args.checks.iter().any(named);
            jobs.push(Job {
                kernel,
                held,
                bootable,
            });
        }
        let image = jobs.iter().find_map(|job| job.bootable.as_ref().ok());
        let image = image.map(|bootable| bootable.image.as_path());
        let accelerator = runner::accelerator(args.kvm, &qemu, image, &self.runs())?;
        if args.kvm && accelerator == Accelerator::Tcg {
            let words = "no kernel boots on the host's CPU here; translating";
            self.progress.say("QEMU", words);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runner = Runner {
            qemu: &qemu,
            accelerator,
            payload: &payload,
            defaults: &self.matrix.defaults,
            checks: if args.checks.is_empty() {
                &self.matrix.defaults.checks
            } else {
                &args.checks
            },
            faults: &args.faults,
            packs: args.packs.as_deref().unwrap_or(&packs),
            always_packs: args.packs.is_some(),
            folder: &self.runs(),
            at_a_time: args.jobs.unwrap_or(cores),
            progress: &self.progress,
        };
        let outcomes = runner.all(jobs);
        self.show(args, &outcomes)?;
        Ok(code(&outcomes, !args.selection.kernel.is_empty()))
    }

    /// The archive that every guest gets.
    fn shared(&self, store: &Store<'_>, args: &Run) -> Result<Vec<u8>> {
        let programs = arguments::programs(&args.programs)?;
        let tools = &self.payload.tools;
        let tools = Bundle::get(store, &tools.suite, &tools.packages)?;
        let scratch = self.cache.path(&format!("scratch-{}", std::process::id()));
        let _guard = crate::cache::Removed(scratch.clone());
        let system = payload::shared(&self.payload, &programs, &tools, &scratch)?;
        let mut bytes = Vec::new();
        system.write(&mut bytes)?;
        let mib = bytes.len() / (1 << 20);
        self.progress.say("payload", &format!("{mib} MiB"));
        Ok(bytes)
    }

    fn show(&self, args: &Run, outcomes: &[Outcome]) -> Result<()> {
        let mut text = report::text(outcomes, args.format)?;
        if args.format == Format::Table {
            for outcome in outcomes {
                if self.matrix.kernel(&outcome.id).is_none() {
                    let folder = self.runs().join(&outcome.id);
                    let page = verdict::page(outcome, &folder.display().to_string());
                    text = format!("{text}\n{page}");
                }
            }
        }
        match &args.output {
            Some(path) => {
                fs::write(path, text).with_context(|| format!("write {}", path.display()))
            }
            None => print(&text),
        }
    }

    fn list(&self) -> Result<u8> {
        let mut text = String::new();
        for kernel in &self.matrix.kernels {
            text += &format!(
                "{:<20} {:<12} {:<12} {}\n",
                kernel.id,
                kernel.tier.name(),
                kernel.verdict.as_deref().unwrap_or("-"),
                kernel.title
            );
        }
        print(&text)?;
        Ok(0)
    }

    fn fetch(&self, selection: &Selection) -> Result<u8> {
        let network = match self.network {
            Network::Never => Network::Never,
            _ => Network::Always,
        };
        let store = self.store(network);
        let mut code = 0;
        for kernel in self.selected(selection)? {
            match store.get(&kernel) {
                Ok(ready) => {
                    let image = ready.image.display();
                    let words = format!("{} ({}): {image}", ready.release, ready.origin);
                    self.progress.say(&kernel.id, &words);
                }
                Err(error) => {
                    self.progress.say(&kernel.id, &format!("{error:#}"));
                    code = NO_RESULT;
                }
            }
        }
        let qemu = Qemu::find(None, &store, &self.payload.qemu)?;
        self.progress.say("QEMU", &qemu.version);
        let tools = &self.payload.tools;
        Bundle::get(&store, &tools.suite, &tools.packages)?;
        Ok(code)
    }

    fn verdict(&self, selection: &Selection) -> Result<u8> {
        let mut outcomes = Vec::new();
        for kernel in self.selected(selection)? {
            let outcome = runner::last(&self.runs(), &kernel.id)?;
            let folder = self.runs().join(&kernel.id);
            print(&verdict::page(&outcome, &folder.display().to_string()))?;
            outcomes.push(outcome);
        }
        Ok(code(&outcomes, true))
    }
}

/// The exit code: a best-effort kernel counts when it was asked for by name.
fn code(outcomes: &[Outcome], by_name: bool) -> u8 {
    let counted = || {
        outcomes
            .iter()
            .filter(|o| by_name || o.tier == Tier::Required)
    };
    if counted().any(|outcome| outcome.status == Verdict::Fail) {
        FAILED
    } else if counted().any(|outcome| outcome.status == Verdict::Infrastructure) {
        NO_RESULT
    } else {
        0
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Where a user's programs keep what can be made again.
fn users_cache() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(cache).join("waybill/compat-matrix"));
    }
    let home = std::env::var_os("HOME").context("no HOME: name a folder with --cache")?;
    Ok(PathBuf::from(home).join(".cache/waybill/compat-matrix"))
}
