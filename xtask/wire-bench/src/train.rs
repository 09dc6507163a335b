//! Trains the dictionary that new batches are compressed with.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::fleet::{self, Mix, TRAINING};

/// What zstd's trainer may choose from the samples: names and paths above all.
const TRAINED_BYTES: usize = 10 << 10;
/// All of it; the rest holds the schemas of all tables as they stand in a small batch. The end of a
/// dictionary is the cheapest part to refer to.
const MAX_BYTES: usize = 32 << 10;

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
        for mix in [edges, Mix::interval(step * 30), Mix::interval(step * 50)] {
            seed += 1;
            samples.push(wire::arrow_streams(&fleet::batch(seed, &TRAINING, mix)));
        }
    }
    let mut dictionary =
        zstd::dict::from_samples(&samples, TRAINED_BYTES).context("train a dictionary")?;
    let small = Mix {
        edges: 3,
        sightings: 2,
        processes: 2,
        hosts: 1,
        events: 2,
        nats: 2,
    };
    dictionary.extend(wire::arrow_streams(&fleet::batch(
        FIRST_SEED, &TRAINING, small,
    )));
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
