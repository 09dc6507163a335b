//! What an attempt has to work with, and what each says of itself.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

pub(crate) const PROGRAM: &str = "usr/bin/waybill-agent";

/// What an attempt has to work with.
pub(crate) struct Way {
    /// Of the test, outside of the root directory.
    pub(crate) directory: PathBuf,
    /// Where this process's own files are: `/` in the jail.
    pub(crate) root: PathBuf,
    /// A process of root, outside, that has the secret open, and its descriptor.
    pub(crate) outside: (i32, i32),
    /// A process of root to do harm to.
    pub(crate) victim: Pid,
    /// The host's root directory, opened before the jail was entered as the agent enters it.
    pub(crate) inherited: OwnedFd,
}

impl Way {
    pub(crate) fn secret(&self) -> PathBuf {
        self.directory.join("secret")
    }

    pub(crate) fn of_outside(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.outside.0))
    }
}

pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// Only the filter on system calls stands in the way.
    pub(crate) by_filter_alone: bool,
    pub(crate) make: fn(&Way) -> io::Result<()>,
}

pub(crate) const fn held(name: &'static str, make: fn(&Way) -> io::Result<()>) -> Attempt {
    Attempt {
        name,
        by_filter_alone: false,
        make,
    }
}

pub(crate) const fn filtered(name: &'static str, make: fn(&Way) -> io::Result<()>) -> Attempt {
    Attempt {
        name,
        by_filter_alone: true,
        make,
    }
}

pub(crate) fn read(path: &Path) -> io::Result<()> {
    let mut byte = [0];
    File::open(path)?.read(&mut byte).map(drop)
}

pub(crate) fn write(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path).map(drop)
}
