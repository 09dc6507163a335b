//! `alerts`: what is wrong, who knows of it, and what is not to be told.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::audit;
use super::output::{Format, load, show};
use crate::access::{Access, Actor};
use crate::alert::catalogue::Catalogue;
use crate::alert::finding::Severity;
use crate::alert::folder::Folder;
use crate::alert::mute::{Matcher, NewSilence};
use crate::alert::store::{AlertStore, By, Error, NotDone};
use crate::api::{self, Given, Operation, Unanswered};
use crate::config::{Config, DEFAULT_PATH};
use crate::exit::Failure;
use crate::remote::Remote;
use crate::{table, time};

/// What to do with alerts.
#[derive(Debug, Subcommand)]
pub(super) enum AlertsCommand {
    /// Show what is wrong: groups of alerts that fire, then alerts one by one
    ///
    /// With --fail-on it ends with exit code 7 where an alert of at least that severity fires that
    /// nobody has acknowledged and nothing mutes, for pipelines.
    List(ListArgs),
    /// Show one alert: its numbers, its history, what it means and what to do next
    Show(ShowArgs),
    /// Say that somebody knows of an alert, until it is over
    Ack(AckArgs),
    /// Do not tell of alerts for a while; they are found and shown as ever
    Silence(SilenceArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Which: firing, pending and resolved, with commas between
    #[arg(long, value_name = "PHASES", default_value = "firing,pending")]
    phase: String,
    /// How bad
    #[arg(long, value_enum)]
    severity: Option<Bad>,
    /// Of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// About this host or what is on it, by name or id
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// About this service
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// End with exit code 7 where one so bad fires that nobody knows of
    #[arg(long, value_enum)]
    fail_on: Option<Bad>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The alert, as `alerts list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct AckArgs {
    /// The alert, as `alerts list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// What others are to know
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Take the acknowledgement back
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct SilenceArgs {
    /// Conditions, all of which must be met: label=value or label!=value, where * stands for any
    /// text; such as host=db-1 rule=edge-*
    #[arg(value_name = "CONDITION", required = true, num_args = 1..=16)]
    conditions: Vec<String>,
    /// For how long, such as 2h
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    lasts: String,
    /// Why: what others who wonder are to read
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    place: Place,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Bad {
    /// Look at it in working hours
    Warning,
    /// Look at it now
    Critical,
}

impl Bad {
    fn severity(self) -> Severity {
        match self {
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Critical,
        }
    }
}

/// Language of sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Language {
    /// English
    #[default]
    En,
    /// Chinese
    Zh,
}

/// Where alerts are, and how to print.
#[derive(Debug, Args)]
struct Place {
    /// Configuration file, for the path of the database of alerts
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, conflicts_with = "url")]
    config: PathBuf,
    /// Collector to ask, https://<host>:<port>
    #[arg(long, value_name = "URL", requires = "ca_file")]
    url: Option<String>,
    /// Certificates that may vouch for it, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
    /// File with a bearer token for it
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Of the sentences
    #[arg(long, value_enum, default_value_t)]
    language: Language,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A collector, or the files of one.
enum Found {
    Remote(Remote),
    Local(Box<Local>),
}

struct Local {
    config: Config,
    store: AlertStore,
    log: Access,
}

impl Place {
    fn find(&self) -> Result<Found, Failure> {
        if let (Some(url), Some(ca_file)) = (&self.url, &self.ca_file) {
            return Ok(Found::Remote(Remote {
                url: url.clone(),
                ca_file: ca_file.clone(),
                token_file: self.token_file.clone(),
                client: None,
            }));
        }
        let config = load(&self.config)?;
        let log = audit::open(&config)?;
        let opened = AlertStore::open(&config.alerts.database, config.alerts.retention);
        let store = opened.map_err(|error| unusable(&config, error))?;
        Ok(Found::Local(Box::new(Local { config, store, log })))
    }

    fn language(&self) -> (&'static str, String) {
        let word = match self.language {
            Language::En => "en",
            Language::Zh => "zh",
        };
        ("language", String::from(word))
    }
}

fn unusable(config: &Config, error: Error) -> Failure {
    let path: &Path = &config.alerts.database;
    Failure::store(anyhow::Error::new(error).context(path.display().to_string()))
}

impl Local {
    fn given(operation: &Operation, values: Vec<(&str, String)>) -> Result<Given, Failure> {
        let given = Given::of(operation.parameters, values, time::now_ms());
        given.map_err(|problem| Failure::usage(anyhow!(problem.detail)))
    }

    fn unanswered(&self, why: Unanswered) -> Failure {
        match why {
            Unanswered::Refused(problem) => Failure::usage(anyhow!(problem.detail)),
            Unanswered::Store(error) => unusable(&self.config, error),
        }
    }

    fn not_done(&self, why: NotDone) -> Failure {
        match why {
            NotDone::Store(error) => unusable(&self.config, error),
            why => Failure::usage(anyhow!(why)),
        }
    }
}

fn value<T: Serialize>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Failure::from(anyhow!(error)))
}

pub(super) fn run(command: AlertsCommand, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        AlertsCommand::List(args) => list(args, out),
        AlertsCommand::Show(args) => one(&args, out),
        AlertsCommand::Ack(args) => acknowledge(&args, out),
        AlertsCommand::Silence(args) => silence(&args, out),
    }
}

