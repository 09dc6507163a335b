//! Questions about described tables: which there are, and the rows of a window.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde_json::{Map, Value as Json};
use wire::schema::{Kind, Shape, Table};

use super::catalogue::{self, Known};
use super::cell::Samples;
use super::column::{Part, is_series, nothing, part};
use super::sum::{Group, Sum, Whose, of_run, process, value, whose};
use crate::digest::hex;
use crate::meter::Meter;
use crate::rows::{self, Answer, Row, Rows};
use crate::store::block::{self, Events, Kind as Blocks};
use crate::store::error::{Error, failed};
use crate::store::evicted::evicted;
use crate::store::gone::gone;
use crate::store::reader::Reader;
use crate::store::series::{self, Counted, Table as _, Value as _};
use crate::store::slices::Piece;
use crate::store::window::Window;

/// The column that names a process, unique within a run of an agent.
const PROCESS: &str = "process_id";
/// Bytes of a row beside its texts and cells, once it is a document.
const ROW: usize = 512;

/// Which rows of a table are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Which {
    /// The table.
    pub table: String,
    /// Of the host of this name, or whose id begins so.
    pub host: Option<String>,
    /// Each interval of a series by itself, not their sum.
    pub intervals: bool,
    /// Also series that told nothing in the window while their agent reported: they added nothing.
    pub silent: bool,
    /// Most rows.
    pub most: usize,
}

impl Reader {
    /// All described tables with the end of their newest interval, Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn tables(&self) -> Result<Vec<(Table, Option<i64>)>, Error> {
        catalogue::all(&self.connection).map_err(failed)
    }

    /// Rows of a window, of one moment: of series what they counted in it, with the newest of what
    /// is no counter; of what holds until another row tells of it, what held at its end; events.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where reading takes more than `meter` has, and whatever SQLite reports.
    pub fn rows(
        &mut self,
        which: &Which,
        window: Window,
        meter: &mut Meter,
    ) -> Result<Answer, Error> {
        let snapshot = self.connection.transaction().map_err(failed)?;
        let evicted_before_ms = evicted(&snapshot)?.map(|evicted| evicted.before_ms);
        let whole_from_ms = gone(&snapshot)
            .map_err(failed)?
            .whole_from(window, &[Piece::Rows(window)]);
        let mut tables = Vec::new();
        for known in catalogue::named(&snapshot, &which.table).map_err(failed)? {
            let mut reading = Reading {
                db: &snapshot,
                known: &known,
                which,
                window,
                evicted_before_ms,
                meter,
            };
            let (rows, rows_left_out) = if is_series(&known.table) {
                reading.series()?
            } else {
                reading.events()?
            };
            tables.push(Rows {
                table: known.table,
                rows,
                rows_left_out,
            });
        }
        Ok(Answer {
            from_ms: window.from_ms,
            to_ms: window.to_ms,
            evicted_before_ms,
            whole_from_ms,
            tables,
        })
    }
}

struct Reading<'a> {
    db: &'a Connection,
    known: &'a Known,
    which: &'a Which,
    window: Window,
    evicted_before_ms: Option<i64>,
    meter: &'a mut Meter,
}

