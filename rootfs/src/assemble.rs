//! The directory: the same bytes, modes and times whoever makes it and whenever.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};

use crate::manifest::{Content, Kind, Manifest};

/// Makes the jail below `out`, which must be empty or not exist yet.
///
/// `programs` holds the programs that the manifest names; `modified` becomes the time of
/// everything, because nothing else would make two assemblies equal. Owner and group are those of
/// the caller: packages and the agent's hosts do this as root.
///
/// # Errors
/// When `out` is not empty, a program is missing or the file system refuses; names the path.
pub fn assemble(
    manifest: &Manifest,
    programs: &Path,
    out: &Path,
    modified: SystemTime,
) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let mut entries = out
        .read_dir()
        .with_context(|| format!("list {}", out.display()))?;
    ensure!(
        entries.next().is_none(),
        "{} is not empty; only an empty directory becomes a jail",
        out.display()
    );
    for entry in &manifest.entries {
        let path = out.join(&entry.path);
        make(&path, &entry.kind, programs).with_context(|| format!("make {}", path.display()))?;
    }
    set_mode(out, 0o755)?;
    // Making an entry changes the times and needs the permissions of its directory, so both are
    // set when everything is there, children first.
    for entry in manifest.entries.iter().rev() {
        let path = out.join(&entry.path);
        match entry.kind {
            Kind::Directory { mode } | Kind::File { mode, .. } => {
                set_time(&path, modified)?;
                set_mode(&path, mode)?;
            }
            // A link's own time is not part of what it does; nothing safe sets it.
            Kind::Symlink { .. } => {}
        }
    }
    set_time(out, modified)
}

fn make(path: &PathBuf, kind: &Kind, programs: &Path) -> Result<()> {
    match kind {
        Kind::Directory { .. } => fs::create_dir(path)?,
        Kind::File { content, .. } => match content {
            Content::Empty => fs::write(path, "")?,
            Content::Text(text) => fs::write(path, text)?,
            Content::Program(name) => {
                let program = programs.join(name);
                copy(&program, path).with_context(|| format!("copy {}", program.display()))?;
            }
        },
        Kind::Symlink { target } => symlink(target, path)?,
    }
    Ok(())
}

/// Copies a program by a process of its own: what is open here for writing is inherited by whatever
/// another thread starts meanwhile, and a program that is open for writing does not start (ETXTBSY,
/// execve(2)).
fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp").arg("--").arg(from).arg(to).output();
    let output = output.context("start cp")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cp: {}", said.trim());
    Ok(())
}

/// Sets permission bits whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

fn set_time(path: &Path, modified: SystemTime) -> Result<()> {
    let times = FileTimes::new()
        .set_modified(modified)
        .set_accessed(modified);
    File::open(path)
        .and_then(|file| file.set_times(times))
        .with_context(|| format!("set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::SystemTime;

    use super::assemble;
    use crate::manifest::Manifest;

    const SMALL: &str = "[[directory]]\npath = \"etc\"\nmode = \"0555\"\nwhy = \"x\"\n\
        [[file]]\npath = \"etc/hello\"\nmode = \"0640\"\ncontent = \"hi\\n\"\nwhy = \"x\"\n\
        [[file]]\npath = \"etc/place\"\nmode = \"0600\"\nempty = true\nwhy = \"x\"\n\
        [[file]]\npath = \"etc/tool\"\nmode = \"0755\"\nprogram = \"tool\"\nwhy = \"x\"\n\
        [[symlink]]\npath = \"link\"\ntarget = \"/etc/hello\"\nwhy = \"x\"\n";

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn everything_listed_is_made_with_its_mode_time_and_content() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("tool"), "binary").unwrap();
        let manifest = Manifest::parse(SMALL).unwrap();
        let out = directory.path().join("jail");
        assemble(&manifest, directory.path(), &out, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read_to_string(out.join("etc/hello")).unwrap(), "hi\n");
        assert_eq!(fs::read_to_string(out.join("etc/place")).unwrap(), "");
        assert_eq!(fs::read_to_string(out.join("etc/tool")).unwrap(), "binary");
        assert_eq!(
            fs::read_link(out.join("link")).unwrap(),
            Path::new("/etc/hello")
        );
        assert_eq!(mode(&out.join("etc")), 0o555);
        assert_eq!(mode(&out.join("etc/hello")), 0o640);
        for path in ["", "etc", "etc/hello", "etc/tool"] {
            let time = fs::metadata(out.join(path)).unwrap().modified().unwrap();
            assert_eq!(time, SystemTime::UNIX_EPOCH, "{path}");
        }
    }

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine"), "").unwrap();
        let manifest = Manifest::parse(SMALL).unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let error = assemble(&manifest, directory.path(), directory.path(), now);
        assert!(format!("{:#}", error.unwrap_err()).contains("is not empty"));
        assert!(!directory.path().join("etc").exists());
    }

    #[test]
    fn a_missing_program_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = Manifest::parse(SMALL).unwrap();
        let out = directory.path().join("jail");
        let error = assemble(&manifest, directory.path(), &out, SystemTime::UNIX_EPOCH);
        assert!(format!("{:#}", error.unwrap_err()).contains("tool"));
    }
}
