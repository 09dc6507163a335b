//! The collector's command.

#![forbid(unsafe_code)]

fn main() {}
