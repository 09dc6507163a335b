//! Family `edge`: counters of all connections between a process and a remote service.

use crate::address::Addresses;
use crate::histogram::{self, Histograms};
use crate::rows::{EdgeRow, Endpoint, Role};
use crate::table::{Number, TableReader, TableWriter, narrow, unzigzag};
use crate::tables::{Opened, Tables};
use crate::{DecodeError, Histogram};

pub(crate) const TABLE: &str = "edge";

const PROCESS: Number = Number::delta("process_id", 4);
const ROLE: Number = Number::plain("role", 1);
const NETNS: Number = Number::delta("netns", 5);
const LOCAL: Number = Number::delta("local", 2);
const LOCAL_PORT: Number = Number::delta("local_port", 3);
const REMOTE: Number = Number::delta("remote", 2);
const REMOTE_PORT: Number = Number::delta("remote_port", 3);
const AGE: Number = Number::minus("since_ms", 6, "end_ms");
const CONNECT: &str = "connect_latency";
const RTT: &str = "rtt";

type Counter = (Number, fn(&EdgeRow) -> u64, fn(&mut EdgeRow) -> &mut u64);

/// Counters without a transform of their own.
const COUNTERS: [Counter; 12] = [
    (
        Number::plain("opened", 4),
        |row| row.opened,
        |row| &mut row.opened,
    ),
    (
        Number::plain("failed", 3),
        |row| row.failed,
        |row| &mut row.failed,
    ),
    (
        Number::plain("refused", 3),
        |row| row.refused,
        |row| &mut row.refused,
    ),
    (
        Number::plain("reset_local", 3),
        |row| row.reset_local,
        |row| &mut row.reset_local,
    ),
    (
        Number::plain("reset_remote", 3),
        |row| row.reset_remote,
        |row| &mut row.reset_remote,
    ),
    (
        Number::plain("bytes_sent", 6),
        |row| row.bytes_sent,
        |row| &mut row.bytes_sent,
    ),
    (
        Number::plain("bytes_received", 6),
        |row| row.bytes_received,
        |row| &mut row.bytes_received,
    ),
    (
        Number::plain("segments_sent", 5),
        |row| row.segments_sent,
        |row| &mut row.segments_sent,
    ),
    (
        Number::plain("segments_received", 5),
        |row| row.segments_received,
        |row| &mut row.segments_received,
    ),
    (
        Number::plain("retransmits", 4),
        |row| row.retransmits,
        |row| &mut row.retransmits,
    ),
    (
        Number::plain("out_of_order", 4),
        |row| row.out_of_order,
        |row| &mut row.out_of_order,
    ),
    (
        Number::plain("zero_windows", 4),
        |row| row.zero_windows,
        |row| &mut row.zero_windows,
    ),
];
const CLOSED: Number = Number::minus("closed", 4, "opened");

/// The order in which neighbours differ least. Rows of a family have no order of their own.
fn sorted(rows: &[EdgeRow]) -> Vec<&EdgeRow> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| {
        (
            row.process_id,
            row.role,
            row.netns,
            row.local,
            row.remote.port,
            row.remote.addr,
        )
    });
    rows
}

pub(crate) fn write(rows: &[EdgeRow], end_ms: u64, tables: &mut Tables) {
    let rows = sorted(rows);
    tables.add(TABLE, rows.len(), |table, addresses| {
        write_key(&rows, table, addresses);
        table.against(&AGE, rows.iter().map(|row| (row.since_ms, end_ms)));
        for (spec, get, _) in &COUNTERS {
            table.number(spec, rows.iter().map(|row| get(row)));
        }
        table.against(&CLOSED, rows.iter().map(|row| (row.closed, row.opened)));
        let histograms = [(CONNECT, connects(&rows)), (RTT, rtts(&rows))];
        for (name, list) in &histograms {
            histogram::write_heads(name, list, table);
        }
    });
    for (name, list) in [(CONNECT, connects(&rows)), (RTT, rtts(&rows))] {
        histogram::write_buckets(name, &list, tables);
    }
}

fn connects<'a>(rows: &[&'a EdgeRow]) -> Vec<&'a Histogram> {
    rows.iter().map(|row| &row.connect_latency).collect()
}

