//! Where lines go: standard error, and from some point on a bounded file inside the jail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files;

/// Bytes after which the file is set aside; one older file is kept.
const MAX_BYTES: u64 = 4 << 20;

/// A place for lines; clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Mutex<Option<Bounded>>>);

impl Output {
    /// Standard error, which a service manager reads.
    #[must_use]
    pub fn stderr() -> Self {
        Self::default()
    }

    /// Goes on in the file at `path`; what was written before is kept and counts.
    ///
    /// # Errors
    /// The file cannot be opened; lines still go to where they went.
    pub fn use_file(&self, path: &Path) -> io::Result<()> {
        let file = Bounded::open(path, MAX_BYTES)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(line),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that, once it is full, becomes `<path>.1` in place of the one before.
#[derive(Debug)]
struct Bounded {
    path: PathBuf,
    max_bytes: u64,
    file: File,
    bytes: u64,
}

impl Bounded {
    fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = files::make_own(File::options().append(true), path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            max_bytes,
            file,
            bytes,
        })
    }

    /// Writes a line as a whole, into a new file if it would not fit.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.bytes > 0 && self.bytes.saturating_add(length) > self.max_bytes {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs::rename(&self.path, old)?;
            *self = Self::open(&self.path, self.max_bytes)?;
        }
        self.file.write_all(line)?;
        self.bytes += length;
        Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounded, Output};
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn a_full_file_is_set_aside_once_and_never_grows_beyond_its_bound() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.log");
        let mut file = Bounded::open(&path, 20).unwrap();
        for line in ["first line\n", "second\n", "third one\n", "fourth line\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "fourth line\n");
        let old = place.path().join("agent.log.1");
        assert_eq!(fs::read_to_string(old).unwrap(), "third one\n");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_an_earlier_run_wrote_is_kept_and_counts() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.log");
        fs::write(&path, "0123456789\n").unwrap();
        let mut file = Bounded::open(&path, 15).unwrap();
        file.write(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0123456789\nnew\n");
        file.write(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "more\n");
    }

    #[test]
    fn all_clones_go_to_the_file_from_the_moment_it_is_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.log");
        let (output, mut clone) = (Output::stderr(), Output::stderr());
        clone.clone_from(&output);
        output.use_file(&path).unwrap();
        clone.write_all(b"line\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\n");
        assert!(output.use_file(&place.path().join("none/log")).is_err());
    }
}
