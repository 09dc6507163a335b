//! From request to batch: pure, so that tests and the fuzzer can throw bytes at it.
//!
//! [`open`] is everything between "the body has been read" and "the store may have it". What it
//! lets through is safe to store: bounded, named consistently, and with every number in the range
//! of the store's integers.

mod refusal;

pub use refusal::{Reason, Refusal};
use wire::{
    Batch, BatchHeader, DecodeError, Limits, MAX_HOST_BYTES, MAX_HOST_NAME, MAX_PROCESS_BYTES,
};

use crate::auth::CredentialId;
use crate::digest::{hex, sha256, unhex};

/// Most pairs a row may hold per list.
const MAX_PAIRS: usize = 4096;

/// What identifies a batch for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchKey {
    /// Host.
    pub host: [u8; 16],
    /// Agent run.
    pub boot: [u8; 16],
    /// Number within the run, from 1.
    pub sequence: u64,
}

impl BatchKey {
    /// Reads `<host hex32>-<boot hex32>-<sequence>`.
    ///
    /// # Errors
    /// [`Reason::Key`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::read(text).ok_or_else(|| {
            Refusal::new(
                Reason::Key,
                "expected an Idempotency-Key of <host, 32 hex digits>-<boot, 32 hex digits>-\
                 <sequence, from 1>",
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (host, boot, sequence) = (parts.next()?, parts.next()?, parts.next()?);
        let plain = !sequence.is_empty() && sequence.bytes().all(|b| b.is_ascii_digit());
        if parts.next().is_some() || !plain {
            return None;
        }
        let sequence = sequence.parse().ok().filter(|n| *n >= 1)?;
        Some(Self {
            host: unhex(host)?,
            boot: unhex(boot)?,
            sequence,
        })
    }
}

impl From<&BatchHeader> for BatchKey {
    fn from(header: &BatchHeader) -> Self {
        Self {
            host: header.host,
            boot: header.boot,
            sequence: header.sequence,
        }
    }
}

impl std::fmt::Display for BatchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}-{}-{}",
            hex(&self.host),
            hex(&self.boot),
            self.sequence
        )
    }
}

/// A batch the store may have.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The rows.
    pub batch: Batch,
    /// SHA-256 of the bytes: what makes a repetition a repetition and not a forgery.
    pub digest: [u8; 32],
    /// Compressed size.
    pub bytes: usize,
    /// The credential under which it came, if that is of one host.
    pub credential: Option<CredentialId>,
    /// The bytes themselves, where outputs are to have them.
    pub payload: Option<Vec<u8>>,
}

/// Opens the body of a request.
///
/// # Errors
/// The [`Refusal`] to answer with. It never panics, whatever the bytes.
pub fn open(bytes: &[u8], key: &BatchKey, limits: &Limits) -> Result<Opened, Refusal> {
    open_if(bytes, limits, |found| {
        let message = "the idempotency key names another batch than the header inside";
        (found == *key).then_some(()).ok_or(message)
    })
}

/// Opens a batch of an export of this host, which names itself.
///
/// # Errors
/// The [`Refusal`], as for a request.
pub fn open_of(bytes: &[u8], host: &[u8; 16], limits: &Limits) -> Result<Opened, Refusal> {
    open_if(bytes, limits, |found| {
        let message = "the batch is of another host than the file";
        (found.host == *host).then_some(()).ok_or(message)
    })
}

fn open_if(
    bytes: &[u8],
    limits: &Limits,
    right: impl FnOnce(BatchKey) -> Result<(), &'static str>,
) -> Result<Opened, Refusal> {
    let batch = wire::decode(bytes, limits).map_err(|error| refusal(&error))?;
    right(BatchKey::from(&batch.header))
        .map_err(|message| Refusal::new(Reason::KeyMismatch, message))?;
    check(&batch)?;
    Ok(Opened {
        batch,
        digest: sha256(bytes),
        bytes: bytes.len(),
        credential: None,
        payload: None,
    })
}

fn refusal(error: &DecodeError) -> Refusal {
    let reason = match error {
        DecodeError::TooLarge { .. } => Reason::TooLarge,
        DecodeError::Unsupported(_) => Reason::Unsupported,
        // Also what the format may add later: bytes that are not understood.
        _ => Reason::Malformed,
    };
    Refusal::new(reason, error.to_string())
}

