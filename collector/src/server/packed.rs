//! Answers that wait packed until the other side takes them, and are sent as it can read them.

use std::io::{self, Read as _, Write};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::app::UNSENT;
use crate::api::Failure;
use crate::digest::hex;
use crate::meter::Exceeded;

/// Longest text of an answer, as long as `waybill-collector topology --url` reads.
const MAX_TEXT: usize = 512 << 20;
/// Bytes of a piece, about.
pub(super) const PIECE: usize = 64 << 10;
/// Bytes that each takes beside its packed text: to unpack it, and pieces on their way.
pub(super) const SENDING: usize = 512 << 10;
/// Logarithm of the bytes in which repetitions are found: what packing and unpacking hold.
const PACK_WINDOW: u32 = 17;

/// How an answer is packed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Zstd,
    Gzip,
    Plain,
}

impl Encoding {
    /// The best one that a request accepts.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut accepted = [None::<bool>; 2];
        let mut others = false;
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        for part in lines.flat_map(|line| line.split(',')) {
            let (name, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight.trim().strip_prefix("q=");
            let yes = weight.is_none_or(|q| q.trim().parse().is_ok_and(|q: f32| q > 0.0));
            match name.trim().to_ascii_lowercase().as_str() {
                "zstd" => accepted[0] = Some(yes),
                "gzip" | "x-gzip" => accepted[1] = Some(yes),
                "*" => others = yes,
                _ => {}
            }
        }
        match accepted.map(|named| named.unwrap_or(others)) {
            [true, _] => Self::Zstd,
            [false, true] => Self::Gzip,
            [false, false] => Self::Plain,
        }
    }

    /// The value of `Content-Encoding`.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
            Self::Plain => None,
        }
    }
}

/// A text, packed.
pub(super) struct Packed {
    bytes: Vec<u8>,
    /// Its entity tag: weak, for it is the same however the text is packed.
    pub(super) tag: String,
}

impl Packed {
    /// # Errors
    /// Those of `write`; [`Exceeded::Answer`] for a text that nobody would read, or that cannot
    /// wait packed.
    pub(super) fn of(
        write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let too_long = |_: io::Error| Failure::from(Exceeded::Answer { limit: MAX_TEXT });
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).map_err(too_long)?;
        encoder.window_log(PACK_WINDOW).map_err(too_long)?;
        let bounded = Bounded {
            encoder,
            digest: ring::digest::Context::new(&ring::digest::SHA256),
            left: MAX_TEXT,
        };
        let mut text = io::BufWriter::with_capacity(PIECE, bounded);
        write(&mut text).map_err(|failure| match failure {
            // Memory can be written: only a bound ends it.
            Failure::Unwritten(error) => too_long(error),
            other => other,
        })?;
        let bounded = text.into_inner().map_err(|error| too_long(error.into()))?;
        Ok(Self {
            tag: format!("W/\"{}\"", hex(&bounded.digest.finish().as_ref()[..16])),
            bytes: bounded.encoder.finish().map_err(too_long)?,
        })
    }

    /// Bytes that it takes until it is sent.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() + SENDING
    }

    /// Its pieces, one after the other.
    pub(super) fn pieces(self, encoding: Encoding) -> io::Result<Source> {
        let bytes = io::Cursor::new(self.bytes);
        let decoder = |bytes| zstd::Decoder::with_buffer(bytes);
        Ok(match encoding {
            Encoding::Zstd => Source::Packed(bytes),
            Encoding::Plain => Source::Plain(decoder(bytes)?),
            Encoding::Gzip => {
                let packing = GzEncoder::new(Vec::new(), Compression::fast());
                Source::Gzip(decoder(bytes)?, Box::new(Some(packing)))
            }
        })
    }
}

/// Where pieces come from.
pub(super) enum Source {
    Packed(io::Cursor<Vec<u8>>),
    Plain(zstd::Decoder<'static, io::Cursor<Vec<u8>>>),
    Gzip(
        zstd::Decoder<'static, io::Cursor<Vec<u8>>>,
        Box<Option<GzEncoder<Vec<u8>>>>,
    ),
}

impl Source {
    /// The next piece; `None` at the end.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::with_capacity(PIECE);
        match self {
            Self::Packed(bytes) => drop(bytes.take(PIECE as u64).read_to_end(&mut piece)?),
            Self::Plain(text) => drop(text.take(PIECE as u64).read_to_end(&mut piece)?),
            Self::Gzip(text, packing) => {
                while let Some(mut open) = packing.take() {
                    let mut plain = Vec::with_capacity(PIECE);
                    let read = text.take(PIECE as u64).read_to_end(&mut plain)?;
                    open.write_all(&plain)?;
                    if read == 0 {
                        piece.append(&mut open.finish()?);
                        break;
                    }
                    piece.append(open.get_mut());
                    **packing = Some(open);
                    if piece.len() >= PIECE / 4 {
                        break;
                    }
                }
            }
        }
        Ok(Some(Bytes::from(piece)).filter(|piece| !piece.is_empty()))
    }
}

/// Ends a text that becomes too long, plain or packed.
struct Bounded {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    digest: ring::digest::Context,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.encoder.get_ref().len() > UNSENT - 2 * SENDING {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.digest.update(bytes);
        self.encoder.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{Encoding, Packed};
    use axum::http::HeaderMap;

    #[test]
    fn the_best_accepted_encoding_is_chosen() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", text.parse().unwrap());
            Encoding::of(&headers)
        };
        assert_eq!(Encoding::of(&HeaderMap::new()), Encoding::Plain);
        assert_eq!(of("gzip, deflate, br, zstd"), Encoding::Zstd);
        assert_eq!(of("GZIP;q=0.5"), Encoding::Gzip);
        assert_eq!(of("zstd;q=0, gzip;q=0.1"), Encoding::Gzip);
        assert_eq!(of("*"), Encoding::Zstd);
        assert_eq!(of("*, zstd;q=0"), Encoding::Gzip);
        for plain in [
            "",
            "identity",
            "br",
            "gzip;q=0",
            "*;q=0",
            "zstd;q=NaN",
            ";;,,=",
        ] {
            assert_eq!(of(plain), Encoding::Plain, "{plain}");
        }
    }

    #[test]
    fn every_encoding_carries_the_same_text_under_the_same_tag() {
        let text: String = (0..200_000_u32).map(|n| format!("{n} ")).collect();
        let mut tags = Vec::new();
        for encoding in [Encoding::Plain, Encoding::Zstd, Encoding::Gzip] {
            let packed = Packed::of(|out| Ok(out.write_all(text.as_bytes())?)).unwrap();
            tags.push(packed.tag.clone());
            let mut source = packed.pieces(encoding).unwrap();
            let mut sent = Vec::new();
            while let Some(piece) = source.next_piece().unwrap() {
                sent.extend_from_slice(&piece);
            }
            let mut read = Vec::new();
            match encoding {
                Encoding::Plain => read = sent,
                Encoding::Zstd => {
                    let decoder = zstd::Decoder::new(&sent[..]).unwrap();
                    decoder.take(1 << 24).read_to_end(&mut read).unwrap();
                }
                Encoding::Gzip => {
                    let mut gzip = flate2::read::GzDecoder::new(&sent[..]);
                    gzip.read_to_end(&mut read).unwrap();
                }
            }
            assert_eq!(read, text.as_bytes(), "{encoding:?}");
        }
        tags.dedup();
        assert_eq!(tags.len(), 1);
    }
}
