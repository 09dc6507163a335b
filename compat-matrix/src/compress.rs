//! Compressed streams, told apart by how they begin and not by what a file is called.

use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result, bail};

/// What decompresses it, and how such a stream begins.
const KINDS: [(&str, &[u8]); 4] = [
    ("gzip", &[0x1f, 0x8b]),
    ("xz", &[0xfd, b'7', b'z', b'X', b'Z', 0]),
    ("zstd", &[0x28, 0xb5, 0x2f, 0xfd]),
    ("bzip2", b"BZh"),
];

/// The bytes of `input`, decompressed when they are compressed.
///
/// # Errors
/// When the first bytes cannot be read, or are of a compression that kernels are not shipped in.
pub fn reader<'a>(input: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let begin = input.fill_buf().context("read the first bytes")?;
    let kind = KINDS
        .iter()
        .find(|(_, magic)| begin.starts_with(magic))
        .map(|(name, _)| *name);
    Ok(match kind {
        None => Box::new(input),
        Some("gzip") => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Some("xz") => Box::new(lzma_rust2::XzReader::new(input, true)),
        Some("zstd") => Box::new(zstd::Decoder::with_buffer(input).context("begin zstd")?),
        Some(other) => bail!("compressed with {other}, which is not supported"),
    })
}

/// All bytes of a file, decompressed, if they are no more than `limit`.
///
/// # Errors
/// Those of [`reader`], or when there are more.
pub fn whole(input: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader(input)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .context("decompress")?;
    if bytes.len() as u64 > limit {
        bail!("more than {limit} bytes when decompressed");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::whole;

    #[test]
    fn plain_gzip_and_zstd_come_out_alike() {
        let text = b"module".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for stream in [&text, &gzip, &zstd] {
            assert_eq!(whole(&stream[..], 1 << 20).unwrap(), text);
        }
    }

    #[test]
    fn xz_comes_out_too() {
        // "hello\n", from xz --check=crc32 as kernels are built.
        let xz = [
            0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00,
            0x21, 0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x05, 0x68,
            0x65, 0x6c, 0x6c, 0x6f, 0x0a, 0x00, 0x00, 0x00, 0x20, 0x30, 0x3a, 0x36, 0x00, 0x01,
            0x1a, 0x06, 0xc5, 0xea, 0xc8, 0x79, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00,
            0x00, 0x01, 0x59, 0x5a,
        ];
        assert_eq!(whole(&xz[..], 100).unwrap(), b"hello\n");
    }

    #[test]
    fn more_than_the_limit_and_other_compressions_are_refused() {
        let bomb = zstd::encode_all(&[0u8; 1000][..], 1).unwrap();
        assert!(whole(&bomb[..], 999).is_err());
        assert!(whole(&b"BZh91AY"[..], 999).is_err());
    }
}
