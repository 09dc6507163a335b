//! `search`, `chain`, `edge` and `diagnose`: what the API answers, from a store or over HTTPS.

use std::io::{self, Write};

use anyhow::anyhow;
use clap::Args;
use serde_json::Value;

use super::output::{Format, show};
use super::source::{Place, Source, failed};
use crate::api::{self, Asking, Failure as Refused, Given, Operation};
use crate::exit::Failure;
use crate::{table, time};

/// What all of them take.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Begin: a time with its zone (2026-01-02T03:04:05Z), a duration before now (90m) or a Unix
    /// time in seconds or milliseconds; by default an hour before the end
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End, written like --from; by default now
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    #[command(flatten)]
    source: Source,
}

/// What to search for.
#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// A service, host, tag, address, network, port, or what was pasted from ss, tcpdump or a log
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    text: Vec<String>,
    /// Most hits
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[command(flatten)]
    asked: Asked,
}

/// Which connection.
#[derive(Debug, Args)]
pub(super) struct ChainArgs {
    /// Both ends, as in 10.0.0.1:4711 -> 10.0.0.2:80, or as they were pasted
    #[arg(value_name = "TUPLE", required = true, num_args = 1..)]
    tuple: Vec<String>,
    #[command(flatten)]
    asked: Asked,
}

/// Which edge.
#[derive(Debug, Args)]
pub(super) struct EdgeArgs {
    /// Key of the edge, as `search` and `chain` show it
    #[arg(value_name = "ID")]
    id: String,
    /// Length of a step, such as 5m
    #[arg(long, value_name = "DURATION")]
    step: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

/// Of what.
#[derive(Debug, Args)]
pub(super) struct DiagnoseArgs {
    /// Key of an edge, as `search` and `chain` show it, or both ends of a connection, as in
    /// 10.0.0.1:4711 -> 10.0.0.2:80, or as they were pasted
    #[arg(value_name = "EDGE|TUPLE", required = true, num_args = 1..)]
    what: Vec<String>,
    /// Language of the sentences
    #[arg(long, value_name = "LANGUAGE", default_value = "en", value_parser = ["en", "zh"])]
    language: String,
    #[command(flatten)]
    asked: Asked,
}

type Values = Vec<(&'static str, String)>;
type Human = fn(&mut dyn Write, &Value) -> io::Result<()>;

pub(super) fn search(args: SearchArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let values = vec![
        ("q", args.text.join(" ")),
        ("limit", args.limit.to_string()),
    ];
    ask((&api::SEARCH, table::search), values, args.asked, out)
}

pub(super) fn chain(args: ChainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let values = vec![("tuple", args.tuple.join(" "))];
    ask((&api::CHAIN, table::chain), values, args.asked, out)
}

pub(super) fn edge(args: EdgeArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut values = vec![("id", args.id)];
    values.extend(args.step.map(|step| ("step", step)));
    ask((&api::EDGE, table::edge), values, args.asked, out)
}

pub(super) fn diagnose(args: DiagnoseArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let what = args.what.join(" ");
    let name = match what.strip_prefix("e-") {
        Some(_) => "edge",
        None => "tuple",
    };
    let values = vec![(name, what), ("language", args.language)];
    ask((&api::DIAGNOSIS, table::diagnosis), values, args.asked, out)
}

fn ask(
    (operation, human): (&Operation, Human),
    values: Values,
    asked: Asked,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let format = asked.format;
    let answer = answer((operation, Vec::new()), values, asked)?;
    show(out, format, &answer, human)
}

/// What an operation answers to these parameters and this body.
pub(super) fn answer(
    (operation, body): (&Operation, Vec<u8>),
    mut values: Values,
    asked: Asked,
) -> Result<Value, Failure> {
    values.extend(asked.from.map(|from| ("from", from)));
    values.extend(asked.to.map(|to| ("to", to)));
    let (store, meter) = match asked.source.place()? {
        Place::Remote(remote) => {
            let address = operation.address(&values);
            return Ok(match operation.method {
                "POST" => remote.send(&address, &body)?,
                _ => remote.ask(&address)?,
            });
        }
        Place::Store(store, meter) => (store, meter),
    };
    let now_ms = time::now_ms();
    let usage = |problem: api::Problem| match problem.status {
        400 => Failure::usage(anyhow!(problem.detail)),
        _ => Failure::from(anyhow!(problem.detail)),
    };
    let given = Given::of(operation.parameters, values, now_ms).map_err(usage)?;
    let asking = Asking {
        store: &store,
        given: &given.with_body(body),
        now_ms,
        meter,
        kept: None,
        beside: None,
    };
    let mut text = Vec::new();
    let answer = operation.answer.expect("these have an answer");
    answer(&asking, &mut text).map_err(|why| match why {
        Refused::Refused(problem) => usage(problem),
        Refused::Store(error) => failed(&store, error),
        Refused::Unwritten(error) => Failure::from(anyhow!(error)),
    })?;
    serde_json::from_slice(&text).map_err(|error| Failure::from(anyhow!(error)))
}
