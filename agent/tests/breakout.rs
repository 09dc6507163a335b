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

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::SystemTime;

use agent::config::{Config, Key, ModeSetting, SeccompSetting, Secret};
use agent::{family, host, jail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// First argument of a child.
const CHILD: &str = "inside";
const PROGRAM: &str = "usr/bin/waybill-agent";

/// What an attempt has to work with.
struct Way {
    /// Of the test, outside of the root directory.
    directory: PathBuf,
    /// Where this process's own files are: `/` in the jail.
    root: PathBuf,
    /// A process of root, outside, that has the secret open, and its descriptor.
    outside: (i32, i32),
    /// A process of root to do harm to.
    victim: Pid,
    /// The host's root directory, opened before the jail was entered as the agent enters it.
    inherited: OwnedFd,
}

impl Way {
    fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    fn of_outside(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.outside.0))
    }
}

struct Attempt {
    name: &'static str,
    /// Only the filter on system calls stands in the way.
    by_filter_alone: bool,
    make: fn(&Way) -> io::Result<()>,
}

const fn held(name: &'static str, make: fn(&Way) -> io::Result<()>) -> Attempt {
    Attempt {
        name,
        by_filter_alone: false,
        make,
    }
}

const fn filtered(name: &'static str, make: fn(&Way) -> io::Result<()>) -> Attempt {
    Attempt {
        name,
        by_filter_alone: true,
        make,
    }
}

fn read(path: &Path) -> io::Result<()> {
    let mut byte = [0];
    File::open(path)?.read(&mut byte).map(drop)
}

fn write(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path).map(drop)
}

/// Out by a path or a descriptor.
const FILES: &[Attempt] = &[
    held("a file outside by its path", |way| read(&way.secret())),
    held("a file outside by dots", |way| {
        let dots = format!("{}{}", "/..".repeat(20), way.secret().display());
        read(Path::new(&dots))
    }),
    held(
        "a file outside through the root of another process",
        |way| {
            let path = way.secret();
            let path = path.strip_prefix("/").map_err(io::Error::other)?;
            read(&way.of_outside("root").join(path))
        },
    ),
    held("the working directory of another process", |way| {
        fs::read_dir(way.of_outside("cwd")).map(drop)
    }),
    held("an open file of another process", |way| {
        read(&way.of_outside(&format!("fd/{}", way.outside.1)))
    }),
    held("a file outside by an inherited descriptor", |way| {
        let path = way.secret();
        let path = path.strip_prefix("/").map_err(io::Error::other)?;
        openat(&way.inherited, path, OFlag::O_RDONLY, Mode::empty())?;
        Ok(())
    }),
    held("reading the memory of another process", |way| {
        read(&way.of_outside("mem")).or_else(|error| match error.raw_os_error() {
            // There is nothing at address 0.
            Some(nix::libc::EIO) => Ok(()),
            _ => Err(error),
        })
    }),
    held("writing the memory of another process", |way| {
        write(&way.of_outside("mem"))
    }),
    held("the environment of another process", |way| {
        read(&way.of_outside("environ"))
    }),
    held("writing a sysctl", |_| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "0")
    }),
    held("planting a program", |way| {
        fs::write(way.root.join("usr/bin/planted"), "")
    }),
    held("changing the program", |way| write(&way.root.join(PROGRAM))),
    held("changing the hosts file", |way| {
        write(&way.root.join("etc/hosts"))
    }),
    held("making a device", |way| {
        let (place, memory) = (way.root.join("run/mem"), makedev(1, 1));
        Ok(mknod(&place, SFlag::S_IFCHR, Mode::S_IRWXU, memory)?)
    }),
    filtered("making a file set-user-id", |way| {
        let file = File::create(way.root.join("run/planted"))?;
        file.set_permissions(fs::Permissions::from_mode(0o4755))
    }),
    filtered("a file that is set-user-id from the beginning", |way| {
        let path = way.root.join("run/planted");
        let made = File::options()
            .write(true)
            .create_new(true)
            .mode(0o4755)
            .open(&path)?;
        match made.metadata()?.permissions().mode() & 0o4000 {
            0 => Err(io::Error::other("it is not")),
            _ => Ok(()),
        }
    }),
    filtered("a directory whose group is passed on", |way| {
        Ok(nix::unistd::mkdir(
            &way.root.join("run/planted"),
            Mode::from_bits_retain(0o2755),
        )?)
    }),
    filtered("planting a link", |way| {
        symlink(way.secret(), way.root.join("run/planted"))
    }),
];

