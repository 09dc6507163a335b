#![forbid(unsafe_code)]
//! wip
mod compare;
mod fleet;
mod train;
use fleet::{BENCH, Mix};
use compare::otlp::Style;
fn main() -> anyhow::Result<()> {
    let out = &mut std::io::stdout();
    use std::io::Write;
    if std::env::args().nth(1).as_deref() == Some("rows") {
        let b = fleet::batch(std::env::args().nth(2).unwrap().parse().unwrap(), &BENCH, Mix{edges:1000,..Mix::default()});
        out.write_all(&compare::json::lines(&b))?;
        return Ok(());
    }
    if std::env::args().nth(1).as_deref() == Some("train") { return train::train("wire/dictionaries/1.dictionary".as_ref()); }
    if std::env::args().nth(1).as_deref() == Some("samples") {
        use fleet::TRAINING;
        std::fs::create_dir_all("/tmp/wx/samples")?;
        let mut i = 0;
        for seed in 0..40 {
            for mix in [Mix{edges:20+seed as usize*30,..Mix::default()}, Mix::interval(30+seed as usize*30), Mix::interval(60+seed as usize*40)] {
                i += 1;
                std::fs::write(format!("/tmp/wx/samples/{i}"), wire::arrow_streams(&fleet::batch(50_000 + i, &TRAINING, mix)))?;
            }
        }
        for s in 900..908u64 {
            std::fs::write(format!("/tmp/wx/samples/bench-e{s}"), wire::arrow_streams(&fleet::batch(s, &BENCH, Mix{edges:1000,..Mix::default()})))?;
            std::fs::write(format!("/tmp/wx/samples/bench-m{s}"), wire::arrow_streams(&fleet::batch(s, &BENCH, Mix::interval(1000))))?;
        }
        return Ok(());
    }
    for (name, mix) in [("edge", Mix{edges:1000,..Mix::default()}), ("sight", Mix{sightings:1000,..Mix::default()}), ("proc", Mix{processes:1000,..Mix::default()}), ("event", Mix{events:1000,..Mix::default()}),("mix", Mix::interval(1000))] {
        let seeds = 900..908u64;
        let mut t = [0usize; 7];
        for s in seeds.clone() {
            let b = fleet::batch(s, &BENCH, mix);
            let plain = compare::otlp::requests(&b, Style::Plain);
            let lean = compare::otlp::requests(&b, Style::Lean);
            t[0] += plain.iter().map(Vec::len).sum::<usize>();
            t[1] += compare::zstd_len(&plain)?;
            t[2] += lean.iter().map(Vec::len).sum::<usize>();
            t[3] += compare::zstd_len(&lean)?;
            t[4] += compare::zstd_len(&[compare::json::lines(&b)])?;
            t[5] += compare::parquet::len(&b)?;
            t[6] += wire::encode(&b).len();
        }
        let n = 8.0 * 1000.0;
        let f = |i: usize| t[i] as f64 / n;
        writeln!(out, "{name:6} otlp {:.0} z {:.1}  lean {:.0} z {:.1} json {:.1} parquet {:.1} ours {:.2}   raw/ours {:.1} z/ours {:.2}  lean {:.1} {:.2}", f(0),f(1),f(2),f(3),f(4),f(5),f(6), f(0)/f(6), f(1)/f(6), f(2)/f(6), f(3)/f(6))?;
    }
    Ok(())
}
