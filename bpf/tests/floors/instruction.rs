//! Decodes instructions (Documentation/bpf/standardization/instruction-set.rst).

/// One slot of eight bytes. The second slot of a 64-bit constant is a slot, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) to: u8,
    pub(crate) from: u8,
    pub(crate) offset: i16,
    pub(crate) imm: i32,
}

/// The right side of an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operand {
    Register(u8),
    Constant(i32),
}

/// Arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    And,
    Or,
    ShiftLeft,
    ShiftRight,
    Move,
    /// Division, remainder, exclusive or, negation, arithmetic shift.
    Other,
}

/// Comparisons, unsigned unless said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Any bit in common.
    Bits,
    Signed,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Helper(i32),
    /// A function of this object, so many instructions behind the next one.
    Function(i32),
    /// A function of the kernel, by its BTF id.
    Kernel,
    /// The function whose address is in a register.
    Register,
}

/// What an instruction does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operation {
    Compute {
        wide: bool,
        what: Arithmetic,
        to: u8,
        with: Operand,
    },
    /// Byte order.
    Swap {
        to: u8,
    },
    Load {
        to: u8,
        base: u8,
        offset: i16,
        bytes: u8,
    },
    Store {
        base: u8,
        offset: i16,
        bytes: u8,
        value: Operand,
    },
    /// On memory, at once.
    Atomic {
        base: u8,
        offset: i16,
        bytes: u8,
        fetch: Option<u8>,
    },
    /// A 64-bit constant or address.
    Constant {
        to: u8,
        low: i32,
    },
    /// `LD_ABS` and `LD_IND`: a packet's bytes into register 0.
    Packet,
    Compare {
        wide: bool,
        how: Comparison,
        left: u8,
        right: Operand,
        offset: i16,
    },
    Jump {
        offset: i32,
    },
    /// Either way, as the kernel likes.
    MayJump {
        offset: i16,
    },
    Call(Call),
    Exit,
    Unknown,
}

const CLASS_LOAD: u8 = 0;
const CLASS_LOAD_REGISTER: u8 = 1;
const CLASS_STORE: u8 = 2;
const CLASS_STORE_REGISTER: u8 = 3;
const CLASS_COMPUTE: u8 = 4;
const CLASS_JUMP: u8 = 5;
const CLASS_JUMP32: u8 = 6;
const CLASS_COMPUTE64: u8 = 7;
/// Bit of the operand: a register.
const FROM_REGISTER: u8 = 8;
const MODE: u8 = 0xe0;
const MODE_MEMORY: u8 = 0x60;
const MODE_SIGNED: u8 = 0x80;
const MODE_ATOMIC: u8 = 0xc0;
/// `BPF_LD | BPF_DW | BPF_IMM`.
pub(crate) const CONSTANT: u8 = 0x18;
const ATOMIC_FETCH: i32 = 1;
const ATOMIC_EXCHANGE: i32 = 0xe0;
const ATOMIC_COMPARE: i32 = 0xf0;
const ATOMIC_LOAD: i32 = 0x100;
const ATOMIC_STORE: i32 = 0x110;

impl Instruction {
    /// All slots of a function.
    pub(crate) fn decode_all(bytes: &[u8]) -> Vec<Self> {
        let (slots, _) = bytes.as_chunks::<8>();
        slots
            .iter()
            .map(|b| Self {
                code: b[0],
                to: b[1] & 0xf,
                from: b[1] >> 4,
                offset: i16::from_le_bytes([b[2], b[3]]),
                imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            })
            .collect()
    }

    /// What it does.
    pub(crate) fn operation(&self) -> Operation {
        match self.code & 7 {
            CLASS_LOAD => match self.code {
                CONSTANT => Operation::Constant {
                    to: self.to,
                    low: self.imm,
                },
                _ => Operation::Packet,
            },
            CLASS_LOAD_REGISTER => Operation::Load {
                to: self.to,
                base: self.from,
                offset: self.offset,
                bytes: self.bytes(),
            },
            CLASS_STORE => self.store(Operand::Constant(self.imm)),
            CLASS_STORE_REGISTER if self.code & MODE == MODE_ATOMIC => self.atomic(),
            CLASS_STORE_REGISTER => self.store(Operand::Register(self.from)),
            CLASS_JUMP => self.jump(true),
            CLASS_JUMP32 => self.jump(false),
            CLASS_COMPUTE => self.compute(false),
            _ => self.compute(true),
        }
    }

    /// Slots it takes.
    pub(crate) fn length(&self) -> usize {
        if self.code == CONSTANT { 2 } else { 1 }
    }

