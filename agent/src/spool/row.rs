//! Rows of the database as values, and what an error of SQLite means for the batches in it.

use rusqlite::{ErrorCode, Row, ffi};

use super::types::{BatchId, Error, Sealed};

pub(super) fn row_and_bytes(row: &Row<'_>) -> rusqlite::Result<(i64, u64)> {
    Ok((row.get(0)?, unsigned(row, 1)?))
}

/// Reads columns 2 and 3.
pub(super) fn id(row: &Row<'_>) -> rusqlite::Result<BatchId> {
    Ok(BatchId {
        boot: row.get(2)?,
        sequence: unsigned(row, 3)?,
    })
}

pub(super) fn unsigned(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(index)?.cast_unsigned())
}

/// Reads columns 1 to 7 of the lease query.
pub(super) fn sealed(row: &Row<'_>) -> rusqlite::Result<Sealed> {
    let bytes: Vec<u8> = row.get(7)?;
    let expected = unsigned(row, 6)?;
    if u64::try_from(bytes.len()) != Ok(expected) {
        let text = format!("payload of {} bytes instead of {expected}", bytes.len());
        return Err(corrupt(text));
    }
    Ok(Sealed {
        id: BatchId {
            boot: row.get(1)?,
            sequence: unsigned(row, 2)?,
        },
        host: row.get(3)?,
        sealed_ms: unsigned(row, 4)?,
        rows: unsigned(row, 5)?,
        bytes,
    })
}

/// A length or count; more than SQLite can count is more than it can hold.
pub(super) fn signed(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn corrupt(text: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(text))
}

pub(super) fn damage(text: String) -> Error {
    Error::Corrupt(corrupt(text))
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        match &error {
            Sql::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
                // The second: no room for the log's index.
                (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Self::Full(error),
                (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _)
                // A page that cannot be read any more: it would fail every later attempt too.
                | (
                    _,
                    ffi::SQLITE_IOERR_READ
                    | ffi::SQLITE_IOERR_SHORT_READ
                    | ffi::SQLITE_IOERR_CORRUPTFS,
                )
                // The statements are right and their values fit the schema, so these say that the
                // schema or the rows in the file are not what they were.
                | (_, ffi::SQLITE_ERROR)
                | (ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation, _)
                // The file could be opened for writing; its header says that it is of a format
                // that can only be read. (A directory or a file system that refuses writing has
                // other codes.)
                | (_, ffi::SQLITE_READONLY) => Self::Corrupt(error),
                _ => Self::Database(error),
            },
            // The schema fixes every type, and fits every statement.
            Sql::SqlInputError { .. }
            | Sql::FromSqlConversionFailure(..)
            | Sql::IntegralValueOutOfRange(..)
            | Sql::InvalidColumnType(..)
            | Sql::Utf8Error(..) => Self::Corrupt(error),
            _ => Self::Database(error),
        }
    }
}
