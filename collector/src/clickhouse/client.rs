//! ClickHouse by its HTTP interface: statements, rows out, rows in.
//!
//! What comes from hosts is never a part of a statement: rows go in as `RowBinary`, and keys are
//! numbers and hexadecimal digits ([`Literal`]).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::StatusCode;

use super::cells::Cells;
use super::layout::{self, Dialect};
use crate::config::ClickHouse;
use crate::digest::hex;
use crate::meter::Exceeded;
use crate::remote::{self, Call, Caller};
use crate::store::Error;
use crate::{escape, files};

/// Longest answer to a statement that is not read within a meter.
const SMALL: usize = 64 << 20;
/// Bytes of an answer that a server holds until it knows that it is whole.
const BUFFER: usize = 16 << 20;

/// The nodes of a cluster, or the one server; and what it can do, found by asking it.
#[derive(Debug)]
pub(super) struct Server {
    caller: Caller,
    urls: Vec<String>,
    name: String,
    /// The node that answered last.
    at: AtomicUsize,
    login: Option<String>,
    pub(super) dialect: Dialect,
    quorum: Option<u32>,
    /// A batch that is inserted again is known by a token.
    token: bool,
}

/// A value in a statement.
pub(super) enum Literal<'a> {
    /// A number.
    Number(u64),
    /// Bytes of a fixed length.
    Bytes(&'a [u8]),
}

impl std::fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Bytes(bytes) => {
                write!(f, "toFixedString(unhex('{}'), {})", hex(bytes), bytes.len())
            }
        }
    }
}

impl Server {
    /// Those of a configuration; nothing is asked of them yet.
    ///
    /// # Errors
    /// When a file of the configuration cannot be read.
    pub(super) fn new(config: &ClickHouse) -> Result<Self, Error> {
        let login = match &config.password_file {
            None => None,
            Some(file) => {
                let text = files::text(file).map_err(Error::Open)?;
                let password = text
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned();
                let both = format!("{}:{password}", config.user);
                Some(format!(
                    "Basic {}",
                    data_encoding::BASE64.encode(both.as_bytes())
                ))
            }
        };
        let https_only = config.urls.iter().all(|url| url.starts_with("https://"));
        let caller = remote::caller(Call {
            ca_file: config.ca_file.as_deref(),
            client: None,
            https_only,
            timeout: config.timeout,
        });
        Ok(Self {
            caller: caller.map_err(unreachable)?,
            urls: config.urls.clone(),
            name: config.name(),
            at: AtomicUsize::new(0),
            login,
            dialect: Dialect {
                database: config.database.clone(),
                cluster: config.cluster.clone(),
                replicated: config.replicated,
                ..Dialect::default()
            },
            quorum: config.quorum,
            token: false,
        })
    }

    /// Connects, makes the database where it is not there, and asks what the server can do.
    ///
    /// # Errors
    /// When no node can be reached, or a file of the configuration cannot be read.
    pub(super) fn connect(config: &ClickHouse) -> Result<Self, Error> {
        let mut server = Self::new(config)?;
        let setting = |name: &str| format!("name = '{name}'");
        let (low, token) = (
            setting("allow_experimental_low_cardinality_type"),
            setting("insert_deduplication_token"),
        );
        let can = server.ask(
            &format!(
                "SELECT (SELECT count() FROM system.functions WHERE name = 'toLowCardinality'),
                 (SELECT count() FROM system.settings WHERE {low} AND value = '0'),
                 (SELECT count() FROM system.settings WHERE {token}),
                 (SELECT count() FROM system.merge_tree_settings
                  WHERE name = 'non_replicated_deduplication_window')"
            ),
            SMALL,
        )?;
        let mut can = Cells(&can);
        let (known, off, by_token) = (can.number(8)?, can.number(8)?, can.number(8)?);
        server.dialect.window = can.number(8)? > 0;
        server.dialect.low_cardinality = known > 0 && off == 0;
        server.token = by_token > 0;
        let database = &server.dialect.database;
        server.on_all(&format!("CREATE DATABASE IF NOT EXISTS `{database}`"))?;
        Ok(server)
    }

    /// The names of all nodes, for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Rows, of at most so many bytes.
    pub(super) fn ask(&self, sql: &str, most: usize) -> Result<Vec<u8>, Error> {
        self.on_one(|url| {
            let url = format!("{url}/?wait_end_of_query=1&buffer_size={BUFFER}");
            self.post(&url, format!("{sql} FORMAT RowBinary").as_bytes(), most)
        })
    }

    /// The same, of an answer whose size has a bound.
    pub(super) fn ask_small(&self, sql: &str) -> Result<Vec<u8>, Error> {
        self.ask(sql, SMALL)
    }

