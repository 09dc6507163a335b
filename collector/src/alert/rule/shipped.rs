//! The rules that come with the program.

use super::definition::Rule;
use super::read;

/// Their files.
pub(super) const FILES: [(&str, &str); 8] = [
    ("edge.toml", include_str!("../../../rules/edge.toml")),
    ("service.toml", include_str!("../../../rules/service.toml")),
    ("path.toml", include_str!("../../../rules/path.toml")),
    ("matrix.toml", include_str!("../../../rules/matrix.toml")),
    (
        "listener.toml",
        include_str!("../../../rules/listener.toml"),
    ),
    ("event.toml", include_str!("../../../rules/event.toml")),
    ("fleet.toml", include_str!("../../../rules/fleet.toml")),
    (
        "collector.toml",
        include_str!("../../../rules/collector.toml"),
    ),
];

/// The rules that come with the program.
///
/// # Panics
/// Where one of them cannot be read, which a test would have found.
#[must_use]
pub fn shipped() -> Vec<Rule> {
    let mut all = Vec::new();
    for (file, text) in FILES {
        let read = read::read(file, text).expect("a test reads them all");
        all.extend(read.rules.into_iter().map(|rule| Rule {
            shipped: true,
            ..rule
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::FILES;
    use crate::alert::rule::read;

    #[test]
    fn every_file_can_be_read() {
        for (file, text) in FILES {
            if let Err(mistakes) = read::read(file, text) {
                panic!("{mistakes}");
            }
        }
    }
}
