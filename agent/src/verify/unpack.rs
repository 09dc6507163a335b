//! A bundle that is checked where nobody else can change it: copied or unpacked first, then
//! verified there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::release::{
    SPECIAL, SPECIAL_FOLDER, copied, entries, folder, open, refused_mode, signed_as,
};

/// Bytes of a bundle, packed or not; some hundred times of what one has.
const MAX_BYTES: u64 = 4 << 30;
/// Files and folders of a bundle.
const MAX_ENTRIES: usize = 100_000;
/// The archive itself while it is unpacked; no bundle has a file of that name.
const ARCHIVE: &str = ".bundle";

/// Unpacks the bundle `from` (an archive with its signature beside it, or a folder) into the new
/// folder `to`, and checks it there; returns how many files there are.
///
/// # Errors
/// When `to` exists, or anything is not as it was signed: `to` is removed then.
pub(super) fn verified(from: &Path, to: &Path, key: &[u8]) -> Result<usize> {
    let mut private = DirBuilder::new();
    private
        .mode(0o700)
        .create(to)
        .with_context(|| format!("make {}", to.display()))?;
    let taken = if from.is_dir() {
        copy_folder(from, to)
    } else {
        take_archive(from, to, key)
    };
    let checked = taken.and_then(|()| folder(to, key));
    if checked.is_err() {
        fs::remove_dir_all(to).with_context(|| format!("remove {}", to.display()))?;
    }
    checked
}

/// Copies an archive, checks the copy against the signature, and only then reads what is in it.
fn take_archive(from: &Path, to: &Path, key: &[u8]) -> Result<()> {
    let copy = to.join(ARCHIVE);
    let mut source = open(from)?;
    ensure!(
        source.metadata()?.len() <= MAX_BYTES,
        "larger than any bundle"
    );
    let sum = copied(&mut source, &mut create(&copy)?)?;
    signed_as(&sum, from, key)?;
    let archive = open(&copy)?;
    fs::remove_file(&copy).context("remove the copy of the archive")?;
    unpack(flate2::read::GzDecoder::new(archive), to)
}

/// Files and folders of an archive without the one folder that they are all in.
fn unpack(archive: impl Read, to: &Path) -> Result<()> {
    let mut top: Option<PathBuf> = None;
    let mut room = MAX_BYTES;
    let mut archive = tar::Archive::new(archive);
    for (at, entry) in archive.entries()?.enumerate() {
        ensure!(at < MAX_ENTRIES, "more files than any bundle has");
        let mut entry = entry.context("read the archive")?;
        let path = entry.path().context("read the archive")?.into_owned();
        let (first, rest) = split(&path)?;
        ensure!(
            *top.get_or_insert_with(|| first.clone()) == first,
            "{}: not in the folder of the bundle",
            path.display()
        );
        let kind = entry.header().entry_type();
        let refused = if kind.is_dir() {
            SPECIAL_FOLDER
        } else {
            SPECIAL
        };
        let mode = entry.header().mode().context("read the archive")?;
        ensure!(
            mode & refused == 0,
            "{}: has mode {mode:04o}",
            path.display()
        );
        let place = to.join(&rest);
        if kind.is_dir() {
            make_folder(&place)?;
        } else if kind.is_file() {
            write(&mut entry, &place, &mut room)?;
        } else {
            bail!("{}: neither file nor folder", path.display());
        }
    }
    Ok(())
}

/// The first part of a path and the rest; nothing may lead elsewhere.
fn split(path: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    let inside = parts
        .clone()
        .all(|part| matches!(part, Component::Normal(_)));
    let first = parts.next();
    match first {
        Some(first) if inside => Ok((first.as_os_str().into(), parts.collect())),
        _ => bail!("{}: leads out of the bundle", path.display()),
    }
}

/// Copies files and folders; what is anything else is no bundle.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let mut room = MAX_BYTES;
    let all = entries(from)?;
    ensure!(all.len() <= MAX_ENTRIES, "more files than any bundle has");
    for (path, metadata) in all {
        if let Some(why) = refused_mode(&metadata) {
            bail!("{}: {why}", path.display());
        }
        let place = to.join(&path);
        if metadata.is_dir() {
            make_folder(&place)?;
        } else {
            let source = open(&from.join(&path));
            let mut source = source.with_context(|| path.display().to_string())?;
            write(&mut source, &place, &mut room)?;
        }
    }
    Ok(())
}

fn make_folder(place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("make {}", place.display()))
}

fn create(place: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(place)
        .with_context(|| format!("make {}", place.display()))
}

