//! `SUPPORT.md`: for users, made from what was blessed. Pure.

use crate::golden::Golden;
use crate::matrix::Matrix;

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
    for kernel in &matrix.kernels {
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
