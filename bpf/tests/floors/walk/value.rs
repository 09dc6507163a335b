//! What is known of a register, and sets of bytes of the stack.

use std::collections::HashMap;

use crate::instruction::Arithmetic;
use crate::kernel::STACK_BYTES;

/// Unsigned bounds, as the verifier of 4.14 keeps them. A branch that cannot be taken may leave
/// `min` above `max`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Range {
    pub(super) min: u64,
    pub(super) max: u64,
    pub(super) lost: Lost,
}

/// Where verifiers forget what they knew of a number. The later, the newer are those that do.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Lost {
    No,
    /// On the stack.
    OnStack,
    /// On the stack, where a helper read it.
    ByHelper,
}

/// What is in a register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Value {
    /// Nothing yet.
    Unset,
    /// A pointer of another kind, or not followed.
    Unknown,
    Number(Range),
    /// The context, so many bytes behind its begin.
    Context(i64),
    /// An address on the stack, counted from its top.
    Stack {
        low: i64,
        high: i64,
    },
    /// An address in the packet; `reach` is what was added that is no constant, at most.
    Packet {
        reach: u64,
    },
    PacketEnd,
    Map(usize),
    /// An address in a map's value.
    Entry {
        map: usize,
        low: i64,
        high: i64,
        lost: Lost,
    },
    /// The answer of a lookup that nobody looked at yet.
    EntryOrNull {
        map: usize,
        id: u32,
    },
}

impl Range {
    pub(super) const FULL: Self = Self {
        min: 0,
        max: u64::MAX,
        lost: Lost::No,
    };

    pub(super) const fn exactly(value: u64) -> Self {
        Self {
            min: value,
            max: value,
            lost: Lost::No,
        }
    }

    const fn up_to(max: u64) -> Self {
        Self {
            min: 0,
            max,
            lost: Lost::No,
        }
    }

    /// The shape to report when these bounds are too wide, which else is `shape`.
    pub(super) fn shape(self, shape: &'static str) -> &'static str {
        match self.lost {
            Lost::No => shape,
            Lost::OnStack => "spilled-number",
            Lost::ByHelper => "shown-number",
        }
    }

    /// A constant of an instruction, which the kernel extends with its sign.
    pub(super) fn constant_of(imm: i32) -> Self {
        Self::exactly(i64::from(imm).cast_unsigned())
    }

    /// What a load of so many bytes gives.
    pub(super) fn of_bytes(bytes: u8) -> Self {
        match bytes {
            1 => Self::up_to(0xff),
            2 => Self::up_to(0xffff),
            4 => Self::up_to(u64::from(u32::MAX)),
            _ => Self::FULL,
        }
    }

    pub(super) fn constant(self) -> Option<u64> {
        (self.min == self.max).then_some(self.min)
    }

    /// The lower half, zero-extended.
    pub(super) fn narrow(self) -> Self {
        let most = u64::from(u32::MAX);
        match self.constant() {
            Some(value) => Self::exactly(value & most),
            None if self.max <= most => self,
            None => Self {
                min: 0,
                max: most,
                ..self
            },
        }
    }

    pub(super) fn covers(self, other: Self) -> bool {
        self.min <= other.min && self.max >= other.max && self.lost >= other.lost
    }

    /// `adjust_scalar_min_max_vals()` of 4.14.
    pub(super) fn compute(self, what: Arithmetic, right: Self) -> Self {
        if let (Some(left), Some(right)) = (self.constant(), right.constant()) {
            return constants(what, left, right).map_or(Self::FULL, Self::exactly);
        }
        Self {
            lost: self.lost.max(right.lost),
            ..self.bounds(what, right).unwrap_or(Self::FULL)
        }
    }

    fn bounds(self, what: Arithmetic, right: Self) -> Option<Self> {
        let shift = u32::try_from(right.constant().unwrap_or(64)).unwrap_or(64);
        let (min, max) = match what {
            Arithmetic::Add => (
                self.min.checked_add(right.min)?,
                self.max.checked_add(right.max)?,
            ),
            Arithmetic::Subtract => (
                self.min.checked_sub(right.max)?,
                self.max.checked_sub(right.min)?,
            ),
            Arithmetic::Multiply => {
                let fits = |value: u64| value <= u64::from(u32::MAX);
                (fits(self.max) && fits(right.max)).then_some(())?;
                (
                    self.min.checked_mul(right.min)?,
                    self.max.checked_mul(right.max)?,
                )
            }
            Arithmetic::And => (0, self.max.min(right.max)),
            Arithmetic::Or => (
                self.min.max(right.min),
                u64::MAX
                    .checked_shr((self.max | right.max).leading_zeros())
                    .unwrap_or(0),
            ),
            Arithmetic::ShiftLeft => {
                (shift < 64 && self.max <= 1_u64 << (63 - shift)).then_some(())?;
                (self.min << shift, self.max << shift)
            }
            Arithmetic::ShiftRight => (self.min.checked_shr(shift)?, self.max.checked_shr(shift)?),
            Arithmetic::Move => (right.min, right.max),
            Arithmetic::Other => return None,
        };
        Some(Self {
            min,
            max,
            lost: Lost::No,
        })
    }
}

fn constants(what: Arithmetic, left: u64, right: u64) -> Option<u64> {
    let shift = u32::try_from(right).ok();
    match what {
        Arithmetic::Add => Some(left.wrapping_add(right)),
        Arithmetic::Subtract => Some(left.wrapping_sub(right)),
        Arithmetic::Multiply => Some(left.wrapping_mul(right)),
        Arithmetic::And => Some(left & right),
        Arithmetic::Or => Some(left | right),
        Arithmetic::ShiftLeft => left.checked_shl(shift?),
        Arithmetic::ShiftRight => left.checked_shr(shift?),
        Arithmetic::Move => Some(right),
        Arithmetic::Other => None,
    }
}

impl Value {
    pub(super) const ANY_NUMBER: Self = Self::Number(Range::FULL);

