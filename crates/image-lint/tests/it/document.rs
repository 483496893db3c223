//! `docs/lint.md` is made of the rules.

use pleach_image_lint::rules;

#[allow(
    clippy::disallowed_methods,
    reason = "a test writes the document that it checks"
)]
mod files {
    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lint.md");

    /// Set `PLEACH_WRITE_DOCS=1` (`cargo xtask codegen` does) to write it anew.
    #[test]
    fn the_table_of_rules_is_current() {
        let made = super::document();
        if std::env::var_os("PLEACH_WRITE_DOCS").is_some() {
            return std::fs::write(DOCUMENT, made).expect("written");
        }
        let there = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
        assert!(
            there == made,
            "docs/lint.md is not current; run: cargo xtask codegen"
        );
    }
}

const HEAD: &str = include_str!("document.md");

fn document() -> String {
    let mut out = HEAD.to_owned();
    out += "| rule | severity | is about | from |\n|---|---|---|---|\n";
    for rule in rules() {
        let (id, severity) = (rule.id, rule.severity);
        out += &format!(
            "| [{id}](#{id}) | {severity} | {} | {} |\n",
            rule.title, rule.source
        );
    }
    for rule in rules() {
        out += &format!(
            "\n### {}\n\nWhy: {}.\n\nFix: {}.\n",
            rule.id, rule.why, rule.fix
        );
    }
    out
}

#[test]
fn each_rule_says_why_and_what_to_do() {
    let mut ids = std::collections::BTreeSet::new();
    for rule in rules() {
        assert!(ids.insert(rule.id), "{} is there twice", rule.id);
        for text in [rule.title, rule.why, rule.fix, rule.source] {
            assert!(
                !text.is_empty() && !text.ends_with('.'),
                "{}: {text:?}",
                rule.id
            );
        }
    }
    // All that `bootc container lint` asks, by its names.
    let bootc = rules().iter().filter(|rule| {
        let source = format!("bootc container lint: {}", rule.id);
        rule.source.starts_with(&source)
    });
    assert_eq!(bootc.count(), 15);
}
