//! Where lines go: standard error, and from some point on a bounded file inside the jail.
//!
//! Once the agent measures, a thread of its own writes them: a disk, a terminal or a service manager
//! that stands still must not hold up who has something to say.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::files;

/// Bytes after which the file is set aside; one older file is kept.
const MAX_BYTES: u64 = 4 << 20;

/// Lines that wait; each has some hundred bytes.
const QUEUED_MAX: usize = 512;

/// A place for lines; clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Held while a line is written.
    file: Mutex<Option<Bounded>>,
    /// Never held for long.
    way: Mutex<Way>,
    dropped: AtomicU64,
}

/// What becomes of a line.
#[derive(Debug, Default)]
enum Way {
    /// It is written at once.
    #[default]
    Direct,
    /// A thread writes it.
    Queued(Sender<Vec<u8>>),
    /// The thread stands still, and the agent ends.
    Given,
}

/// The thread that writes lines, until this is dropped.
#[derive(Debug)]
pub struct Background {
    output: Output,
    /// Carries nothing; closed when the thread has ended.
    ended: Receiver<()>,
}

/// What the last lines may take.
const END: Duration = Duration::from_secs(1);

impl Drop for Background {
    fn drop(&mut self) {
        self.output.end(&self.ended, END);
    }
}

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
        *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Starts the thread "log". Lines that find its queue full are dropped and counted.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn in_background(&self) -> io::Result<Background> {
        let (lines, queued) = bounded::<Vec<u8>>(QUEUED_MAX);
        let (end, ended) = bounded(0);
        let output = self.clone();
        Builder::new().name("log".to_owned()).spawn(move || {
            let _end: Sender<()> = end;
            for line in queued {
                // When the log cannot be written there is nobody left to tell.
                output.write_now(&line).ok();
            }
        })?;
        *self.way() = Way::Queued(lines);
        Ok(Background {
            output: self.clone(),
            ended,
        })
    }

    /// Lines that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Lets the thread write what is queued, for as long as that may take; later lines are written at
    /// once, or not at all if it stands still.
    fn end(&self, ended: &Receiver<()>, patience: Duration) {
        *self.way() = Way::Given;
        // Nothing is sent: it is closed, or the time is over.
        if ended
            .recv_timeout(patience)
            .is_err_and(|error| error.is_disconnected())
        {
            *self.way() = Way::Direct;
        }
    }

    fn way(&self) -> std::sync::MutexGuard<'_, Way> {
        self.0.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_now(&self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.0.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(line),
            None => io::stderr().write(line),
        }
    }
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let taken = match &*self.way() {
            Way::Direct => None,
            Way::Queued(lines) => Some(lines.try_send(line.to_vec()).is_ok()),
            Way::Given => Some(false),
        };
        match taken {
            None => return self.write_now(line),
            Some(true) => {}
            Some(false) => {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
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
    use super::*;

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
    fn who_takes_lines_and_stands_still_holds_up_nobody_and_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Somebody has it open and never reads.
        let _reader = File::options().read(true).write(true).open(&path).unwrap();
        let mut output = Output::stderr();
        let pipe = Bounded {
            max_bytes: u64::MAX,
            file: File::options().append(true).open(&path).unwrap(),
            bytes: 0,
            path,
        };
        *output.0.file.lock().unwrap() = Some(pipe);
        let log = output.in_background().unwrap();
        let line = [b'x'; 1000];
        let count = 2_000;
        for _ in 0..count {
            output.write_all(&line).unwrap();
        }
        // A pipe holds 64 KiB.
        assert!(output.dropped() > count - QUEUED_MAX as u64 - 100);
        output.end(&log.ended, Duration::from_millis(10));
        output.write_all(&line).unwrap();
    }

    #[test]
    fn the_last_lines_are_written_and_later_ones_too() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.log");
        let mut output = Output::stderr();
        output.use_file(&path).unwrap();
        let log = output.in_background().unwrap();
        output.write_all(b"first\n").unwrap();
        drop(log);
        output.write_all(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        assert_eq!(output.dropped(), 0);
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
