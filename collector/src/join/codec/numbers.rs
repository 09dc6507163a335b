//! The numbers of edges, column by column.

use wire::Columns;

use super::super::parts::{Found, Parts, Share, Span};
use crate::packed::{self, Packed};

/// Bytes that this program did not make, or a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was joined cannot be read")]
pub struct Damaged;

/// Key, flags, what was found, connections, times; both sides.
pub(super) const NUMBERS: usize = COMMON + 2 * SHARE;
/// Those that are of no side.
const COMMON: usize = 3 + 1 + 5 + 5 + 3 + 3 + 3 + 4;
/// Of a side: connections, what cannot be measured, counters and histograms.
const SHARE: usize = OWN + packed::NUMBERS;
/// Those before the counters.
const OWN: usize = 4 + 1;

/// An edge without its lists.
pub(super) struct Taken {
    /// Client, server and endpoint, by their numbers.
    pub(super) key: [u64; 3],
    pub(super) parts: Parts,
}

/// Adds the numbers of an edge; those of its key as what they differ from the edge `before`.
pub(super) fn put(
    rows: &mut Vec<u64>,
    (key, before): ([u64; 3], &mut [u64; 3]),
    parts: &Parts,
    base_ms: i64,
) {
    for (now, before) in key.into_iter().zip(before) {
        rows.push(zigzag(now.wrapping_sub(*before).cast_signed()));
        *before = now;
    }
    let sides = [&parts.client, &parts.server];
    let flags = [
        parts.sampled,
        parts.same_namespace,
        sides[0].apportioned,
        sides[1].apportioned,
        sides[0].added,
        sides[1].added,
        sides[0].counters.is_some(),
        sides[1].counters.is_some(),
        parts.seen.0.is_some(),
        parts.shared_rows_seen.0.is_some(),
    ];
    let bits = flags.iter().enumerate();
    rows.push(bits.fold(0, |all, (at, flag)| all | u64::from(*flag) << at));
    let (here, old) = (&parts.here, &parts.here_old);
    for found in [here, old] {
        rows.extend([found.tokens, found.sequences, over(found)]);
        rows.extend([found.conntrack, found.addresses]);
    }
    for found in [&parts.elsewhere, &parts.elsewhere_old] {
        rows.extend([found.tokens, found.sequences, over(found)]);
    }
    let all = parts.connections;
    let (low, high) = parts.range;
    rows.extend([all, all.wrapping_sub(low), high.wrapping_sub(all)]);
    for span in [parts.seen, parts.shared_rows_seen] {
        let (first, last) = span.0.unwrap_or((base_ms, base_ms));
        rows.push(zigzag(first.wrapping_sub(base_ms)));
        rows.push(zigzag(last.wrapping_sub(first)));
    }
    sides.iter().for_each(|share| put_share(rows, share, all));
}

/// What an estimate is more than its connections.
fn over(found: &Found) -> u64 {
    found
        .estimate
        .wrapping_sub(found.tokens.wrapping_add(found.sequences))
}

fn put_share(rows: &mut Vec<u64>, share: &Share, connections: u64) {
    let Some(counters) = &share.counters else {
        rows.extend([
            share.connections,
            share.open_before,
            share.open,
            share.left_open,
        ]);
        rows.extend([0; SHARE - 4]);
        return;
    };
    rows.push(share.connections.wrapping_sub(connections));
    rows.extend([share.open_before, share.open]);
    rows.push(share.left_open.wrapping_sub(share.open));
    rows.push(u64::from(counters.absent().bits()));
    rows.extend(counters.numbers());
}

/// The numbers of an edge; those that are not zero are added in their order.
#[derive(Default)]
pub(super) struct Row {
    common: [u64; COMMON],
    sides: [Half; 2],
}

/// Those of a side.
#[derive(Default)]
struct Half {
    own: [u64; OWN],
    /// As in [`Packed`].
    which: [u64; 2],
    values: Vec<u64>,
}

impl Row {
    /// Begins again.
    pub(super) fn clear(&mut self) {
        self.common = [0; COMMON];
        for side in &mut self.sides {
            (side.own, side.which) = ([0; OWN], [0; 2]);
            side.values.clear();
        }
    }

    /// The next one that is not zero.
    pub(super) fn add(&mut self, column: usize, value: u64) {
        let Some(at) = column.checked_sub(COMMON) else {
            self.common[column] = value;
            return;
        };
        let (side, at) = (&mut self.sides[at / SHARE], at % SHARE);
        match at.checked_sub(OWN) {
            None => side.own[at] = value,
            Some(at) => {
                side.which[at / 64] |= 1 << (at % 64);
                side.values.push(value);
            }
        }
    }
}

