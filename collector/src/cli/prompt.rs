//! A password that somebody types or pipes: never an argument, which every process could read.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, bail};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Longest line that is read, bytes.
const LONGEST: u64 = 4096;

/// Reads a password from standard input: one line of a pipe, or typed twice at a terminal, which does
/// not show it.
///
/// # Errors
/// It cannot be read, is empty, or was typed otherwise the second time.
pub(super) fn password() -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let hidden = Hidden::new().context("hide what is typed")?;
    let first = ask("Password: ")?;
    let second = ask("Again: ")?;
    drop(hidden);
    if first.contains('\u{3}') || second.contains('\u{3}') {
        bail!("given up");
    }
    if first != second {
        bail!("the two are not the same");
    }
    Ok(first)
}

fn ask(what: &str) -> anyhow::Result<String> {
    let mut error = io::stderr();
    write!(error, "{what}")?;
    error.flush()?;
    let typed = line();
    // The line break was not shown either.
    writeln!(error)?;
    typed
}

fn line() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(LONGEST)
        .read_line(&mut text)
        .context("read the password")?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("expected a password on standard input");
    }
    Ok(text.to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        // Without signals nobody is left with a terminal that shows nothing; ^C stays in the line.
        hidden
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing could be done about it.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
    }
}
