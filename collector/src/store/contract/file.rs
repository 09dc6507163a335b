//! A database file as a store.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use wire::Endpoint;
use wire::schema::Table;

use super::{Batches, Moment, Questions, Source};
use crate::accept::Opened;
use crate::join::{HostId, Input};
use crate::meter::Meter;
use crate::rows::Answer;
use crate::store::addresses::AddressOf;
use crate::store::credentials::Binding;
use crate::store::database::{Size, Store};
use crate::store::deleted::Deleted;
use crate::store::described::Which;
use crate::store::ends::{End, Other, Translation};
use crate::store::error::Error;
use crate::store::evicted::Evicted;
use crate::store::list::{HostCursor, HostRecord};
use crate::store::orders::SignedOrders;
use crate::store::put::Outcome;
use crate::store::reader::{Reader, View};
use crate::store::retention::Retention;
use crate::store::slices::{Finished, Piece, Slice, SliceCounts, Waiting};
use crate::store::window::Window;

impl Batches for Store {
    fn put(&mut self, batches: &[&Opened], now_ms: i64) -> Vec<Result<Outcome, Error>> {
        Self::put(self, batches, now_ms)
    }

    fn put_joined(&mut self, finished: &Finished, now_ms: i64) -> Result<(), Error> {
        Self::put_joined(self, finished, now_ms)
    }

    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        Self::newest_orders(self)
    }

    fn retain(&mut self, retention: &mut Retention, now_ms: i64) -> Result<Deleted, Error> {
        Self::retain(self, retention, now_ms)
    }

    fn probe(&mut self) -> Result<(), Error> {
        Self::probe(self)
    }

    fn size(&self) -> Result<Size, Error> {
        Self::size(self)
    }

    fn evict(&mut self, now_ms: i64) -> Result<bool, Error> {
        Self::evict(self, now_ms)
    }

    fn take_evicted(&mut self) -> Deleted {
        Self::take_evicted(self)
    }

    fn take_hosts_forgotten(&mut self) -> u64 {
        Self::take_hosts_forgotten(self)
    }

    fn purge_hosts(&mut self) -> Result<Option<u64>, Error> {
        Self::purge_hosts(self)
    }

    fn tend_outbox(&mut self) -> Result<(), Error> {
        Self::tend_outbox(self)
    }
}

/// A database file.
impl Source for PathBuf {
    fn open(&self) -> Result<Box<dyn Questions>, Error> {
        Ok(Box::new(Reader::open(self)?))
    }

    fn name(&self) -> String {
        self.display().to_string()
    }
}

impl Source for Arc<dyn Source> {
    fn open(&self) -> Result<Box<dyn Questions>, Error> {
        (**self).open()
    }

    fn name(&self) -> String {
        (**self).name()
    }
}

impl Questions for Reader {
    fn moment(&mut self) -> Result<Box<dyn Moment + '_>, Error> {
        Ok(Box::new(self.view()?))
    }

    fn evicted(&self) -> Result<Option<Evicted>, Error> {
        Self::evicted(self)
    }

    fn tables(&self) -> Result<Vec<(Table, Option<i64>)>, Error> {
        Self::tables(self)
    }

    fn rows(&mut self, which: &Which, window: Window, meter: &mut Meter) -> Result<Answer, Error> {
        Self::rows(self, which, window, meter)
    }

    fn addresses(&mut self, window: Window, meter: &mut Meter) -> Result<Vec<AddressOf>, Error> {
        Self::addresses(self, window, meter)
    }

    fn ends(
        &mut self,
        (source, destination): ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<End>, Error> {
        Self::ends(self, source, destination, window, meter)
    }

    fn others(
        &mut self,
        (end, port): (&End, u16),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Other>, Error> {
        Self::others(self, end, port, window, meter)
    }

    fn translations(
        &mut self,
        (source, destination): ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Translation>, Error> {
        Self::translations(self, source, destination, window, meter)
    }

    fn hosts(
        &mut self,
        after: Option<&HostCursor>,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<HostRecord>, Error> {
        Self::hosts(self, after, most, bytes)
    }

    fn credentials(&self, refused_only: bool) -> Result<Vec<Binding>, Error> {
        Self::credentials(self, refused_only)
    }

    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        Self::newest_orders(self)
    }
}

impl Moment for View<'_> {
    fn window(&self, window: Window, meter: &mut Meter) -> Result<Input, Error> {
        Self::window(self, window, meter)
    }

    fn evicted_before_ms(&self) -> Result<Option<i64>, Error> {
        Self::evicted_before_ms(self)
    }

    fn pieces(&self, window: Window) -> Result<Vec<Piece>, Error> {
        Self::pieces(self, window)
    }

    fn whole_from(&self, window: Window, pieces: &[Piece]) -> Result<Option<i64>, Error> {
        Self::whole_from(self, window, pieces)
    }

    fn joined(&self, slice: Slice) -> Result<Vec<u8>, Error> {
        Self::joined(self, slice)
    }

    fn generations(&self, slices: &[Slice]) -> Result<Vec<i64>, Error> {
        Self::generations(self, slices)
    }

    fn next_slice(&self, now_ms: i64) -> Result<Option<Waiting>, Error> {
        Self::next_slice(self, now_ms)
    }

    fn parts(&self, slice: Slice) -> Result<Vec<Slice>, Error> {
        Self::parts(self, slice)
    }

    fn hosts(&self, copies: &BTreeSet<HostId>) -> Result<Vec<(HostId, String)>, Error> {
        Self::hosts(self, copies)
    }

    fn slice_counts(&self) -> Result<SliceCounts, Error> {
        Self::slice_counts(self)
    }
}
