//! The project's cases, `fixtures/customizations`: what each route makes of each item of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use pleach_customization::{
    Customization, Format, Input, NoLocalFiles, ParseOptions, Route, Verdict, parse, split,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/customizations");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cases.md");
/// What the suite of machines found, as it wrote it down.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cases.json");

const HEAD: &str = "\
# The cases, route by route

Made by `cargo xtask codegen` from [the documents](../fixtures/customizations/) and the placement policy. \
`+` is carried as the document says it, `~` by another way, `-` not at all: the item is in the \
remainder, which Ignition takes. The notes say how, why, and what to do instead.

Below each table is what was booted of it and with which verdict, as [the last recorded run](cases.json) \
(`cargo xtask test --tier vm --all --record cases::`) found it. `expected` counts differences that a rule \
with a reason explains; a defect is any other.
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

/// What is recorded of each case.
fn record() -> BTreeMap<String, serde_json::Value> {
    match std::fs::read(RECORD) {
        Ok(text) => serde_json::from_slice(&text).expect("the suite writes JSON"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => panic!("{RECORD}: {error}"),
    }
}

/// The suite of machines (`integration/src/cases.rs`) leans on these. Two files of `every.bu` are private,
/// and derive only where they are published.
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
    every.bu: etc ignition cloud-init kickstart credentials
    fips.bu: derive etc ignition kickstart
    generic-final.bu: derive etc ignition cloud-init kickstart credentials
    kiosk.bu: derive etc ignition cloud-init kickstart credentials
    postgres.bu: derive etc ignition cloud-init kickstart credentials confext
    quadlet.bu: derive etc ignition cloud-init kickstart
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
    let record = record();
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
        out += &booted(record.get(&name), &customization.digest);
    }
    out
}

/// What the last recorded run of a case came to.
fn booted(found: Option<&serde_json::Value>, digest: &str) -> String {
    let Some(found) = found else {
        return "\nNot booted as a case.\n".to_owned();
    };
    let text = |name: &str| found[name].as_str().unwrap_or_default();
    let words = |name: &str| -> Vec<&str> {
        let list = found[name].as_array().expect("a list");
        list.iter()
            .map(|word| word.as_str().expect("a word"))
            .collect()
    };
    let (routes, passed) = (words("routes"), words("check_passed"));
    let image = match found["variant"].as_str() {
        Some(variant) => format!("the image `{variant}`"),
        None => "the base image".to_owned(),
    };
    let check = match passed == routes {
        true => "passes on each".to_owned(),
        false => format!("passes on {}", passed.join(", ")),
    };
    // Why it was not another accelerator stands in the record.
    let machine = text("machine");
    let machine = machine.split(" (").next().unwrap_or_default();
    let mut out = format!(
        "\nBooted by {} on {image}, {machine}. The check {check}.\n",
        routes.join(", "),
    );
    if text("document") != digest {
        out += "The document has changed since.\n";
    }
    if found["control_is_sound"] != true {
        out += "The A/A control was not sound, so nothing follows.\n";
    }
    out += "\n| routes | equal | expected | by rules | defects |\n|---|---|---|---|---|\n";
    for pair in found["pairs"].as_array().expect("a list") {
        let (left, right) = (&pair["left"], &pair["right"]);
        let name = |route: &serde_json::Value| route.as_str().expect("a route").to_owned();
        out += &format!(
            "| {} and {} | {} | {} | {} | {} |\n",
            name(left),
            name(right),
            pair["equal"],
            pair["expected"],
            pair["rules"],
            pair["defects"]
        );
    }
    out
}

/// Nothing is recorded that no run could have found, and no case without one.
#[test]
fn the_record_is_of_the_cases_and_their_routes() {
    let cases = cases();
    for (name, found) in record() {
        let customization = cases
            .get(&name)
            .unwrap_or_else(|| panic!("no document {name}"));
        let routes = found["routes"].as_array().expect("a list");
        for route in routes {
            let route: Route = route.as_str().expect("a word").parse().expect("a route");
            assert!(split(customization, route).is_whole(), "{name} by {route}");
        }
        let pairs = found["pairs"].as_array().expect("a list").len();
        assert_eq!(pairs, routes.len() * (routes.len() - 1) / 2, "{name}");
    }
}
