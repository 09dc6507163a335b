//! The store on ClickHouse, for fleets that outgrow one machine ([decision 38]).
//!
//! ```text
//! agents -> any collector -> rows of each table, then a line in `batch` -> ack
//! question -> slices that are joined + rows of its time -> a store in memory -> the answer
//! ```
//!
//! Nothing is kept in a collector: any number of them stand behind a load balancer and write to the
//! same tables. What is stored twice is read once, for rows are known by their batch and place.
//!
//! [decision 38]: ../../../docs/decisions/0038-a-store-on-clickhouse.md

mod cells;
mod client;
mod copy;
mod ingest;
mod layout;
mod look;
mod people;
mod questions;
mod retention;
mod rows;
#[cfg(test)]
#[path = "../../tests/clickhouse/mod.rs"]
mod servers;
#[cfg(test)]
#[path = "../../../wire/tests/skipped/mod.rs"]
mod skipping;
mod slices;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use client::Server;
pub use copy::Copied;
pub use look::{Kept, Node, Seen, look};
#[cfg(test)]
use skipping::skipped;
use tables::Places;

use crate::config::ClickHouse;
use crate::digest::hex;
use crate::store::{
    Batches, Binding, Contents, Error, MIN_DIGITS, Questions, SignedOrders, Source,
};

/// A store on ClickHouse, whose tables are there.
#[derive(Clone, Debug)]
pub struct Cluster {
    server: Arc<Server>,
    places: Arc<Places>,
}

impl Cluster {
    /// Connects, and makes the tables that are not there.
    ///
    /// # Errors
    /// When no node can be reached, or one refuses a statement.
    pub fn open(config: &ClickHouse) -> Result<Self, Error> {
        let server = Server::connect(config)?;
        let places = Places::open(&server)?;
        Ok(Self {
            server: Arc::new(server),
            places: Arc::new(places),
        })
    }

    /// The side that writes; so many hosts may be known at once.
    #[must_use]
    pub fn batches(&self, most_hosts: u64) -> Box<dyn Batches> {
        let (server, places) = (Arc::clone(&self.server), Arc::clone(&self.places));
        Box::new(ingest::Ingest::new(server, places, most_hosts))
    }
}

impl Cluster {
    /// Copies a database, and counts on both sides; `told` hears how far it is.
    ///
    /// # Errors
    /// When one of both cannot be read or written; what was copied before stays.
    pub fn copy(
        &self,
        contents: &mut Contents,
        now_ms: i64,
        told: &mut dyn FnMut(&Copied) -> Result<(), Error>,
    ) -> Result<Copied, Error> {
        let target = copy::Target {
            server: &self.server,
            places: &self.places,
        };
        target.copy(contents, now_ms, told)
    }

    /// Makes the next orders from the newest ones; where two do so at once, one of them fails.
    ///
    /// # Errors
    /// Those of `change`, and when the store cannot be written.
    pub fn change_orders<E: From<Error>>(
        &self,
        change: impl FnOnce(Option<SignedOrders>) -> Result<SignedOrders, E>,
    ) -> Result<SignedOrders, E> {
        let next = change(people::newest_orders(&self.server)?)?;
        people::put_orders(&self.server, &next)?;
        match people::newest_orders(&self.server)? {
            Some(newest) if newest == next => Ok(next),
            _ => Err(E::from(Error::Overtaken)),
        }
    }

    /// Releases the credentials whose name begins so, or that speak for the host of this id.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn release_credentials(&self, name: &str, now_ms: i64) -> Result<Vec<Binding>, Error> {
        let name = name.to_ascii_lowercase();
        let all = people::bindings(&self.server)?.into_values();
        let named: Vec<Binding> = all
            .filter(|_| name.len() >= MIN_DIGITS)
            .filter(|one| hex(&one.id.0).starts_with(&name) || hex(&one.host) == name)
            .collect();
        for binding in &named {
            let said = (binding.id, binding.host, people::Said::Released);
            people::say(&self.server, said, 1, now_ms)?;
        }
        Ok(named)
    }
}

impl Source for Cluster {
    fn open(&self) -> Result<Box<dyn Questions>, Error> {
        Ok(Box::new(questions::Asked::new(Arc::clone(&self.server))))
    }

    fn name(&self) -> String {
        self.server.name().to_owned()
    }
}
