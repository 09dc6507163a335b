//! What the command is told.

use clap::{Parser, ValueEnum};

use crate::server::MOST_AGENTS;

#[derive(Debug, Parser)]
#[command(about = "What a collector takes for a fleet of simulated agents", long_about = None)]
pub(crate) struct Arguments {
    /// Sizes of the fleet; the last one is also measured with a grown store.
    #[arg(long, value_delimiter = ',', default_value = "100,1000", value_parser = clap::value_parser!(u32).range(2..=MOST_AGENTS.into()))]
    pub(crate) agents: Vec<u32>,
    /// Edges of each agent that change in each interval.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub(crate) edges: u32,
    /// Batches of each kind that are measured, at least.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(100..))]
    pub(crate) batches: u32,
    /// Minutes for growing the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(..=60))]
    pub(crate) grow_minutes: u64,
    /// Size of the store, MiB, at which it is grown.
    #[arg(long, default_value_t = 2048)]
    pub(crate) grow_mib: u64,
    /// Instead of measuring: kills under load, after which everything that was acknowledged must be
    /// there. The fleet is the first one of `--agents`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) kills: Option<u32>,
    /// Instead: two collectors on two nodes of the ClickHouse that is installed, as fast as they
    /// answer, for the first fleet.
    #[arg(long, conflicts_with = "kills")]
    pub(crate) clickhouse: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Instead, shows of which tables of the store the written bytes are, for the first fleet.
    #[arg(long)]
    pub(crate) tables: bool,
    /// Instead, shows what topologies take inside the collector, from this store, which is made of the
    /// first fleet where it is not there.
    #[arg(long)]
    pub(crate) topologies: Option<std::path::PathBuf>,
    /// The program that is measured.
    #[arg(long)]
    pub(crate) collector: std::path::PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}
