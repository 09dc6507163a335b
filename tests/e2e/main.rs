//! Agent and collector on real kernels, networks and programs.
//!
//! `cargo test -p tests` runs all trials, `-- NAME` some. A trial that the machine cannot show is
//! reported as ignored, with the reason.

#![forbid(unsafe_code)]

mod abilities;
mod accept;
mod alerts;
mod bad_batch;
mod bad_config;
mod bad_option;
mod branches;
mod case;
mod clone;
mod connection;
mod containers;
mod copies;
mod demo;
mod direction;
mod enrolment;
mod export;
mod fall_backs;
mod faults;
mod field;
mod filters;
mod followed;
mod governor;
mod handed;
mod harm;
mod jail;
mod joins;
mod listener;
mod lists;
mod loss;
mod modes;
mod namespaces;
mod nat;
mod neighbours;
mod observe;
mod orders;
mod own_vip;
mod owners;
mod packages;
mod pressure;
mod residue;
mod restarts;
mod rough;
mod scene;
mod service;
mod shapes;
mod soak;
mod static_binary;
mod totals;
mod types;
mod upload;
mod userland;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Trials side by side: more than the small machines of CI have cores, since labs mostly wait.
const THREADS: usize = 4;

fn main() -> ExitCode {
    // The launcher and the traffic programs are this very binary.
    if let Some(code) = tests::program::dispatch() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // What takes longest begins first, so that short ones fill the rest; never much of a kind at once.
    let long = [
        alerts::CASES,
        field::CASES,
        harm::CASES,
        demo::CASES,
        rough::CASES,
        pressure::CASES,
        neighbours::CASES,
    ];
    let most = long
        .iter()
        .map(|cases| cases.len())
        .max()
        .unwrap_or_default();
    let long = (0..most).flat_map(|at| long.iter().filter_map(move |cases| cases.get(at)));
    let short = [
        shapes::CASES,
        nat::CASES,
        accept::CASES,
        clone::CASES,
        filters::CASES,
        copies::CASES,
        containers::CASES,
        soak::CASES,
        observe::CASES,
        namespaces::CASES,
        connection::CASES,
        joins::CASES,
        own_vip::CASES,
        direction::CASES,
        restarts::CASES,
        handed::CASES,
        lists::CASES,
        listener::CASES,
        loss::CASES,
        totals::CASES,
        enrolment::CASES,
        upload::CASES,
        followed::CASES,
        branches::CASES,
        export::CASES,
        orders::CASES,
        owners::CASES,
        residue::CASES,
        jail::CASES,
        faults::CASES,
        fall_backs::CASES,
        modes::CASES,
        governor::CASES,
        abilities::CASES,
        bad_option::CASES,
        bad_batch::CASES,
        bad_config::CASES,
        static_binary::CASES,
        types::CASES,
        service::CASES,
    ];
    let trials = long.chain(short.into_iter().flatten());
    let trials = trials.map(case::Case::trial);
    // These are asked for by commands of their own, and listed all the same.
    let asked = [
        (userland::CASES, userland::wanted(), "cargo xtask userland"),
        (packages::CASES, packages::wanted(), "cargo xtask package"),
    ];
    let asked = asked.into_iter().flat_map(|(cases, wanted, command)| {
        cases.iter().map(move |case| match wanted {
            true => case.trial(),
            false => case.left_to(command),
        })
    });
    let trials = trials.chain(asked).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
