//! Batches into ClickHouse: their rows table by table, then a line for each in `batch`, which makes
//! it stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cells::{Cells, Written};
use super::client::{Literal, Server};
use super::layout::{Brought, Place};
use super::people::{self, Said};
use super::tables::{self, BATCH, Places, columns};
use super::{retention, slices};
use crate::accept::{BatchKey, Opened};
use crate::digest::sha256;
use crate::store::{
    AHEAD_TOLERANCE_MS, Batches, Binding, Deleted, Error, Finished, Outcome, Retention,
    SignedOrders, Size,
};
use crate::time;

/// How old may be what is remembered of credentials and hosts: other collectors change them.
const REMEMBER: Duration = Duration::from_secs(5);
/// Refusals of one credential are written once in this time.
const REFUSALS: Duration = Duration::from_secs(10);

/// The side that writes.
#[derive(Debug)]
pub(super) struct Ingest {
    server: Arc<Server>,
    places: Arc<Places>,
    most_hosts: u64,
    known: Option<Known>,
    /// Hosts that have sent something, and when that was read: others take new ones, too.
    hosts: (Option<Instant>, BTreeSet<[u8; 16]>),
    refused: HashMap<[u8; 32], (Instant, u64)>,
}

/// What was read of what others change.
#[derive(Debug)]
struct Known {
    since: Instant,
    bindings: BTreeMap<[u8; 32], Binding>,
}

impl Ingest {
    pub(super) fn new(server: Arc<Server>, places: Arc<Places>, most_hosts: u64) -> Self {
        Self {
            server,
            places,
            most_hosts,
            known: None,
            hosts: (None, BTreeSet::new()),
            refused: HashMap::new(),
        }
    }

    fn known(&mut self) -> Result<&mut Known, Error> {
        let now = time::monotonic();
        let fresh = self.known.take();
        let fresh = fresh.filter(|known| now.duration_since(known.since) < REMEMBER);
        let known = match fresh {
            Some(known) => known,
            None => Known {
                since: now,
                bindings: people::bindings(&self.server)?,
            },
        };
        Ok(self.known.insert(known))
    }

    fn put_all(&mut self, batches: &[&Opened], now_ms: i64) -> Result<Vec<Outcome>, Error> {
        let mut stored = stored(&self.server, batches)?;
        let mut outcomes = Vec::with_capacity(batches.len());
        let mut new = Vec::new();
        for opened in batches {
            let key = BatchKey::from(&opened.batch.header);
            let outcome = match stored.get(&key) {
                _ if !self.admits(opened, now_ms)? => Outcome::Foreign,
                Some(digest) if *digest == opened.digest => Outcome::Duplicate,
                Some(_) => Outcome::Conflict,
                None if !self.has_room(&key)? => Outcome::TooManyHosts,
                None => {
                    stored.insert(key, opened.digest);
                    new.push((*opened, Brought::of(&opened.batch.header, now_ms)));
                    let end_ms = i64::try_from(opened.batch.header.end_ms).unwrap_or(i64::MAX);
                    Outcome::Stored {
                        clock_ahead: end_ms > now_ms.saturating_add(AHEAD_TOLERANCE_MS),
                        copied: false,
                        unplaced: 0,
                        refused: 0,
                    }
                }
            };
            outcomes.push(outcome);
        }
        let refused = insert(&self.server, &self.places, &new)?;
        for (opened, outcome) in batches.iter().zip(&mut outcomes) {
            if let Outcome::Stored { refused: rows, .. } = outcome {
                *rows = refused.get(&opened.digest).copied().unwrap_or(0);
            }
            if let (Outcome::Stored { .. } | Outcome::Duplicate, Some(id)) =
                (&*outcome, opened.credential)
            {
                self.bind(id, opened.batch.header.host, now_ms)?;
            }
        }
        Ok(outcomes)
    }

    /// Whether the credential under which a batch came speaks for its host.
    fn admits(&mut self, opened: &Opened, now_ms: i64) -> Result<bool, Error> {
        let Some(id) = opened.credential else {
            return Ok(true);
        };
        let host = opened.batch.header.host;
        let bound = self
            .known()?
            .bindings
            .get(&id.0)
            .map(|binding| binding.host);
        if bound.is_none_or(|bound| bound == host) {
            return Ok(true);
        }
        let now = time::monotonic();
        let refused = self.refused.entry(id.0).or_insert((now, 0));
        refused.1 += 1;
        // The first one at once, and later ones together.
        if refused.1 == 1 || now.duration_since(refused.0) >= REFUSALS {
            let count = if refused.1 == 1 { 1 } else { refused.1 - 1 };
            *refused = (now, 1);
            people::say(&self.server, (id, host, Said::Refused), count, now_ms)?;
        }
        // Whoever has so many credentials has them counted less exactly.
        if self.refused.len() > 10_000 {
            self.refused.clear();
        }
        Ok(false)
    }

    fn bind(
        &mut self,
        id: crate::auth::CredentialId,
        host: [u8; 16],
        now_ms: i64,
    ) -> Result<(), Error> {
        if self.known()?.bindings.contains_key(&id.0) {
            return Ok(());
        }
        people::say(&self.server, (id, host, Said::Bound), 1, now_ms)?;
        let binding = Binding {
            id,
            host,
            bound_ms: now_ms,
            refused: 0,
            last_refused: None,
        };
        self.known()?.bindings.insert(id.0, binding);
        Ok(())
    }

