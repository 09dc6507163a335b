//! The agent's jail: `manifest.toml`, read and turned into a directory.
//!
//! Used by `cargo xtask rootfs`, by the labs of the end-to-end tests, and by whatever makes
//! packages, so that all of them make the same directory. The agent itself does not use it: it is
//! given a directory.

#![forbid(unsafe_code)]

mod assemble;
mod manifest;

pub use assemble::assemble;
pub use manifest::{Content, Entry, Kind, Manifest};
