//! Connections that a test opens, uses and ends step by step.
//!
//! One command per line of standard input, one JSON object per line of standard output:
//! `open ADDRESS` and `meet OWN ADDRESS` (answer `id`), `exchange ID UP DOWN`, `send ID BYTES`,
//! `greeting ID BYTES`, `half ID`, `close ID`, `reset ID`, `end ID` (waits for the other's close).

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::connect::{ask, meet, open, read_end};
use super::pattern::{self, Header, ServerEnd};
use super::serve::reset_on_close;

/// Bounds of each step.
#[derive(clap::Args)]
pub struct Arguments {
    /// Milliseconds after which connecting, reading or writing fails.
    #[arg(long, default_value_t = 20_000)]
    timeout_ms: u64,
}

/// Follows commands until standard input ends; the connections still open then are closed.
///
/// # Errors
/// Only when an answer cannot be written; a failed command is answered by its error.
pub fn run(
    arguments: &Arguments,
    commands: &mut impl BufRead,
    answers: &mut impl Write,
) -> Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let mut connections = BTreeMap::new();
    for line in commands.lines() {
        let line = line.context("read command")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match step(&words, timeout, &mut connections) {
            Ok(answer) => answer,
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

type Connections = BTreeMap<u64, TcpStream>;

fn step(words: &[&str], timeout: Duration, connections: &mut Connections) -> Result<Value> {
    let (&verb, rest) = words.split_first().context("empty command")?;
    if matches!(verb, "open" | "meet") {
        let ends = rest.iter().map(|word| word.parse());
        let stream = match *ends.collect::<Result<Vec<SocketAddr>, _>>()? {
            [to] => open(to, timeout)?,
            [own, other] => meet(own, other, timeout)?,
            _ => bail!("no address"),
        };
        let local = stream.local_addr()?;
        let id = connections.keys().next_back().map_or(0, |last| last + 1);
        connections.insert(id, stream);
        return Ok(json!({ "id": id, "local": local }));
    }
    let numbers: Vec<u64> = rest
        .iter()
        .map(|word| word.parse())
        .collect::<Result<_, _>>()?;
    let (&id, numbers) = numbers.split_first().context("no connection")?;
    let stream = connections.get_mut(&id).context("no such connection")?;
    let mut received = 0;
    match (verb, numbers) {
        ("exchange", &[up, down]) => {
            let header = Header {
                up,
                down,
                end: ServerEnd::Stay,
            };
            let sent = ask(stream, &header)?;
            pattern::read_bytes(stream, down, &mut received)?;
            return Ok(json!({ "sent": sent, "received": received }));
        }
        ("send", &[bytes]) => pattern::write_bytes(stream, bytes)?,
        ("greeting", &[bytes]) => pattern::read_bytes(stream, bytes, &mut received)?,
        ("half", []) => stream.shutdown(Shutdown::Write)?,
        ("end", []) => {
            read_end(stream, false)?;
            connections.remove(&id);
        }
        ("close", []) => drop(connections.remove(&id)),
        ("reset", []) => {
            reset_on_close(stream)?;
            connections.remove(&id);
        }
        _ => bail!("unknown command"),
    }
    Ok(json!({ "received": received }))
}
