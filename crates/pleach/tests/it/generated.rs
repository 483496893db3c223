//! What `pleach-deploy`, which knows all verbs, says of itself is what is kept.

use std::path::Path;
use std::process::Command;

/// What is asked for, and where it is kept.
const FILES: [(&str, &str); 8] = [
    ("reference", "docs/cli.md"),
    ("diff-schema", "docs/schemas/diff.json"),
    ("etc-schema", "docs/schemas/etc.json"),
    ("lint-schema", "docs/schemas/lint.json"),
    ("matrix-schema", "docs/schemas/matrix.json"),
    ("parity-schema", "docs/schemas/parity.json"),
    ("plan-schema", "docs/schemas/plan.json"),
    ("placement", "docs/placement.md"),
];

#[test]
fn what_is_generated_is_current() {
    for (what, file) in FILES {
        let made = Command::new(env!("CARGO_BIN_EXE_pleach-deploy"))
            .args(["generate", what])
            .output()
            .expect("the binary runs");
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let kept = std::fs::read(kept.join(file)).expect(file);
        assert!(
            made.stdout == kept,
            "{file} is not current; run: cargo xtask codegen"
        );
    }
}
