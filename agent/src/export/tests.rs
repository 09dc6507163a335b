use clap::Parser as _;
use ring::signature::{ED25519, UnparsedPublicKey};
use wire::export::Export;

use super::*;
use crate::cli::{Cli, Command};
use crate::spool::Spool;
use crate::spool::tests::{BOOT, HOST, batch, roomy};

/// An installation with a spool, and a folder for files.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().expect("a directory"),
        };
        let (rootfs, out) = (site.path("rootfs"), site.path("out"));
        fs::create_dir_all(rootfs.join("var/lib/waybill")).expect("folders");
        fs::create_dir(out).expect("a folder");
        let config = format!("[agent]\nrootfs = {rootfs:?}\n[option]\nenabled = false\n");
        fs::write(site.path("agent.toml"), config).expect("written");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spool(&self) -> Spool {
        let path = self.path("rootfs/var/lib/waybill/spool.db");
        Spool::open(&path, roomy()).expect("a spool")
    }

    /// Runs a command; its JSON, or its error.
    fn ask(&self, words: &[&str]) -> Result<serde_json::Value, String> {
        let config = self.path("agent.toml");
        let config = config.to_str().expect("text");
        let common = ["--config", config, "--format", "json"];
        let words = ["waybill-agent"].iter().chain(words).chain(&common);
        let mut out = Vec::new();
        let done = match Cli::parse_from(words).command {
            Command::Export(args) => run(&args, &mut out),
            Command::Receipt(args) => receipt(&args, &mut out),
            other => panic!("{other:?}"),
        };
        done.map_err(|failure| format!("{:#}", failure.error))?;
        Ok(serde_json::from_slice(&out).expect("JSON"))
    }

    /// Exports into the folder; the numbers of the batches in each file.
    fn export(&self, more: &[&str]) -> Vec<Vec<u64>> {
        let out = self.path("out");
        let words = [&["export", "--out", out.to_str().expect("text")], more].concat();
        let report = self.ask(&words).expect("exported");
        let files = report["files"].as_array().expect("a list").iter();
        files
            .map(|file| numbers(Path::new(file["file"].as_str().expect("a path"))))
            .collect()
    }
}

/// Checks a file as a collector does. The batches of these tests hold their number and no rows.
fn numbers(file: &Path) -> Vec<u64> {
    let bytes = fs::read(file).expect("a file");
    let export = Export::parse(&bytes).expect("an export");
    assert_eq!(export.head.host, HOST);
    let sum = digest::digest(&SHA256, export.signed);
    UnparsedPublicKey::new(&ED25519, export.head.key)
        .verify(&[CONTEXT, sum.as_ref()].concat(), export.signature)
        .expect("signed");
    let number = |batch: &&[u8]| batch.len() as u64 / KIB - 700;
    export.batches.iter().map(number).collect()
}

const KIB: u64 = 1024;

/// A batch that can be told from others by its size.
fn numbered(number: u64) -> Sealed {
    batch(
        number,
        usize::try_from((700 + number) * KIB).expect("small"),
    )
}

#[test]
fn files_are_split_by_size_and_the_next_export_goes_on_behind_them() {
    let site = Site::new();
    let mut spool = site.spool();
    for number in 1..=5 {
        assert!(spool.put(&numbered(number)));
    }
    let parts = site.export(&["--max-size", "1500KiB"]);
    assert_eq!(parts, [vec![1, 2], vec![3, 4], vec![5]]);
    assert!(site.export(&[]).is_empty(), "exported twice");
    assert!(spool.put(&numbered(6)));
    assert_eq!(site.export(&[]), [[6]]);
    assert_eq!(site.export(&["--again"]), [[1, 2, 3, 4, 5, 6]]);
    assert_eq!(spool.depth(), 6);
    let names = fs::read_dir(site.path("out")).expect("a folder").flatten();
    assert!(
        names
            .map(|entry| entry.file_name())
            .all(|name| !name.to_string_lossy().contains(".part"))
    );
}

#[test]
fn an_export_that_was_interrupted_begins_behind_the_last_whole_file() {
    let site = Site::new();
    let mut spool = site.spool();
    for number in 1..=4 {
        assert!(spool.put(&numbered(number)));
    }
    // The second file is in the way.
    let (first, second) = (site.path("out/a"), site.path("out/a.2"));
    fs::write(&second, b"of somebody else").expect("written");
    let words = [
        "export",
        "--max-size",
        "1500KiB",
        "--out",
        first.to_str().expect("text"),
    ];
    let error = site.ask(&words).expect_err("in the way");
    assert!(error.contains("a.2 is there already"), "{error}");
    assert_eq!(numbers(&first), [1, 2]);
    assert_eq!(fs::read(&second).expect("a file"), b"of somebody else");
    assert_eq!(site.export(&[]), [[3, 4]]);
}

#[test]
fn a_receipt_deletes_what_it_names_and_a_damaged_one_nothing() {
    let site = Site::new();
    let mut spool = site.spool();
    for number in 1..=4 {
        assert!(spool.put(&numbered(number)));
    }
    site.export(&[]);
    let file = site.path("receipt");
    let text = Receipt::new(HOST, vec![(BOOT, 1), (BOOT, 2)]).text();
    fs::write(&file, text.replace(" 1 2", " 1 4")).expect("written");
    let words = ["receipt", file.to_str().expect("text")];
    let error = site.ask(&words).expect_err("damaged");
    assert!(error.contains("was changed"), "{error}");
    fs::write(&file, text).expect("written");
    assert_eq!(site.ask(&words), Ok(serde_json::json!({ "deleted": 2 })));
    assert_eq!(site.ask(&words), Ok(serde_json::json!({ "deleted": 0 })));
    assert!(spool.put(&numbered(5)));
    assert_eq!(
        site.ask(&["receipt", "--forget"]),
        Ok(serde_json::json!({ "deleted": 2 }))
    );
    assert_eq!(site.export(&["--again"]), [[5]]);
}

#[test]
fn the_key_of_an_installation_is_made_once_and_is_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    drop(site.spool());
    let words = ["export", "--out", "/nowhere/file"];
    let key = site.ask(&words).expect("nothing to export")["key"].clone();
    assert_eq!(site.ask(&words).expect("again")["key"], key);
    let file = site.path("rootfs/var/lib/waybill/export.key");
    let mode = fs::metadata(&file).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&file, "damaged").expect("written");
    let error = site.ask(&words).expect_err("no key");
    assert!(error.contains("64 hex digits"), "{error}");
}