fn rtts<'a>(rows: &[&'a EdgeRow]) -> Vec<&'a Histogram> {
    rows.iter().map(|row| &row.rtt).collect()
}

fn write_key(rows: &[&EdgeRow], table: &mut TableWriter<'_>, addresses: &Addresses) {
    table.number(&PROCESS, rows.iter().map(|row| u64::from(row.process_id)));
    table.number(&ROLE, rows.iter().map(|row| row.role as u64));
    table.number(&NETNS, rows.iter().map(|row| u64::from(row.netns)));
    table.number(
        &LOCAL,
        rows.iter().map(|row| addresses.number(row.local.addr)),
    );
    table.number(
        &LOCAL_PORT,
        rows.iter().map(|row| u64::from(row.local.port)),
    );
    table.number(
        &REMOTE,
        rows.iter().map(|row| addresses.number(row.remote.addr)),
    );
    table.number(
        &REMOTE_PORT,
        rows.iter().map(|row| u64::from(row.remote.port)),
    );
}

pub(crate) fn read(
    table: &TableReader<'_>,
    end_ms: u64,
    opened: &Opened<'_>,
) -> Result<Vec<EdgeRow>, DecodeError> {
    let mut rows = read_keys(table, &opened.addresses)?;
    for (row, code) in rows.iter_mut().zip(table.number(&AGE)?) {
        row.since_ms = unzigzag(code, end_ms);
    }
    for (spec, _, slot) in &COUNTERS {
        for (row, value) in rows.iter_mut().zip(table.number(spec)?) {
            *slot(row) = value;
        }
    }
    for (row, code) in rows.iter_mut().zip(table.number(&CLOSED)?) {
        row.closed = unzigzag(code, row.opened);
    }
    let mut connects = Histograms::read(CONNECT, table, opened)?;
    let mut rtts = Histograms::read(RTT, table, opened)?;
    for row in &mut rows {
        row.connect_latency = connects.next()?;
        row.rtt = rtts.next()?;
    }
    Ok(rows)
}

fn read_keys(table: &TableReader<'_>, addresses: &Addresses) -> Result<Vec<EdgeRow>, DecodeError> {
    let roles = table.number(&ROLE)?;
    let netns = table.number(&NETNS)?;
    let locals = endpoints(table, &LOCAL, &LOCAL_PORT, addresses)?;
    let remotes = endpoints(table, &REMOTE, &REMOTE_PORT, addresses)?;
    let mut rows = Vec::with_capacity(table.rows());
    let keys = table
        .number(&PROCESS)?
        .into_iter()
        .zip(roles)
        .zip(netns)
        .zip(locals)
        .zip(remotes);
    for ((((process_id, role), netns), local), remote) in keys {
        rows.push(EdgeRow {
            process_id: narrow(process_id, "process_id")?,
            role: self::role(role)?,
            local,
            remote,
            netns: narrow(netns, "netns")?,
            since_ms: 0,
            opened: 0,
            closed: 0,
            failed: 0,
            refused: 0,
            reset_local: 0,
            reset_remote: 0,
            bytes_sent: 0,
            bytes_received: 0,
            segments_sent: 0,
            segments_received: 0,
            retransmits: 0,
            out_of_order: 0,
            zero_windows: 0,
            connect_latency: Histogram::default(),
            rtt: Histogram::default(),
        });
    }
    Ok(rows)
}

/// Decodes a role.
pub(crate) fn role(code: u64) -> Result<Role, DecodeError> {
    match code {
        0 => Ok(Role::Client),
        1 => Ok(Role::Server),
        _ => Err(DecodeError::Malformed(format!("no role {code}"))),
    }
}

/// Decodes a column of addresses and one of ports.
pub(crate) fn endpoints(
    table: &TableReader<'_>,
    addresses: &Number,
    ports: &Number,
    known: &Addresses,
) -> Result<Vec<Endpoint>, DecodeError> {
    let ports = table.number(ports)?;
    let numbers = table.number(addresses)?;
    let pairs = numbers.into_iter().zip(ports);
    pairs
        .map(|(number, port)| {
            Ok(Endpoint {
                addr: known.get(number)?,
                port: narrow(port, "port")?,
            })
        })
        .collect()
}
