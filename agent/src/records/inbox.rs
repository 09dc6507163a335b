//! Whose a record is, and where it waits until that family takes it. Pure.

use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::rc::{Rc, Weak};

use bpf::abi;
use bpf::counters::{KINDS, RECORD_KINDS};
use zerocopy::FromBytes as _;

use crate::metrics::Metrics;

/// Families from 1, and a place that none has.
const FAMILIES: usize = abi::WB_FAMILY_MAX as usize;

/// What becomes of a record that was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Queued,
    Invalid,
    Full,
}

/// Where the records of one family wait.
struct Queue<T> {
    decode: fn(&[u8]) -> Option<T>,
    records: Vec<T>,
    /// Of the records that wait, as they came.
    bytes: u64,
    most_bytes: u64,
}

trait Sink {
    fn push(&mut self, bytes: &[u8]) -> Fate;
}

impl<T> Sink for Queue<T> {
    fn push(&mut self, bytes: &[u8]) -> Fate {
        if self.bytes >= self.most_bytes {
            return Fate::Full;
        }
        let Some(record) = (self.decode)(bytes) else {
            return Fate::Invalid;
        };
        self.bytes += bytes.len() as u64;
        self.records.push(record);
        Fate::Queued
    }
}

/// Decoded records of one family that wait to be folded: at most as many bytes of them as all rings
/// have, and one record.
pub struct Inbox<T>(Rc<RefCell<Queue<T>>>);

impl<T: 'static> Inbox<T> {
    pub(super) fn new(decode: fn(&[u8]) -> Option<T>, most_bytes: u64) -> Self {
        Self(Rc::new(RefCell::new(Queue {
            decode,
            records: Vec::new(),
            bytes: 0,
            most_bytes,
        })))
    }

    /// Takes all that wait, each ring's in the order of its buffer.
    #[must_use]
    pub fn take(&self) -> Vec<T> {
        let mut queue = self.0.borrow_mut();
        queue.bytes = 0;
        std::mem::take(&mut queue.records)
    }
}

impl<T> Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.borrow().records.len();
        f.debug_tuple("Inbox").field(&waiting).finish()
    }
}

/// Hands each record to its family, and counts.
#[derive(Default)]
pub(super) struct Dispatch {
    /// By number of the family; a family that is not there any more has left its inbox.
    sinks: [Option<Weak<RefCell<dyn Sink>>>; FAMILIES],
    /// Records that the buffers reported as lost, since they were mapped.
    pub(super) reported_lost: u64,
    /// Records that came since then, by kind.
    arrived: [u64; KINDS],
    handed_on: u64,
    /// Since the last [`Dispatch::publish`].
    recent: Recent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recent {
    bytes: u64,
    queued: u64,
    invalid: u64,
    undelivered: u64,
}

impl Dispatch {
    /// Hands the records of a family to this inbox from now on.
    pub(super) fn deliver<T: 'static>(&mut self, family: u32, inbox: &Inbox<T>) {
        let sink: Rc<RefCell<dyn Sink>> = Rc::<RefCell<Queue<T>>>::clone(&inbox.0);
        if let Some(place) = self.sinks.get_mut(family as usize) {
            *place = Some(Rc::downgrade(&sink));
        }
    }

    /// How many records of each kind came, decoded or not.
    pub(super) const fn arrived(&self) -> &[u64; KINDS] {
        &self.arrived
    }

    /// How many records came, of any kind or none.
    pub(super) const fn handed_on(&self) -> u64 {
        self.handed_on
    }

    /// Counts a record and gives it to the family that its header names.
    pub(super) fn hand_on(&mut self, bytes: &[u8]) {
        self.handed_on += 1;
        self.recent.bytes += bytes.len() as u64;
        let Ok((header, _)) = abi::wb_record_header::read_from_prefix(bytes) else {
            self.recent.invalid += 1;
            return;
        };
        if let Some(kind) = place(&header) {
            self.arrived[kind] += 1;
        }
        let sink = self.sinks.get(usize::from(header.family));
        let sink = sink.and_then(Option::as_ref).and_then(Weak::upgrade);
        match sink.map(|sink| sink.borrow_mut().push(bytes)) {
            Some(Fate::Queued) => self.recent.queued += 1,
            Some(Fate::Invalid) => self.recent.invalid += 1,
            Some(Fate::Full) | None => self.recent.undelivered += 1,
        }
    }

    /// Adds what became of records since the last call to the agent's counters; gives their bytes.
    pub(super) fn publish(&mut self, metrics: &Metrics) -> u64 {
        let recent = std::mem::take(&mut self.recent);
        metrics.record_decoded_total.add(recent.queued);
        metrics.record_dropped_invalid_total.add(recent.invalid);
        let undelivered = &metrics.record_dropped_undelivered_total;
        undelivered.add(recent.undelivered);
        recent.bytes
    }
}

