//! A file of lines of JSON: one for each notice.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

use super::feed::{Sent, Sink};
use crate::alert::notify::Notice;
use crate::files;
use crate::outputs::Later;

/// A file, which is put aside as `FILE.1` when it is long enough.
pub(super) struct Lines {
    path: PathBuf,
    max_bytes: u64,
}

impl Lines {
    pub(super) fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    fn write(&self, notice: &Notice) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(notice)?;
        line.push(b'\n');
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        let bytes = fs::metadata(&self.path).map_or(0, |file| file.len());
        if bytes > 0 && bytes + line.len() as u64 > self.max_bytes {
            fs::rename(&self.path, aside).context("put the file aside")?;
        }
        let mut options = OpenOptions::new();
        options.append(true).read(true);
        let mut file = files::make(&mut options, &self.path, files::GROUP)?;
        // A line that a crash cut short is not made a part of the next one.
        if !ends_whole(&self.path)? {
            file.write_all(b"\n")?;
        }
        file.write_all(&line)?;
        file.sync_data()?;
        Ok(())
    }
}

fn ends_whole(path: &std::path::Path) -> std::io::Result<bool> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Sink for Lines {
    fn send(&mut self, _: i64, notice: &Notice) -> Result<Sent, Later> {
        let written = self.write(notice);
        let written = written.with_context(|| self.path.display().to_string());
        Ok(written.map(|()| Sent::Taken)?)
    }
}
