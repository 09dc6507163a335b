//! The fleet as text.

use std::io::{self, Write};

use super::line::write_items;
use crate::escape::{Shown, shorten};
use crate::fleet::{Fleet, Host, RefusedCredential, Rest};
use crate::store::Evicted;
use crate::time::rfc3339;

/// The fleet: a line per host, then why its mode is what it is and what it lost.
///
/// # Errors
/// Those of the writer.
pub fn hosts(out: &mut dyn Write, fleet: &Fleet) -> io::Result<()> {
    let mut table = Hosts::default();
    for host in &fleet.hosts {
        table.host(out, host)?;
    }
    let rest = Rest {
        credentials_refused: fleet.credentials_refused.clone(),
        evicted: fleet.evicted,
    };
    table.end(out, &rest)
}

/// The same, host by host.
#[derive(Debug, Default)]
pub struct Hosts {
    hosts: usize,
}

impl Hosts {
    /// The next host.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn host(&mut self, out: &mut dyn Write, host: &Host) -> io::Result<()> {
        self.head(out)?;
        self.hosts += 1;
        write_host(out, host)
    }

    /// What follows on the last host.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(&self, out: &mut dyn Write, rest: &Rest) -> io::Result<()> {
        self.head(out)?;
        writeln!(out, "\nhosts: {}", self.hosts)?;
        if let Some(Evicted {
            before_ms, rows, ..
        }) = &rest.evicted
        {
            let before = rfc3339(*before_ms);
            writeln!(
                out,
                "the store was full: {rows} rows evicted, data up to {before} may be missing"
            )?;
        }
        rest.credentials_refused
            .iter()
            .try_for_each(|one| write_refused(out, one))
    }

    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.hosts > 0 {
            return Ok(());
        }
        writeln!(
            out,
            "{:<28}{:<10}{:<20}{:<11}{:>7}{:>6}  {:<16}",
            "HOST", "AGENT", "KERNEL", "MODE", "DROPS", "SPOOL", "LAST SEEN (UTC)"
        )
    }
}

fn write_refused(out: &mut dyn Write, one: &RefusedCredential) -> io::Result<()> {
    let items = [
        format!(
            "credential {}: speaks for host {}",
            one.credential, one.host
        ),
        format!("refused {} batches of others", one.refused),
        format!("last of {}", one.refused_host),
        rfc3339(one.refused_ms),
    ];
    write_items(out, "", &items)
}

fn write_host(out: &mut dyn Write, host: &Host) -> io::Result<()> {
    let report = &host.report;
    let name = if host.hostname.is_empty() {
        &host.host
    } else {
        &host.hostname
    };
    let drops = host
        .drops
        .iter()
        .fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
    let seen = rfc3339(host.last_seen_ms);
    writeln!(
        out,
        "{:<28}{:<10}{:<20}{:<11}{:>7}{:>6}  {:<16}",
        shorten(name, 27),
        shorten(&report.agent, 9),
        shorten(&report.kernel, 19),
        shorten(&report.mode, 10),
        drops,
        host.spool_depth
            .map_or(String::from("-"), |depth| depth.to_string()),
        format!("{} {}", &seen[..10], &seen[11..16]),
    )?;
    let pairs = |list: &[(String, String)]| -> Vec<String> {
        list.iter()
            .map(|(k, v)| format!("{}: {}", Shown(k), Shown(v)))
            .collect()
    };
    let mut lines = vec![
        ("why", pairs(&report.plan)),
        ("off", pairs(&report.paths_off)),
    ];
    let lost = host
        .drops
        .iter()
        .map(|(name, n)| format!("{} {n}", Shown(name)));
    lines.push(("lost", lost.collect()));
    if host.batches_missing > 0 {
        let missing = host.batches_missing;
        lines.push((
            "note",
            vec![format!("{missing} batches of this run have not arrived")],
        ));
    }
    if host.left_out {
        let note = "what it reports was left out of a long answer";
        lines.push(("note", vec![note.to_owned()]));
    }
    if host.clock_ahead_ms > 0 {
        let ahead = host.clock_ahead_ms / 1000;
        lines.push(("note", vec![format!("its clock is {ahead} s ahead")]));
    }
    if let Some(upto) = host.copied_ms {
        let upto = rfc3339(upto);
        let note = format!("several machines used this host id up to {upto}: its state was copied");
        lines.push(("note", vec![note]));
    }
    for (label, items) in lines {
        if !items.is_empty() {
            let mut items = items;
            items[0] = format!("{label}: {}", items[0]);
            write_items(out, "    ", &items)?;
        }
    }
    Ok(())
}