    /// Rows of each node, in the order of the configuration.
    pub(super) fn ask_each(&self, sql: &str) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
        let sql = format!("{sql} FORMAT RowBinary");
        let urls = self.urls.iter();
        urls.map(move |url| self.post(&format!("{url}/"), sql.as_bytes(), SMALL))
    }

    /// Makes a table where it is not there, and adds the columns that it lacks, on every node.
    pub(super) fn make(
        &self,
        name: &str,
        columns: &[(String, String)],
        form: (&str, Option<&str>, bool),
    ) -> Result<(), Error> {
        let database = &self.dialect.database;
        for (table, made) in layout::made(&self.dialect, name, columns, form) {
            self.on_all(&made)?;
            for url in &self.urls {
                let sql = format!(
                    "SELECT name FROM system.columns WHERE database = '{database}'
                     AND table = '{table}' FORMAT RowBinary"
                );
                let there = self.post(&format!("{url}/"), sql.as_bytes(), SMALL)?;
                let (mut cells, mut known) = (Cells(&there), HashSet::new());
                while !cells.is_empty() {
                    known.insert(cells.string()?);
                }
                for (column, kind) in columns.iter().filter(|(name, _)| !known.contains(name)) {
                    let sql =
                        format!("ALTER TABLE `{database}`.`{table}` ADD COLUMN `{column}` {kind}");
                    self.post(&format!("{url}/"), sql.as_bytes(), SMALL)?;
                }
            }
        }
        Ok(())
    }

    /// The days of each of our tables on all nodes, with the number of rows.
    pub(super) fn partitions(&self) -> Result<Vec<(String, String, u64)>, Error> {
        let mut all = BTreeMap::new();
        for rows in self.parts("table, partition, sum(rows)", "GROUP BY table, partition")? {
            let mut cells = Cells(&rows);
            while !cells.is_empty() {
                let key = (cells.string()?, cells.string()?);
                *all.entry(key).or_insert(0) += cells.number(8)?;
            }
        }
        let all = all.into_iter();
        Ok(all.map(|((table, day), rows)| (table, day, rows)).collect())
    }

    /// Drops a day of a table on every node.
    pub(super) fn drop_partition(&self, table: &str, day: i64) -> Result<(), Error> {
        let database = &self.dialect.database;
        self.on_all(&format!(
            "ALTER TABLE `{database}`.`{table}` DROP PARTITION {day}"
        ))
    }

    /// Bytes on the disk of each node.
    pub(super) fn sizes(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.parts("toUInt64(sum(bytes_on_disk))", "")
    }

    /// What is asked of the active parts of our tables, of each node.
    fn parts(&self, what: &str, rest: &str) -> Result<Vec<Vec<u8>>, Error> {
        let database = &self.dialect.database;
        let active = format!("FROM system.parts WHERE active AND database = '{database}'");
        self.ask_each(&format!("SELECT {what} {active} {rest}"))
            .collect()
    }

    /// A statement on every node.
    pub(super) fn on_all(&self, sql: &str) -> Result<(), Error> {
        for url in &self.urls {
            self.post(&format!("{url}/"), sql.as_bytes(), SMALL)?;
        }
        Ok(())
    }

    /// Inserts rows of a table; when it returns they are durable on as many replicas as configured.
    /// The same rows are inserted once, whoever inserts them, where the server knows them by their
    /// token; where it does not, reading knows them by their keys.
    pub(super) fn insert(
        &self,
        table: &str,
        columns: &str,
        rows: &[u8],
        token: &[u8; 32],
    ) -> Result<(), Error> {
        let database = &self.dialect.database;
        let sql = format!("INSERT INTO `{database}`.`{table}` ({columns}) FORMAT RowBinary");
        let sql = utf8_percent_encode(&sql, NON_ALPHANUMERIC);
        let mut settings = String::new();
        if self.token {
            settings += &format!(
                "&insert_deduplicate=1&insert_deduplication_token={}",
                hex(token)
            );
        }
        if self.dialect.cluster.is_some() {
            settings += "&insert_distributed_sync=1";
        }
        if let Some(quorum) = self.quorum {
            settings += &format!("&insert_quorum={quorum}");
        }
        self.on_one(|url| self.post(&format!("{url}/?query={sql}{settings}"), rows, SMALL))
            .map(drop)
    }

    /// On the node that answered last, else on the next one that does.
    fn on_one<T>(&self, call: impl Fn(&str) -> Result<T, Error>) -> Result<T, Error> {
        let first = self.at.load(Ordering::Relaxed);
        let mut last = None;
        for next in 0..self.urls.len() {
            let at = (first + next) % self.urls.len();
            match call(&self.urls[at]) {
                Ok(answer) => {
                    self.at.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error @ Error::Exceeded(_)) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Damaged {
            what: "a cluster without nodes",
        }))
    }

    fn post(&self, url: &str, body: &[u8], most: usize) -> Result<Vec<u8>, Error> {
        let mut request = self.caller.post(url);
        if let Some(login) = &self.login {
            request = request.header("Authorization", login);
        }
        let mut response = request.send(body).map_err(unreachable)?;
        let status = response.status();
        let body = response.body_mut().with_config();
        if status != StatusCode::OK {
            let text = body.limit(64 << 10).read_to_string().unwrap_or_default();
            return Err(Error::Answered {
                status: status.as_u16(),
                message: escape::shorten(&text, 300).to_string(),
            });
        }
        match body.limit(most as u64).read_to_vec() {
            Ok(rows) => Ok(rows),
            Err(ureq::Error::BodyExceedsLimit(_)) => Err(Exceeded::Memory { limit: most }.into()),
            Err(error) => Err(unreachable(error)),
        }
    }
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unreachable(Arc::from(error.into()))
}
