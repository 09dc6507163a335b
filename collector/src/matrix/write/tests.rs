//! Hostile names stay text in every file.

use super::{Form, report};
use crate::matrix::{EdgeState, EdgeVerdict, Report, SeenEdge};

const HOSTILE: [&str; 7] = [
    "=cmd|'/c calc'!A1",
    "+1+1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "\u{202e}gnp.exe",
    "\u{1b}[31mred",
    "a\"b,c\r\nd",
];

fn hostile() -> Report {
    let edge = |name: &&str| EdgeVerdict {
        state: EdgeState::Undeclared,
        why: Vec::new(),
        edge: SeenEdge {
            key: String::from("e-0"),
            client: String::from(*name),
            server: name.repeat(600),
            endpoint: String::from("10.0.0.1:80"),
            via: Vec::new(),
            connections: 1,
            failed: 0,
            confidence: 1.0,
            evidence: vec![String::from("token")],
            first_seen_ms: 0,
            last_seen_ms: 0,
        },
        flows: Vec::new(),
    };
    Report {
        edges: HOSTILE.iter().map(edge).collect(),
        ..Report::default()
    }
}

fn written(form: Form) -> Vec<u8> {
    let mut bytes = Vec::new();
    report(&mut bytes, form, &hostile()).unwrap();
    bytes
}

#[test]
fn no_cell_of_csv_begins_like_a_formula() {
    let bytes = written(Form::Csv);
    let text = String::from_utf8(bytes).unwrap();
    let edges = text.split("\r\n\r\n").nth(1).expect("two tables");
    let mut reader = csv::ReaderBuilder::new().from_reader(edges.as_bytes());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), HOSTILE.len());
    for (row, name) in rows.iter().zip(HOSTILE) {
        assert!(row[2].ends_with(name), "{row:?}");
        for cell in row {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{cell}"
            );
        }
    }
}

#[test]
fn a_workbook_has_texts_and_no_formulas() {
    use calamine::{Data, Reader as _, Xlsx};
    let mut book: Xlsx<_> = Xlsx::new(std::io::Cursor::new(written(Form::Xlsx))).unwrap();
    let formulas = book.worksheet_formula("edges").unwrap();
    assert_eq!(formulas.used_cells().count(), 0);
    let sheet = book.worksheet_range("edges").unwrap();
    assert_eq!(sheet.height(), HOSTILE.len() + 1);
    let first = sheet.get_value((1, 2));
    assert_eq!(first, Some(&Data::String(String::from(HOSTILE[0]))));
}

#[test]
fn a_page_has_no_markup_of_others() {
    let text = String::from_utf8(written(Form::Html)).unwrap();
    assert!(!text.contains("<script") && text.contains("&lt;script&gt;"));
    assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}'));
    assert!(text.contains("default-src 'none'"));
}

#[test]
fn json_is_the_report_again() {
    let back: Report = serde_json::from_slice(&written(Form::Json)).unwrap();
    assert_eq!(back, hostile());
}
