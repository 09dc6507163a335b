//! Questions to the store: read, join, document. Used by the API and by the commands alike.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::{Fleet, Host, RefusedCredential, Rest};
use crate::join::Picture;
use crate::joined::{self, Kept, Wanted};
use crate::meter::Meter;
use crate::rows::{Answer, Listed, Tables};
use crate::store::{
    AHEAD_TOLERANCE_MS, AddressOf, End, Error, HostCursor, HostRecord, Other, Questions, Source,
    TYPED, Translation, Which, Window,
};
use crate::time;
use wire::Endpoint;

/// How far back a topology looks when no begin is given: what "now" means to an operator.
pub const DEFAULT_SPAN_MS: i64 = 3_600_000;

/// Longest that one question keeps the snapshot that it reads, milliseconds: meanwhile the
/// write-ahead log grows.
const READ_MS: i64 = 60_000;

/// Begin and end of a window as they were asked for; Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Begin; by default an hour before the end.
    pub from_ms: Option<i64>,
    /// End; by default now.
    pub to_ms: Option<i64>,
}

impl Asked {
    /// The window that is meant.
    #[must_use]
    pub fn window(self, now_ms: i64) -> Window {
        let to_ms = self.to_ms.unwrap_or(now_ms);
        let from_ms = self
            .from_ms
            .unwrap_or(to_ms.saturating_sub(DEFAULT_SPAN_MS));
        Window { from_ms, to_ms }
    }

    /// The window that is read for it: "until now" includes what hosts with a clock a little ahead
    /// have reported.
    #[must_use]
    fn read(self, now_ms: i64) -> Window {
        let mut read = self.window(now_ms);
        if self.to_ms.is_none() {
            read.to_ms = read.to_ms.saturating_add(AHEAD_TOLERANCE_MS);
        }
        read
    }

    /// Whether its numbers are times in milliseconds.
    ///
    /// # Errors
    /// A sentence that names the one that is none.
    pub fn check_units(self) -> Result<(), String> {
        for (name, value) in [("from_ms", self.from_ms), ("to_ms", self.to_ms)] {
            let checked = value.map_or(Ok(()), time::check_ms);
            checked.map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }

    /// Whether it begins before it ends.
    ///
    /// # Errors
    /// A sentence with both times.
    pub fn check_order(self, now_ms: i64) -> Result<(), String> {
        let Window { from_ms, to_ms } = self.window(now_ms);
        if from_ms < to_ms {
            return Ok(());
        }
        let (from, to) = (time::rfc3339(from_ms), time::rfc3339(to_ms));
        Err(format!(
            "a window that begins at {from} and ends at {to} holds nothing"
        ))
    }
}

/// The topology of a window, made within what `meter` has.
///
/// # Errors
/// Whatever the store reports.
pub fn topology(
    store: &dyn Source,
    asked: Asked,
    now_ms: i64,
    meter: Meter,
) -> Result<Picture, Error> {
    made(store, asked, (now_ms, Duration::ZERO), meter)
}

/// One of `kept` that is at most so old, or one that is made and kept; its window may begin and end
/// so much later or earlier.
///
/// # Errors
/// Whatever the store reports.
pub fn topology_of(
    store: &dyn Source,
    (asked, kept, max_age): (Asked, &Kept, Duration),
    now_ms: i64,
    meter: Meter,
) -> Result<Arc<Picture>, Error> {
    let wanted = Wanted {
        window: asked.window(now_ms),
        is_now: asked.to_ms.is_none(),
    };
    kept.get(wanted, max_age, || {
        made(store, asked, (now_ms, max_age), meter)
    })
}

fn made(
    store: &dyn Source,
    asked: Asked,
    (now_ms, spare): (i64, Duration),
    meter: Meter,
) -> Result<Picture, Error> {
    let meter = meter.within(READ_MS, time::now_ms);
    let read = (asked.read(now_ms), time::whole_ms(spare));
    joined::topology_about(&mut *store.open()?, asked.window(now_ms), read, meter)
}

/// The command that shows a table which is not stored by its description.
#[must_use]
pub fn shown_by(table: &str) -> Option<&'static str> {
    let mut typed = TYPED.iter();
    typed.find(|(name, _)| *name == table).map(|(_, by)| *by)
}

/// Whether this program has the table, whether or not there are rows of it.
#[must_use]
pub fn is_known(table: &str) -> bool {
    wire::tables().iter().any(|known| known.name == table)
}

/// Every table that is stored, and those that this program has.
///
/// # Errors
/// Whatever the store reports.
pub fn tables(store: &dyn Source) -> Result<Tables, Error> {
    let stored = store.open()?.tables()?;
    let stored = stored.into_iter().map(|(table, last_ms)| Listed {
        shown_by: None,
        table,
        last_ms,
    });
    let mut tables: Vec<Listed> = stored.collect();
    for table in wire::tables() {
        if tables.iter().all(|listed| listed.table.name != table.name) {
            tables.push(Listed {
                shown_by: shown_by(&table.name),
                table: table.clone(),
                last_ms: None,
            });
        }
    }
    tables.sort_by(|a, b| a.table.name.cmp(&b.table.name));
    Ok(Tables { tables })
}