impl Reading<'_> {
    fn is_state(&self) -> bool {
        self.known.table.shape == Shape::State
    }

    fn is_wanted(&self, whose: &Whose) -> bool {
        let Some(host) = &self.which.host else {
            return true;
        };
        whose.hostname == *host || (host.len() >= 4 && hex(&whose.host).starts_with(host.as_str()))
    }

    fn series(&mut self) -> Result<(Vec<Row>, u64), Error> {
        // What holds is told again now and then only, and goes on while its agent reports.
        let silent = if self.is_state() || self.which.silent {
            "OR (boot.last_ms > ?2 AND boot.first_ms <= ?3)"
        } else {
            ""
        };
        let sql = format!(
            "SELECT host.hostname, host.host, series.boot_id, series.id, series.since_ms, series.key
             FROM series JOIN boot ON boot.id = series.boot_id JOIN host ON host.id = boot.host_id
             WHERE series.table_id = ?1 AND (series.last_ms > ?2 {silent}) AND boot.first_ms <= ?3"
        );
        let mut statement = self.db.prepare(&sql).map_err(failed)?;
        let Window { from_ms, to_ms } = self.window;
        let of = params![self.known.id, from_ms, to_ms];
        let mut found = statement.query(of).map_err(failed)?;
        let mut groups = BTreeMap::new();
        while let Some(row) = found.next().map_err(failed)? {
            self.meter.row(0)?;
            let read = || Ok((whose(row)?, row.get(3)?, row.get(4)?, row.get(5)?));
            let (whose, id, since_ms, key): (Whose, i64, i64, String) = read().map_err(failed)?;
            if self.is_wanted(&whose) {
                self.one(&mut groups, (whose, key, 0), (id, since_ms))?;
            }
        }
        let left_out = groups.len().saturating_sub(self.which.most);
        let groups = groups.into_iter().take(self.which.most);
        let rows = groups.map(|(group, sum)| self.row_of_series(&group, sum));
        Ok((rows.collect::<Result<_, _>>()?, left_out as u64))
    }

    /// What one series adds to the groups.
    fn one(
        &mut self,
        groups: &mut BTreeMap<Group, Sum>,
        group: Group,
        (id, since_ms): (i64, i64),
    ) -> Result<(), Error> {
        let of = (id, since_ms);
        let found = series::counted::<Samples>(self.db, of, self.window, self.evicted_before_ms);
        let Some(Counted { last, baseline }) = found.map_err(failed)? else {
            return Ok(());
        };
        let mut sum = Sum {
            since_ms,
            end_ms: last.end_ms,
            cells: last.value,
            most: Vec::new(),
        };
        let mut before = match baseline {
            Some(baseline) => baseline,
            // It stands where it stood.
            None if self.is_state() || self.which.silent => sum.cells.clone(),
            None => return Ok(()),
        };
        let is_told = sum.end_ms > self.window.from_ms;
        if !self.which.intervals {
            if !self.is_state() {
                sum.cells = sum.cells.beyond(&before);
                let gauges = self.gauges();
                if is_told && gauges.contains(&true) {
                    self.see_all(id, &gauges, &mut sum)?;
                }
            }
            return self.add(groups, group, sum);
        }
        let mut end_ms = self.window.from_ms;
        while let Some(next) = Samples::after(self.db, id, end_ms).map_err(failed)? {
            if next.end_ms > self.window.to_ms {
                break;
            }
            end_ms = next.end_ms;
            let cells = match self.is_state() {
                true => next.value.clone(),
                false => next.value.beyond(&before),
            };
            before = next.value;
            let group = (group.0.clone(), group.1.clone(), end_ms);
            let sum = Sum {
                since_ms,
                end_ms,
                cells,
                most: Vec::new(),
            };
            self.meter.row(0)?;
            self.add(groups, group, sum)?;
        }
        Ok(())
    }

    /// Which cells of a sample are gauges.
    fn gauges(&self) -> Vec<bool> {
        let columns = self.known.table.columns.iter();
        let cells = columns.filter(|column| matches!(part(column), Part::Counted | Part::Latest));
        cells
            .map(|column| column.kind == Kind::Gauge && column.values.bits().is_some())
            .collect()
    }

    /// Looks at all samples of the window.
    fn see_all(&mut self, id: i64, gauges: &[bool], sum: &mut Sum) -> Result<(), Error> {
        let mut end_ms = self.window.from_ms;
        while let Some(next) = Samples::after(self.db, id, end_ms).map_err(failed)? {
            if next.end_ms > self.window.to_ms {
                break;
            }
            end_ms = next.end_ms;
            self.meter.row(0)?;
            sum.see(&next.value, gauges);
        }
        Ok(())
    }

    fn add(
        &mut self,
        groups: &mut BTreeMap<Group, Sum>,
        mut group: Group,
        mut sum: Sum,
    ) -> Result<(), Error> {
        // Runs of an agent go on with each other's series, except where numbers mean something
        // else in each.
        if self.known.table.column(PROCESS).is_none() {
            group.0.boot = 0;
        }
        let Some(other) = groups.get_mut(&group) else {
            let texts = group.0.hostname.len() + 2 * group.1.len();
            self.meter.bytes(ROW + texts + 2 * sum.cells.bytes())?;
            groups.insert(group, sum);
            return Ok(());
        };
        if other.end_ms <= sum.end_ms {
            std::mem::swap(other, &mut sum);
        }
        if !self.is_state() {
            other.cells.add(&sum.cells);
        }
        other.since_ms = other.since_ms.min(sum.since_ms);
        for (most, more) in other.most.iter_mut().zip(sum.most) {
            *most = (*most).max(more);
        }
        Ok(())
    }

    fn row_of_series(&self, (whose, key, _): &Group, sum: Sum) -> Result<Row, Error> {
        let damaged = |_| Error::Damaged {
            what: "dimensions of a series that cannot be read",
        };
        let mut dimensions: Vec<Json> = serde_json::from_str(key).map_err(damaged)?;
        let nothing = nothing(&self.known.table);
        dimensions.extend(nothing.into_iter().skip(dimensions.len()));
        let (mut dimensions, mut cells) = (dimensions.into_iter(), sum.cells.0.into_iter());
        let mut most = sum.most.into_iter();
        let (mut values, mut largest) = (Map::new(), Map::new());
        for column in &self.known.table.columns {
            let value = match part(column) {
                Part::Absent | Part::Total => continue,
                Part::Since => sum.since_ms.into(),
                Part::Key => rows::shown(column, dimensions.next().unwrap_or_default()),
                Part::Counted | Part::Latest => {
                    if let Some(Some(most)) = most.next() {
                        largest.insert(column.name.clone(), most.into());
                    }
                    value(column, cells.next())
                }
            };
            values.insert(column.name.clone(), value);
        }
        let row = self.row(whose, sum.end_ms, values)?;
        Ok(Row {
            most: largest,
            ..row
        })
    }

    fn events(&mut self) -> Result<(Vec<Row>, u64), Error> {
        let (kind, Window { from_ms, to_ms }) = (Blocks::Events(self.known.id), self.window);
        let heads = block::in_window(self.db, kind, (from_ms, to_ms)).map_err(failed)?;
        let (mut rows, mut left_out) = (Vec::new(), 0);
        // The newest first.
        for head in heads.iter().rev() {
            self.meter.time()?;
            let whose = of_run(self.db, head.boot).map_err(failed)?;
            let Some(whose) = whose.filter(|whose| self.is_wanted(whose)) else {
                continue;
            };
            for cells in block::read::<Events>(self.db, head).map_err(failed)?.0 {
                self.meter.row(0)?;
                if rows.len() >= self.which.most {
                    left_out += 1;
                    continue;
                }
                self.meter.bytes(ROW + 4 * cells.len())?;
                rows.push(self.row_of_event(&whose, head.end_ms, &cells)?);
            }
        }
        Ok((rows, left_out))
    }

    fn row_of_event(&self, whose: &Whose, end_ms: i64, cells: &str) -> Result<Row, Error> {
        let damaged = |_| Error::Damaged {
            what: "an event that cannot be read",
        };
        let cells: Vec<Json> = serde_json::from_str(cells).map_err(damaged)?;
        let columns = self.known.table.columns.iter();
        let columns = columns.filter(|column| part(column) != Part::Absent);
        // Those that came with a later version are behind all that a row has.
        let cells = cells.into_iter().chain(std::iter::repeat(Json::Null));
        let values = columns
            .zip(cells)
            .map(|(column, cell)| (column.name.clone(), rows::shown(column, cell)));
        self.row(whose, end_ms, values.collect())
    }

    fn row(&self, whose: &Whose, end_ms: i64, values: Map<String, Json>) -> Result<Row, Error> {
        let number = values.get(PROCESS).and_then(Json::as_i64);
        let process = match number {
            Some(number) => process(self.db, whose.boot, number).map_err(failed)?,
            None => None,
        };
        Ok(Row {
            host: hex(&whose.host),
            hostname: whose.hostname.clone(),
            end_ms,
            process,
            values,
            most: Map::new(),
        })
    }
}
