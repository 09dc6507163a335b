//! One sentence about a group, in both languages.

use std::collections::BTreeSet;

use super::trouble::Cause;
use crate::alert::finding::{Said, Subject};
use crate::alert::state::Alert;

/// The sentence. `alerts`: the worst first.
pub(super) fn headline(cause: &Cause, alerts: &[&Alert], lead: Option<&Alert>) -> Said {
    let Some(first) = lead.or(alerts.first().copied()) else {
        return Said::default();
    };
    let (edges, clients, servers) = counts(alerts);
    let others = alerts.len() - usize::from(lead.is_some());
    if alerts.len() == 1 && !matches!(cause, Cause::Down { .. }) {
        return first.finding.summary.clone();
    }
    match cause {
        Cause::Down { host, name } => down(if name.is_empty() { host } else { name }, others),
        Cause::Gateway { address } if lead.is_some() => Said {
            en: format!(
                "{} It stands in front of {edges} edges in trouble.",
                first.finding.summary.en
            ),
            zh: format!(
                "{} 另有 {edges} 条经过它的连接异常。",
                first.finding.summary.zh
            ),
        },
        Cause::Gateway { address } => Said {
            en: format!(
                "{edges} edges from {clients} clients to {servers} servers are in trouble, and all go \
                 through {address}: likely, not proven, that it is the cause."
            ),
            zh: format!(
                "{clients} 个客户端到 {servers} 个服务端的 {edges} 条连接异常,都经过 {address}:很可能由它引起,尚未证实。"
            ),
        },
        Cause::Server { name } if clients > 1 => Said {
            en: format!(
                "{clients} clients have trouble with {name}: {}",
                first.finding.summary.en
            ),
            zh: format!(
                "{clients} 个客户端访问 {name} 异常:{}",
                first.finding.summary.zh
            ),
        },
        Cause::Client { name } => Said {
            en: format!(
                "{name} has trouble with {servers} servers, which others use without: {}",
                first.finding.summary.en
            ),
            zh: format!(
                "{name} 访问 {servers} 个服务端异常,其他客户端正常:{}",
                first.finding.summary.zh
            ),
        },
        Cause::Matrix => Said {
            en: format!(
                "{} alerts say that what runs is not what is declared: {}",
                alerts.len(),
                first.finding.summary.en
            ),
            zh: format!(
                "{} 条告警表明实际通信与声明的矩阵不符:{}",
                alerts.len(),
                first.finding.summary.zh
            ),
        },
        Cause::Server { .. } | Cause::Host { .. } | Cause::Collector => {
            let more = alerts.len() - 1;
            Said {
                en: format!("{} ({more} more here)", first.finding.summary.en),
                zh: format!("{}(此处另有 {more} 条)", first.finding.summary.zh),
            }
        }
    }
}

/// A host that is down, with so many other alerts.
fn down(name: &str, others: usize) -> Said {
    Said {
        en: match others {
            0 => format!("{name} reports nothing: it is down or cut off."),
            1 => format!(
                "{name} reports nothing: it is down or cut off, and one more alert is about \
                 what runs there or talks to it."
            ),
            _ => format!(
                "{name} reports nothing: it is down or cut off, and {others} more alerts are \
                 about what runs there or talks to it."
            ),
        },
        zh: match others {
            0 => format!("{name} 没有上报:主机宕机或失联。"),
            _ => format!(
                "{name} 没有上报:主机宕机或失联,另有 {others} 条告警与其上的进程或连接有关。"
            ),
        },
    }
}

/// Edges, and their clients and servers.
fn counts(alerts: &[&Alert]) -> (usize, usize, usize) {
    let (mut edges, mut clients, mut servers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for alert in alerts {
        if let Subject::Edge { client, server, .. } = &alert.finding.subject {
            edges.insert(alert.finding.subject.key());
            clients.insert(&client.name);
            servers.insert(&server.name);
        }
    }
    (edges.len(), clients.len(), servers.len())
}
