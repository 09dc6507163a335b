//! Does Waybill work on this kernel?
//!
//! ```text
//! matrix.toml, --kernel      kernel: packages, folder or image --> image + modules in order
//!                            payload: init, shipped agent, tools --> initramfs
//! one guest per kernel       machine: QEMU; results on one serial port, kernel log on another
//! judge (pure)               record + log + golden + baseline --> cells, each green, red or skipped
//! report, verdict            table, JSON, JUnit, Markdown, HTML; a page for users
//! ```
//!
//! What runs in the guest is package `matrix-guest`; the two share only the lines of `record`.

#![forbid(unsafe_code)]

pub mod apt;
pub mod baseline;
pub mod bundle;
pub mod cache;
pub mod cli;
pub mod compress;
pub mod elf;
pub mod golden;
pub mod initramfs;
pub mod judge;
pub mod kernel;
pub mod klog;
pub mod lacks;
pub mod machine;
pub mod matrix;
pub mod mirror;
pub mod modules;
pub mod package;
pub mod payload;
pub mod qemu;
pub mod record;
pub mod report;
pub mod runner;
pub mod say;
pub mod stream;
pub mod support;
pub mod verdict;
pub mod version;