    /// Whether what is right for this is right for `other`; `ids` says which answers of lookups
    /// are the same ones.
    pub(super) fn covers(&self, other: &Self, ids: &mut HashMap<u32, u32>) -> bool {
        match (self, other) {
            // It was never read, or the kernel refused it.
            (Self::Unset, _) => true,
            (Self::Number(own), Self::Number(others)) => own.covers(*others),
            (Self::Packet { reach: own }, Self::Packet { reach: others }) => own >= others,
            (
                Self::Entry {
                    map,
                    low,
                    high,
                    lost,
                },
                Self::Entry {
                    map: other_map,
                    low: other_low,
                    high: other_high,
                    lost: others,
                },
            ) => {
                let within = low <= other_low && high >= other_high;
                map == other_map && within && lost >= others
            }
            (
                Self::EntryOrNull { map, id },
                Self::EntryOrNull {
                    map: other_map,
                    id: other_id,
                },
            ) => map == other_map && ids.entry(*id).or_insert(*other_id) == other_id,
            _ => self == other,
        }
    }

    /// A number that comes from the stack.
    pub(super) fn losing(self, lost: Lost) -> Self {
        match self {
            Self::Number(range) => Self::Number(Range { lost, ..range }),
            other => other,
        }
    }

    /// Pointers that the verifier remembers on the stack.
    pub(super) fn is_pointer(&self) -> bool {
        !matches!(self, Self::Unset | Self::Number(_))
    }
}

/// A set of bytes of the stack; byte 0 is the lowest one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Bytes([u64; Self::PARTS]);

impl Bytes {
    const PARTS: usize = STACK_BYTES / 64;
    /// Places for a pointer.
    pub(super) const WORDS: usize = STACK_BYTES / 8;

    pub(super) fn all() -> Self {
        Self([u64::MAX; Self::PARTS])
    }

    /// `length` bytes from `start`; those beyond the end are left out.
    pub(super) fn from(start: usize, length: usize) -> Self {
        let mut bytes = Self::default();
        for byte in start..(start + length).min(STACK_BYTES) {
            bytes.0[byte / 64] |= 1 << (byte % 64);
        }
        bytes
    }

    pub(super) fn with(&self, other: &Self) -> Self {
        self.zip(other, |own, others| own | others)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        self.zip(other, |own, others| own & others)
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        self.zip(other, |own, others| own & !others)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|part| *part == 0)
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|part| part.count_ones()).sum()
    }

    pub(super) fn has_any(&self, start: usize, length: usize) -> bool {
        !self.and(&Self::from(start, length)).is_empty()
    }

    fn zip(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        let mut joined = *self;
        for (own, others) in joined.0.iter_mut().zip(other.0) {
            *own = join(*own, others);
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::{Arithmetic, Lost, Range};

    fn up_to(max: u64) -> Range {
        Range {
            max,
            ..Range::exactly(0)
        }
    }

    #[test]
    fn a_mask_bounds_whatever_was_there() {
        let masked = Range::FULL.compute(Arithmetic::And, Range::exactly(0x7f));
        assert_eq!(masked, up_to(0x7f));
    }

    #[test]
    fn a_subtraction_that_may_wrap_leaves_no_bounds() {
        let sixteen = Range::exactly(16);
        assert_eq!(
            up_to(60).compute(Arithmetic::Subtract, sixteen),
            Range::FULL
        );
        let constant = Range::constant_of(-16);
        assert_eq!(up_to(60).compute(Arithmetic::Add, constant), Range::FULL);
        let enough = Range {
            min: 20,
            ..up_to(60)
        };
        let less = enough.compute(Arithmetic::Subtract, sixteen);
        assert_eq!((less.min, less.max), (4, 44));
    }

    #[test]
    fn two_shifts_that_cut_to_32_bits_keep_small_bounds_and_bound_lost_ones() {
        let cut = |range: Range| {
            let by = Range::exactly(32);
            let up = range.compute(Arithmetic::ShiftLeft, by);
            up.compute(Arithmetic::ShiftRight, by)
        };
        assert_eq!(cut(up_to(60)), up_to(60));
        assert_eq!(cut(Range::FULL), up_to(u64::from(u32::MAX)));
    }

    #[test]
    fn what_was_lost_on_the_stack_stays_lost_until_it_is_masked_in_bounds() {
        let lost = Range {
            lost: Lost::ByHelper,
            ..Range::FULL
        };
        let sum = up_to(3).compute(Arithmetic::Add, lost);
        assert_eq!(sum.lost, Lost::ByHelper);
        let masked = sum.compute(Arithmetic::And, Range::exactly(7));
        assert_eq!(masked.max, 7);
        assert!(!up_to(7).covers(masked) && masked.covers(up_to(7)));
    }
}