impl Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("arrived", &self.arrived)
            .field("reported_lost", &self.reported_lost)
            .finish_non_exhaustive()
    }
}

/// Place in [`RECORD_KINDS`] of what a record says it is, valid otherwise or not.
fn place(header: &abi::wb_record_header) -> Option<usize> {
    let said = (u32::from(header.kind), u32::from(header.family));
    let mut kinds = RECORD_KINDS.iter();
    kinds.position(|kind| (kind.number, kind.family) == said)
}

#[cfg(test)]
mod tests {
    use bpf::abi;
    use zerocopy::IntoBytes as _;

    use super::{Dispatch, Inbox, Recent};

    const HEADER: u64 = size_of::<abi::wb_record_header>() as u64;

    fn record(family: u32, body: u8) -> Vec<u8> {
        let header = abi::wb_record_header {
            family: u16::try_from(family).expect("a small number"),
            kind: 1,
            ..Default::default()
        };
        [header.as_bytes(), &[body]].concat()
    }

    /// Two families of one ring that understand different things of a record.
    fn two() -> (Dispatch, Inbox<u8>, Inbox<String>) {
        let body = |bytes: &[u8]| bytes.last().copied().filter(|body| *body < 100);
        let text = |bytes: &[u8]| Some(format!("{}", bytes.last()?));
        let (first, second) = (
            Inbox::new(body, 1 << 10),
            Inbox::new(text, 2 * (HEADER + 1)),
        );
        let mut dispatch = Dispatch::default();
        dispatch.deliver(abi::WB_FAMILY_CONNECTION, &first);
        dispatch.deliver(abi::WB_FAMILY_LISTENER, &second);
        (dispatch, first, second)
    }

    #[test]
    fn each_family_gets_its_own_records_in_their_order() {
        let (mut dispatch, first, second) = two();
        let all = [(1, 7), (2, 8), (1, 9), (2, 10)];
        for (family, body) in all {
            dispatch.hand_on(&record(family, body));
        }
        assert_eq!(first.take(), [7, 9]);
        assert_eq!(second.take(), ["8", "10"]);
        assert!(first.take().is_empty() && second.take().is_empty());
        let expected = Recent {
            bytes: 4 * (HEADER + 1),
            queued: 4,
            ..Recent::default()
        };
        assert_eq!(dispatch.recent, expected);
        assert_eq!(
            dispatch.arrived()[0],
            2,
            "kind 1 of family 2 is no kind that there is"
        );
    }

    #[test]
    fn what_no_family_takes_is_counted_and_holds_up_nobody() {
        let (mut dispatch, first, second) = two();
        drop(second);
        let nobody = [0, 2, abi::WB_FAMILY_MAX, u32::from(u16::MAX)];
        for family in nobody {
            dispatch.hand_on(&record(family, 1));
        }
        // Too short for a header, and nothing that its family understands.
        dispatch.hand_on(&[1]);
        dispatch.hand_on(&record(1, 200));
        dispatch.hand_on(&record(1, 3));
        assert_eq!(first.take(), [3]);
        let recent = dispatch.recent;
        let counts = (recent.queued, recent.invalid, recent.undelivered);
        assert_eq!(counts, (1, 2, 4));
        assert_eq!(dispatch.handed_on(), 7);
        assert_eq!(dispatch.arrived()[0], 2, "decoded or not");
    }

    #[test]
    fn a_family_that_takes_nothing_loses_its_own_records_and_no_others() {
        let (mut dispatch, first, second) = two();
        for body in 0..5 {
            dispatch.hand_on(&record(2, body));
            dispatch.hand_on(&record(1, body));
        }
        assert_eq!(dispatch.recent.undelivered, 3, "room for two");
        assert_eq!(first.take().len(), 5);
        assert_eq!(second.take(), ["0", "1"]);
        dispatch.hand_on(&record(2, 9));
        assert_eq!(second.take(), ["9"], "there is room again");
    }

    #[test]
    fn what_became_of_records_is_published_once() {
        let (mut dispatch, _first, _second) = two();
        dispatch.hand_on(&record(1, 1));
        dispatch.hand_on(&record(1, 200));
        dispatch.hand_on(&record(9, 1));
        let metrics = crate::metrics::Metrics::default();
        assert_eq!(dispatch.publish(&metrics), 3 * (HEADER + 1));
        assert_eq!(dispatch.publish(&metrics), 0);
        let counts = [
            &metrics.record_decoded_total,
            &metrics.record_dropped_invalid_total,
            &metrics.record_dropped_undelivered_total,
        ];
        assert_eq!(counts.map(crate::metrics::Counter::get), [1, 1, 1]);
    }
}
