//! Breaking out of the jail: a child of this test enters the very jail of the agent, by the same
//! library calls and for the plan of this host, and tries each way out.
//!
//! Each attempt is made several times, each in a process of its own with a network and a mount
//! namespace of its own: free, where it must work (or the test would prove nothing); in the jail,
//! by default and in mode `tc-clone`; and in the jail without the filter on system calls, where all
//! but a few must still fail.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a child reports on standard output and fails by panicking"
)]

mod files;
mod kernel;
mod way;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::SystemTime;

use agent::config::{Config, Key, ModeSetting, SeccompSetting, Secret};
use agent::{family, host, jail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use files::{FILES, VIEWS};
use kernel::{NETWORK, OTHERS};
use way::{Attempt, Way};

/// First argument of a child.
const CHILD: &str = "inside";

fn attempts() -> impl Iterator<Item = &'static Attempt> {
    [FILES, VIEWS, OTHERS, NETWORK].into_iter().flatten()
}

/// How a child makes its attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bounds {
    Free,
    Jail,
    /// As in mode `tc-clone`, where packet filters are attached to devices.
    JailOfClones,
    JailWithoutFilter,
    JailOfClonesWithoutFilter,
}

impl Bounds {
    const ALL: [(&'static str, Self); 5] = [
        ("free", Self::Free),
        ("jail", Self::Jail),
        ("jail-of-clones", Self::JailOfClones),
        ("jail-without-filter", Self::JailWithoutFilter),
        (
            "jail-of-clones-without-filter",
            Self::JailOfClonesWithoutFilter,
        ),
    ];

    fn has_filter(self) -> bool {
        matches!(self, Self::Jail | Self::JailOfClones)
    }

    fn is_of_clones(self) -> bool {
        matches!(self, Self::JailOfClones | Self::JailOfClonesWithoutFilter)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|first| first == CHILD) {
        return inside(&words[2..]);
    }
    let trials = attempts().map(|attempt| {
        Trial::ignorable_test(attempt.name.replace(' ', "_"), move || prove(attempt))
    });
    let trials = trials.collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A process of root that is killed at the end.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn prove(attempt: &'static Attempt) -> Result<Completion, Failed> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root"));
    }
    for (word, bounds) in Bounds::ALL {
        let seccomp = host::probe(&Config::defaults()).seccomp;
        if bounds.has_filter() && !seccomp.is_yes() {
            return Ok(Completion::ignored_with(seccomp.to_string()));
        }
        if bounds != Bounds::Free && !bounds.has_filter() && attempt.by_filter_alone {
            continue;
        }
        let said = try_once(attempt, word)?;
        let works = said == "done";
        let refused = said.starts_with("refused: ");
        if works != (bounds == Bounds::Free) || works == refused {
            return Err(format!("{word}: {said}").into());
        }
    }
    Ok(Completion::Completed)
}

/// What became of one attempt: `done`, or `refused: ` and why.
fn try_once(attempt: &Attempt, bounds: &str) -> Result<String, Failed> {
    let directory = tempfile::tempdir()?;
    // The agent's own user may pass, and may not read the secret.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let programs = Path::new(env!("CARGO_BIN_EXE_waybill-agent")).parent();
    rootfs::assemble(
        &rootfs::Manifest::current()?,
        programs.ok_or("a program is in a directory")?,
        &directory.path().join("rootfs"),
        SystemTime::now(),
    )?;
    let secret = directory.path().join("secret");
    fs::write(&secret, "secret")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let open = File::open(&secret)?;
    let victim = Victim(
        Command::new("sleep")
            .arg("100")
            .stdin(Stdio::null())
            .spawn()?,
    );
    let child = Command::new(std::env::current_exe()?)
        .args([CHILD, bounds, attempt.name])
        .arg(directory.path())
        .args(
            [
                std::process::id(),
                open.as_raw_fd().try_into()?,
                victim.0.id(),
            ]
            .map(|n: u32| n.to_string()),
        )
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&child.stdout);
    // An attempt to become another program is made by the child itself.
    if child.status.success() && said.starts_with("waybill-agent ") {
        return Ok("done".into());
    }
    match said.lines().last() {
        Some(last) => Ok(last.to_owned()),
        None => {
            let errors = String::from_utf8_lossy(&child.stderr);
            Err(format!("{bounds}: the child ended with {}: {errors}", child.status).into())
        }
    }
}

/// A child: enters the jail and makes one attempt.
fn inside(words: &[String]) -> ExitCode {
    let [bounds, name, directory, outside, descriptor, victim] = words else {
        return ExitCode::from(2);
    };
    let (_, bounds) = *Bounds::ALL.iter().find(|(word, _)| word == bounds).unwrap();
    let attempt = attempts().find(|attempt| attempt.name == name).unwrap();
    // What is tried free must not touch the machine.
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let directory = PathBuf::from(directory);
    let rootfs = directory.join("rootfs");
    let inherited = File::open("/").unwrap().into();
    let mut way = Way {
        root: rootfs.clone(),
        outside: (outside.parse().unwrap(), descriptor.parse().unwrap()),
        victim: Pid::from_raw(victim.parse().unwrap()),
        inherited,
        directory,
    };
    if bounds != Bounds::Free {
        enter(bounds, rootfs);
        way.root = "/".into();
    }
    match (attempt.make)(&way) {
        Ok(()) => println!("done"),
        Err(error) => println!("refused: {error}"),
    }
    io::stdout().flush().ok();
    // Not by returning: the inherited descriptor may be closed already.
    std::process::exit(0)
}

/// As `startup.rs` does, without what is loaded in between.
fn enter(bounds: Bounds, rootfs: PathBuf) {
    jail::close_inherited().unwrap();
    let mut config = Config::defaults();
    config.agent.rootfs = rootfs;
    config.jail.seccomp = match bounds.has_filter() {
        false => SeccompSetting::Off,
        true => SeccompSetting::Enforce,
    };
    // Without a key nothing is written, and then the option is read by what else there is.
    config.keys = vec![Key {
        epoch: 1,
        secret: Secret::new([7; 16]),
    }];
    if bounds.is_of_clones() {
        config.option.mode = ModeSetting::TcClone;
    }
    let facts = host::probe(&config);
    let plan = family::decide(&facts, &config);
    let clones = bounds.is_of_clones() && facts.clsact.is_yes();
    assert_eq!(plan.jail.keeper.is_some(), clones, "{:?}", plan.rows());
    let (entered, ()) = jail::enter(&plan.jail, &config, |_| ()).unwrap();
    let jailed = entered.confine(&plan.jail).unwrap();
    assert!(!jailed.seen().mounts.is_empty());
}
