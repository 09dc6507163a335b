//! `doctor --collect`: gathers in one file what is needed to support a kernel that nobody here has.
//!
//! It is made to be read before it is passed on: a tar in zstd whose first entry lists all others.
//! Nothing that identifies a host or helps an attacker is in it: no addresses (of kernel or
//! network), no names of hosts, no keys, nothing of the configuration.

mod sources;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bpf::pack::collected;
use serde::Serialize;

use crate::cli::{Format, ReportArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::files;
use crate::reports;
use sources::Gathered;

/// Types of kernels are said again and again: this takes a second and makes them a quarter.
const LEVEL: i32 = 9;

/// What was gathered, as the report names it.
#[derive(Debug, Serialize)]
struct Report<'f> {
    file: &'f Path,
    entries: Vec<Listed>,
    missing: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    bytes: usize,
    what: &'static str,
}

#[derive(Debug, Serialize)]
struct Missing {
    name: String,
    why: String,
}

/// Writes the file and prints its list.
///
/// # Errors
/// The file is there already (exit code 2), or cannot be written.
pub fn run(args: &ReportArgs, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let target = create(file)?;
    let gathered = sources::gather();
    let written = write(target, &gathered).with_context(|| format!("write {}", file.display()));
    if written.is_err() {
        // Half an archive helps nobody; that it stays is no worse than why it was not finished.
        std::fs::remove_file(file).ok();
    }
    written.or_exit(Exit::Runtime)?;
    match args.output.format {
        Format::Json => reports::print_json(out, &report(file, &gathered)),
        Format::Human => {
            let mut lines = list(&gathered);
            lines.push(String::new());
            lines.push(format!("written to {}", file.display()));
            reports::print_lines(out, &lines)
        }
    }
    .or_exit(Exit::Runtime)
}

/// A new file, for its owner only.
fn create(file: &Path) -> Result<File, Failure> {
    let created = files::make_own(File::options().write(true).create_new(true), file);
    let exit = match &created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Exit::Usage,
        _ => Exit::Runtime,
    };
    created
        .with_context(|| format!("create {}", file.display()))
        .or_exit(exit)
}

fn write(target: File, gathered: &[Gathered]) -> Result<()> {
    let packed = zstd::Encoder::new(target, LEVEL).context("start the compression")?;
    let mut archive = tar::Builder::new(packed);
    let mut manifest = list(gathered).join("\n").into_bytes();
    manifest.push(b'\n');
    let mut total = manifest.len() as u64;
    append(&mut archive, collected::MANIFEST, &manifest)?;
    for one in gathered {
        if let Ok(content) = &one.content {
            total += content.len() as u64;
            ensure!(total <= collected::MAX_BYTES, "it would be too large");
            append(&mut archive, &one.name, content)?;
        }
    }
    let packed = archive.into_inner().context("end the archive")?;
    let file = packed.finish().context("end the compression")?;
    file.sync_all().context("store the archive")
}

/// Entries have no owner and no time: two archives of one kernel are equal.
fn append(archive: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o600);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, name, content)
        .with_context(|| format!("add {name}"))
}

/// The list that is printed, and the first entry.
fn list(gathered: &[Gathered]) -> Vec<String> {
    let mut lines = vec![
        "What waybill-agent doctor --collect gathered of this kernel. There is nothing else in this".into(),
        "file: no addresses, names of hosts, keys or configuration.".into(),
        String::new(),
    ];
    for one in gathered {
        let Gathered {
            name,
            what,
            content,
        } = one;
        lines.push(match content {
            Ok(content) => format!("{:>9} {name}: {what}", content.len()),
            Err(why) => format!("  missing {name}: {what} ({why})"),
        });
    }
    lines
}

fn report<'f>(file: &'f Path, gathered: &[Gathered]) -> Report<'f> {
    let mut report = Report {
        file,
        entries: Vec::new(),
        missing: Vec::new(),
    };
    for one in gathered {
        let name = one.name.clone();
        match &one.content {
            Ok(content) => report.entries.push(Listed {
                name,
                bytes: content.len(),
                what: one.what,
            }),
            Err(why) => report.missing.push(Missing {
                name,
                why: why.clone(),
            }),
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::{Gathered, collected, create, list, write};
    use crate::exit::Exit;
    use std::io::Read as _;

    fn gathered() -> Vec<Gathered> {
        let one = |name: &str, content: Result<Vec<u8>, String>| Gathered {
            name: name.into(),
            what: "for a test",
            content,
        };
        vec![
            one("a/b", Ok(b"content".to_vec())),
            one("c", Err("there is none".into())),
        ]
    }

    #[test]
    fn the_list_is_what_is_inside_and_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        write(create(&path).unwrap(), &gathered()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let plain = zstd::bulk::decompress(&bytes, 1 << 20).unwrap();
        let mut archive = tar::Archive::new(plain.as_slice());
        let mut entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        let (name, manifest) = entries.next().unwrap();
        assert_eq!(name, collected::MANIFEST);
        assert_eq!(manifest.trim_end(), list(&gathered()).join("\n"));
        assert!(manifest.contains("        7 a/b: for a test"), "{manifest}");
        assert!(
            manifest.contains("  missing c: for a test (there is none)"),
            "{manifest}"
        );
        assert_eq!(entries.next().unwrap(), ("a/b".into(), "content".into()));
        assert!(entries.next().is_none());
    }

    #[test]
    fn a_file_that_is_there_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(create(&path).unwrap_err().exit, Exit::Usage);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn what_grows_without_end_is_not_gathered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let size = usize::try_from(collected::MAX_BYTES).unwrap() + 1;
        let large = Gathered {
            name: "large".into(),
            what: "for a test",
            content: Ok(vec![0; size]),
        };
        let error = write(create(&path).unwrap(), &[large]).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }
}
