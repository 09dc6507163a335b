//! Where paths part: what each of them knows.

use super::value::{Lost, Range, Value};
use super::{Path, State, Walk};
use crate::graph;
use crate::instruction::{Comparison, Operand, Operation};

impl Walk<'_> {
    /// Follows a jump; the other way, if there is one, waits. False when there is none.
    pub(super) fn branch(&mut self, path: &mut Path, at: usize, operation: Operation) -> bool {
        let targets = graph::successors(self.code, at);
        let [next, target] = targets[..] else {
            // A plain jump.
            let Some(to) = targets.first() else {
                return false;
            };
            path.at = *to;
            return true;
        };
        let Operation::Compare {
            wide,
            how,
            left,
            right,
            ..
        } = operation
        else {
            let mut other = path.clone();
            other.at = target;
            self.pending.push(other);
            path.at = next;
            return true;
        };
        let left_value = self.read(path, left);
        let right_value = self.operand(path, right);
        let decided = self.decided(wide, how, left_value, right_value, right);
        let mut taken = path.clone();
        taken.at = target;
        path.at = next;
        if let (Value::EntryOrNull { map, id }, true) =
            (left_value, is_null_check(wide, how, right))
        {
            let (null, there) = match how {
                Comparison::Equal => (&mut taken.state, &mut path.state),
                _ => (&mut path.state, &mut taken.state),
            };
            null.settle(id, Value::Number(Range::exactly(0)));
            there.settle(
                id,
                Value::Entry {
                    map,
                    low: 0,
                    high: 0,
                    lost: Lost::No,
                },
            );
        } else if wide {
            refine(
                &mut taken.state,
                &mut path.state,
                how,
                left,
                left_value,
                right_value,
            );
            if let Operand::Register(right) = right {
                let mirrored = mirror(how);
                refine(
                    &mut taken.state,
                    &mut path.state,
                    mirrored,
                    right,
                    right_value,
                    left_value,
                );
            }
        }
        match decided {
            Some(true) => *path = taken,
            Some(false) => {}
            None => self.pending.push(taken),
        }
        true
    }

    /// Which way a verifier knows that it goes: before 4.20 only for an equal constant.
    fn decided(
        &self,
        wide: bool,
        how: Comparison,
        left: Value,
        right: Value,
        operand: Operand,
    ) -> Option<bool> {
        let (Value::Number(left), Value::Number(right)) = (left, right) else {
            return None;
        };
        if !wide {
            return None;
        }
        let constants = left.constant().zip(right.constant());
        let equal = constants.is_some_and(|(left, right)| left == right);
        match how {
            Comparison::Equal if equal && matches!(operand, Operand::Constant(_)) => Some(true),
            Comparison::NotEqual if equal && matches!(operand, Operand::Constant(_)) => Some(false),
            _ if !self.decides => None,
            Comparison::Equal if constants.is_some() => Some(equal),
            Comparison::NotEqual if constants.is_some() => Some(!equal),
            Comparison::Greater => ordered(left.min > right.max, left.max <= right.min),
            Comparison::GreaterOrEqual => ordered(left.min >= right.max, left.max < right.min),
            Comparison::Less => ordered(left.max < right.min, left.min >= right.max),
            Comparison::LessOrEqual => ordered(left.max <= right.min, left.min > right.max),
            _ => None,
        }
    }
}

fn ordered(always: bool, never: bool) -> Option<bool> {
    match (always, never) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn is_null_check(wide: bool, how: Comparison, right: Operand) -> bool {
    wide && right == Operand::Constant(0) && matches!(how, Comparison::Equal | Comparison::NotEqual)
}

/// The same comparison with its sides exchanged.
fn mirror(how: Comparison) -> Comparison {
    match how {
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        same => same,
    }
}

/// What a comparison with a constant tells of a register, each way (`reg_set_min_max()`).
fn refine(
    taken: &mut State,
    passed: &mut State,
    how: Comparison,
    register: u8,
    value: Value,
    with: Value,
) {
    let (Value::Number(range), Value::Number(with)) = (value, with) else {
        return;
    };
    let Some(limit) = with.constant() else {
        return;
    };
    let at_most = |most: u64| Range {
        max: range.max.min(most),
        ..range
    };
    let at_least = |least: u64| Range {
        min: range.min.max(least),
        ..range
    };
    let (yes, no) = match how {
        Comparison::Equal => (Range::exactly(limit), range),
        Comparison::NotEqual => (range, Range::exactly(limit)),
        Comparison::Greater => (at_least(limit.saturating_add(1)), at_most(limit)),
        Comparison::GreaterOrEqual => (at_least(limit), at_most(limit.saturating_sub(1))),
        Comparison::Less => (at_most(limit.saturating_sub(1)), at_least(limit)),
        Comparison::LessOrEqual => (at_most(limit), at_least(limit.saturating_add(1))),
        Comparison::Bits | Comparison::Signed => return,
    };
    let index = usize::from(register);
    taken.registers[index] = Value::Number(yes);
    passed.registers[index] = Value::Number(no);
}

impl State {
    /// Tells all copies of a lookup's answer what it is.
    fn settle(&mut self, answer: u32, is: Value) {
        let all = self.registers.iter_mut().chain(self.spilled.values_mut());
        for value in all {
            if matches!(value, Value::EntryOrNull { id, .. } if *id == answer) {
                *value = is;
            }
        }
    }
}
