//! Lists the files of the built web page, for the server to embed.
//!
//! `cargo xtask web` puts them into `web/dist/page`; without them the collector has no page, and
//! says so.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let dist = manifest.join("web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    let page = dist.join("page");
    let mut files = Vec::new();
    if page.is_dir() {
        collect(&page, "", &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for name in files {
        let path = page.join(&name).display().to_string();
        writeln!(list, "    ({name:?}, include_bytes!({path:?})),").expect("memory");
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("page.rs"), list)
}

/// The files below a folder, by their paths from it.
fn collect(folder: &Path, prefix: &str, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().expect("the build gives names in UTF-8");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), into)?;
        } else {
            into.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}
