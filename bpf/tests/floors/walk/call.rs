//! Calls: what a helper reads and fills.

use super::value::{Bytes, Range, Value};
use super::{Marks, Path, Walk};
use crate::elf::Reference;
use crate::instruction::Call;
use crate::kernel::STACK_BYTES;
use crate::table::{Answer, Argument, Helper};

/// Registers that pass arguments.
const ARGUMENTS: std::ops::RangeInclusive<u8> = 1..=5;

impl Walk<'_> {
    pub(super) fn call(&mut self, path: &mut Path, at: usize, call: Call) {
        let floors = self.floors;
        let foreign = matches!(self.code.references.get(&at), Some(Reference::Kernel(_)));
        let helper = match call {
            Call::Helper(number) if !foreign => floors.helper(number),
            _ => None,
        };
        let answer = match helper {
            Some(helper) => self.helper(path, at, helper),
            None => {
                self.function(path);
                Value::Unknown
            }
        };
        self.forget_arguments(path);
        self.write(path, 0, answer);
    }

    pub(super) fn forget_arguments(&mut self, path: &mut Path) {
        for register in ARGUMENTS {
            self.write(path, register, Value::Unset);
        }
    }

    /// A function may read and fill all it gets the address of; it is walked on its own.
    fn function(&mut self, path: &mut Path) {
        self.mark_read(path, Marks::stack(Bytes::all()));
        for register in ARGUMENTS {
            if let Value::Stack { low, .. } = self.read(path, register)
                && let Some(start) = self.stack_place(low)
            {
                let above = Bytes::from(start, STACK_BYTES - start);
                path.state.written = path.state.written.with(&above);
            }
        }
    }

    fn helper(&mut self, path: &mut Path, at: usize, helper: &Helper) -> Value {
        let mut map = None;
        let arguments: Vec<_> = ARGUMENTS.zip(&helper.args).collect();
        for (register, argument) in arguments {
            let value = self.read(path, register);
            let key = map.and_then(|map: usize| self.object.maps.get(map));
            let key = key.map(|map| (map.key_bytes, map.value_bytes));
            match (argument, value) {
                (Argument::Any, _) => {}
                (Argument::Map, Value::Map(index)) => map = Some(index),
                (Argument::Map, _) => {}
                (Argument::Key, _) => {
                    let bytes = key.map_or(0, |(key, _)| key);
                    self.key(path, at, value, bytes, helper);
                }
                (Argument::Value, _) => {
                    let bytes = key.map_or(0, |(_, value)| value);
                    self.key(path, at, value, bytes, helper);
                }
                (Argument::Memory, _) => {
                    let size = self.size(path, register + 1);
                    self.memory(path, at, value, size, helper);
                }
                (Argument::Fill, _) => {
                    let size = self.size(path, register + 1);
                    self.fill(path, at, value, size, helper);
                }
            }
        }
        match (helper.gives, map) {
            (Answer::Number, _) => Value::ANY_NUMBER,
            (Answer::Value, Some(map)) => {
                self.ids += 1;
                Value::EntryOrNull { map, id: self.ids }
            }
            _ => Value::Unknown,
        }
    }

    fn size(&mut self, path: &Path, register: u8) -> Range {
        match self.read(path, register) {
            Value::Number(range) => range,
            _ => Range::FULL,
        }
    }

    /// A key or a value of a map.
    fn key(&mut self, path: &mut Path, at: usize, value: Value, bytes: u32, helper: &Helper) {
        if let Value::Entry { .. } = value {
            let what = format!("gives bpf_{}() an address in a value of a map", helper.name);
            self.note("value-as-key", at, what);
        }
        self.memory(path, at, value, Range::exactly(u64::from(bytes)), helper);
    }

    fn memory(&mut self, path: &mut Path, at: usize, value: Value, size: Range, helper: &Helper) {
        let Some(most) = self.most(at, value, size, helper) else {
            return;
        };
        let does = format!("gives bpf_{}()", helper.name);
        match value {
            Value::Stack { low, high } => {
                if low != high {
                    let what = format!("{does} an address of the stack that varies");
                    self.note("variable-stack-for-helper", at, what);
                }
                let reach = usize::try_from(high.saturating_sub(low)).unwrap_or(STACK_BYTES);
                if let Some(start) = self.stack_place(low) {
                    self.has_pointer(path, at, start, most, &does);
                    let bytes = most.saturating_add(reach);
                    self.read_stack(path, at, start, bytes, &does);
                    let shown = Bytes::from(start, bytes);
                    path.state.shown = path.state.shown.with(&shown);
                }
            }
            Value::Entry { .. } => self.check_value(at, value, 0, most),
            _ => {}
        }
    }

    fn fill(&mut self, path: &mut Path, at: usize, value: Value, size: Range, helper: &Helper) {
        let constant = size.constant().and_then(|size| usize::try_from(size).ok());
        match (value, constant) {
            (Value::Stack { low, high }, Some(bytes)) if low == high => {
                self.store_stack(path, low, bytes, None);
            }
            // It may fill a part only, so all of it must be there before.
            _ => self.memory(path, at, value, size, helper),
        }
    }

    /// The greatest size, where old verifiers can bound it.
    fn most(&mut self, at: usize, value: Value, size: Range, helper: &Helper) -> Option<usize> {
        let limit = match value {
            Value::Stack { .. } => STACK_BYTES,
            Value::Entry { map, .. } => {
                let bytes = self.object.maps.get(map)?.value_bytes;
                usize::try_from(bytes).ok()?
            }
            _ => return None,
        };
        let most = usize::try_from(size.max).unwrap_or(usize::MAX);
        if most > limit {
            let what = format!(
                "gives bpf_{}() up to {most:#x} bytes, as old verifiers bound it, of {limit:#x}",
                helper.name
            );
            self.note(size.shape("memory-size"), at, what);
            return None;
        }
        Some(most)
    }

    /// A struct that holds a pointer of a kind that the verifier follows.
    fn has_pointer(&mut self, path: &Path, at: usize, start: usize, bytes: usize, does: &str) {
        let words = start / 8..(start + bytes).div_ceil(8);
        let mut held = path.state.spilled.range(words).map(|(_, value)| value);
        if held.any(|value| *value != Value::Unknown) {
            let what = format!("{does} memory that holds a pointer");
            self.note("pointer-in-memory", at, what);
        }
    }
}
