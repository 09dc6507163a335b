//! What a release is: files, their sums, and who signed these.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Read as _, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use notation::{hex, unhex};
use ring::digest::{self, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};

/// What lists a folder's files.
pub(super) const SUMS: &str = "SHA256SUMS";
/// Its signature.
pub(super) const SIGNATURE: &str = "SHA256SUMS.sig";
/// Keys, signatures and lists are short; nothing larger is read into memory.
pub(super) const MAX_TEXT: u64 = 1 << 20;
/// Mistakes that are told one by one.
pub(super) const MAX_TOLD: usize = 20;
/// Set-user-id, set-group-id and sticky: no file of a release has them, and sums do not cover them.
pub(super) const SPECIAL: u32 = 0o7000;
/// Set-user-id of a folder; set-group-id is inherited from where a bundle is unpacked.
pub(super) const SPECIAL_FOLDER: u32 = 0o4000;

/// Checks every file of a folder; returns how many there are.
pub(super) fn folder(folder: &Path, key: &[u8]) -> Result<usize> {
    let sums = text(&folder.join(SUMS))?;
    check(key, &sums, &folder.join(SIGNATURE))?;
    let listed = parse(&sums)?;
    let mut wrong = Vec::new();
    for (sum, path) in &listed {
        match sum_of(&folder.join(path)) {
            Ok(found) if found == *sum => {}
            Ok(_) => wrong.push(format!("{}: was changed", path.display())),
            Err(error) => wrong.push(format!("{}: {error:#}", path.display())),
        }
    }
    let known: BTreeSet<&Path> = listed.iter().map(|(_, path)| path.as_path()).collect();
    for (path, metadata) in entries(folder)? {
        if let Some(why) = refused_mode(&metadata) {
            wrong.push(format!("{}: {why}", path.display()));
        }
        let own = path == Path::new(SUMS) || path == Path::new(SIGNATURE);
        if !metadata.is_dir() && !own && !known.contains(path.as_path()) {
            wrong.push(format!("{}: not listed", path.display()));
        }
    }
    let left_out = wrong.len().saturating_sub(MAX_TOLD);
    wrong.truncate(MAX_TOLD);
    if left_out > 0 {
        wrong.push(format!("and {left_out} more"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(listed.len())
}

/// Checks one file by the signature beside it.
pub(super) fn single(file: &Path, key: &[u8]) -> Result<usize> {
    signed_as(&sum_of(file)?, file, key)?;
    Ok(1)
}

/// Checks that this sum, under the file's own name, is what the signature beside it is of.
pub(super) fn signed_as(sum: &str, file: &Path, key: &[u8]) -> Result<()> {
    let name = file.file_name().context("not a file")?;
    let line = format!("{sum}  {}\n", name.display());
    let mut signature = file.as_os_str().to_owned();
    signature.push(".sig");
    check(key, &line, Path::new(&signature))
}

/// Why a file or folder of a release cannot have this mode.
pub(super) fn refused_mode(metadata: &Metadata) -> Option<String> {
    let refused = if metadata.is_dir() {
        SPECIAL_FOLDER
    } else {
        SPECIAL
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let special = !metadata.is_symlink() && mode & refused != 0;
    special.then(|| format!("has mode {mode:04o}, which no part of a release has"))
}

pub(super) fn check(key: &[u8], signed: &str, signature: &Path) -> Result<()> {
    let bytes = unhex::<64>(text(signature)?.trim_end())
        .with_context(|| format!("{}: not hexadecimal digits", signature.display()))?;
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed.as_bytes(), &bytes)
        .map_err(|_| anyhow::anyhow!("{}: the signature is wrong", signature.display()))
}

pub(super) fn read_key(path: &Path) -> Result<Vec<u8>> {
    // An operator's own file: it may be a link.
    let path = &path
        .canonicalize()
        .with_context(|| format!("find the key {}", path.display()))?;
    unhex::<ED25519_KEY>(text(path)?.trim_end())
        .map(Vec::from)
        .with_context(|| {
            format!(
                "{}: a key is {} hexadecimal digits",
                path.display(),
                2 * ED25519_KEY
            )
        })
}

/// Bytes of a public key (RFC 8032, 5.1.5).
const ED25519_KEY: usize = 32;

/// Sums and the paths they belong to; nothing may lie outside of the folder.
pub(super) fn parse(sums: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut listed = Vec::new();
    for line in sums.lines() {
        let (sum, path) = line
            .split_once("  ")
            .with_context(|| format!("{SUMS}: {line:?}"))?;
        let path = PathBuf::from(path);
        let inside = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside || path.as_os_str().is_empty() || sum.len() != 64 {
            bail!("{SUMS}: {line:?}");
        }
        listed.push((sum.to_owned(), path));
    }
    ensure!(!listed.is_empty(), "{SUMS} is empty");
    Ok(listed)
}

/// Everything below `folder`, sorted.
pub(super) fn entries(folder: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in directory
            .read_dir()
            .with_context(|| format!("list {}", directory.display()))?
        {
            let path = entry?.path();
            // A link is no directory here: it is not followed.
            let metadata = path.symlink_metadata()?;
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_owned();
            if metadata.is_dir() {
                left.push(path);
            }
            found.push((relative, metadata));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// Opens a regular file, never what a link names, and never waiting for the other end of a pipe.
pub(super) fn open(path: &Path) -> Result<File> {
    let kind = path.symlink_metadata().context("missing")?;
    ensure!(kind.is_file(), "not a regular file");
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(flags.bits()).open(path);
    let file = file.context("cannot be read")?;
    ensure!(
        file.metadata().context("cannot be read")?.is_file(),
        "not a regular file"
    );
    Ok(file)
}

/// SHA-256 of a regular file, in digits.
pub(super) fn sum_of(path: &Path) -> Result<String> {
    copied(&mut open(path)?, &mut std::io::sink())
}

/// Copies to the end, and returns the SHA-256 of what was copied, in digits.
pub(super) fn copied(from: &mut File, to: &mut dyn Write) -> Result<String> {
    let mut sum = digest::Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer).context("cannot be read")? {
            0 => return Ok(hex(sum.finish().as_ref())),
            length => {
                sum.update(&buffer[..length]);
                to.write_all(&buffer[..length]).context("write a copy")?;
            }
        }
    }
}

pub(super) fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    open(path)
        .and_then(|file| Ok(file.take(MAX_TEXT).read_to_string(&mut text)?))
        .with_context(|| format!("read {}", path.display()))?;
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use notation::hex;

    use super::{folder, parse, read_key, single, sum_of};

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    pub(in crate::verify) fn sign(text: &str) -> String {
        hex(pair().sign(text.as_bytes()).as_ref()) + "\n"
    }

    pub(in crate::verify) fn key() -> Vec<u8> {
        pair().public_key().as_ref().to_vec()
    }

    /// A signed folder with two files.
    pub(in crate::verify) fn signed() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("packages")).unwrap();
        fs::write(at("packages/a.deb"), "package").unwrap();
        fs::write(at("README"), "read me").unwrap();
        let line = |name: &str| format!("{}  {name}\n", sum_of(&at(name)).unwrap());
        let sums = line("README") + &line("packages/a.deb");
        fs::write(at("SHA256SUMS.sig"), sign(&sums)).unwrap();
        fs::write(at("SHA256SUMS"), sums).unwrap();
        place
    }

    fn refused(place: &Path) -> String {
        format!("{:#}", folder(place, &key()).unwrap_err())
    }

    #[test]
    fn what_was_signed_is_accepted() {
        assert_eq!(folder(signed().path(), &key()).unwrap(), 2);
    }

    #[test]
    fn one_flipped_bit_in_any_file_is_refused() {
        for name in ["README", "packages/a.deb", "SHA256SUMS", "SHA256SUMS.sig"] {
            let place = signed();
            let file = place.path().join(name);
            let good = fs::read(&file).unwrap();
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                fs::write(&file, &bad).unwrap();
                // The end of the last line of a signature is not part of it.
                let meaningless = name.ends_with(".sig") && at + 1 == good.len();
                assert!(
                    folder(place.path(), &key()).is_err() || meaningless,
                    "{name} {at}"
                );
            }
        }
    }

    #[test]
    fn missing_added_and_linked_files_are_named() {
        let place = signed();
        fs::write(place.path().join("packages/b.deb"), "").unwrap();
        assert!(refused(place.path()).contains("packages/b.deb: not listed"));
        let place = signed();
        fs::remove_file(place.path().join("README")).unwrap();
        assert!(refused(place.path()).contains("README: missing"));
        symlink("packages/a.deb", place.path().join("README")).unwrap();
        assert!(refused(place.path()).contains("README: not a regular file"));
    }

    #[test]
    fn a_list_or_signature_behind_a_link_is_refused() {
        for name in ["SHA256SUMS", "SHA256SUMS.sig"] {
            let place = signed();
            let elsewhere = tempfile::tempdir().unwrap();
            let moved = elsewhere.path().join(name);
            fs::copy(place.path().join(name), &moved).unwrap();
            fs::remove_file(place.path().join(name)).unwrap();
            symlink(&moved, place.path().join(name)).unwrap();
            let why = refused(place.path());
            assert!(
                why.contains(name) && why.contains("not a regular file"),
                "{why}"
            );
        }
    }

    #[test]
    fn modes_that_sums_do_not_cover_are_refused() {
        for (name, mode) in [
            ("README", 0o4755),
            ("README", 0o2755),
            ("README", 0o1644),
            ("packages/a.deb", 0o4644),
            ("SHA256SUMS", 0o2644),
            ("packages", 0o4755),
        ] {
            let place = signed();
            let path = place.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            let why = refused(place.path());
            assert!(
                why.contains(&format!("{name}: has mode {mode:04o}")),
                "{why}"
            );
        }
        // Inherited from the folder in which an operator unpacked it.
        let place = signed();
        let inherited = fs::Permissions::from_mode(0o2755);
        fs::set_permissions(place.path().join("packages"), inherited).unwrap();
        assert_eq!(folder(place.path(), &key()).unwrap(), 2);
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_does_not_hang_it() {
        let place = signed();
        let pipe = place.path().join("SHA256SUMS");
        fs::remove_file(&pipe).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refused(place.path()).contains("not a regular file"));
    }

    #[test]
    fn another_key_is_refused() {
        assert!(folder(signed().path(), &[1; 32]).is_err());
    }

    #[test]
    fn a_single_file_is_signed_with_its_name() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("a.tar.gz");
        fs::write(&file, "bundle").unwrap();
        let line = format!("{}  a.tar.gz\n", sum_of(&file).unwrap());
        fs::write(place.path().join("a.tar.gz.sig"), sign(&line)).unwrap();
        assert_eq!(single(&file, &key()).unwrap(), 1);
        for end in ["", ".sig"] {
            let at = |name: &str| place.path().join(format!("{name}{end}"));
            fs::copy(at("a.tar.gz"), at("b.tar.gz")).unwrap();
        }
        assert!(single(&place.path().join("b.tar.gz"), &key()).is_err());
    }

    #[test]
    fn a_list_cannot_name_what_is_outside_of_the_folder() {
        let sum = "0".repeat(64);
        assert!(parse(&format!("{sum}  a/b\n")).is_ok());
        for bad in ["../a", "/etc/passwd", "a/../../b", ""] {
            assert!(parse(&format!("{sum}  {bad}\n")).is_err(), "{bad}");
        }
        assert!(parse("").is_err());
        assert!(parse("0123  a\n").is_err());
    }

    #[test]
    fn a_key_has_its_length_and_only_digits() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("key");
        fs::write(&file, hex(&key()) + "\n").unwrap();
        assert_eq!(read_key(&file).unwrap(), key());
        for bad in ["", "00", "zz", &"0".repeat(66)] {
            fs::write(&file, bad).unwrap();
            assert!(read_key(&file).is_err(), "{bad}");
        }
    }
}
