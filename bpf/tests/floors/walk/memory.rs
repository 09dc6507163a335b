//! Loads and stores: stack, context, values of maps.

use super::value::{Bytes, Lost, Range, Value};
use super::{Marks, Path, Walk};
use crate::kernel::STACK_BYTES;

/// Bytes of a pointer, and of each place for one on the stack.
const POINTER: usize = 8;

impl Walk<'_> {
    pub(super) fn load(
        &mut self,
        path: &mut Path,
        at: usize,
        base: Value,
        offset: i64,
        bytes: u8,
    ) -> Value {
        let number = Value::Number(Range::of_bytes(bytes));
        match base {
            Value::Stack { low, high } if low == high => {
                self.load_stack(path, at, low + offset, bytes)
            }
            Value::Stack { .. } => {
                self.note(
                    "variable-stack",
                    at,
                    String::from("reads the stack by a number"),
                );
                self.mark_read(path, Marks::stack(Bytes::all()));
                number
            }
            Value::Context(moved) => self.load_context(at, moved, offset, bytes),
            Value::Entry { .. } => {
                self.check_value(at, base, offset, usize::from(bytes));
                number
            }
            Value::Unknown if usize::from(bytes) == POINTER => Value::Unknown,
            _ => number,
        }
    }

    pub(super) fn store(
        &mut self,
        path: &mut Path,
        at: usize,
        base: Value,
        offset: i64,
        bytes: u8,
        (value, is_constant): (Value, bool),
    ) {
        match base {
            Value::Stack { low, high } if low == high => {
                self.store_stack(path, low + offset, usize::from(bytes), Some(value));
            }
            Value::Stack { .. } => {
                self.note(
                    "variable-stack",
                    at,
                    String::from("writes the stack by a number"),
                );
            }
            Value::Context(moved) => {
                self.is_moved(at, moved);
                if is_constant {
                    let what = String::from("stores a constant into the context");
                    self.note("constant-into-context", at, what);
                }
                if bytes < 4 {
                    let what = format!("stores {bytes} bytes into the context");
                    self.note("narrow-into-context", at, what);
                }
            }
            Value::Entry { .. } => {
                self.check_value(at, base, offset, usize::from(bytes));
            }
            _ => {}
        }
    }

    pub(super) fn atomic(
        &mut self,
        path: &mut Path,
        at: usize,
        base: Value,
        offset: i64,
        bytes: u8,
    ) {
        let value = self.load(path, at, base, offset, bytes);
        match base {
            Value::Context(_) => {
                let what = String::from("an atomic instruction on the context");
                self.note("narrow-into-context", at, what);
            }
            Value::Stack { .. } => self.store(path, at, base, offset, bytes, (value, false)),
            _ => {}
        }
    }

    fn load_context(&mut self, at: usize, moved: i64, offset: i64, bytes: u8) -> Value {
        let number = Value::Number(Range::of_bytes(bytes));
        self.is_moved(at, moved);
        let Some(kind) = self.kind else {
            return number;
        };
        let field = self.floors.context(&kind.name, moved + offset);
        let Some(field) = field else {
            // Contexts without a table hold pointers of the kernel.
            return match usize::from(bytes) {
                POINTER => Value::Unknown,
                _ => number,
            };
        };
        let key = format!("context:{}.{}", kind.name, field.name);
        if !self.kernel.has(&key, &field.feature) {
            let what = format!(
                "reads {} of the context, which came with {} ({})",
                field.name, field.feature.since, field.feature.source
            );
            self.note("context-field", at, what);
        }
        match field.gives.as_deref() {
            Some("packet") => Value::Packet { reach: 0 },
            Some("packet_end") => Value::PacketEnd,
            Some(_) => Value::Unknown,
            None => number,
        }
    }

    fn is_moved(&mut self, at: usize, moved: i64) {
        if moved != 0 {
            let what = format!("reaches the context by a pointer {moved} bytes behind its begin");
            self.note("moved-context", at, what);
        }
    }

    /// Whether an address in a map's value is within it, as far as old verifiers can tell.
    pub(super) fn check_value(&mut self, at: usize, address: Value, offset: i64, bytes: usize) {
        let Value::Entry {
            map,
            low,
            high,
            lost,
        } = address
        else {
            return;
        };
        let Some(map) = self.object.maps.get(map) else {
            return;
        };
        let start = low.saturating_add(offset);
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let end = high.saturating_add(offset).saturating_add(bytes);
        if start >= 0 && end <= i64::from(map.value_bytes) {
            return;
        }
        let what = format!(
            "reaches bytes {start} to {end} of a value of {}, which has {}, as old verifiers \
             bound it",
            map.name, map.value_bytes
        );
        let range = Range {
            lost,
            ..Range::FULL
        };
        self.note(range.shape("value-offset"), at, what);
    }

    fn load_stack(&mut self, path: &mut Path, at: usize, place: i64, bytes: u8) -> Value {
        let number = Value::Number(Range::of_bytes(bytes));
        let bytes = usize::from(bytes);
        let Some(start) = self.stack_place(place) else {
            return number;
        };
        self.read_stack(path, at, start, bytes, "reads");
        match path.state.spilled.get(&(start / POINTER)) {
            Some(value) if bytes == POINTER && start.is_multiple_of(POINTER) => *value,
            _ if path.state.shown.has_any(start, bytes) => number.losing(Lost::ByHelper),
            _ => number.losing(Lost::OnStack),
        }
    }

    /// Reads bytes of the stack; those that this path never wrote are reported, once.
    pub(super) fn read_stack(
        &mut self,
        path: &mut Path,
        at: usize,
        start: usize,
        bytes: usize,
        does: &str,
    ) {
        let wanted = Bytes::from(start, bytes);
        self.mark_read(path, Marks::stack(wanted));
        let missing = wanted.without(&path.state.written);
        if missing.is_empty() {
            return;
        }
        let place = STACK_BYTES - start;
        let what = format!(
            "{does} {bytes} bytes at r10-{place}, and {} of them were not written on a way here",
            missing.count()
        );
        self.note("unset-bytes", at, what);
        path.state.written = path.state.written.with(&wanted);
    }

    /// Writes bytes of the stack; a pointer is remembered, a number is not (before 5.3).
    pub(super) fn store_stack(
        &mut self,
        path: &mut Path,
        place: i64,
        bytes: usize,
        value: Option<Value>,
    ) {
        let Some(start) = self.stack_place(place) else {
            return;
        };
        let mask = Bytes::from(start, bytes);
        for word in start / POINTER..(start + bytes).div_ceil(POINTER) {
            if path.state.spilled.remove(&word).is_some() {
                // What is left of a pointer is neither pointer nor number.
                let whole = Bytes::from(word * POINTER, POINTER);
                path.state.written = path.state.written.without(&whole);
            }
        }
        path.state.written = path.state.written.with(&mask);
        path.state.shown = path.state.shown.without(&mask);
        path.wrote.stack = path.wrote.stack.with(&mask);
        let whole = bytes == POINTER && start.is_multiple_of(POINTER);
        if let Some(pointer) = value.filter(|value| whole && value.is_pointer()) {
            path.state.spilled.insert(start / POINTER, pointer);
        }
    }

    /// Where on the stack, counted from its lowest byte; notes how deep it goes.
    pub(super) fn stack_place(&mut self, place: i64) -> Option<usize> {
        let below = usize::try_from(place.checked_neg()?).ok()?;
        self.depth = self.depth.max(below);
        STACK_BYTES.checked_sub(below)
    }
}