/// The edge of a row that [`put`] made.
pub(super) fn take(row: &Row, before: &mut [u64; 3], base_ms: i64) -> Result<Taken, Damaged> {
    let mut common = row.common.iter().copied();
    // There are as many as are taken.
    let mut next = || common.next().unwrap_or(0);
    for known in &mut *before {
        *known = known.wrapping_add(unzigzag(next()).cast_unsigned());
    }
    let flags = next();
    let is = |at: u32| flags >> at & 1 == 1;
    let mut found = |all: bool| {
        let (tokens, sequences, over) = (next(), next(), next());
        let [conntrack, addresses] = if all { [next(), next()] } else { [0, 0] };
        Found {
            tokens,
            sequences,
            estimate: over.wrapping_add(tokens.wrapping_add(sequences)),
            conntrack,
            addresses,
        }
    };
    let mut parts = Parts {
        here: found(true),
        here_old: found(true),
        elsewhere: found(false),
        elsewhere_old: found(false),
        sampled: is(0),
        same_namespace: is(1),
        connections: next(),
        ..Parts::default()
    };
    let all = parts.connections;
    parts.range = (all.wrapping_sub(next()), all.wrapping_add(next()));
    for (span, at) in [(&mut parts.seen, 8), (&mut parts.shared_rows_seen, 9)] {
        let first = base_ms.wrapping_add(unzigzag(next()));
        let last = first.wrapping_add(unzigzag(next()));
        *span = Span(is(at).then_some((first, last)));
    }
    for (share, at) in [(&mut parts.client, 0), (&mut parts.server, 1)] {
        *share = take_share(&row.sides[usize::from(at == 1)], is(6 + at), all)?;
        (share.apportioned, share.added) = (is(2 + at), is(4 + at));
    }
    Ok(Taken {
        key: *before,
        parts,
    })
}

fn take_share(half: &Half, counted: bool, connections: u64) -> Result<Share, Damaged> {
    let [first, open_before, open, left_open, absent] = half.own;
    let absent = u16::try_from(absent).ok().and_then(Columns::from_bits);
    let absent = absent.ok_or(Damaged)?;
    let share = Share {
        open_before,
        open,
        ..Share::default()
    };
    Ok(match counted {
        true => Share {
            connections: first.wrapping_add(connections),
            left_open: left_open.wrapping_add(open),
            counters: Some(Packed::of_some(half.which, &half.values, absent)),
            ..share
        },
        false => Share {
            connections: first,
            left_open,
            ..share
        },
    })
}

/// Writes rows of [`NUMBERS`] column by column.
pub(super) fn columns(bytes: &mut Vec<u8>, rows: &[u64]) {
    for column in 0..NUMBERS {
        let values = || rows.iter().skip(column).step_by(NUMBERS);
        let is_zero = values().all(|value| *value == 0);
        bytes.push(u8::from(!is_zero));
        if !is_zero {
            values().for_each(|value| leb128(bytes, *value));
        }
    }
}

/// Columns that are not zero, by their places.
pub(super) struct Table(Vec<(usize, Vec<u64>)>);

impl Table {
    /// A row, in the place of another one.
    pub(super) fn row(&self, at: usize, row: &mut Row) {
        row.clear();
        for (column, values) in &self.0 {
            if values[at] != 0 {
                row.add(*column, values[at]);
            }
        }
    }
}

/// The inverse of [`columns`].
pub(super) fn table(rest: &mut &[u8], rows: usize) -> Result<Table, Damaged> {
    let mut table = Vec::new();
    for column in 0..NUMBERS {
        let (tag, tail) = rest.split_first().ok_or(Damaged)?;
        *rest = tail;
        match tag {
            0 => {}
            1 => {
                let values = (0..rows).map(|_| number(rest));
                table.push((column, values.collect::<Result<_, _>>()?));
            }
            _ => return Err(Damaged),
        }
    }
    Ok(Table(table))
}

/// Signed numbers near zero as small ones.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Adds a number, 7 bits a byte, the lowest first.
pub(super) fn leb128(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

/// Takes one.
pub(super) fn number(rest: &mut &[u8]) -> Result<u64, Damaged> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, tail) = rest.split_first().ok_or(Damaged)?;
        *rest = tail;
        if shift > 63 {
            return Err(Damaged);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

/// The one of this number.
pub(super) fn nth<T>(all: &[T], number: u64) -> Result<&T, Damaged> {
    let at = usize::try_from(number).map_err(|_| Damaged)?;
    all.get(at).ok_or(Damaged)
}
