//! What the linker takes from the build machine: Rust's own libraries and C libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::component::{Component, collect};
use crate::child;

/// A C library of the build machine: its name as pkg-config knows it (or for people), licence, and
/// packages of Debian and of Fedora whose notices are its own.
struct Linked {
    name: &'static str,
    licence: &'static str,
    packages: &'static [&'static str],
}

const GLIBC: Linked = Linked {
    name: "glibc",
    licence: "LGPL-2.1-or-later",
    packages: &["libc6-dev", "libc6", "glibc-devel", "glibc"],
};
const LIBGCC: Linked = Linked {
    name: "libgcc",
    licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
    packages: &["gcc-*-base", "libgcc"],
};
/// What the agent has beyond these; the last one only where libelf was built with it.
const AGENT: [Linked; 3] = [
    Linked {
        name: "libelf",
        licence: "GPL-2.0-or-later OR LGPL-3.0-or-later",
        packages: &["libelf-dev", "elfutils-libelf-devel", "elfutils-libelf"],
    },
    Linked {
        name: "zlib",
        licence: "Zlib",
        packages: &["zlib1g-dev", "zlib-devel", "zlib"],
    },
    Linked {
        name: "libzstd",
        licence: "BSD-3-Clause OR GPL-2.0-only",
        packages: &["libzstd-dev", "libzstd-devel", "libzstd"],
    },
];

/// Those in the program that package `package` of the workspace builds.
///
/// # Errors
/// When the machine does not say a version, or has no notices of one.
pub(super) fn libraries(package: &str) -> Result<Vec<Component>> {
    let mut found = vec![
        rust_library()?,
        system(&GLIBC, &libc_version()?)?,
        system(&LIBGCC, &compiler_version()?)?,
    ];
    if package == "agent" {
        let ask = ["--print-requires-private", "libelf"];
        let private = child::output(Command::new("pkg-config").args(ask))?;
        for library in &AGENT {
            if library.name != "libzstd" || private.contains("libzstd") {
                let ask = ["--modversion", library.name];
                let version = child::output(Command::new("pkg-config").args(ask))?;
                found.push(system(library, version.trim())?);
            }
        }
    }
    Ok(found)
}

/// Rust's own libraries.
fn rust_library() -> Result<Component> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = child::output(Command::new(&rustc).arg("--version"))?;
    let version = version
        .split(' ')
        .nth(1)
        .context("rustc's version")?
        .to_owned();
    let root = child::output(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let documents = Path::new(root.trim()).join("share/doc");
    let mut notices = Vec::new();
    for folder in ["rust", "rust/licenses", "rustc", "rustc/licenses"] {
        let folder = documents.join(folder);
        if folder.is_dir() {
            collect(&folder, 1, &mut notices)?;
        }
        // One file per licence that anything in the toolchain has.
        for name in [
            "MIT.txt",
            "Apache-2.0.txt",
            "BSD-2-Clause.txt",
            "Unicode-3.0.txt",
        ] {
            let file = folder.join(name);
            if file.is_file() {
                notices.push(file);
            }
        }
    }
    // The pages about the whole toolchain name hundreds of crates that no program has.
    notices.retain(|file| file.extension().is_none_or(|end| end != "html"));
    Ok(Component {
        name: "rust-std".into(),
        purl: Some(format!("pkg:generic/rust-std@{version}")),
        licence: "MIT OR Apache-2.0".into(),
        version,
        notices,
    })
}

fn system(library: &Linked, version: &str) -> Result<Component> {
    let mut notices = Vec::new();
    for package in library.packages {
        for folder in ["usr/share/doc", "usr/share/licenses"] {
            notices.extend(matching(&Path::new("/").join(folder), package)?);
        }
        if !notices.is_empty() {
            break;
        }
    }
    if notices.is_empty() {
        bail!(
            "no notices of {}: none of {:?} is installed",
            library.name,
            library.packages
        );
    }
    Ok(Component {
        name: library.name.into(),
        version: version.into(),
        licence: library.licence.into(),
        purl: Some(format!("pkg:generic/{}@{version}", library.name)),
        notices,
    })
}

/// Notices of a package, whose name may have one `*`.
fn matching(folder: &Path, package: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let (begin, end) = package.split_once('*').unwrap_or((package, ""));
    let Ok(entries) = folder.read_dir() else {
        return Ok(found);
    };
    let mut names = entries
        .map(|one| Ok(one?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let name = name.to_string_lossy();
        let exact = !package.contains('*') && name == package;
        let fits = package.contains('*') && name.starts_with(begin) && name.ends_with(end);
        if (exact || fits) && folder.join(&*name).is_dir() && found.is_empty() {
            collect(&folder.join(&*name), 1, &mut found)?;
        }
    }
    Ok(found)
}

fn libc_version() -> Result<String> {
    let libc = child::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    let (_, version) = libc.trim().split_once(' ').context("glibc's version")?;
    Ok(version.to_owned())
}

fn compiler_version() -> Result<String> {
    let version = child::output(Command::new("cc").arg("-dumpfullversion"))?;
    Ok(version.trim().to_owned())
}
