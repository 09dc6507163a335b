//! FORMAT.md lists the tables as they are declared.

#![forbid(unsafe_code)]

#[test]
fn the_tables_of_the_format_are_those_that_are_declared() {
    let page = include_str!("../FORMAT.md");
    let (_, rest) = page.split_once("<!-- tables -->\n").expect("a begin");
    let (tables, _) = rest.split_once("<!-- end of tables -->").expect("an end");
    assert!(
        tables == wire::documentation(),
        "cargo run --release -p wire-bench -- bless writes the tables of FORMAT.md"
    );
}

#[test]
fn every_declaration_is_within_the_bounds_that_readers_set() {
    for table in wire::tables() {
        assert_eq!(table.check(), Ok(()), "{}", table.name);
        assert!(
            table.columns.iter().all(|column| !column.help.is_empty()),
            "{}",
            table.name
        );
        assert!(
            table
                .columns
                .iter()
                .all(|column| column.since <= table.version)
        );
    }
}
