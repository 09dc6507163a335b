//! `SUPPORT.md`: for users, made from what was blessed. Pure.

use crate::golden::Golden;
use crate::matrix::{INFRASTRUCTURE, Kernel, Matrix};

const HEAD: &str = "# Supported kernels

Made from the blessed results of the matrix by `compat-matrix bless`; do not edit.
Each line was seen on the named release, with the shipped agent and real traffic; what a mode means, and what is promised for a tier, is in [KERNEL-POLICY](../docs/KERNEL-POLICY.md).
A kernel that is not here can be tried: see [README](README.md#your-own-kernel).

| kernel | looked at | mode | tier | until | shown | not shown |
|---|---|---|---|---|---|---|
";

/// The document; `golden` gives what was blessed of a kernel.
#[must_use]
pub fn text(matrix: &Matrix, golden: &dyn Fn(&str) -> Option<Golden>) -> String {
    let mut text = HEAD.to_owned();
    let breaks = |kernel: &&Kernel| kernel.verdict.as_deref() == Some(INFRASTRUCTURE);
    for kernel in matrix.kernels.iter().filter(|kernel| !breaks(kernel)) {
        let until = kernel.drop_date.as_deref().unwrap_or("moves on");
        let row = match golden(&kernel.id) {
            Some(golden) => {
                let skipped = golden
                    .checks
                    .values()
                    .filter(|status| status.starts_with("skip"))
                    .count();
                let shown = golden.checks.len() - skipped;
                format!(
                    "| {} | {} | {} | {} | {until} | {shown} checks | {skipped} |",
                    kernel.title,
                    golden.release,
                    golden.mode,
                    kernel.tier.name()
                )
            }
            None => format!(
                "| {} | never | ? | {} | {until} | nothing yet | |",
                kernel.title,
                kernel.tier.name()
            ),
        };
        text += &row;
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::text;
    use crate::baseline;
    use crate::golden::Golden;
    use crate::matrix::{MATRIX, Matrix};

    fn folder() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn blessed(id: &str) -> Option<Golden> {
        let path = folder().join(format!("expected/{id}.toml"));
        let text = std::fs::read_to_string(path).ok()?;
        Some(Golden::parse(&text).unwrap())
    }

    #[test]
    fn the_document_says_what_was_blessed() {
        let matrix = Matrix::parse(MATRIX).unwrap();
        let document = std::fs::read_to_string(folder().join("SUPPORT.md")).unwrap();
        assert_eq!(
            document,
            text(&matrix, &blessed),
            "run `cargo xtask matrix bless`"
        );
    }

    #[test]
    fn everything_blessed_is_of_a_kernel_of_the_matrix_and_of_its_verdict() {
        let matrix = Matrix::parse(MATRIX).unwrap();
        for file in folder().join("expected").read_dir().unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let id = name.strip_suffix(".toml").expect("a golden");
            let kernel = matrix.kernel(id).expect("in the matrix");
            let golden = blessed(id).expect("a golden");
            assert_eq!(
                kernel.verdict.as_deref(),
                Some(golden.mode.as_str()),
                "{id}"
            );
            let programs = folder().join(format!("verifier/{id}.csv"));
            let programs = baseline::parse(&std::fs::read_to_string(programs).unwrap()).unwrap();
            let without = ["skipped", "packet and diagnostic sockets"];
            let connection = &golden.plan["connection"];
            let loads = !without.iter().any(|words| connection.starts_with(words));
            assert_eq!(!programs.is_empty(), loads, "{id}");
        }
    }
}
