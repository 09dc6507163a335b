//! Bytes whose place is known: every shift, loss, doubling and change is seen.

use std::io::{self, Read, Write};
use std::sync::OnceLock;

/// Length of the repeated pattern: a prime, so that no power-of-two shift maps it onto itself.
const PERIOD: usize = 65_521;

/// Most bytes handed to one `write`.
const CALL: usize = 8 * 1024 * 1024;

/// Most bytes taken from one `read`.
const PIECE: usize = 64 * 1024;

fn pattern() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        // Twice the period: a piece may start anywhere within the first.
        (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[5]
            })
            .collect::<Vec<u8>>()
            .repeat(3)
    })
}

/// The `length` pattern bytes at `offset`; at most 64 KiB.
fn piece(offset: u64, length: usize) -> &'static [u8] {
    let period = u64::try_from(PERIOD).expect("a small constant fits");
    let begin = usize::try_from(offset % period).expect("less than the period");
    &pattern()[begin..begin + length]
}

/// Length of the next piece when `left` bytes remain.
fn next_length(left: u64) -> usize {
    usize::try_from(left).unwrap_or(PIECE).min(PIECE)
}

/// Writes the first `total` pattern bytes, in one call as long as that is reasonable.
///
/// Each call may end in a segment that is not full, so calls would show in frame sizes.
///
/// # Errors
/// Those of the writer.
pub fn write_bytes(to: &mut impl Write, total: u64) -> io::Result<()> {
    let mut done = 0;
    let mut bytes = Vec::new();
    while done < total {
        bytes.clear();
        while done < total && bytes.len() < CALL {
            bytes.extend_from_slice(piece(done, next_length(total - done)));
            done = done.saturating_add(PIECE as u64).min(total);
        }
        to.write_all(&bytes)?;
    }
    Ok(())
}

/// Reads `total` bytes and compares each with the pattern; counts them in `received` as they come.
///
/// # Errors
/// Those of the reader; `UnexpectedEof` when it ends early; `InvalidData` at the first wrong byte.
pub fn read_bytes(from: &mut impl Read, total: u64, received: &mut u64) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    while done < total {
        let read = from.read(&mut buffer[..next_length(total - done)])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *received += read as u64;
        if buffer[..read] != *piece(done, read) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("wrong byte within {read} bytes after {done}"),
            ));
        }
        done += read as u64;
    }
    Ok(())
}

/// How the connection ends, as the client's header asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEnd {
    /// The server reads on until the client ends.
    Stay,
    /// The server closes after its answer.
    Close,
    /// The server resets after its answer and one more byte from the client.
    Reset,
}

/// What a client wants next on a connection; precedes each exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pattern bytes that follow from the client.
    pub up: u64,
    /// Pattern bytes that the server answers.
    pub down: u64,
    /// What the server does afterwards.
    pub end: ServerEnd,
}

impl Header {
    /// Bytes of one header on the wire.
    pub const LENGTH: usize = 24;
    const MAGIC: [u8; 4] = *b"WBLh";

    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&Self::MAGIC);
        bytes[4] = match self.end {
            ServerEnd::Stay => 0,
            ServerEnd::Close => 1,
            ServerEnd::Reset => 2,
        };
        bytes[8..16].copy_from_slice(&self.up.to_le_bytes());
        bytes[16..].copy_from_slice(&self.down.to_le_bytes());
        bytes
    }

    /// Reads the header in `bytes`, if it is one.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Option<Self> {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        if bytes[..4] != Self::MAGIC {
            return None;
        }
        let end = match bytes[4] {
            0 => ServerEnd::Stay,
            1 => ServerEnd::Close,
            2 => ServerEnd::Reset,
            _ => return None,
        };
        Some(Self {
            up: number(8),
            down: number(16),
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_counted() {
        let mut bytes = Vec::new();
        write_bytes(&mut bytes, 300_001).unwrap();
        let mut received = 0;
        read_bytes(&mut bytes.as_slice(), 300_001, &mut received).unwrap();
        assert_eq!(received, 300_001);
    }

    #[test]
    fn a_lost_byte_in_the_middle_is_seen() {
        let mut bytes = Vec::new();
        write_bytes(&mut bytes, 200_000).unwrap();
        bytes.remove(100_000);
        let error = read_bytes(&mut bytes.as_slice(), 199_999, &mut 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_early_end_is_not_taken_for_success() {
        let mut received = 0;
        let error = read_bytes(&mut [pattern()[0]].as_slice(), 2, &mut received).unwrap_err();
        assert_eq!((error.kind(), received), (io::ErrorKind::UnexpectedEof, 1));
    }

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header {
            up: 7,
            down: u64::MAX,
            end: ServerEnd::Reset,
        };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!(Header::decode(&[0; Header::LENGTH]), None);
    }
}