/// Out by another view or another program.
const VIEWS: &[Attempt] = &[
    held("mounting", |way| {
        let (kind, at) = (Some("tmpfs"), way.root.join("tmp"));
        Ok(mount(kind, &at, kind, MsFlags::empty(), None::<&str>)?)
    }),
    held("mounting something writable", |way| {
        let bind = MsFlags::MS_BIND;
        let at = way.root.join("run");
        Ok(mount(Some(&at), &at, None::<&str>, bind, None::<&str>)?)
    }),
    held("unmounting", |_| Ok(umount("/proc")?)),
    held("changing the root again", |way| {
        Ok(nix::unistd::chroot(&way.root.join("run"))?)
    }),
    held("pivoting the root again", |way| {
        let run = way.root.join("run");
        match nix::unistd::pivot_root(&run, &run) {
            // Free it fails for want of sense, not of permission.
            Err(Errno::EINVAL | Errno::EBUSY) => Ok(()),
            other => Ok(other?),
        }
    }),
    held("entering the view of another process", |way| {
        let namespace = File::open(way.of_outside("ns/mnt"))?;
        Ok(setns(namespace, CloneFlags::CLONE_NEWNS)?)
    }),
    held("entering the network of another process", |way| {
        let namespace = File::open(way.of_outside("ns/net"))?;
        Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
    }),
    held("a new view", |_| Ok(unshare(CloneFlags::CLONE_NEWNS)?)),
    filtered("a user namespace, to be root in", |_| {
        Ok(unshare(CloneFlags::CLONE_NEWUSER)?)
    }),
    held("becoming another program", |way| {
        let program =
            std::ffi::CString::new(way.root.join(PROGRAM).into_os_string().into_encoded_bytes())?;
        let words = [c"waybill-agent", c"version"];
        nix::unistd::execve(&program, &words, &[] as &[&std::ffi::CStr])?;
        Ok(())
    }),
    held("starting a program", |way| {
        let mut command = Command::new(way.root.join(PROGRAM));
        command.arg("version").stdout(Stdio::null());
        command.status().map(drop)
    }),
    held("becoming root again", |_| {
        Ok(nix::unistd::setresuid(0.into(), 0.into(), 0.into())?)
    }),
    held("taking capabilities", |_| {
        let all = caps::all();
        let known: caps::CapsHashSet = all
            .into_iter()
            .filter(|one| matches!(one, caps::Capability::CAP_SYS_ADMIN))
            .collect();
        caps::set(None, caps::CapSet::Effective, &known).map_err(|_| io::Error::from(Errno::EPERM))
    }),
];

