//! Families: all that one kind of signal needs, each in a folder of its own.

pub mod connection;
pub mod nat;
pub mod process;
