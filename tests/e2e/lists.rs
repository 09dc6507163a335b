//! Programs without iterators, as before 5.8: open connections are listed by diagnostic sockets.

use anyhow::Result;
use tests::lab::agent::Settings;

use crate::case::{Case, case};
use crate::{connection, nat};

pub(crate) const CASES: &[Case] = &[
    case(
        "lists::connections_older_than_the_agent_are_measured_from_its_start",
        |lab| connection::existing(lab, &settings()?),
    ),
    case("lists::listeners_older_than_the_agent_are_joined", |lab| {
        nat::older_listeners(lab, &settings()?)
    }),
    case(
        "lists::long_connections_are_joined_while_they_are_open",
        |lab| nat::long_ones(lab, &settings()?),
    ),
    case(
        "lists::five_thousand_short_connections_are_all_counted",
        |lab| nat::short_ones(lab, &settings()?),
    ),
    case(
        "lists::bytes_and_segments_match_what_programs_sent",
        |lab| connection::bytes(lab, &settings()?),
    ),
];

/// As a kernel of 5.4 would have it: no iterators, no ring buffer, packet filters for the option.
pub(crate) fn settings() -> Result<Settings> {
    Settings::default()
        .with("agent.lists", "\"sockets\"")?
        .with("agent.transport", "\"perf\"")?
        .with("option.mode", "\"tc-clone\"")
}
