//! What the demo says while it runs and when it is done.

use std::io::{Stderr, Write};
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::topology::Expected;

/// How what is found is printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Text for people.
    Table,
    /// One object each time, with what was expected and whether it is there.
    Json,
}

/// Lines of progress, each with the seconds since the start.
pub(super) struct Progress {
    begin: Instant,
    out: Stderr,
}

impl Progress {
    /// Begins now.
    pub(super) fn new(out: Stderr) -> Self {
        Self {
            begin: Instant::now(),
            out,
        }
    }

    /// Says one thing.
    pub(super) fn say(&mut self, what: &str) {
        // Whoever closed the terminal does not miss it.
        writeln!(
            self.out,
            "[{:6.2}] {what}",
            self.begin.elapsed().as_secs_f64()
        )
        .ok();
    }
}

/// One look at the topology, beside what the programs counted.
pub(super) struct Report {
    /// The collector's own table.
    pub(super) table: String,
    /// The collector's own JSON.
    pub(super) topology: Value,
    /// What must be in it.
    pub(super) expected: Vec<Expected>,
    /// What is wrong, or `None` when all agrees.
    pub(super) problem: Option<String>,
}

impl Report {
    /// For people.
    pub(super) fn as_table(&self) -> String {
        let mut text = format!("{}\n", self.table.trim_end());
        match &self.problem {
            None => {
                let total: u64 = self.expected.iter().map(|edge| edge.connections).sum();
                text += &format!(
                    "all {} expected edges are there; {total} connections counted by the programs, \
                     {total} in the topology\n",
                    self.expected.len()
                );
            }
            Some(problem) => text += &format!("NOT as the programs counted: {problem}\n"),
        }
        text
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Result<String> {
        let expected: Vec<Value> = self
            .expected
            .iter()
            .map(|edge| {
                let via: Vec<String> = edge.via.iter().map(|via| via.address.clone()).collect();
                json!({
                    "client": edge.client,
                    "server": edge.server,
                    "server_endpoint": edge.endpoint,
                    "connections": edge.connections,
                    "via": via,
                })
            })
            .collect();
        let all = json!({
            "agrees": self.problem.is_none(),
            "problem": self.problem,
            "expected": expected,
            "topology": self.topology,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
    }
}
