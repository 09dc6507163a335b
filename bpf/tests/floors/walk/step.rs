//! One instruction: registers and arithmetic.

use super::value::{Range, Value};
use super::{Marks, Path, Walk};
use crate::elf::Reference;
use crate::instruction::{Arithmetic, Operand, Operation};
use crate::relocation::Fitted;

/// `MAX_PACKET_OFF`: a packet pointer that may be further away is not compared with the end.
const PACKET_REACH: u64 = 0xffff;

impl Walk<'_> {
    /// Runs the instruction; false when the path ends with it.
    pub(super) fn step(&mut self, path: &mut Path) -> bool {
        let Some(slot) = self.code.slots.get(path.at).copied() else {
            return false;
        };
        let at = path.at;
        path.at += slot.length();
        match slot.operation() {
            Operation::Compute {
                wide,
                what,
                to,
                with,
            } => self.compute(path, at, (wide, what), to, with),
            Operation::Swap { to } => {
                self.read(path, to);
                self.write(path, to, Value::ANY_NUMBER);
            }
            Operation::Load {
                to,
                base,
                offset,
                bytes,
            } => {
                let base = self.read(path, base);
                let mut value = self.load(path, at, base, i64::from(offset), bytes);
                if slot.class().is_some() {
                    value = Value::ANY_NUMBER;
                }
                self.write(path, to, value);
            }
            Operation::Store {
                base,
                offset,
                bytes,
                value,
            } => {
                let stored = self.operand(path, value);
                let base = self.read(path, base);
                let is_constant = matches!(value, Operand::Constant(_));
                self.store(
                    path,
                    at,
                    base,
                    i64::from(offset),
                    bytes,
                    (stored, is_constant),
                );
            }
            Operation::Atomic {
                base,
                offset,
                bytes,
                fetch,
            } => {
                // The operand register is read even where nothing is fetched.
                self.read(path, slot.from);
                let base = self.read(path, base);
                self.atomic(path, at, base, i64::from(offset), bytes);
                if let Some(register) = fetch {
                    self.write(path, register, Value::ANY_NUMBER);
                }
            }
            Operation::Constant { to, low } => {
                let value = self.constant(at, low);
                self.write(path, to, value);
            }
            Operation::Packet => {
                self.read(path, 6);
                self.forget_arguments(path);
                self.write(path, 0, Value::ANY_NUMBER);
            }
            Operation::Compare { .. } | Operation::MayJump { .. } | Operation::Jump { .. } => {
                return self.branch(path, at, slot.operation());
            }
            Operation::Call(call) => self.call(path, at, call),
            Operation::Exit => {
                self.read(path, 0);
                return false;
            }
            Operation::Unknown => return false,
        }
        true
    }

    /// Whether the kernel is given an instruction that it refuses, in place of this one.
    pub(super) fn is_poisoned(&mut self, at: usize) -> bool {
        let Some(Fitted::Poisoned(field)) = self.fitted.get(&at) else {
            return false;
        };
        let what = format!("is reached though the kernel has no {field}");
        self.note("missing-field", at, what);
        true
    }

    pub(super) fn read(&mut self, path: &Path, register: u8) -> Value {
        self.mark_read(path, Marks::register(register));
        path.state
            .registers
            .get(usize::from(register))
            .copied()
            .unwrap_or(Value::Unknown)
    }

    pub(super) fn write(&mut self, path: &mut Path, register: u8, value: Value) {
        if let Some(own) = path.state.registers.get_mut(usize::from(register)) {
            *own = value;
            path.wrote = path.wrote.with(&Marks::register(register));
        }
    }

    pub(super) fn operand(&mut self, path: &Path, operand: Operand) -> Value {
        match operand {
            Operand::Register(register) => self.read(path, register),
            Operand::Constant(imm) => Value::Number(Range::constant_of(imm)),
        }
    }

    fn compute(
        &mut self,
        path: &mut Path,
        at: usize,
        (wide, what): (bool, Arithmetic),
        to: u8,
        with: Operand,
    ) {
        let mut right = self.operand(path, with);
        match self.fitted.get(&at) {
            Some(Fitted::Open) => right = Value::ANY_NUMBER,
            Some(Fitted::Answer(there)) => {
                right = Value::Number(Range::exactly(u64::from(*there)));
            }
            _ => {}
        }
        let value = if what == Arithmetic::Move {
            match right {
                Value::Number(range) if !wide => Value::Number(range.narrow()),
                _ if !wide => Value::Unknown,
                _ => right,
            }
        } else {
            let left = self.read(path, to);
            match (left, right) {
                (Value::Number(left), Value::Number(right)) if wide => {
                    Value::Number(left.compute(what, right))
                }
                (Value::Number(left), Value::Number(right)) => {
                    Value::Number(left.narrow().compute(what, right.narrow()).narrow())
                }
                // Whatever it was, a mask makes a number of it.
                (Value::Unknown, Value::Number(mask)) if what == Arithmetic::And => {
                    Value::Number(Range::FULL.compute(what, mask))
                }
                (left, right) if wide => self.move_pointer(at, what, left, right),
                _ => Value::Unknown,
            }
        };
        self.write(path, to, value);
    }

    /// Arithmetic in which at least one side is a pointer.
    fn move_pointer(&mut self, at: usize, what: Arithmetic, left: Value, right: Value) -> Value {
        let subtract = what == Arithmetic::Subtract;
        match (left, right) {
            _ if !subtract && what != Arithmetic::Add => Value::Unknown,
            (pointer, Value::Number(by)) => self.pointer_by(at, pointer, by, subtract),
            (Value::Number(by), pointer) if !subtract => self.pointer_by(at, pointer, by, false),
            _ if subtract => Value::ANY_NUMBER,
            _ => Value::Unknown,
        }
    }

    fn pointer_by(&mut self, at: usize, pointer: Value, by: Range, subtract: bool) -> Value {
        let constant = by.constant().map(u64::cast_signed);
        let constant = constant.map(|c| if subtract { c.saturating_neg() } else { c });
        let signed = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let (low, high) = match (constant, subtract) {
            (Some(constant), _) => (constant, constant),
            (None, false) => (signed(by.min), signed(by.max)),
            (None, true) => (-signed(by.max), -signed(by.min)),
        };
        match pointer {
            Value::Context(offset) if constant.is_some() => {
                Value::Context(offset.saturating_add(low))
            }
            Value::Stack { low: l, high: h } => Value::Stack {
                low: l.saturating_add(low),
                high: h.saturating_add(high),
            },
            Value::Entry {
                map,
                low: l,
                high: h,
                lost,
            } => Value::Entry {
                map,
                low: l.saturating_add(low),
                high: h.saturating_add(high),
                lost: lost.max(by.lost),
            },
            Value::Packet { reach } if constant.is_none() => {
                let reach = match subtract {
                    true => u64::MAX,
                    false => reach.saturating_add(by.max),
                };
                if reach > PACKET_REACH {
                    let shape = by.shape("packet-offset");
                    let what = format!(
                        "adds a number to a packet pointer that old verifiers bound by \
                         {reach:#x} and not by {PACKET_REACH:#x}"
                    );
                    self.note(shape, at, what);
                }
                Value::Packet { reach }
            }
            Value::Packet { reach } => Value::Packet { reach },
            _ => Value::Unknown,
        }
    }

    fn constant(&self, at: usize, low: i32) -> Value {
        match self.code.references.get(&at) {
            Some(Reference::Map(map)) => Value::Map(*map),
            Some(_) => Value::Unknown,
            None if self.fitted.get(&at) == Some(&Fitted::Open) => Value::ANY_NUMBER,
            None => {
                if let Some(Fitted::Answer(there)) = self.fitted.get(&at) {
                    return Value::Number(Range::exactly(u64::from(*there)));
                }
                let high = self.code.slots.get(at + 1).map_or(0, |slot| slot.imm);
                let half = |part: i32| u64::from(part.cast_unsigned());
                Value::Number(Range::exactly(half(low) | half(high) << 32))
            }
        }
    }
}