fn write(from: &mut dyn Read, place: &Path, room: &mut u64) -> Result<()> {
    let mut file = create(place)?;
    let mut bounded = from.take(*room + 1);
    let written =
        io::copy(&mut bounded, &mut file).with_context(|| format!("write {}", place.display()))?;
    file.flush()?;
    *room = room
        .checked_sub(written)
        .context("larger than any bundle")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use super::super::release::sum_of;
    use super::super::release::tests::{key, sign, signed};
    use super::{split, verified};

    /// A signed archive of a signed folder; `change` may add to it.
    fn archive(change: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_dir_all("waybill-1", signed().path())
            .unwrap();
        change(&mut builder);
        let file = place.path().join("waybill-1.tar.gz");
        let packed = flate2::Compression::fast();
        let mut packed = flate2::write::GzEncoder::new(File::create(&file).unwrap(), packed);
        std::io::Write::write_all(&mut packed, &builder.into_inner().unwrap()).unwrap();
        packed.finish().unwrap();
        resign(place.path());
        place
    }

    fn resign(place: &Path) {
        let sum = sum_of(&place.join("waybill-1.tar.gz")).unwrap();
        let line = format!("{sum}  waybill-1.tar.gz\n");
        fs::write(place.join("waybill-1.tar.gz.sig"), sign(&line)).unwrap();
    }

    fn refused(from: &Path) -> String {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("to");
        let why = format!("{:#}", verified(from, &to, &key()).unwrap_err());
        assert!(!to.exists(), "something is left: {why}");
        why
    }

    #[test]
    fn archive_and_folder_are_unpacked_where_nobody_else_can_enter() {
        let packed = archive(|_| ());
        let folder = signed();
        for from in [packed.path().join("waybill-1.tar.gz"), folder.path().into()] {
            let place = tempfile::tempdir().unwrap();
            let to = place.path().join("to");
            assert_eq!(verified(&from, &to, &key()).unwrap(), 2);
            assert_eq!(fs::read(to.join("packages/a.deb")).unwrap(), b"package");
            assert_eq!(
                fs::metadata(&to).unwrap().permissions().mode() & 0o7777,
                0o700
            );
            assert!(!to.join(super::ARCHIVE).exists());
            // A folder that is there already may be somebody else's.
            assert!(verified(&from, &to, &key()).is_err() && to.exists());
        }
    }

    #[test]
    fn an_archive_with_one_flipped_bit_is_not_even_read() {
        let packed = archive(|_| ());
        let file = packed.path().join("waybill-1.tar.gz");
        let good = fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, bad).unwrap();
            assert!(refused(&file).contains("the signature is wrong"), "{at}");
        }
    }

    #[test]
    fn an_archive_that_was_signed_by_mistake_still_cannot_leave_its_folder() {
        let add = |name: &'static str, kind: tar::EntryType, mode: u32| {
            archive(move |builder| {
                let mut header = tar::Header::new_ustar();
                let bytes = name.as_bytes();
                header.as_ustar_mut().unwrap().name[..bytes.len()].copy_from_slice(bytes);
                header.set_entry_type(kind);
                header.set_link_name("/etc").unwrap();
                header.set_mode(mode);
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, std::io::empty()).unwrap();
            })
        };
        let file = tar::EntryType::Regular;
        for (name, kind, mode, why) in [
            ("waybill-1/../x", file, 0o644, "leads out"),
            ("/x", file, 0o644, "leads out"),
            ("other/x", file, 0o644, "not in the folder"),
            (
                "waybill-1/x",
                tar::EntryType::Symlink,
                0o777,
                "neither file nor folder",
            ),
            (
                "waybill-1/x",
                tar::EntryType::Fifo,
                0o644,
                "neither file nor folder",
            ),
            ("waybill-1/x", file, 0o4755, "has mode 4755"),
            ("waybill-1/x", file, 0o644, "x: not listed"),
        ] {
            let packed = add(name, kind, mode);
            let said = refused(&packed.path().join("waybill-1.tar.gz"));
            assert!(said.contains(why), "{name}: {said}");
        }
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_refused() {
        let folder = signed();
        std::os::unix::fs::symlink("/etc", folder.path().join("x")).unwrap();
        assert!(refused(folder.path()).contains("not a regular file"));
        let folder = signed();
        let odd = Permissions::from_mode(0o4755);
        fs::set_permissions(folder.path().join("README"), odd).unwrap();
        assert!(refused(folder.path()).contains("has mode 4755"));
    }

    #[test]
    fn paths_are_split_behind_the_folder_of_the_bundle() {
        let (first, rest) = split(Path::new("./a/b/c")).unwrap();
        assert_eq!((first, rest), (PathBuf::from("a"), PathBuf::from("b/c")));
        for bad in ["", "..", "/a", "a/../b"] {
            assert!(split(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
