//! Trains the dictionary that new batches are compressed with.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::fleet::{self, Mix, TRAINING};

/// More would hardly gain anything: most of it is the tables' schemas.
const BYTES: usize = 32 << 10;

/// Far from the benchmark's seeds.
const FIRST_SEED: u64 = 5_000_000;

/// Trains on batches of other seeds, hosts and names than the benchmark measures.
pub(crate) fn train(file: &Path) -> Result<()> {
    let mut samples = Vec::new();
    let mut seed = FIRST_SEED;
    for step in 1..=40 {
        for mix in [
            Mix { edges: step * 30, ..Mix::default() },
            Mix::interval(step * 30),
            Mix::interval(step * 50),
        ] {
            seed += 1;
            samples.push(wire::arrow_streams(&fleet::batch(seed, &TRAINING, mix)));
        }
    }
    let dictionary = zstd::dict::from_samples(&samples, BYTES).context("train a dictionary")?;
    fs::write(file, dictionary).with_context(|| format!("write {}", file.display()))
}
