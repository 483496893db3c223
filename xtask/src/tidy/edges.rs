//! The crate graph is the one in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What benches measure us against; see ARCHITECTURE.md.
const PEERS: &str = "bench-peers";

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Holds the dependencies that `cargo metadata` gives to the table.
pub(crate) fn check(architecture: &str, metadata: &Value) -> Result<Vec<String>> {
    let allowed = table(architecture);
    let real = internal(metadata).context("reading cargo metadata")?;
    let mut problems = Vec::new();
    for (name, dependencies) in &real {
        let Some(allowed) = allowed.get(name) else {
            problems.push(format!("{name} has no row in ARCHITECTURE.md"));
            continue;
        };
        for extra in dependencies.difference(allowed) {
            problems.push(format!(
                "{name} depends on {extra}; ARCHITECTURE.md does not allow it"
            ));
        }
    }
    for (name, known) in &allowed {
        let used = real.get(name).cloned().unwrap_or_default();
        for unused in known.difference(&used) {
            problems.push(format!(
                "ARCHITECTURE.md lets {name} depend on {unused}, which it does not"
            ));
        }
    }
    for name in allowed.keys().filter(|name| !real.contains_key(*name)) {
        problems.push(format!(
            "ARCHITECTURE.md has a row for {name}, which is no crate"
        ));
    }
    let only = [
        ("ostree-ext", "deployment"),
        ("tokio", "image-fetch"),
        ("containers-image-proxy", "image-fetch"),
    ];
    for (library, owner) in only {
        for user in users(metadata, library) {
            // The binary starts the runtime that image-fetch needs; the peers are there to be called.
            let starts = library == "tokio" && user == "pleach";
            if user != owner && !starts && user != PEERS {
                problems.push(format!("{user} depends on {library}; only {owner} may"));
            }
        }
    }
    Ok(problems)
}

/// Rows `| name | name, name |` of the table headed `| crate | may know |`.
fn table(text: &str) -> Edges {
    let rows = text
        .lines()
        .skip_while(|line| !line.starts_with("| crate | may know |"))
        .skip(2);
    rows.map_while(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let (name, known) = (cells.next()?, cells.next()?);
        let known = known.split(',').map(str::trim).filter(|k| !k.is_empty());
        Some((name.to_owned(), known.map(str::to_owned).collect()))
    })
    .collect()
}

fn short(name: &str) -> &str {
    name.strip_prefix("pleach-").unwrap_or(name)
}

fn packages(metadata: &Value) -> impl Iterator<Item = (&str, &Vec<Value>)> {
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| Some((short(p["name"].as_str()?), p["dependencies"].as_array()?)))
}

fn internal(metadata: &Value) -> Option<Edges> {
    let names: BTreeSet<_> = packages(metadata)
        .map(|(name, _)| name.to_owned())
        .collect();
    let edges = packages(metadata).map(|(name, dependencies)| {
        let known = dependencies
            .iter()
            // A test may look at its own crate's neighbours; what is shipped may not.
            .filter(|d| d["kind"].as_str() != Some("dev") && d["path"].is_string())
            .filter_map(|d| Some(short(d["name"].as_str()?).to_owned()))
            .filter(|d| names.contains(d));
        (name.to_owned(), known.collect())
    });
    Some(edges.collect())
}

fn users<'a>(metadata: &'a Value, library: &'a str) -> impl Iterator<Item = &'a str> {
    packages(metadata)
        .filter(move |(_, dependencies)| {
            dependencies
                .iter()
                .any(|d| d["name"] == library && d["kind"].as_str() != Some("dev"))
        })
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "text\n\n| crate | may know |\n|---|---|\n| a | |\n| b | a |\n\nmore";

    fn metadata(b: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<_> = b
            .iter()
            .map(|(name, kind)| serde_json::json!({ "name": name, "kind": kind, "path": "/x" }))
            .collect();
        serde_json::json!({ "packages": [
            { "name": "pleach-a", "dependencies": [] },
            { "name": "pleach-b", "dependencies": dependencies },
        ] })
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_a_problem() {
        let check = |b: &[(&str, Option<&str>)], expect: &[&str]| {
            assert_eq!(check(TABLE, &metadata(b)).unwrap(), expect, "{b:?}");
        };
        let unused = "ARCHITECTURE.md lets b depend on a, which it does not";
        check(&[("pleach-a", None)], &[]);
        check(&[("pleach-b", Some("dev"))], &[unused]);
        check(
            &[("pleach-b", None)],
            &["b depends on b; ARCHITECTURE.md does not allow it", unused],
        );
        check(
            &[("ostree-ext", None)],
            &[unused, "b depends on ostree-ext; only deployment may"],
        );
        let without = TABLE.replace("| b | a |", "| c | |");
        assert_eq!(
            super::check(&without, &metadata(&[])).unwrap(),
            [
                "b has no row in ARCHITECTURE.md",
                "ARCHITECTURE.md has a row for c, which is no crate"
            ]
        );
    }
}