/// Into others, or into the kernel.
const OTHERS: &[Attempt] = &[
    filtered("ptrace", |way| Ok(nix::sys::ptrace::attach(way.victim)?)),
    filtered("reading memory by call", |way| {
        let mut byte = [0];
        let mut local = [io::IoSliceMut::new(&mut byte)];
        let remote = [RemoteIoVec { base: 0, len: 1 }];
        match process_vm_readv(way.victim, &mut local, &remote) {
            // There is nothing at address 0.
            Ok(_) | Err(Errno::EFAULT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }),
    held("a signal to another process", |way| {
        Ok(nix::sys::signal::kill(way.victim, None)?)
    }),
    // By the want of CAP_SYS_MODULE as well, where the kernel has modules.
    filtered("loading a module", |_| {
        match nix::kmod::init_module(b"no module", c"") {
            // Free it is read, and found to be none; where modules are off there is no such call.
            Err(Errno::ENOEXEC | Errno::ENOSYS) => Ok(()),
            other => Ok(other?),
        }
    }),
    filtered("loading a BPF program", |_| {
        let object = libbpf_rs::ObjectBuilder::default().open_memory(bpf::TRIAL);
        let mut object = object.map_err(io::Error::other)?;
        for mut program in object.progs_mut() {
            let wanted = program.name() == "wb_trial_filter";
            program.set_autoload(wanted);
        }
        object.load().map(drop).map_err(|_| Errno::EPERM.into())
    }),
    held("a socket of packets", |_| {
        let (flags, all) = (SockFlag::empty(), SockProtocol::EthAll);
        socket(AddressFamily::Packet, SockType::Raw, flags, all)?;
        Ok(())
    }),
    held("a raw socket", |_| {
        let (flags, protocol) = (SockFlag::empty(), SockProtocol::Icmp);
        socket(AddressFamily::Inet, SockType::Raw, flags, protocol)?;
        Ok(())
    }),
    filtered("a socket of the host", |_| {
        std::os::unix::net::UnixDatagram::unbound().map(drop)
    }),
    filtered("listening", |_| {
        std::net::TcpListener::bind("0.0.0.0:0").map(drop)
    }),
];

/// `linux/netlink.h`, `linux/rtnetlink.h`, `linux/netfilter/nfnetlink.h`, `nf_tables.h`
const REQUEST_AND_ANSWER: u16 = 0x1 | 0x4;
const CREATE: u16 = 0x400;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWQDISC: u16 = 36;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFT_MSG_NEWTABLE: u16 = 10 << 8;
/// The first device of every network namespace.
const LOOPBACK: u32 = 1;

/// One message of netlink: header, fixed struct, attributes.
fn netlink(kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = fixed.to_vec();
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap();
        body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].concat());
        body.extend(*value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(16 + body.len()).unwrap();
    let kinds = [kind.to_ne_bytes(), flags.to_ne_bytes()].concat();
    [
        &length.to_ne_bytes()[..],
        &kinds,
        &[7, 0, 0, 0],
        &[0; 4],
        &body,
    ]
    .concat()
}

/// Sends a request and reads the kernel's answer.
fn ask_kernel(protocol: SockProtocol, message: &[u8]) -> io::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    let mut answer = [0; 4096];
    nix::sys::socket::send(socket.as_raw_fd(), message, MsgFlags::empty())?;
    let length = nix::sys::socket::recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // struct nlmsgerr behind the header: the negative number of an error, 0 for none.
    let code = answer[..length]
        .get(16..20)
        .and_then(|code| code.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Into the network of the host: what `CAP_NET_ADMIN` is for.
const NETWORK: &[Attempt] = &[
    held("taking a device up or down", |_| {
        // struct ifinfomsg: index, flags, and which of them change (IFF_UP).
        let link = words(&[0, LOOPBACK, 1, 1]);
        let message = netlink(RTM_NEWLINK, REQUEST_AND_ANSWER, &link, &[]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("giving a device an address", |_| {
        // struct ifaddrmsg: AF_INET, 32 bits of prefix; then IFA_LOCAL.
        let address = [&[2, 32, 0, 0][..], &words(&[LOOPBACK])].concat();
        let flags = REQUEST_AND_ANSWER | CREATE;
        let message = netlink(RTM_NEWADDR, flags, &address, &[(2, &[127, 9, 9, 9])]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("adding a route", |_| {
        // struct rtmsg: AF_INET, 32 bits, table local, type local, scope host; RTA_DST, RTA_OIF.
        let route = [&[2, 32, 0, 0, 255, 4, 254, 2][..], &[0; 4]].concat();
        let device = LOOPBACK.to_ne_bytes();
        let attributes: &[(u16, &[u8])] = &[(1, &[10, 9, 9, 9]), (4, &device)];
        let flags = REQUEST_AND_ANSWER | CREATE;
        // A route takes a device that is up.
        let up = netlink(
            RTM_NEWLINK,
            REQUEST_AND_ANSWER,
            &words(&[0, LOOPBACK, 1, 1]),
            &[],
        );
        ask_kernel(SockProtocol::NetlinkRoute, &up).ok();
        let message = netlink(RTM_NEWROUTE, flags, &route, attributes);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("a queueing discipline", |_| {
        // struct tcmsg: device, no handle, root; TCA_KIND.
        let discipline = words(&[0, LOOPBACK, 0, u32::MAX, 0]);
        let flags = REQUEST_AND_ANSWER | CREATE;
        let message = netlink(RTM_NEWQDISC, flags, &discipline, &[(1, b"pfifo\0")]);
        ask_kernel(SockProtocol::NetlinkRoute, &message)
    }),
    held("a table of the firewall", |_| {
        // struct nfgenmsg: family, version, and for a batch the subsystem in network order.
        let subsystem = [0, 0, 0, 10];
        let table = netlink(
            NFT_MSG_NEWTABLE,
            REQUEST_AND_ANSWER | CREATE,
            &[2, 0, 0, 0],
            &[(1, b"planted\0")],
        );
        let batch = [
            netlink(NFNL_MSG_BATCH_BEGIN, 1, &subsystem, &[]),
            table,
            netlink(NFNL_MSG_BATCH_END, 1, &subsystem, &[]),
        ];
        ask_kernel(SockProtocol::NetlinkNetFilter, &batch.concat())
    }),
    held("marking packets", |_| {
        let (flags, none) = (SockFlag::empty(), None);
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, none)?;
        Ok(setsockopt(&socket, sockopt::Mark, &7)?)
    }),
    filtered("another priority of packets", |_| {
        let (flags, none) = (SockFlag::empty(), None);
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, none)?;
        Ok(setsockopt(&socket, sockopt::Priority, &3)?)
    }),
];

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
