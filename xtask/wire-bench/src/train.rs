//! Trains the dictionary that new batches are compressed with.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};

use fleet::{self, Hour, Mix, TRAINING};

/// What zstd's trainer may choose from the samples: names and paths above all.
const TRAINED_BYTES: usize = 10 << 10;
/// All of it; the rest holds the schemas of all tables as they stand in a small batch. The end of a
/// dictionary is the cheapest part to refer to.
const MAX_BYTES: usize = 48 << 10;

/// Rows with which a table's numbers are written in parts.
const LONG: usize = 64;

/// Bytes of the message of a record batch that are like those of others.
const LIKE: usize = 200;

/// One in so many batches of an hour is a sample.
const BATCH_OF_HOUR: usize = 61;

/// Far from the benchmark's seeds.
const FIRST_SEED: u64 = 5_000_000;

/// Trains on batches of other seeds, hosts and names than the benchmark measures.
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
            let interval = fleet::interval(seed, &TRAINING, mix);
            samples.push(wire::format2::arrow_streams(&interval.added));
        }
        seed += 1;
        for (_, batch) in Hour::new(seed, &TRAINING).step_by(BATCH_OF_HOUR) {
            samples.push(wire::format2::arrow_streams(&batch));
        }
    }
    let mut dictionary =
        zstd::dict::from_samples(&samples, TRAINED_BYTES).context("train a dictionary")?;
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
    for schema in schemas(&wire::format2::arrow_streams(&long))? {
        let text = schema.windows(2).position(|pair| pair == b"{\"");
        let end = schema.windows(3).rposition(|end| end == b"}]}");
        match (text, end) {
            (Some(text), Some(end)) => {
                dictionary.extend_from_slice(&schema[..text]);
                dictionary.extend_from_slice(&schema[end + 3..]);
            }
            _ => dictionary.extend_from_slice(&schema),
        }
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
    for schema in schemas(&wire::format2::arrow_streams(&short))? {
        dictionary.extend_from_slice(&schema);
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

/// The messages of each stream, without the rows.
fn schemas(mut raw: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        let schema = message(&mut raw)?;
        let batch = message(&mut raw)?;
        let header = arrow_ipc::root_as_message(&batch[8..]);
        let header = header.map_err(|error| anyhow!("a record batch: {error}"))?;
        let body = usize::try_from(header.bodyLength()).context("a length")?;
        // The end mark follows.
        raw = raw.get(body + 8..).context("a body")?;
        let mut both = schema.to_vec();
        both.extend_from_slice(&batch[..LIKE.min(batch.len())]);
        all.push(both);
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
