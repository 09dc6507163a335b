//! Who knows a connection by its addresses.

use rusqlite::{OptionalExtension, Row, params};
use wire::{Endpoint, Part, Role};

use super::block::{self, Kind, Lastings};
use super::error::{Error, failed};
use super::reader::Reader;
use super::window::Window;
use super::{lasting, short};
use crate::digest::hex;
use crate::meter::Meter;

/// Bytes of one, beside its texts.
const END: usize = 256;
/// Most ends and translations of one connection that are read.
const MOST: i64 = 64;

/// The connections of a service on a host with one remote service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its number in this store.
    pub flow: i64,
    /// Host id, 32 hex digits.
    pub host: String,
    /// Host name, empty while it is not known.
    pub hostname: String,
    /// As its node is called.
    pub service: String,
    /// Which side it is.
    pub role: Role,
    /// Port 0 for a client.
    pub local: Endpoint,
    /// Port 0 for a server.
    pub remote: Endpoint,
}

/// The other end of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// That end.
    pub end: End,
    /// The port that its addresses do not hold.
    pub port: u16,
    /// Whether a waybill joins the two, else their sequence numbers.
    pub by_token: bool,
}

/// What a gateway translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Host id of the gateway, 32 hex digits.
    pub host: String,
    /// Its name, empty while it is not known.
    pub hostname: String,
    /// Who dialled; port 0.
    pub client: Endpoint,
    /// What was dialled.
    pub dialled: Endpoint,
    /// The address with which it left; port 0.
    pub source: Endpoint,
    /// Where it went.
    pub server: Endpoint,
}

/// The columns of [`end`].
const COLUMNS: &str = "flow.id, host.host, host.hostname, coalesce(nullif(process.service, ''),
     nullif(process.exe, ''), nullif(process.comm, ''), '(unknown)'), flow.role,
     flow.local_addr, flow.local_port, flow.remote_addr, flow.remote_port";
/// What they are read from, behind `flow`.
const TABLES: &str = "JOIN boot ON boot.id = flow.boot_id JOIN host ON host.id = boot.host_id
     LEFT JOIN process ON process.boot_id = flow.boot_id
         AND process.process_id = flow.process_id";

