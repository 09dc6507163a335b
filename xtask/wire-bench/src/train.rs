//! Trains the dictionary that new batches are compressed with.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use fleet::{self, Hour, Mix, TRAINING};

/// What zstd's trainer may choose from the samples: names and paths above all.
const TRAINED_BYTES: usize = 10 << 10;
/// All of it; the rest holds the schemas of all tables as they stand in a small batch. The end of a
/// dictionary is the cheapest part to refer to.
const MAX_BYTES: usize = 48 << 10;

/// That of `wire` for most batches: the tables of symbols are for what it leaves over.
const LEVEL: u8 = 15;

/// The recent offsets at which the content of a dictionary begins (RFC 8878, section 5), as `zstd`
/// always sets them: 1, 4 and 8.
const OFFSETS: [u8; 12] = [1, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0];

/// Rows with which a table's numbers are written in parts.
const LONG: usize = 64;

/// Bytes of the message of a record batch that are like those of others.
const LIKE: usize = 200;

/// One in so many batches of an hour is a sample.
const BATCH_OF_HOUR: usize = 61;

/// Far from the benchmark's seeds.
const FIRST_SEED: u64 = 5_000_000;

/// Trains on batches of other seeds, hosts and names than the benchmark measures; needs `zstd`.
pub(crate) fn train(id: u16, wire: &Path, out: &mut dyn Write) -> Result<()> {
    let mut samples = Vec::new();
    let mut seed = FIRST_SEED;
    for step in 1..=40 {
        let edges = Mix {
            edges: step * 30,
            ..Mix::default()
        };
        for mix in [edges, Mix::interval(step * 30)] {
            seed += 1;
            samples.push(fleet::interval(seed, &TRAINING, mix).added);
        }
        seed += 1;
        let hour = Hour::new(seed, &TRAINING).step_by(BATCH_OF_HOUR);
        samples.extend(hour.map(|(_, batch)| batch));
    }
    let mut dictionary = trained(id, &samples)?;
    // The schemas of long tables first, whose descriptions are those of the short ones.
    let long = Mix {
        edges: LONG,
        sightings: LONG,
        processes: LONG,
        hosts: 0,
        events: LONG,
        nats: LONG,
    };
    let long = fleet::interval(FIRST_SEED, &TRAINING, long).added;
    for (schema, rows) in streams(&wire::format2::arrow_streams(&long))? {
        let text = schema.windows(2).position(|pair| pair == b"{\"");
        let end = schema.windows(3).rposition(|end| end == b"}]}");
        match (text, end) {
            (Some(text), Some(end)) => {
                dictionary.extend_from_slice(&schema[..text]);
                dictionary.extend_from_slice(&schema[end + 3..]);
            }
            _ => dictionary.extend_from_slice(schema),
        }
        dictionary.extend_from_slice(&rows[..LIKE.min(rows.len())]);
    }
    let short = Mix {
        edges: 3,
        sightings: 2,
        processes: 2,
        hosts: 1,
        events: 2,
        nats: 2,
    };
    let short = fleet::interval(FIRST_SEED, &TRAINING, short).added;
    for (schema, rows) in streams(&wire::format2::arrow_streams(&short))? {
        dictionary.extend_from_slice(schema);
        dictionary.extend_from_slice(&rows[..LIKE.min(rows.len())]);
    }
    ensure!(
        dictionary.len() <= MAX_BYTES,
        "{} bytes are too many",
        dictionary.len()
    );
    let file = wire.join(format!("dictionaries/{id}.dictionary"));
    fs::write(&file, &dictionary).with_context(|| format!("write {}", file.display()))?;
    writeln!(out, "{} has {} bytes", file.display(), dictionary.len())?;
    Ok(())
}

/// What the program `zstd` makes of batches, whose schemas stand in the dictionary anyway: the names
/// and paths of rows alone, behind the tables of symbols that are best for whole batches.
///
/// The library trains for its default level alone, and other levels leave other symbols over.
fn trained(id: u16, samples: &[wire::Batch]) -> Result<Vec<u8>> {
    let raw = samples.iter().map(wire::format2::arrow_streams);
    let raw: Vec<_> = raw.collect();
    let rows = raw.iter().map(|raw| {
        let rows = streams(raw)?.into_iter().map(|(_, rows)| rows);
        Ok(rows.collect::<Vec<_>>().concat())
    });
    let rows: Vec<_> = rows.collect::<Result<_>>()?;
    let (mut symbols, _) = zstd_train(id, &raw, MAX_BYTES)?;
    let (_, names) = zstd_train(id, &rows, TRAINED_BYTES)?;
    symbols.extend(names);
    Ok(symbols)
}

/// A dictionary of at most so many bytes in two parts, up to the tables of symbols and behind them.
fn zstd_train(id: u16, samples: &[Vec<u8>], most: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let mut zstd = Command::new("zstd");
    zstd.args(["--train", "-q"])
        .arg(format!("-{LEVEL}"))
        .arg(format!("--maxdict={most}"))
        .arg(format!("--dictID={id}"))
        .args(["-o", "trained"])
        .current_dir(folder.path());
    for (at, sample) in samples.iter().enumerate() {
        let name = at.to_string();
        fs::write(folder.path().join(&name), sample).context("write a sample")?;
        zstd.arg(name);
    }
    let status = zstd.status().context("run zstd")?;
    ensure!(status.success(), "zstd ends with {status}");
    let mut trained = fs::read(folder.path().join("trained")).context("read what zstd made")?;
    let offsets = trained.windows(OFFSETS.len());
    let tables = offsets.into_iter().position(|window| window == OFFSETS);
    let content = trained.split_off(tables.context("a dictionary's tables")? + OFFSETS.len());
    Ok((trained, content))
}

/// The schema of each stream, and what follows it.
fn streams(mut raw: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        let schema = message(&mut raw)?;
        let rows = raw;
        let batch = message(&mut raw)?;
        let header = arrow_ipc::root_as_message(&batch[8..]);
        let header = header.map_err(|error| anyhow!("a record batch: {error}"))?;
        let body = usize::try_from(header.bodyLength()).context("a length")?;
        // The end mark follows.
        raw = raw.get(body + 8..).context("a body")?;
        all.push((schema, &rows[..rows.len() - raw.len()]));
    }
    Ok(all)
}

/// Cuts the next message off, with the length before it.
fn message<'a>(raw: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = raw.get(4..8).context("a length")?.try_into()?;
    let length = usize::try_from(u32::from_le_bytes(length)).context("a length")?;
    let (message, rest) = raw.split_at_checked(8 + length).context("a message")?;
    *raw = rest;
    Ok(message)
}