/// Refuses rows that decode but cannot be.
///
/// # Errors
/// [`Reason::Malformed`].
pub fn check(batch: &Batch) -> Result<(), Refusal> {
    let header = &batch.header;
    let times = [header.start_ms, header.end_ms];
    if header.sequence == 0 || header.end_ms < header.start_ms {
        return Err(Refusal::malformed(
            "header with sequence 0 or an end before its start",
        ));
    }
    let edges = batch.edges.iter().map(|row| row.since_ms);
    let sightings = batch.sightings.iter().map(|row| row.start_us);
    let events = batch.events.iter().map(|row| row.time_us);
    let nats = batch.nats.iter().map(|row| row.since_ms);
    let mut stamps = times
        .into_iter()
        .chain([header.sequence])
        .chain(edges)
        .chain(nats)
        .chain(sightings);
    if stamps.any(|t| i64::try_from(t).is_err())
        || events.into_iter().any(|t| i64::try_from(t).is_err())
    {
        return Err(Refusal::malformed("a time or number of 2^63 or more"));
    }
    check_texts(batch)
}

fn check_texts(batch: &Batch) -> Result<(), Refusal> {
    let too_large = |what: &str, limit: usize| {
        let message = format!("a {what} row of more than {limit} bytes, which no agent makes");
        Refusal::malformed(message)
    };
    let pairs = |list: &[(String, String)]| list.len() <= MAX_PAIRS;
    for row in &batch.processes {
        if row.bytes() > MAX_PROCESS_BYTES || !pairs(&row.tags) {
            return Err(too_large("process", MAX_PROCESS_BYTES));
        }
    }
    for row in &batch.hosts {
        let lists = [&row.plan, &row.facts, &row.paths_off];
        let texts = [&row.hostname, &row.kernel, &row.agent, &row.mode];
        let short = texts.iter().all(|text| text.len() <= MAX_HOST_NAME);
        if row.bytes() > MAX_HOST_BYTES
            || !short
            || !lists.into_iter().all(|list| pairs(list))
            || row.counters.len() > MAX_PAIRS
        {
            return Err(too_large("host", MAX_HOST_BYTES));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BatchKey, Reason, check, open};
    use proptest::prelude::{any, proptest};
    use wire::{
        Batch, BatchHeader, HostRow, Limits, MAX_HOST_BYTES, MAX_PROCESS_BYTES, ProcessRow,
    };

    fn header() -> BatchHeader {
        BatchHeader {
            host: [7; 16],
            boot: [9; 16],
            sequence: 3,
            start_ms: 1,
            end_ms: 2,
        }
    }

    #[test]
    fn a_key_survives_writing_and_reading() {
        let key = BatchKey::from(&header());
        assert_eq!(BatchKey::parse(&key.to_string()), Ok(key));
    }

    #[test]
    fn a_key_of_another_form_is_refused() {
        let good = BatchKey::from(&header()).to_string();
        let bad = [
            String::new(),
            good.replace('-', "_"),
            format!("{good}-1"),
            format!("x{}", &good[1..]),
            good.replace("-3", "-0"),
            good.replace("-3", "-+3"),
            good.replace("-3", "-"),
            good.replace("-3", "-18446744073709551616"),
            format!("é{}", &good[2..]),
        ];
        for text in bad {
            assert_eq!(
                BatchKey::parse(&text).unwrap_err().reason,
                Reason::Key,
                "{text}"
            );
        }
    }

    #[test]
    fn rows_that_cannot_be_are_refused() {
        let with = |change: fn(&mut Batch)| {
            let mut batch = Batch {
                header: header(),
                ..Batch::default()
            };
            change(&mut batch);
            check(&batch).map_err(|refusal| refusal.reason)
        };
        assert_eq!(with(|_| ()), Ok(()));
        let bad: [fn(&mut Batch); 7] = [
            |b| b.header.sequence = 0,
            |b| b.header.start_ms = 3,
            |b| b.header.end_ms = u64::MAX,
            |b| {
                b.processes.push(ProcessRow {
                    exe: "x".repeat(MAX_PROCESS_BYTES + 1),
                    ..ProcessRow::default()
                });
            },
            |b| {
                b.hosts.push(HostRow {
                    facts: vec![(String::from("one"), "x".repeat(MAX_HOST_BYTES))],
                    ..HostRow::default()
                });
            },
            |b| {
                b.hosts.push(HostRow {
                    hostname: "x".repeat(256),
                    ..HostRow::default()
                });
            },
            |b| {
                b.hosts.push(HostRow {
                    facts: vec![Default::default(); 5000],
                    ..HostRow::default()
                });
            },
        ];
        for change in bad {
            assert_eq!(with(change), Err(Reason::Malformed));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_and_never_panic(bytes in any::<Vec<u8>>()) {
            let key = BatchKey::from(&header());
            assert!(open(&bytes, &key, &Limits::default()).is_err());
        }

        #[test]
        fn hostile_keys_never_panic(text in "\\PC*") {
            drop(BatchKey::parse(&text));
        }
    }
}
