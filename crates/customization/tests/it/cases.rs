//! The project's cases, `fixtures/customizations`: what each route makes of each item of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use pleach_customization::{
    Customization, Format, Input, NoLocalFiles, ParseOptions, Route, Verdict, parse, split,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/customizations");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cases.md");

const HEAD: &str = "\
# The cases, route by route

Made by `cargo xtask codegen` from [the documents](../fixtures/customizations/) and the placement policy. \
`+` is carried as the document says it, `~` by another way, `-` not at all: the item is in the \
remainder, which Ignition takes. The notes say how, why, and what to do instead.
";

/// The documents by name.
fn cases() -> BTreeMap<String, Customization> {
    let entries = std::fs::read_dir(Path::new(FOLDER)).expect("the folder");
    let names = entries.filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().ok()?;
        name.ends_with(".bu").then_some(name)
    });
    let read = |name: String| {
        let text = std::fs::read_to_string(format!("{FOLDER}/{name}")).expect("readable");
        let input = Input {
            name: &name,
            text: &text,
            format: Format::Butane,
        };
        let parsed = parse(&input, &NoLocalFiles, &ParseOptions::default());
        let parsed = parsed.unwrap_or_else(|errors| panic!("{errors}"));
        assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        (name, parsed.customization)
    };
    names.map(read).collect()
}

/// The suite of machines (`integration/src/cases.rs`) leans on the rows that say `derive etc ignition`.
#[test]
fn routes_that_carry_the_whole_of_a_case() {
    let mut found = String::new();
    for (name, customization) in cases() {
        let whole = |route: &Route| split(&customization, *route).is_whole();
        let routes: Vec<_> = Route::ALL
            .into_iter()
            .filter(whole)
            .map(Route::as_str)
            .collect();
        let _infallible = writeln!(found, "{name}: {}", routes.join(" "));
    }
    insta::assert_snapshot!(found, @"
    drone.bu: derive etc ignition cloud-init kickstart credentials
    every.bu: derive etc ignition cloud-init kickstart credentials
    fips.bu: derive etc ignition kickstart
    generic-final.bu: derive etc ignition cloud-init kickstart credentials
    kiosk.bu: derive etc ignition cloud-init kickstart credentials
    postgres.bu: derive etc ignition cloud-init kickstart credentials confext
    quadlet.bu: derive etc ignition cloud-init kickstart credentials confext
    site-units.bu: derive etc ignition cloud-init kickstart
    site.bu: derive etc ignition kickstart
    ");
}

/// Set `PLEACH_WRITE_DOCS=1` (`cargo xtask codegen` does) to write it anew.
#[test]
fn the_table_of_cases_is_current() {
    let made = document();
    if std::env::var_os("PLEACH_WRITE_DOCS").is_some() {
        return std::fs::write(DOCUMENT, made).expect("written");
    }
    let there = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        there == made,
        "docs/cases.md is not current; run: cargo xtask codegen"
    );
}

fn document() -> String {
    let mut out = HEAD.to_owned();
    for (name, customization) in cases() {
        let routes = Route::ALL.map(Route::as_str).join(" | ");
        out += &format!(
            "\n## {name}\n\n| item | {routes} |\n|---|{}\n",
            "---|".repeat(7)
        );
        let columns = Route::ALL.map(|route| split(&customization, route).placements);
        let mut notes = Vec::new();
        for (row, first) in columns[0].iter().enumerate() {
            out += &format!("| {} |", first.item.replace('|', "\\|"));
            for column in &columns {
                let placement = &column[row];
                assert_eq!(placement.item, first.item, "each route judges each item");
                let (sign, note) = match placement.verdict {
                    Verdict::Carried => ('+', None),
                    Verdict::CarriedDifferently { how, why } => {
                        ('~', Some(format!("{how}: {why}")))
                    }
                    Verdict::Refused { why, instead } => ('-', Some(format!("{why}; {instead}"))),
                };
                let number = note.map(|note| {
                    let known = notes.iter().position(|other| *other == note);
                    known.unwrap_or_else(|| {
                        notes.push(note);
                        notes.len() - 1
                    }) + 1
                });
                let number = number.map_or(String::new(), |number| format!(" {number}"));
                out += &format!(" {sign}{number} |");
            }
            out.push('\n');
        }
        out.push('\n');
        for (index, note) in notes.iter().enumerate() {
            out += &format!("{}. {note}\n", index + 1);
        }
    }
    out
}