fn list(args: ListArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut values = vec![
        ("phase", args.phase),
        ("limit", args.limit.to_string()),
        args.place.language(),
    ];
    let severity = args.severity.map(|bad| bad.severity().name().to_owned());
    values.extend(severity.map(|severity| ("severity", severity)));
    values.extend(args.rule.map(|rule| ("rule", rule)));
    values.extend(args.host.map(|host| ("host", host)));
    values.extend(args.service.map(|service| ("service", service)));
    let operation = &api::ALERTS;
    let answer: Value = match args.place.find()? {
        Found::Remote(remote) => remote.ask(&operation.address(&values))?,
        Found::Local(local) => {
            let given = Local::given(operation, values)?;
            let answered = api::alert_list(&local.store, &given, time::now_ms());
            value(&answered.map_err(|why| local.unanswered(why))?)?
        }
    };
    show(out, args.place.format, &answer, table::alerts)?;
    match args.fail_on {
        Some(bad) if fires(&answer, bad.severity()) => {
            let why = format!(
                "an alert of severity {} or more fires",
                bad.severity().name()
            );
            Err(Failure::alerting(anyhow!(why)))
        }
        _ => Ok(()),
    }
}

/// Whether one so bad fires of which nobody knows and that is not muted.
fn fires(answer: &Value, least: Severity) -> bool {
    let alerts = answer["alerts"].as_array().into_iter().flatten();
    let mut grave = alerts.filter(|alert| {
        let severity = alert["severity"].as_str().and_then(Severity::of);
        alert["phase"] == "firing"
            && severity >= Some(least)
            && alert["acknowledged"].is_null()
            && alert["muted"].is_null()
    });
    grave.next().is_some()
}

fn one(args: &ShowArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let values = vec![("id", args.id.clone()), args.place.language()];
    let operation = &api::ALERT;
    let answer: Value = match args.place.find()? {
        Found::Remote(remote) => remote.ask(&operation.address(&values))?,
        Found::Local(local) => {
            let given = Local::given(operation, values)?;
            let rules = Catalogue::default();
            // What a rule means stands in its file, as far as that can be read.
            let looked = Folder::new(local.config.alerts.rules.clone()).look(true);
            rules.publish(&looked.rules.unwrap_or_default());
            let answered = api::alert_detail(&local.store, &rules, &given, time::now_ms());
            value(&answered.map_err(|why| local.unanswered(why))?)?
        }
    };
    show(out, args.place.format, &answer, table::alert)
}

fn acknowledge(args: &AckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let path = api::ACKNOWLEDGE.address(&[("id", args.id.clone())]);
    let answer: Value = match (args.place.find()?, args.undo) {
        (Found::Remote(remote), false) => {
            remote.change("POST", &path, Some(&json!({ "why": args.why })))?
        }
        (Found::Remote(remote), true) => remote.change("DELETE", &path, None)?,
        (Found::Local(local), undo) => {
            let actor = Actor::command();
            let by = By {
                actor: &actor,
                log: &local.log,
                now_ms: time::now_ms(),
            };
            let done = if undo {
                let done = local.store.unacknowledge(&args.id, by);
                done.map(|()| json!({ "id": args.id }))
            } else {
                let done = local.store.acknowledge(&args.id, &args.why, by);
                done.map(|known| json!(known))
            };
            done.map_err(|why| local.not_done(why))?
        }
    };
    let human = |out: &mut dyn Write, _: &Value| {
        let said = if args.undo {
            "nobody knows of it again"
        } else {
            "acknowledged"
        };
        writeln!(out, "{}: {said}", args.id)
    };
    show(out, args.place.format, &answer, human)
}

fn silence(args: &SilenceArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let matchers = args.conditions.iter().map(|text| matcher(text));
    let lasts = notation::parse_duration(&args.lasts).ok_or_else(|| {
        let expected = "expected a duration such as 2h";
        Failure::usage(anyhow!("--lasts {:?}: {expected}", args.lasts))
    })?;
    let new = NewSilence {
        matchers: matchers.collect::<Result<_, _>>()?,
        from_ms: None,
        until_ms: time::now_ms().saturating_add(time::whole_ms(lasts)),
        why: args.why.clone(),
    };
    let answer: Value = match args.place.find()? {
        Found::Remote(remote) => {
            let path = api::ADD_SILENCE.address(&[]);
            remote.change("POST", &path, Some(&json!(new)))?
        }
        Found::Local(local) => {
            let actor = Actor::command();
            let by = By {
                actor: &actor,
                log: &local.log,
                now_ms: time::now_ms(),
            };
            let made = local.store.add_silence(&new, by);
            json!(made.map_err(|why| local.not_done(why))?)
        }
    };
    show(out, args.place.format, &answer, |out, answer| {
        let until = answer["until_ms"].as_i64().unwrap_or(0);
        writeln!(
            out,
            "silence {} until {}",
            answer["id"],
            time::rfc3339(until)
        )
    })
}

/// A condition as it is written.
fn matcher(text: &str) -> Result<Matcher, Failure> {
    let (label, value) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(anyhow!("{text:?}: expected label=value or label!=value")))?;
    let (label, not) = match label.strip_suffix('!') {
        Some(label) => (label, true),
        None => (label, false),
    };
    Ok(Matcher {
        label: label.to_owned(),
        value: value.to_owned(),
        not,
    })
}
