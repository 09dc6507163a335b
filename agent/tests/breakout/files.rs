//! Ways to the files of the host, and to another view of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::way::{Attempt, PROGRAM, filtered, held, read, write};

/// Out by a path or a descriptor.
pub(crate) const FILES: &[Attempt] = &[
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
pub(crate) const VIEWS: &[Attempt] = &[
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
