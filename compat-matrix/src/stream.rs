//! What other programs write, read by threads that end with it.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Builder;

use anyhow::{Context, Result};

/// A longer line, or more words of a program about itself, is cut.
const LONGEST: u64 = 1 << 20;

/// Lines as they come.
///
/// # Errors
/// When no thread can be had.
pub fn lines(output: impl Read + Send + 'static) -> Result<Receiver<String>> {
    let (sender, receiver) = sync_channel(64);
    let read = move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut output).take(LONGEST).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    };
    Builder::new()
        .name("lines".into())
        .spawn(read)
        .context("start a thread")?;
    Ok(receiver)
}

/// Everything, once the output ended; of very much, the beginning.
///
/// # Errors
/// When no thread can be had.
pub fn whole(mut output: impl Read + Send + 'static) -> Result<Receiver<String>> {
    let (sender, receiver) = sync_channel(1);
    let read = move || {
        let mut bytes = Vec::new();
        (&mut output).take(LONGEST).read_to_end(&mut bytes).ok();
        std::io::copy(&mut output, &mut std::io::sink()).ok();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        sender.send(text).ok();
    };
    Builder::new()
        .name("whole".into())
        .spawn(read)
        .context("start a thread")?;
    Ok(receiver)
}