    fn has_room(&mut self, key: &BatchKey) -> Result<bool, Error> {
        let (read, hosts) = &mut self.hosts;
        if hosts.contains(&key.host) {
            return Ok(true);
        }
        let now = time::monotonic();
        if read.is_none_or(|read| now.duration_since(read) >= REMEMBER) {
            *hosts = all_hosts(&self.server)?;
            *read = Some(now);
        }
        let fits = hosts.contains(&key.host) || (hosts.len() as u64) < self.most_hosts;
        if fits {
            hosts.insert(key.host);
        }
        Ok(fits)
    }
}

/// Inserts batches that are not stored; returns the rows beyond a bound, by the batch.
pub(super) fn insert(
    server: &Server,
    places: &Places,
    new: &[(&Opened, Brought)],
) -> Result<HashMap<[u8; 32], u64>, Error> {
    let mut refused = HashMap::new();
    if new.is_empty() {
        return Ok(refused);
    }
    let mut rows: BTreeMap<String, (Place, Written)> = BTreeMap::new();
    let (mut lines, mut token) = (Written::default(), Vec::new());
    for (opened, brought) in new {
        token.extend_from_slice(&opened.digest);
        for table in opened.batch.described(|_| true) {
            let Some(place) = places.admit(server, &table.table)? else {
                *refused.entry(opened.digest).or_default() += table.rows as u64;
                continue;
            };
            let (_, out) = rows
                .entry(place.name.clone())
                .or_insert_with(|| (place, Written::default()));
            for row in 0..table.rows {
                Place::write(&table, row, brought, out);
            }
        }
        brought.write(0, &mut lines);
        lines.fixed(&opened.digest);
        lines.number(opened.bytes as u64, 8);
        lines.number(opened.batch.row_count() as u64, 8);
    }
    let token = sha256(&token);
    for (name, (place, out)) in &rows {
        let columns = place.selected(&server.dialect);
        server.insert(name, &columns, &out.0, &token)?;
    }
    server.insert(BATCH.0, &columns(&BATCH), &lines.0, &token)?;
    Ok(refused)
}

/// Digests of those of these batches that are stored.
pub(super) fn stored(
    server: &Server,
    batches: &[&Opened],
) -> Result<HashMap<BatchKey, [u8; 32]>, Error> {
    let keys: Vec<_> = batches
        .iter()
        .map(|opened| {
            let header = &opened.batch.header;
            let (host, boot) = (Literal::Bytes(&header.host), Literal::Bytes(&header.boot));
            format!("({host}, {boot}, {})", Literal::Number(header.sequence))
        })
        .collect();
    let (database, table) = (&server.dialect.database, BATCH.0);
    let sql = format!(
        "SELECT host, boot, sequence, digest FROM `{database}`.{table}
         WHERE (host, boot, sequence) IN ({}) ORDER BY received_ms DESC",
        keys.join(", ")
    );
    let rows = server.ask_small(&sql)?;
    let (mut cells, mut stored) = (Cells(&rows), HashMap::new());
    while !cells.is_empty() {
        let key = BatchKey {
            host: cells.fixed()?,
            boot: cells.fixed()?,
            sequence: cells.number(8)?,
        };
        stored.insert(key, cells.fixed()?);
    }
    Ok(stored)
}

fn all_hosts(server: &Server) -> Result<BTreeSet<[u8; 16]>, Error> {
    let (database, table) = (&server.dialect.database, BATCH.0);
    let rows = server.ask_small(&format!("SELECT DISTINCT host FROM `{database}`.{table}"))?;
    let (mut cells, mut hosts) = (Cells(&rows), BTreeSet::new());
    while !cells.is_empty() {
        hosts.insert(cells.fixed()?);
    }
    Ok(hosts)
}

impl Batches for Ingest {
    fn put(&mut self, batches: &[&Opened], now_ms: i64) -> Vec<Result<Outcome, Error>> {
        let error = match self.put_all(batches, now_ms) {
            Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
            Err(error) => error,
        };
        // What the server refuses may be the rows of one batch; what cannot be reached is not tried
        // batch by batch.
        let alone = matches!(error, Error::Answered { .. }) && batches.len() > 1;
        batches
            .iter()
            .map(|batch| {
                if !alone {
                    return Err(error.again());
                }
                let outcomes = self.put_all(&[*batch], now_ms)?;
                outcomes.into_iter().next().ok_or(Error::Damaged {
                    what: "a batch without an outcome",
                })
            })
            .collect()
    }

    /// An insertion into a table is a file for each of its columns, on each node, whatever is in it.
    fn most_together(&self) -> usize {
        256
    }

    fn put_joined(&mut self, finished: &Finished, now_ms: i64) -> Result<(), Error> {
        slices::put(&self.server, finished, now_ms)
    }

    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        people::newest_orders(&self.server)
    }

    fn retain(&mut self, retention: &mut Retention, now_ms: i64) -> Result<Deleted, Error> {
        retention::step(&self.server, retention.ages(), now_ms)
    }

    fn probe(&mut self) -> Result<(), Error> {
        tables::probe(&self.server)
    }

    fn size(&self) -> Result<Size, Error> {
        retention::size(&self.server)
    }
}