    /// The class of instructions in `bpf/floors.toml` that it belongs to, unless every kernel
    /// with `bpf(2)` has it.
    pub(crate) fn class(&self) -> Option<&'static str> {
        match self.code & 7 {
            CLASS_LOAD_REGISTER => (self.code & MODE == MODE_SIGNED).then_some("signed-load"),
            CLASS_STORE_REGISTER if self.code & MODE == MODE_ATOMIC => match self.imm {
                0 => None,
                ATOMIC_LOAD | ATOMIC_STORE => Some("ordered-atomic"),
                _ => Some("atomic"),
            },
            CLASS_JUMP if self.code == 0x85 && self.from == 1 => Some("function-call"),
            CLASS_JUMP => match self.code & 0xf0 {
                0xa0..=0xd0 => Some("less-than"),
                0xe0 => Some("may-goto"),
                _ => None,
            },
            CLASS_JUMP32 if self.code == 0x06 => Some("long-jump"),
            CLASS_JUMP32 => Some("jump32"),
            CLASS_COMPUTE | CLASS_COMPUTE64 => match self.code & 0xf0 {
                0xb0 if self.offset != 0 => Some("signed-move"),
                0x30 | 0x90 if self.offset != 0 => Some("signed-division"),
                0xd0 if self.code & 7 == CLASS_COMPUTE64 => Some("byte-swap"),
                _ => None,
            },
            _ => None,
        }
    }

    fn bytes(&self) -> u8 {
        match self.code & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        }
    }

    fn operand(&self) -> Operand {
        match self.code & FROM_REGISTER {
            0 => Operand::Constant(self.imm),
            _ => Operand::Register(self.from),
        }
    }

    fn store(&self, value: Operand) -> Operation {
        if self.code & MODE != MODE_MEMORY {
            return Operation::Unknown;
        }
        Operation::Store {
            base: self.to,
            offset: self.offset,
            bytes: self.bytes(),
            value,
        }
    }

    fn atomic(&self) -> Operation {
        let fetch = match self.imm {
            ATOMIC_COMPARE | 0xf1 => Some(0),
            ATOMIC_LOAD => Some(self.to),
            ATOMIC_STORE => None,
            imm if imm & ATOMIC_FETCH != 0 || imm & MODE_EXCHANGE == ATOMIC_EXCHANGE => {
                Some(self.from)
            }
            _ => None,
        };
        let base = if self.imm == ATOMIC_LOAD {
            self.from
        } else {
            self.to
        };
        Operation::Atomic {
            base,
            offset: self.offset,
            bytes: self.bytes(),
            fetch,
        }
    }

    fn compute(&self, wide: bool) -> Operation {
        let what = match self.code & 0xf0 {
            0x00 => Arithmetic::Add,
            0x10 => Arithmetic::Subtract,
            0x20 => Arithmetic::Multiply,
            0x40 => Arithmetic::Or,
            0x50 => Arithmetic::And,
            0x60 => Arithmetic::ShiftLeft,
            0x70 => Arithmetic::ShiftRight,
            0xb0 if self.offset == 0 => Arithmetic::Move,
            0x30 | 0x80 | 0x90 | 0xa0 | 0xb0 | 0xc0 => Arithmetic::Other,
            0xd0 => return Operation::Swap { to: self.to },
            _ => return Operation::Unknown,
        };
        Operation::Compute {
            wide,
            what,
            to: self.to,
            with: self.operand(),
        }
    }

    fn jump(&self, wide: bool) -> Operation {
        let how = match self.code & 0xf0 {
            0x00 if wide => {
                return Operation::Jump {
                    offset: i32::from(self.offset),
                };
            }
            0x00 => return Operation::Jump { offset: self.imm },
            0x10 => Comparison::Equal,
            0x20 => Comparison::Greater,
            0x30 => Comparison::GreaterOrEqual,
            0x40 => Comparison::Bits,
            0x50 => Comparison::NotEqual,
            0x60 | 0x70 | 0xc0 | 0xd0 => Comparison::Signed,
            0xa0 => Comparison::Less,
            0xb0 => Comparison::LessOrEqual,
            0x80 if wide => return Operation::Call(self.call()),
            0x90 if wide => return Operation::Exit,
            0xe0 if wide => {
                return Operation::MayJump {
                    offset: self.offset,
                };
            }
            _ => return Operation::Unknown,
        };
        Operation::Compare {
            wide,
            how,
            left: self.to,
            right: self.operand(),
            offset: self.offset,
        }
    }

    fn call(&self) -> Call {
        match (self.code & FROM_REGISTER, self.from) {
            (FROM_REGISTER, _) => Call::Register,
            (_, 0) => Call::Helper(self.imm),
            (_, 1) => Call::Function(self.imm),
            _ => Call::Kernel,
        }
    }
}

const MODE_EXCHANGE: i32 = 0xf0;
