//! The nodes of ClickHouse that tests have, too.

#[allow(dead_code, unreachable_pub, reason = "tests do more with them")]
#[path = "../../../collector/tests/clickhouse/mod.rs"]
pub(crate) mod servers;

use std::io::{self, Write as _};

/// Said where something is not there.
fn skipped(why: &str) {
    drop(writeln!(io::stderr().lock(), "not measured: {why}"));
}