/// Rows of a window, of a table that is stored by its description; read within what `meter` has.
///
/// # Errors
/// Whatever the store reports.
pub fn rows(
    store: &dyn Source,
    which: &Which,
    asked: Asked,
    now_ms: i64,
    meter: Meter,
) -> Result<Answer, Error> {
    let mut meter = meter.within(READ_MS, time::now_ms);
    let window = asked.window(now_ms);
    let mut answer = store.open()?.rows(which, asked.read(now_ms), &mut meter)?;
    (answer.from_ms, answer.to_ms) = (window.from_ms, window.to_ms);
    Ok(answer)
}

/// The addresses that services had in a window, each once.
///
/// # Errors
/// Whatever the store reports.
pub fn addresses(
    store: &dyn Source,
    asked: Asked,
    now_ms: i64,
    meter: Meter,
) -> Result<Vec<AddressOf>, Error> {
    let mut meter = meter.within(READ_MS, time::now_ms);
    store.open()?.addresses(asked.read(now_ms), &mut meter)
}

/// Questions about one connection, within one window and what a meter has.
#[derive(Debug)]
pub struct Lookup {
    reader: Box<dyn Questions>,
    window: Window,
    meter: Meter,
}

impl Lookup {
    /// In a window.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn of(store: &dyn Source, asked: Asked, now_ms: i64, meter: Meter) -> Result<Self, Error> {
        Ok(Self {
            reader: store.open()?,
            window: asked.read(now_ms),
            meter: meter.within(READ_MS, time::now_ms),
        })
    }

    /// Those that had connections from an address to an endpoint.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn ends(&mut self, source: IpAddr, destination: SocketAddr) -> Result<Vec<End>, Error> {
        let (source, destination) = as_stored(source, destination);
        self.reader
            .ends((source, destination), self.window, &mut self.meter)
    }

    /// The other ends of the connections of an end that have this port.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn others(&mut self, end: &End, port: u16) -> Result<Vec<Other>, Error> {
        self.reader
            .others((end, port), self.window, &mut self.meter)
    }

    /// What gateways made of connections from an address to an endpoint, or what became such.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn translations(
        &mut self,
        source: IpAddr,
        destination: SocketAddr,
    ) -> Result<Vec<Translation>, Error> {
        let (source, destination) = as_stored(source, destination);
        self.reader
            .translations((source, destination), self.window, &mut self.meter)
    }
}

fn as_stored(source: IpAddr, destination: SocketAddr) -> ([u8; 16], Endpoint) {
    let source = Endpoint::from(SocketAddr::new(source, 0));
    (source.addr, Endpoint::from(destination))
}

/// The next hosts by name and id: at most `most`, and fewer where they report much; and whether
/// there are more.
///
/// # Errors
/// Whatever the store reports.
pub fn hosts_after(
    store: &dyn Source,
    after: Option<&HostCursor>,
    most: usize,
) -> Result<(Vec<HostRecord>, bool), Error> {
    let mut reader = store.open()?;
    let page = reader.hosts(after, most, PAGE.1)?;
    let more = match page.last() {
        None => false,
        Some(last) => {
            let last = (last.hostname.clone(), last.host);
            !reader.hosts(Some(&last), 1, 1)?.is_empty()
        }
    };
    Ok((page, more))
}

/// Hosts that are read at once, and the bytes of reports after which no more are.
const PAGE: (usize, usize) = (256, 256 << 10);

/// All hosts, a page after the other: each is read anew, so that nothing is held, in the store or
/// in memory, while somebody takes the page before.
#[derive(Debug)]
pub struct Hosts {
    reader: Box<dyn Questions>,
    after: Option<HostCursor>,
    over: bool,
}

impl Hosts {
    /// From the first one on.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn of(store: &dyn Source) -> Result<Self, Error> {
        Ok(Self {
            reader: store.open()?,
            after: None,
            over: false,
        })
    }

    /// The next ones; `None` after the last.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn next_page(&mut self) -> Result<Option<Vec<Host>>, Error> {
        if self.over {
            return Ok(None);
        }
        let page = self.reader.hosts(self.after.as_ref(), PAGE.0, PAGE.1)?;
        self.over = page.is_empty();
        if let Some(last) = page.last() {
            self.after = Some((last.hostname.clone(), last.host));
        }
        Ok((!self.over).then(|| page.into_iter().map(Host::from).collect()))
    }

    /// What is said beside the hosts.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub fn rest(&self) -> Result<Rest, Error> {
        let refused = self.reader.credentials(true)?;
        Ok(Rest {
            credentials_refused: refused.iter().filter_map(RefusedCredential::of).collect(),
            evicted: self.reader.evicted()?,
        })
    }
}

/// What a fleet document says beside its hosts.
///
/// # Errors
/// Whatever the store reports.
pub fn beside_hosts(store: &dyn Source) -> Result<Rest, Error> {
    Hosts::of(store)?.rest()
}

/// All hosts at once.
///
/// # Errors
/// Whatever the store reports.
pub fn fleet(store: &dyn Source) -> Result<Fleet, Error> {
    let mut pages = Hosts::of(store)?;
    let mut hosts = Vec::new();
    while let Some(mut page) = pages.next_page()? {
        hosts.append(&mut page);
    }
    let rest = pages.rest()?;
    Ok(Fleet {
        hosts,
        credentials_refused: rest.credentials_refused,
        evicted: rest.evicted,
    })
}
