//! What `rskafka` takes of `zstd` 0.13, out of the release that everything here has.
//!
//! It asks for 0.13 with all default features. One of them compiles the decoders of seven formats from
//! before the first release of zstd, 270 kB of C, into every program here; they would be shown what
//! hosts send.

#![forbid(unsafe_code)]

pub use zstd::{Decoder, Encoder};
