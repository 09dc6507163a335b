//! Kafka: each row as a record, JSON, by partitions of hosts.
//!
//! The client is asynchronous: its runtime is this thread's own, and runs while something is sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use chrono::DateTime;
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use tokio::runtime::Runtime;

use super::json;
use super::rows::Interval;
use super::sink::{Done, Later, Parcel, Sink};
use crate::accept::BatchKey;
use crate::config;
use crate::digest::hex;
use crate::tls;

/// Bytes of records of one request, before they are compressed: brokers take a MiB by default.
const REQUEST: usize = 512 << 10;
/// Bytes of records that are made at once.
const MADE: usize = 4 << 20;

/// Topics and partitions of one cluster.
pub(super) struct Kafka {
    config: config::Kafka,
    runtime: Option<Runtime>,
    client: Option<Connected>,
    waiting: VecDeque<Parcel>,
    chunks: VecDeque<Chunk>,
    /// The newest batch of which records were made.
    position: Option<i64>,
    /// Batches of which a record was refused.
    refused: BTreeSet<i64>,
    why: Option<String>,
}

/// Records of one request.
struct Chunk {
    topic: String,
    host: [u8; 16],
    /// Each with the position of its batch.
    records: Vec<(i64, Record)>,
    bytes: usize,
}

struct Connected {
    client: Client,
    /// Of each topic the clients of its partitions, as far as they were needed.
    topics: BTreeMap<String, BTreeMap<i32, Option<PartitionClient>>>,
}

impl Kafka {
    pub(super) fn new(config: config::Kafka) -> Self {
        Self {
            config,
            runtime: None,
            client: None,
            waiting: VecDeque::new(),
            chunks: VecDeque::new(),
            position: None,
            refused: BTreeSet::new(),
            why: None,
        }
    }

    /// Makes records of what waits, as many as are held at once.
    fn fill(&mut self) {
        let mut made = 0;
        while made < MADE
            && let Some(parcel) = self.waiting.pop_front()
        {
            self.position = Some(parcel.position);
            for table in &parcel.tables {
                let topic = self.config.topic.replace("{table}", &table.table.name);
                for record in records(&parcel, table) {
                    made += record.approximate_size();
                    self.push(&topic, &parcel, record);
                }
            }
        }
    }

    /// Behind the records of the same host and topic, in their order.
    fn push(&mut self, topic: &str, parcel: &Parcel, record: Record) {
        let (host, bytes) = (parcel.header.host, record.approximate_size());
        let of_host = |chunk: &&mut Chunk| chunk.topic == topic && chunk.host == host;
        let last = self.chunks.iter_mut().rev().find(of_host);
        match last.filter(|chunk| chunk.bytes + bytes <= REQUEST) {
            Some(chunk) => {
                chunk.records.push((parcel.position, record));
                chunk.bytes += bytes;
            }
            None => self.chunks.push_back(Chunk {
                topic: topic.to_owned(),
                host,
                records: vec![(parcel.position, record)],
                bytes,
            }),
        }
    }

    /// Sends one chunk after the other; those that were sent are gone.
    fn produce(&mut self) -> Result<(), Later> {
        while let Some(chunk) = self.chunks.front() {
            let runtime = match &mut self.runtime {
                Some(runtime) => runtime,
                none => none.insert(runtime()?),
            };
            let sending = send(&self.config, &mut self.client, chunk);
            let most = self.config.timeout;
            let sent = runtime.block_on(async { tokio::time::timeout(most, sending).await });
            let late = || anyhow!("no answer within {} s", most.as_secs());
            match sent.unwrap_or_else(|_| Err(late().into())) {
                Ok(()) => drop(self.chunks.pop_front()),
                Err(Refused::TooLarge(why)) => self.halve(why),
                Err(Refused::Later(error)) => {
                    // Leaders may be others now, and files are read again.
                    self.client = None;
                    let brokers = self.config.brokers.join(", ");
                    return Err(Later::from(error.context(brokers)));
                }
            }
        }
        Ok(())
    }

    /// A request that is too large becomes two; a record that is, is refused.
    fn halve(&mut self, why: String) {
        let Some(mut chunk) = self.chunks.pop_front() else {
            return;
        };
        if let [(position, _)] = chunk.records[..] {
            self.refused.insert(position);
            self.why = Some(why);
            return;
        }
        let behind = chunk.records.split_off(chunk.records.len() / 2);
        let rest = Chunk {
            topic: chunk.topic.clone(),
            host: chunk.host,
            records: behind,
            bytes: REQUEST,
        };
        chunk.bytes = REQUEST;
        self.chunks.push_front(rest);
        self.chunks.push_front(chunk);
    }
}

impl Sink for Kafka {
    fn take(&mut self, parcel: Parcel) {
        self.waiting.push_back(parcel);
    }

    fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || self.position.is_some()
    }

    fn send(&mut self, _end: bool) -> Result<Option<Done>, Later> {
        if self.position.is_none() {
            self.fill();
        }
        self.produce()?;
        let refused = std::mem::take(&mut self.refused).len() as u64;
        let why = self.why.take();
        Ok(self.position.take().map(|position| Done {
            position,
            refused,
            why,
        }))
    }
}

/// One that runs while something is sent, on this thread.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")
}

/// The rows of a table: the host is the key, so that what one host told stays in order.
fn records<'a>(
    parcel: &'a Parcel,
    table: &'a wire::DynamicTable,
) -> impl Iterator<Item = Record> + 'a {
    let key = BatchKey::from(&parcel.header).to_string();
    let interval = Interval::of(&parcel.header, parcel.received_ms);
    let time = DateTime::from_timestamp_millis(interval.end_ms).unwrap_or_default();
    (0..table.rows).map(move |row| Record {
        key: Some(hex(&parcel.header.host).into_bytes()),
        value: Some(json::line(&parcel.header, table, row).into_bytes()),
        headers: BTreeMap::from([
            (String::from("idempotency-key"), key.clone().into_bytes()),
            (String::from("table"), table.table.name.clone().into_bytes()),
            (String::from("row"), row.to_string().into_bytes()),
        ]),
        timestamp: time,
    })
}

/// Why a chunk was not taken.
enum Refused {
    /// It never will be as it is.
    TooLarge(String),
    /// It may be another time.
    Later(anyhow::Error),
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::Later(error)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::ServerError {
                protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge,
                ..
            } => Self::TooLarge(error.to_string()),
            error => Self::Later(error.into()),
        }
    }
}

async fn send(
    config: &config::Kafka,
    client: &mut Option<Connected>,
    chunk: &Chunk,
) -> Result<(), Refused> {
    let connected = match client {
        Some(connected) => connected,
        none => none.insert(connect(config).await?),
    };
    let partition = connected.partition(chunk).await?;
    let records = chunk.records.iter().map(|(_, record)| record.clone());
    partition
        .produce(records.collect(), Compression::Zstd)
        .await?;
    Ok(())
}

async fn connect(config: &config::Kafka) -> anyhow::Result<Connected> {
    let once = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        deadline: Some(config.timeout),
        ..BackoffConfig::default()
    };
    let mut builder = ClientBuilder::new(config.brokers.clone())
        .client_id("waybill-collector")
        .max_message_size(16 << 20)
        .backoff_config(once);
    if let Some(ca_file) = &config.ca_file {
        let tls = tls::client_config(ca_file, config.client.as_ref())?;
        builder = builder.tls_config(Arc::new(tls));
    }
    Ok(Connected {
        client: builder.build().await?,
        topics: BTreeMap::new(),
    })
}

impl Connected {
    async fn partition(&mut self, chunk: &Chunk) -> Result<&PartitionClient, Refused> {
        let topic = &chunk.topic;
        if !self.topics.contains_key(topic) {
            let partitions = self.partitions(topic).await?;
            let partitions = partitions.into_iter().map(|number| (number, None));
            self.topics.insert(topic.clone(), partitions.collect());
        }
        let partitions = self.topics.get_mut(topic);
        let partitions = partitions.context("it was just put there")?;
        let count = partitions.len() as u128;
        let at = u128::from_be_bytes(chunk.host).checked_rem(count);
        let at = at.and_then(|at| usize::try_from(at).ok());
        let found = at.and_then(|at| partitions.iter_mut().nth(at));
        let (number, partition) = found.with_context(|| format!("topic {topic} is empty"))?;
        let partition = match partition {
            Some(partition) => partition,
            none => {
                let handling = UnknownTopicHandling::Error;
                let made = self.client.partition_client(topic, *number, handling);
                none.insert(made.await?)
            }
        };
        Ok(partition)
    }

    /// The numbers of a topic's partitions. Brokers that make topics make one that is asked for.
    async fn partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Refused> {
        if let Some(found) = self.find(topic).await? {
            return Ok(found);
        }
        let handling = UnknownTopicHandling::Error;
        let asked = self.client.partition_client(topic, 0, handling).await;
        if let Some(found) = self.find(topic).await? {
            return Ok(found);
        }
        asked?;
        Err(anyhow!("there is no topic {topic}").into())
    }

    async fn find(&self, topic: &str) -> Result<Option<BTreeSet<i32>>, Refused> {
        let topics = self.client.list_topics().await?;
        let found = topics.into_iter().find(|found| found.name == topic);
        let found = found.map(|found| found.partitions.into_iter().collect());
        Ok(found.filter(|partitions: &BTreeSet<i32>| !partitions.is_empty()))
    }
}

#[cfg(test)]
mod tests;
