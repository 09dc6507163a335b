//! The compiled objects keep to the floors they claim, and what old kernels refuse is refused here.
//!
//! `cargo test -p bpf --test floors -- --nocapture` also prints what was seen of each program.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what tests share is a test, too"
)]

mod btf;
mod check;
mod claims;
mod elf;
mod features;
mod finding;
mod graph;
mod instruction;
mod kernel;
mod objects;
mod refused;
mod relocation;
mod source;
mod subject;
mod table;
mod walk;