impl Reader {
    /// Those that had connections from an address to an endpoint in a window, as their own kernel
    /// knows them: clients and servers.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever SQLite reports.
    pub fn ends(
        &self,
        source: [u8; 16],
        destination: Endpoint,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<End>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM flow {TABLES}
             WHERE ((flow.role = 0 AND flow.local_addr = ?1 AND flow.remote_addr = ?2
                     AND flow.remote_port = ?3)
                 OR (flow.role = 1 AND flow.remote_addr = ?1 AND flow.local_addr = ?2
                     AND flow.local_port = ?3))
                 AND boot.last_ms > ?4 AND boot.first_ms <= ?5
             ORDER BY boot.last_ms DESC, flow.id LIMIT ?6"
        );
        let Endpoint { addr, port } = destination;
        let Window { from_ms, to_ms } = window;
        let of = params![source, addr, port, from_ms, to_ms, MOST];
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement.query(of).map_err(failed)?;
        let mut ends = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            meter.row(END)?;
            ends.push(end(row).map_err(failed)?);
        }
        Ok(ends)
    }

    /// The other ends of the connections of an end that have this port and were seen in a window.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever SQLite reports.
    pub fn others(
        &self,
        of: &End,
        port: u16,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Other>, Error> {
        let sql = format!(
            "SELECT {COLUMNS}, other.port, other.part
             FROM sighting AS mine JOIN sighting AS other
                 ON other.token = mine.token AND other.flow_id <> mine.flow_id
             JOIN flow ON flow.id = other.flow_id AND flow.role <> ?1 {TABLES}
             WHERE mine.flow_id = ?2 AND mine.port = ?3 AND mine.first_ms <= ?5
                 AND coalesce(mine.ended_ms, mine.last_ms) > ?4
             ORDER BY mine.last_ms DESC LIMIT ?6"
        );
        let Window { from_ms, to_ms } = window;
        let parameters = params![of.role as u8, of.flow, port, from_ms, to_ms, MOST];
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut others = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            meter.row(END)?;
            let read = || {
                Ok(Other {
                    end: end(row)?,
                    port: row.get(9)?,
                    by_token: row.get::<_, u8>(10)? != Part::Sequence as u8,
                })
            };
            others.push(read().map_err(failed)?);
        }
        for mine in self.tokens_of(of, port, window, meter)? {
            others.extend(self.others_in_blocks(of, mine, meter)?);
            if others.len() >= usize::try_from(MOST).unwrap_or(0) {
                break;
            }
        }
        Ok(others)
    }

    /// Tokens of the connections of an end that have this port, with the interval that told of each
    /// first, and whether it is a row.
    fn tokens_of(
        &self,
        of: &End,
        port: u16,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<(u64, Window, bool)>, Error> {
        let db = &self.connection;
        let boot: i64 = db
            .prepare_cached("SELECT boot_id FROM flow WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([of.flow], |row| row.get(0)))
            .map_err(failed)?;
        let mut statement = db
            .prepare_cached(
                "SELECT token, first_ms, last_ms FROM sighting WHERE flow_id = ?1 AND port = ?2
                     AND first_ms <= ?4 AND coalesce(ended_ms, last_ms) > ?3
                 ORDER BY last_ms DESC LIMIT ?5",
            )
            .map_err(failed)?;
        let Window { from_ms, to_ms } = window;
        let long = statement
            .query_map(params![of.flow, port, from_ms, to_ms, MOST], |row| {
                let token: i64 = row.get(0)?;
                let (from_ms, to_ms) = (row.get(1)?, row.get(2)?);
                Ok((token.cast_unsigned(), Window { from_ms, to_ms }, true))
            })
            .map_err(failed)?;
        let mut tokens = long.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?;
        for one in lasting::of(db, boot, window, meter)?.values() {
            let (first_ms, last_ms) = one.told;
            let was_there = first_ms <= to_ms && one.ended_ms.is_none_or(|ended| ended > from_ms);
            if was_there && one.row.flow == of.flow && one.row.port == port {
                let span = Window {
                    from_ms: first_ms,
                    to_ms: last_ms,
                };
                tokens.push((one.row.token, span, false));
            }
        }
        let within = short::within(db, Kind::Sightings, window).map_err(failed)?;
        for head in within.iter().rev().filter(|head| head.boot == boot) {
            meter.time()?;
            let rows = short::rows(db, head).map_err(failed)?;
            let mine = rows
                .iter()
                .filter(|row| row.flow == of.flow && row.port == port);
            let span = Window {
                from_ms: head.start_ms,
                to_ms: head.end_ms,
            };
            tokens.extend(mine.map(|row| (row.token, span, false)));
            if tokens.len() as u64 >= MOST.unsigned_abs() {
                break;
            }
        }
        Ok(tokens)
    }

    /// Other ends of a token where one of the two is in a block.
    fn others_in_blocks(
        &self,
        of: &End,
        (token, span, is_row): (u64, Window, bool),
        meter: &mut Meter,
    ) -> Result<Vec<Other>, Error> {
        let db = &self.connection;
        let mut ends: Vec<(i64, u16, u8)> = Vec::new();
        let of_kind = |kind| short::within(db, kind, span).map_err(failed);
        let (short, long) = (of_kind(Kind::Sightings)?, of_kind(Kind::Lasting)?);
        let within = [&short[..], &long[..]].concat();
        let near = |kind| short::near(db, kind, span, &within).map_err(failed);
        for head in short.iter().chain(&near(Kind::Sightings)?) {
            meter.time()?;
            let rows = short::rows(db, head).map_err(failed)?;
            let rows = rows.iter().filter(|row| row.token == token);
            ends.extend(rows.map(|row| (row.flow, row.port, row.part)));
        }
        for head in long.iter().chain(&near(Kind::Lasting)?) {
            meter.time()?;
            let rows = block::read::<Lastings>(db, head).map_err(failed)?.rows;
            let rows = rows
                .iter()
                .map(|row| &row.sighted)
                .filter(|row| row.token == token);
            ends.extend(rows.map(|row| (row.flow, row.port, row.part)));
        }
        ends.sort_unstable();
        ends.dedup();
        if !is_row {
            // Two that are rows are found without.
            let mut statement = db
                .prepare_cached("SELECT flow_id, port, part FROM sighting WHERE token = ?1")
                .map_err(failed)?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let long = statement
                .query_map([token.cast_signed()], row)
                .map_err(failed)?;
            ends.extend(long.collect::<rusqlite::Result<Vec<_>>>().map_err(failed)?);
        }
        let sql =
            format!("SELECT {COLUMNS} FROM flow {TABLES} WHERE flow.id = ?1 AND flow.role <> ?2");
        let mut statement = db.prepare_cached(&sql).map_err(failed)?;
        let mut others = Vec::new();
        for (flow, port, part) in ends.into_iter().filter(|(flow, ..)| *flow != of.flow) {
            meter.row(END)?;
            let found = statement
                .query_row(params![flow, of.role as u8], end)
                .optional()
                .map_err(failed)?;
            others.extend(found.map(|end| Other {
                end,
                port,
                by_token: part != Part::Sequence as u8,
            }));
        }
        Ok(others)
    }

    /// What gateways made of connections from an address to an endpoint, or what became such.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever SQLite reports.
    pub fn translations(
        &self,
        source: [u8; 16],
        destination: Endpoint,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Translation>, Error> {
        let sql = "SELECT DISTINCT host.host, host.hostname, nat.client, nat.dialled_addr,
                 nat.dialled_port, nat.source, nat.server_addr, nat.server_port
             FROM nat JOIN boot ON boot.id = nat.boot_id JOIN host ON host.id = boot.host_id
             WHERE ((nat.client = ?1 AND nat.dialled_addr = ?2 AND nat.dialled_port = ?3)
                 OR (nat.source = ?1 AND nat.server_addr = ?2 AND nat.server_port = ?3))
                 AND nat.last_ms > ?4 AND nat.since_ms <= ?5 LIMIT ?6";
        let Endpoint { addr, port } = destination;
        let Window { from_ms, to_ms } = window;
        let of = params![source, addr, port, from_ms, to_ms, MOST];
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(of).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            meter.row(END)?;
            found.push(translation(row).map_err(failed)?);
        }
        Ok(found)
    }
}

fn end(row: &Row<'_>) -> rusqlite::Result<End> {
    let role: u8 = row.get(4)?;
    Ok(End {
        flow: row.get(0)?,
        host: hex(&row.get::<_, [u8; 16]>(1)?),
        hostname: row.get(2)?,
        service: row.get(3)?,
        role: if role == Role::Client as u8 {
            Role::Client
        } else {
            Role::Server
        },
        local: endpoint(row, 5)?,
        remote: endpoint(row, 7)?,
    })
}

fn translation(row: &Row<'_>) -> rusqlite::Result<Translation> {
    let address = |at| {
        Ok::<_, rusqlite::Error>(Endpoint {
            addr: row.get(at)?,
            port: 0,
        })
    };
    Ok(Translation {
        host: hex(&row.get::<_, [u8; 16]>(0)?),
        hostname: row.get(1)?,
        client: address(2)?,
        dialled: endpoint(row, 3)?,
        source: address(5)?,
        server: endpoint(row, 6)?,
    })
}

fn endpoint(row: &Row<'_>, at: usize) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint {
        addr: row.get(at)?,
        port: row.get(at + 1)?,
    })
}
