//! Questions to ClickHouse.

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::Endpoint;
use wire::schema::Table;

use super::cells::Cells;
use super::client::Server;
use super::retention::gone_ms;
use super::rows::{Need, names, scratch};
use super::tables::Places;
use super::{people, slices};
use crate::join::{HostId, Input};
use crate::meter::Meter;
use crate::rows::Answer;
use crate::store::{
    AddressOf, Binding, End, Error, Evicted, Gone, HostCursor, HostRecord, Moment, Other, Piece,
    Questions, Reader, SignedOrders, Slice, SliceCounts, TYPED, Translation, Waiting, Which,
    Window,
};
use crate::time;

/// Most credentials that one answer lists.
const LISTED: usize = 1000;

/// An opening of the store: it keeps what it read for its last question, as the next one often is
/// about the same.
#[derive(Debug)]
pub(super) struct Asked {
    server: Arc<Server>,
    read: Option<(Need, Window, Reader)>,
}

impl Asked {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, read: None }
    }

    /// A store with the rows that a question needs.
    fn reader(
        &mut self,
        need: Need,
        window: Window,
        meter: &mut Meter,
    ) -> Result<&mut Reader, Error> {
        let known = self.read.take();
        let known = known.filter(|(has, of, _)| *has == need && *of == window);
        let read = match known {
            Some(known) => known,
            None => {
                let reader = scratch(&self.server, (&need, window), meter)?;
                (need, window, reader)
            }
        };
        Ok(&mut self.read.insert(read).2)
    }
}

/// A time without anything in it, for what depends on none.
const NO_TIME: Window = Window {
    from_ms: 0,
    to_ms: 0,
};

impl Questions for Asked {
    fn moment(&mut self) -> Result<Box<dyn Moment + '_>, Error> {
        Ok(Box::new(Now {
            server: &self.server,
            now_ms: time::now_ms(),
        }))
    }

    fn evicted(&self) -> Result<Option<Evicted>, Error> {
        // Nothing makes room for anything: days go by their age.
        Ok(None)
    }

    fn tables(&self) -> Result<Vec<(Table, Option<i64>)>, Error> {
        let database = &self.server.dialect.database;
        let mut tables = Vec::new();
        for place in Places::all(&self.server)? {
            if TYPED.iter().any(|(typed, _)| *typed == place.table.name) {
                continue;
            }
            let name = &place.name;
            let rows = self.server.ask_small(&format!(
                "SELECT count() > 0, max(at_ms) FROM `{database}`.`{name}`"
            ))?;
            let mut cells = Cells(&rows);
            let (is_there, last_ms) = (cells.number(1)? > 0, cells.signed()?);
            if is_there {
                tables.push((place.table.into_owned(), Some(last_ms)));
            }
        }
        tables.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        Ok(tables)
    }

    fn rows(&mut self, which: &Which, window: Window, meter: &mut Meter) -> Result<Answer, Error> {
        let need = Need::Table(which.table.clone());
        let reader = self.reader(need, window, meter)?;
        let mut answer = reader.rows(which, window, meter)?;
        answer.evicted_before_ms = None;
        Ok(answer)
    }

    fn addresses(&mut self, window: Window, meter: &mut Meter) -> Result<Vec<AddressOf>, Error> {
        self.reader(Need::Join, window, meter)?
            .addresses(window, meter)
    }

    fn ends(
        &mut self,
        of: ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<End>, Error> {
        let reader = self.reader(Need::Join, window, meter)?;
        Questions::ends(reader, of, window, meter)
    }

    fn others(
        &mut self,
        of: (&End, u16),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Other>, Error> {
        let reader = self.reader(Need::Join, window, meter)?;
        Questions::others(reader, of, window, meter)
    }

    fn translations(
        &mut self,
        of: ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Translation>, Error> {
        let reader = self.reader(Need::Join, window, meter)?;
        Questions::translations(reader, of, window, meter)
    }

    fn hosts(
        &mut self,
        after: Option<&HostCursor>,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<HostRecord>, Error> {
        let reader = self.reader(Need::Hosts, NO_TIME, &mut Meter::unlimited())?;
        reader.hosts(after, most, bytes)
    }

    fn credentials(&self, refused_only: bool) -> Result<Vec<Binding>, Error> {
        let all = people::bindings(&self.server)?.into_values();
        let mut all: Vec<Binding> = all.filter(|one| !refused_only || one.refused > 0).collect();
        let order = |one: &Binding| (one.last_refused.map(|(_, ms)| ms), one.bound_ms);
        all.sort_by_key(|one| std::cmp::Reverse(order(one)));
        all.truncate(LISTED);
        Ok(all)
    }

    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        people::newest_orders(&self.server)
    }
}

/// ClickHouse as it is now. Each reading is of one moment: a batch counts once its line is there,
/// and what was joined is known by what it was joined from.
struct Now<'a> {
    server: &'a Server,
    now_ms: i64,
}

impl Moment for Now<'_> {
    fn window(&self, window: Window, meter: &mut Meter) -> Result<Input, Error> {
        let mut reader = scratch(self.server, (&Need::Join, window), meter)?;
        let mut input = reader.window(window, meter)?;
        input.evicted_before_ms = None;
        Ok(input)
    }

    fn evicted_before_ms(&self) -> Result<Option<i64>, Error> {
        Ok(None)
    }

    fn pieces(&self, window: Window) -> Result<Vec<Piece>, Error> {
        let slices = slices::Slices::read(self.server, window)?;
        Ok(slices.pieces(window, self.now_ms))
    }

    fn whole_from(&self, window: Window, pieces: &[Piece]) -> Result<Option<i64>, Error> {
        let gone = Gone {
            rows_ms: gone_ms(self.server)?,
            slices_ms: None,
        };
        Ok(gone.whole_from(window, pieces))
    }

    fn joined(&self, slice: Slice) -> Result<Vec<u8>, Error> {
        slices::joined(self.server, slice)
    }

    fn generations(&self, slices: &[Slice]) -> Result<Vec<i64>, Error> {
        let windows = || slices.iter().map(|slice| slice.window());
        let window = Window {
            from_ms: windows().map(|window| window.from_ms).min().unwrap_or(0),
            to_ms: windows().map(|window| window.to_ms).max().unwrap_or(0),
        };
        let read = slices::Slices::read(self.server, window)?;
        slices
            .iter()
            .map(|slice| read.joined_from(*slice))
            .collect()
    }

    fn next_slice(&self, now_ms: i64) -> Result<Option<Waiting>, Error> {
        Ok(slices::Slices::read(self.server, slices::open(now_ms))?.next(now_ms))
    }

    fn parts(&self, slice: Slice) -> Result<Vec<Slice>, Error> {
        Ok(slices::Slices::read(self.server, slice.window())?.joined_parts(slice))
    }

    fn hosts(&self, copies: &BTreeSet<HostId>) -> Result<Vec<(HostId, String)>, Error> {
        names(self.server, copies)
    }

    fn slice_counts(&self) -> Result<SliceCounts, Error> {
        let window = slices::open(self.now_ms);
        Ok(slices::Slices::read(self.server, window)?.counts(self.now_ms))
    }
}
