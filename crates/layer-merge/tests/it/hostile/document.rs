//! docs/hostile-images.md: the rows as a table for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Expect, Row, Section, sections};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/hostile-images.md");

const HEAD: &str = "\
# Hostile images

<!-- Made by `cargo xtask codegen`; do not edit. -->

What `pleach-layer-merge` does with an image that means harm. Each class below is one image or several \
that attack in one way (`crates/layer-merge/tests/it/hostile/`). Each is taken the whole way, from the \
layout to the directory: it is **refused** with an error of that class before anything is written, or \
**contained** by the rule that is said here. Around the target lie canaries of which not even the time of \
change may differ afterwards. *Control* says that an extractor as nobody should write one \
(`hostile/control.rs`) does change something outside with the same image, so that the check can fail.
";

/// Set `PLEACH_WRITE_DOCS=1` (`cargo xtask codegen` does) to write it anew.
#[test]
fn the_table_of_hostile_images_is_current() {
    let made = document();
    if std::env::var_os("PLEACH_WRITE_DOCS").is_some() {
        return std::fs::write(FILE, made).expect("written");
    }
    let there = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        there == made,
        "docs/hostile-images.md is not current; run: cargo xtask codegen"
    );
}

/// The classes of a section in their order, each with its rows.
fn classes(section: &Section) -> Vec<(&str, Vec<&Row>)> {
    let mut classes: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in &section.rows {
        match classes.iter_mut().find(|(class, _)| *class == row.class()) {
            Some((_, rows)) => rows.push(row),
            None => classes.push((row.class(), vec![row])),
        }
    }
    classes
}

fn document() -> String {
    let sections = sections();
    let (mut rows, mut number, mut refused, mut escape) = (0, 0, 0, 0);
    let mut tables = String::new();
    for section in &sections {
        let classes = classes(section);
        write!(
            tables,
            "\n## {}\n\n{}\n\n| class | images | outcome | control |\n| --- | --- | --- | --- |\n",
            section.title, section.attacks
        )
        .expect("a string");
        for (class, images) in &classes {
            let outcomes: BTreeSet<_> = images.iter().map(|row| outcome(row)).collect();
            let escapes = images.iter().any(|row| row.escapes);
            rows += images.len();
            number += 1;
            refused += usize::from(matches!(images[0].expect, Expect::Refused(_)));
            escape += usize::from(escapes);
            let outcomes = outcomes.into_iter().collect::<Vec<_>>().join("; ");
            let control = if escapes {
                "changes something outside"
            } else {
                ""
            };
            writeln!(
                tables,
                "| {class} | {} | {outcomes} | {control} |",
                images.len()
            )
            .expect("a string");
        }
    }
    let sum = format!(
        "\n{number} classes, {rows} images: {refused} classes are refused, {} contained; with {escape} of \
         them the control changes something outside.\n\n\
         Bombs, whose harm is their size, are in `tests/it/bombs.rs`, archives with bytes that are wrong by \
         chance in `tests/it/mutations.rs` and `fuzz/`.\n",
        number - refused
    );
    format!("{HEAD}{sum}{tables}")
}

fn outcome(row: &Row) -> String {
    match &row.expect {
        Expect::Refused(class) => format!("**{class}**"),
        Expect::Contained(rule, _) => (*rule).to_owned(),
    }
}
