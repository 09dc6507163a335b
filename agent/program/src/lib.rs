//! What agent and collector are as programs, whatever they do: how they log and end, what they count
//! with, which files they open, whom they believe, and how they say what is wrong in a configuration.

#![forbid(unsafe_code)]

pub mod counter;
pub mod exit;
pub mod files;
pub mod log;
pub mod problems;
pub mod tls;
