//! How programs of any family are loaded and heard, and how connections are marked.

/// How this host's connections get their waybill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No option is written.
    Observe,
    /// The kernel's TCP stack writes the option on the handshake ACK.
    Sockops,
    /// A packet filter copies the handshake ACK, and the copy carries the option.
    TcClone,
}

impl Mode {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Sockops => "sockops",
            Self::TcClone => "tc-clone",
        }
    }
}

/// How records come from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One buffer per CPU, read through perf events.
    PerfBuffer,
    /// One ring shared by all CPUs.
    RingBuffer,
}

impl Transport {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfBuffer => "perf buffer",
            Self::RingBuffer => "ring buffer",
        }
    }
}

/// What the programs are fitted to the kernel by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// The kernel's own type information.
    Kernel,
    /// A pack, by the name of its file.
    Pack(String),
}
