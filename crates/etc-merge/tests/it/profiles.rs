//! docs/etc-merge-profiles.md: how the profiles, and bootc's merge, differ, made from the vectors.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pleach_etc_merge::{Policies, ostree, plan};
use pleach_fs_tree::{Kinds, TreePath, diff};

use crate::Etc;
use crate::vector_file::{Vector, read_ours};

const DOCUMENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/etc-merge-profiles.md"
);

/// What one of the merges does with a vector, seen from what `strict` does.
enum Outcome {
    Same,
    /// What is otherwise, path by path.
    Other(String),
    Refuses(String),
}

impl Outcome {
    fn of(strict: &Etc, other: Result<Etc, String>) -> Self {
        match other {
            Err(why) => Self::Refuses(why),
            Ok(other) => match differences(strict, &other) {
                None => Self::Same,
                Some(text) => Self::Other(text),
            },
        }
    }

    fn cell(&self) -> String {
        match self {
            Self::Same => "same".to_owned(),
            Self::Other(text) => text.clone(),
            Self::Refuses(why) => format!("refuses: {why}"),
        }
    }

    fn kind(&self) -> usize {
        match self {
            Self::Same => 0,
            Self::Other(_) => 1,
            Self::Refuses(_) => 2,
        }
    }
}

/// Set `PLEACH_WRITE_DOCS=1` (`cargo xtask codegen` does) to write it anew.
#[test]
fn the_table_of_profiles_is_current() {
    let made = document();
    if std::env::var_os("PLEACH_WRITE_DOCS").is_some() {
        return std::fs::write(DOCUMENT, made).expect("written");
    }
    let there = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        there == made,
        "docs/etc-merge-profiles.md is not current; run: cargo xtask codegen"
    );
}

fn document() -> String {
    let mut groups = BTreeMap::<String, [usize; 7]>::new();
    let mut rows = String::new();
    for vector in read_ours() {
        let (told, profile, bootc) = judge(&vector);
        let group = vector.name.split('/').next().unwrap_or_default();
        let counts = groups.entry(group.to_owned()).or_default();
        counts[0] += 1;
        counts[1 + profile.kind()] += 1;
        counts[4 + bootc.kind()] += 1;
        if profile.kind() + bootc.kind() > 0 {
            let (name, profile, bootc) = (&vector.name, profile.cell(), bootc.cell());
            writeln!(rows, "| {name} | {told} | {profile} | {bootc} |").expect("a string");
        }
    }
    let mut out = format!("{HEAD}\n");
    let mut all = [0; 7];
    for (group, counts) in &groups {
        line(&mut out, group, counts);
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    line(&mut out, "**all**", &all);
    out + CASES + &rows
}

fn line(out: &mut String, group: &str, counts: &[usize; 7]) {
    let counts: Vec<_> = counts.iter().map(ToString::to_string).collect();
    writeln!(out, "| {group} | {} |", counts.join(" | ")).expect("a string");
}

const HEAD: &str = "\
# The profiles of etc-merge, compared

Made by `cargo xtask codegen` from `fixtures/vectors/etc-merge.json`: cases that were measured. Each
is merged by the profile `strict` (the default), by the profile `ostree` (what libostree 2022.7
gives), and was merged by bootc's etc-merge crate (commit 534c76ea). Both columns are seen from
`strict`, which never refuses; what it reports is in its column.

| group | cases | ostree: same tree | other tree | refuses | bootc: same tree | other tree | refuses |
|---|---|---|---|---|---|---|---|";

const CASES: &str = "
## The cases that differ

`-path` is missing there, `+path` is there besides, `path:mode` and the like say what is otherwise.

| case | `strict` reports | `ostree` | bootc |
|---|---|---|---|
";

fn judge(vector: &Vector) -> (String, Outcome, Outcome) {
    let [pristine, current, new] = ["base", "current", "new"].map(|field| vector.tree(field));
    let plan = plan(&pristine, &current, &new, &Policies::default()).expect("a plan");
    let strict = plan.result(&current, &new).expect("a result");
    let findings = plan.entries().iter().flat_map(|entry| {
        let path = &entry.path;
        entry.findings.iter().map(move |f| format!("{f} {path}"))
    });
    let profile = ostree(&pristine, &current, &new).map_err(|refusal| refusal.kind.to_string());
    let profile = Outcome::of(&strict, profile);
    let bootc = vector.bootc().ok_or("the whole merge".to_owned());
    let bootc = Outcome::of(&strict, bootc);
    (few(findings.collect()), profile, bootc)
}

/// Times are nobody's choice, and hard links become files everywhere.
fn differences(strict: &Etc, other: &Etc) -> Option<String> {
    let named = |sign: &str, path: &TreePath, what: &str| format!("{sign}{path}{what}");
    let all = diff(strict, other, |a, b| a == b);
    let texts: Vec<_> = all
        .iter()
        .filter_map(|difference| match &difference.kinds {
            Kinds::OnlyLeft(_) => Some(named("-", &difference.path, "")),
            Kinds::OnlyRight(_) => Some(named("+", &difference.path, "")),
            Kinds::Both(_, _, changed) => {
                let flags = [
                    (changed.node_type, "type"),
                    (changed.content, "content"),
                    (changed.mode, "mode"),
                    (changed.uid, "uid"),
                    (changed.gid, "gid"),
                    (!changed.xattrs.is_empty(), "xattrs"),
                ];
                let set: Vec<_> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
                (!set.is_empty())
                    .then(|| named("", &difference.path, &format!(":{}", set.join(","))))
            }
        })
        .collect();
    (!texts.is_empty()).then(|| few(texts))
}

fn few(texts: Vec<String>) -> String {
    const SHOWN: usize = 4;
    let more = texts.len().saturating_sub(SHOWN);
    let mut shown: Vec<_> = texts.into_iter().take(SHOWN).map(|t| code(&t)).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(" ")
}

/// As code in a table: long names are cut in the middle.
fn code(text: &str) -> String {
    let text: Vec<char> = text.replace('|', "\\|").replace('`', "'").chars().collect();
    const LONG: usize = 90;
    let text: String = match text.len() {
        0..=LONG => text.into_iter().collect(),
        all => {
            let (head, tail) = (&text[..LONG / 2], &text[all - LONG / 2..]);
            head.iter().chain(&['…']).chain(tail).collect()
        }
    };
    format!("`{text}`")
}
