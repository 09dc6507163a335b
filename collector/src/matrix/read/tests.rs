//! Files as teams write them, and files that are none.

use proptest::prelude::*;

use super::{Declared, MAX_BYTES, read};
use crate::matrix::flow::Fields;
use crate::matrix::write::{Form, flows as write};

fn texts(declared: &Declared) -> Vec<[&str; 9]> {
    declared.flows.iter().map(|flow| flow.text.all()).collect()
}

#[test]
fn a_spreadsheet_of_a_chinese_team_is_read() {
    let text = "\u{feff}序号;源;目的;目的端口;负责人;有效期;备注;颜色\r\n\
                7;nginx;10.20.0.0/16;443、8443;王;2027/03/31;\"a;b\";red\r\n\r\n\
                8;any;db-1/postgres;5432;;永久;;\r\n";
    let declared = read(text.as_bytes()).expect("a matrix");
    assert_eq!(declared.flows.len(), 2);
    assert_eq!(declared.flows[0].id, "7");
    assert_eq!(declared.flows[0].text.comment, "a;b");
    assert!(declared.flows[0].ports.has(8443) && declared.flows[0].valid_until_ms.is_some());
    assert_eq!(declared.notes, ["column \"颜色\" is not read"]);
}

#[test]
fn every_mistake_is_told_with_its_line_and_column() {
    let text = "source,destination,port\nweb,db,5432\n,db,x\n# a remark\n\nweb,10.0.0.300,80\n";
    let mistakes = read(text.as_bytes())
        .expect_err("three mistakes")
        .to_string();
    for expected in [
        "line 3, source",
        "line 3, port: x",
        "line 6, destination: 10.0.0.300",
    ] {
        assert!(mistakes.contains(expected), "{mistakes}");
    }
    let none = read(b"a,b\n1,2\n").expect_err("no columns").to_string();
    assert!(
        none.contains("\"source\"") && none.contains("\"destination\""),
        "{none}"
    );
    let twice = read(b"source,src,destination\na,b,c\n")
        .expect_err("twice")
        .to_string();
    assert!(twice.contains("two columns are source"), "{twice}");
    let split = read(b"source,destination,comment\na,b,c,d\n")
        .expect_err("four")
        .to_string();
    assert!(
        split.contains("line 2: 4 fields, and 3 headings"),
        "{split}"
    );
    assert!(
        read(b"")
            .expect_err("nothing")
            .to_string()
            .contains("nothing in it")
    );
}

#[test]
fn toml_is_told_by_its_first_line() {
    let text = "# ours\n[[flow]]\nsource = \"web\"\ndestination = \"db\"\nport = 5432\n\n\
                [[flow]]\nsource = \"web\"\ndestination = [\"a\", \"b\"]\n\
                valid_until = 2027-03-31\n";
    let declared = read(text.as_bytes()).expect("a matrix");
    assert_eq!(declared.flows[0].text.port, "5432");
    assert_eq!(declared.flows[1].text.destination, "a, b");
    assert!(declared.flows[1].valid_until_ms.is_some());
    let bad = "[[flow]]\nsource = \"web\"\ndestination = 1.5\ncolour = \"red\"\n";
    let why = read(bad.as_bytes()).expect_err("two mistakes").to_string();
    assert!(why.contains("destination: expected text") && why.contains("colour is no column"));
    let other = "[[flow]]\nsource = \"a\"\ndestination = \"b\"\n[other]\n";
    assert!(read(other.as_bytes()).is_err());
}

#[test]
fn files_that_are_no_matrix_are_refused_with_what_to_do() {
    let why = |bytes: &[u8]| read(bytes).expect_err("no matrix").to_string();
    assert!(why(&[0xD0, 0xCF, 0x11, 0xE0, 0]).contains("save it as .xlsx"));
    assert!(why(b"source,destination\n\xb0\xa1,b\n").contains("UTF-8"));
    assert!(why(b"PK\x03\x04 and so on").contains("not an .xlsx"));
    assert!(why(&vec![b'x'; MAX_BYTES + 1]).contains("at most"));
}

#[test]
fn an_archive_that_unpacks_to_too_much_is_refused_before_it_is_held() {
    use std::io::Write as _;
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("xl/sharedStrings.xml", options).unwrap();
    let block = vec![b' '; 1 << 20];
    for _ in 0..80 {
        archive.write_all(&block).unwrap();
    }
    let bytes = archive.finish().unwrap().into_inner();
    assert!(bytes.len() < MAX_BYTES, "{}", bytes.len());
    let why = read(&bytes).expect_err("80 MiB").to_string();
    assert!(why.contains("unpacks to more than"), "{why}");
}

#[test]
fn a_workbook_with_dates_numbers_and_formulas_is_read() {
    use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};
    let mut book = Workbook::new();
    let page = book.add_worksheet();
    page.set_name("矩阵").unwrap();
    for (column, heading) in (0..).zip(["Source", "Destination", "Port", "Valid until"]) {
        page.write_string(2, column, heading).unwrap();
    }
    page.write_string(3, 0, "web").unwrap();
    page.write_string(3, 1, "db").unwrap();
    page.write_number(3, 2, 5432).unwrap();
    let day = ExcelDateTime::from_ymd(2027, 3, 31).unwrap();
    let format = Format::new().set_num_format("yyyy-mm-dd");
    page.write_datetime_with_format(3, 3, &day, &format)
        .unwrap();
    page.write_formula(4, 0, Formula::new("=\"we\"&\"b\"").set_result("web"))
        .unwrap();
    page.write_string(4, 1, "cache").unwrap();
    book.add_worksheet();
    let declared = read(&book.save_to_buffer().unwrap()).expect("a matrix");
    assert_eq!(declared.flows[0].text.port, "5432");
    assert_eq!(declared.flows[0].text.valid_until, "2027-03-31");
    assert_eq!(declared.flows[1].text.source, "web");
    assert_eq!(declared.flows[1].line, 5);
    assert_eq!(declared.notes.len(), 1, "{:?}", declared.notes);
}

fn plain() -> impl Strategy<Value = String> {
    // What people and hosts write, formulas among it.
    prop_oneof![
        "[a-z]{1,8}",
        "[=+@-][a-zA-Z(),\"!|' ]{0,20}",
        "[\\PC]{0,20}"
    ]
    .prop_map(|text| String::from(text.trim()))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        rows in proptest::collection::vec(("[a-z]{1,8}", "[a-z]{1,8}", plain(), plain()), 1..6)
    ) {
        let rows: Vec<Fields> = rows
            .into_iter()
            .map(|(source, destination, owner, comment)| Fields {
                source,
                destination,
                owner,
                comment,
                ..Fields::default()
            })
            .collect();
        for form in [Form::Csv, Form::Xlsx, Form::Toml] {
            let mut bytes = Vec::new();
            write(&mut bytes, form, &rows).unwrap();
            let declared = read(&bytes).map_err(|why| TestCaseError::fail(why.to_string()))?;
            let expected: Vec<_> = rows.iter().map(Fields::all).collect();
            prop_assert_eq!(texts(&declared), expected, "{:?}", form);
        }
    }

    #[test]
    fn whatever_is_given_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(read(&bytes));
        let mut archive = b"PK\x03\x04".to_vec();
        archive.extend(&bytes);
        drop(read(&archive));
        let mut text = b"source,destination\n".to_vec();
        text.extend(&bytes);
        drop(read(&text));
    }
}
