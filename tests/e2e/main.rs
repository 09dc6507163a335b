//! e2e
#![forbid(unsafe_code)]
fn main() -> std::process::ExitCode {
    if let Some(code) = tests::program::dispatch() {
        return code;
    }
    std::process::ExitCode::SUCCESS
}
