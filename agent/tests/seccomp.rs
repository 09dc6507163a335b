//! What the filter on system calls refuses: tried on a thread that has it, and on one that has not.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use agent::config::Config;
use agent::jail::install_seccomp;
use agent::plan::{Seccomp, SeccompMode};
use agent::{family, host, plan};
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// A process to do harm to.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("100").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

type Attempt = (&'static str, fn(&Victim) -> Result<(), Errno>);

/// The first number in the chain of an error's causes.
fn errno(error: &libbpf_rs::Error) -> Errno {
    match error.kind() {
        libbpf_rs::ErrorKind::PermissionDenied => Errno::EPERM,
        _ => Errno::EINVAL,
    }
}

fn of_std(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// Each is allowed to root, or fails for another reason than want of permission.
const ATTEMPTS: &[Attempt] = &[
    ("execve", |_| {
        nix::unistd::execve(c"/nonexistent", &[c"x"], &[] as &[&std::ffi::CStr]).map(drop)
    }),
    ("fork and execve", |_| {
        let child = Command::new("true").spawn();
        child
            .map(|mut child| drop(child.wait()))
            .map_err(|e| of_std(&e))
    }),
    ("ptrace", |victim| nix::sys::ptrace::attach(victim.pid())),
    ("process_vm_readv", |victim| {
        let mut byte = [0];
        let remote = [RemoteIoVec { base: 0, len: 1 }];
        let mut local = [std::io::IoSliceMut::new(&mut byte)];
        process_vm_readv(victim.pid(), &mut local, &remote).map(drop)
    }),
    ("mount", |_| {
        mount(
            Some("x"),
            "/nonexistent",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
    }),
    ("umount2", |_| nix::mount::umount("/nonexistent")),
    ("init_module", |_| nix::kmod::init_module(b"no module", c"")),
    ("setns", |_| {
        setns(
            File::open("/proc/thread-self/ns/net").unwrap(),
            CloneFlags::CLONE_NEWNET,
        )
    }),
    ("unshare", |_| unshare(CloneFlags::CLONE_NEWUTS)),
    ("chroot", |_| nix::unistd::chroot("/nonexistent")),
    ("kill", |victim| nix::sys::signal::kill(victim.pid(), None)),
    ("socket of packets", |_| {
        let protocol = nix::sys::socket::SockProtocol::EthAll;
        socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::empty(),
            protocol,
        )
        .map(drop)
    }),
    ("socket of the host", |_| {
        UnixDatagram::unbound()
            .map(drop)
            .map_err(|error| of_std(&error))
    }),
    ("bpf(BPF_MAP_CREATE)", |_| {
        let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>()
                as libbpf_rs::libbpf_sys::size_t,
            ..Default::default()
        };
        let map = MapHandle::create(MapType::Array, Some("x"), 4, 4, 1, &options);
        map.map(drop).map_err(|error| errno(&error))
    }),
    ("bpf(BPF_PROG_LOAD)", |_| {
        let object = libbpf_rs::ObjectBuilder::default().open_memory(bpf::TRIAL);
        let mut object = object.map_err(|error| errno(&error))?;
        for mut program in object.progs_mut() {
            let wanted = program.name() == "wb_trial_filter";
            program.set_autoload(wanted);
        }
        object.load().map(drop).map_err(|error| errno(&error))
    }),
];

/// Runs `ask` on a thread of its own, with the filter of a plan that needs everything.
fn filtered<T: Send>(mode: SeccompMode, ask: impl FnOnce() -> T + Send) -> T {
    let facts = host::probe(&Config::defaults());
    let reason = family::decide(&facts, &Config::defaults())
        .jail
        .seccomp
        .mode
        .reason;
    let seccomp = Seccomp {
        mode: plan::Choice {
            value: mode,
            reason,
        },
        callers: family::callers().collect(),
    };
    alone(|| {
        install_seccomp(&seccomp).unwrap();
        ask()
    })
}

fn alone<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, ask);
        thread.unwrap().join().unwrap()
    })
}

fn can_filter(name: &str) -> bool {
    let facts = host::probe(&Config::defaults());
    if !facts.seccomp.is_yes() {
        eprintln!("{name}: skipped, {}", facts.seccomp);
        return false;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("{name}: skipped, needs root: without it the kernel refuses everything anyway");
        return false;
    }
    true
}

#[test]
fn what_harms_others_is_refused_and_only_by_the_filter() {
    if !can_filter("refusals") {
        return;
    }
    for (name, attempt) in ATTEMPTS {
        let (free, bound) = (Victim::new(), Victim::new());
        let without = alone(|| attempt(&free));
        assert_ne!(without, Err(Errno::EPERM), "{name} without the filter");
        let with = filtered(SeccompMode::Enforce, || attempt(&bound));
        assert_eq!(with, Err(Errno::EPERM), "{name} with the filter");
    }
}

#[test]
fn what_the_agent_does_is_allowed() {
    if !can_filter("allowed") {
        return;
    }
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>()
            as libbpf_rs::libbpf_sys::size_t,
        ..Default::default()
    };
    let map = MapHandle::create(MapType::Array, Some("x"), 4, 4, 1, &options).unwrap();
    filtered(SeccompMode::Enforce, || {
        map.update(&[0; 4], &[7; 4], MapFlags::ANY).unwrap();
        assert_eq!(map.lookup(&[0; 4], MapFlags::ANY).unwrap().unwrap(), [7; 4]);
        assert_eq!(alone(|| 5), 5, "a thread can be made");
        let directory = tempfile::tempdir().unwrap();
        let database = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        database
            .execute_batch("create table t (x); insert into t values (1)")
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0");
        assert!(listener.is_err(), "nobody listens");
        let found = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 80));
        assert!(found.unwrap().count() > 0);
        std::net::TcpStream::connect("127.0.0.1:1").unwrap_err();
    });
}

#[test]
fn the_log_refuses_nothing() {
    if !can_filter("log") || !host::probe(&Config::defaults()).seccomp_log.is_yes() {
        return;
    }
    filtered(SeccompMode::Log, || {
        Command::new("true").status().unwrap();
        UnixDatagram::unbound().unwrap();
    });
}
