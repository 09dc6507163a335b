//! A site to look at: hosts with services behind NAT, a matrix, and a fault that comes and goes.

mod expect;
mod fault;
mod network;
mod plan;
mod shop;
mod stage;
mod status;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::fault::Phase;
use self::shop::{FAULTS, SITE};
use self::stage::Stage;
use self::status::Now;
use super::show::{Format, Progress};
use crate::lab::Lab;
use crate::lab::wait::{interrupted, wait_for, wait_until};

/// How long a report may take from the kernel to the topology, on a busy machine.
const SETTLE: Duration = Duration::from_secs(150);

/// A minute is judged when it has ended and was joined; a fault is in the next one at the latest.
const JUDGED: Duration = Duration::from_secs(240);

/// Pause between two looks at what fires.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a login link that nobody uses is good for: 20 of them may wait, and there are fewer
/// changes in that time.
const LINK: &str = "10m";

/// Builds the site and shows it until it is interrupted; or `once`, and then says whether everything
/// was found that should be.
///
/// # Errors
/// When a part of the site does not start.
pub(super) fn show(lab: &Lab, once: bool, format: Format, progress: &mut Progress) -> Result<bool> {
    let stage = Stage::set(lab, &SITE, progress)?;
    stage.declare(lab.directory())?;
    progress.say("waiting until every expected edge is there");
    let wanted = SITE.wanted()?;
    let edges = wait_for(SETTLE, "expected edges", || {
        expect::edges(&stage.collector.topology()?, &wanted)
    });
    if once {
        return judge(&stage, edges, format, progress);
    }
    match edges {
        Ok(()) => progress.say(&format!("all {} are", wanted.len())),
        Err(error) if interrupted() => return Err(error),
        Err(error) => progress.say(&format!("NOT as expected: {error:#}")),
    }
    watch(&stage, format, progress)?;
    Ok(true)
}

/// Lets the first fault begin and waits for what must be found.
fn judge(
    stage: &Stage,
    edges: Result<()>,
    format: Format,
    progress: &mut Progress,
) -> Result<bool> {
    let fault = &FAULTS[0];
    fault::switch(&SITE, &stage.hosts, fault, true)?;
    progress.say(&format!("{}; waiting for the alert", fault.says));
    let found = edges
        .and_then(|()| {
            wait_for(SETTLE, "expected verdicts", || {
                expect::verdicts(&stage.checked()?)
            })
        })
        .and_then(|()| {
            wait_for(JUDGED, "expected alert", || {
                expect::alert(&stage.alerts()?, fault.rule, fault.host)
            })
        });
    let problem = match found {
        Err(error) if interrupted() => return Err(error),
        found => found.err().map(|error| format!("{error:#}")),
    };
    if let Some(problem) = &problem {
        progress.say(&format!("not as expected: {problem}"));
    }
    let topology = stage.collector.query("topology", "json")?;
    let (checked, alerts) = (stage.checked()?, stage.alerts()?);
    let text = match format {
        Format::Json => {
            let all = json!({
                "agrees": problem.is_none(),
                "problem": problem,
                "expected": expect::as_json(&SITE.wanted()?),
                "topology": serde_json::from_str::<Value>(&topology)?,
                "matrix": checked,
                "alerts": alerts,
            });
            format!("{all:#}\n")
        }
        Format::Table => {
            let table = stage.collector.query("topology", "table")?;
            let (edges, matrix) = (SITE.wanted()?.len(), &checked["summary"]);
            let alerts = alerts.iter().filter_map(|alert| alert["summary"].as_str());
            let said: String = alerts.map(|said| format!("alert: {said}\n")).collect();
            let end = match &problem {
                None => format!("all {edges} expected edges, verdicts and the alert are there\n"),
                Some(problem) => format!("NOT as expected: {problem}\n"),
            };
            format!("{}\nmatrix: {matrix}\n{said}{end}", table.trim_end())
        }
    };
    print(&text)?;
    Ok(problem.is_none())
}

/// Lets faults come and go, and says how things are after each change, until it is interrupted.
fn watch(stage: &Stage, format: Format, progress: &mut Progress) -> Result<()> {
    let begin = Instant::now();
    let mut last: Option<(Option<usize>, BTreeSet<String>)> = None;
    let mut alerts = Vec::new();
    loop {
        let Phase { fault, next, left } = fault::phase(begin.elapsed(), FAULTS.len());
        let before = last.as_ref().and_then(|(fault, _)| *fault);
        if before != fault {
            for (number, is_on) in [(before, false), (fault, true)] {
                if let Some(number) = number {
                    fault::switch(&SITE, &stage.hosts, &FAULTS[number], is_on)?;
                }
            }
        }
        match stage.alerts() {
            Ok(found) => alerts = found,
            Err(_) if interrupted() => return Ok(()),
            // What fired before is still the best that is known.
            Err(error) => progress.say(&format!("{error:#}")),
        }
        let fire = |alert: &Value| Some(alert["id"].as_str()?.to_owned());
        let seen = Some((fault, alerts.iter().filter_map(fire).collect()));
        if seen != last {
            let wrong = fault.map(|number| (FAULTS[number].says, FAULTS[number].look));
            let link = match stage.page.link(&stage.collector, LINK) {
                Err(_) if interrupted() => return Ok(()),
                link => link?,
            };
            let now = Now {
                elapsed: begin.elapsed(),
                url: &stage.page.url,
                link: &link,
                wrong,
                next: FAULTS[next].says,
                left,
                alerts: &alerts,
            };
            print(&match format {
                Format::Table => now.as_text(),
                Format::Json => format!("{}\n", now.as_json()),
            })?;
            last = seen;
        }
        // An interruption is how this loop is meant to end.
        let pause = PAUSE.min(left);
        if wait_until(pause, "interruption", || Ok(interrupted().then_some(()))).is_ok() {
            return Ok(());
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).context("write result")?;
    out.flush().context("write result")
}
