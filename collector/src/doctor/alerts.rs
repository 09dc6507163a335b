//! Alerts: whether the rules can be used and are judged, and whether each output can be told.

use std::path::Path;
use std::time::Duration;

use super::finding::{Finding, Part};
use super::outputs::{answers, folder};
use super::running::Running;
use crate::alert::folder::Folder;
use crate::alert::outputs::mail::reach;
use crate::alert::store::{self, Look};
use crate::config::{AlertKind, Config};
use crate::{escape, files, time};

const PART: Part = Part("alerts");
/// Most mistakes of rules that are told one by one.
const MOST: usize = 20;
/// Rules are judged once a minute: something is wrong where they were not for so long.
const LATE: Duration = Duration::from_secs(600);
/// Characters of what went wrong.
const SHOWN: usize = 500;

pub(super) fn examine(config: &Config, running: Option<&Running>, now_ms: i64) -> Vec<Finding> {
    let mut findings = rules(config.alerts.rules.as_deref());
    findings.extend(judged(config, running.is_some(), now_ms));
    for output in &config.alerts.outputs {
        let name = format!("outputs.{}", output.name);
        let found = match &output.kind {
            AlertKind::Alertmanager(http, _) => answers(PART, &name, http),
            AlertKind::Webhook(http, key) => {
                findings.extend(key.as_deref().map(|key| readable(&name, key)));
                answers(PART, &name, http)
            }
            AlertKind::Smtp(smtp) => match reach(smtp) {
                Ok(()) => {
                    let what = format!("{}:{} takes mail from us", smtp.host, smtp.port);
                    PART.ok(name, what)
                }
                Err(why) => PART.failed(
                    name,
                    escape::shorten(&format!("{why:#}"), SHOWN),
                    "start or mend the mail server, the way to it, or its ca_file, user and \
                     password_file; what is to be told waits for a day",
                ),
            },
            AlertKind::File(path, _) => folder(PART, &name, path),
        };
        findings.push(found);
    }
    findings
}

/// The operator's rules, each mistake of them.
fn rules(path: Option<&Path>) -> Vec<Finding> {
    let mut looked = Folder::new(path.map(Path::to_owned)).look(true);
    let rules = looked.rules.take().unwrap_or_default();
    let own = rules.iter().filter(|rule| !rule.shipped).count();
    let off = rules.iter().filter(|rule| !rule.enabled).count();
    let what = format!("{} are known, {own} of them own, {off} off", rules.len());
    let mut findings = vec![PART.ok("rules", what)];
    let left_out = looked.wrong.len().saturating_sub(MOST);
    let advice = "mend it and try it by `waybill-collector rules check FILE`; what was in force of \
                  that file before stays so until then, and nothing of it after a start";
    for why in looked.wrong.iter().take(MOST) {
        findings.push(PART.failed("rules", escape::shorten(why, SHOWN), advice));
    }
    if left_out > 0 {
        findings.push(PART.failed("rules", format!("{left_out} more like these"), advice));
    }
    findings
}

/// Up to when rules were judged, and what could not be.
fn judged(config: &Config, is_running: bool, now_ms: i64) -> Vec<Finding> {
    let path = &config.alerts.database;
    let shown = path.display();
    if !path.exists() {
        return vec![PART.ok("database", format!("{shown}: made by `serve`"))];
    }
    let Look {
        through_ms,
        firing,
        unknown,
    } = match store::look(path) {
        Ok(look) => look,
        Err(error) => {
            let why = format!("{shown}: {:#}", anyhow::Error::new(error));
            let advice = "see OPERATIONS, Alerts; `serve` does not start like this";
            return vec![PART.failed("database", why, advice)];
        }
    };
    let what = match through_ms {
        0 => String::from("nothing was judged yet"),
        at_ms => format!("judged up to {}; {firing} fire", time::rfc3339(at_ms)),
    };
    let is_late = through_ms > 0 && now_ms.saturating_sub(through_ms) > time::whole_ms(LATE);
    let mut findings = vec![match is_running && is_late {
        false => PART.ok("judged", what),
        true => PART.warning(
            "judged",
            what,
            "look at the log for `rules not judged` and at waybill_collector_alert_pass_failures_total",
        ),
    }];
    if let (count, Some((rule, why))) = unknown {
        findings.push(PART.warning(
            "unknown",
            format!("{count} alerts cannot be judged, one of rule {rule}: {why}"),
            "their hosts are silent, or their rules were not judged: they stay until it is known",
        ));
    }
    findings
}

fn readable(name: &str, key: &Path) -> Finding {
    let name = format!("{name}.hmac_key_file");
    match files::text(key) {
        Ok(_) => PART.ok(name, "can be read"),
        Err(error) => PART.failed(
            name,
            format!("{}: {error}", key.display()),
            "name a file that is there and that the collector's account may read",
        ),
    }
}
