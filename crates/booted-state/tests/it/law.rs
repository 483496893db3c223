//! No leaf of a snapshot is outside the comparison.

use pleach_booted_state::{Difference, Section, SectionName, Snapshot, Status, compare};
use proptest::prelude::*;
use serde_json::Value;

use crate::full::full;

/// The way to a leaf: names of fields, and indexes as text.
type Way = Vec<String>;

fn leaves(value: &Value, way: &mut Way, out: &mut Vec<Way>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    if children.is_empty() {
        out.push(way.clone());
    }
    for (name, child) in children {
        way.push(name);
        leaves(child, way, out);
        way.pop();
    }
}

fn at<'a>(value: &'a mut Value, way: &[String]) -> &'a mut Value {
    way.iter().fold(value, |value, step| match value {
        Value::Array(items) => &mut items[step.parse::<usize>().expect("an index")],
        value => &mut value[step.as_str()],
    })
}

/// Other values that a leaf could have; which of them the type allows is tried out.
fn others(leaf: &Value) -> Vec<Value> {
    match leaf {
        Value::Null => vec!["x".into()],
        Value::Bool(value) => vec![(!value).into()],
        Value::Number(number) => vec![(number.as_u64().expect("unsigned") + 1).into()],
        Value::String(text) => [
            format!("{text}x").as_str(),
            "0751",
            "fifo",
            "shadowed",
            "none",
            "forced",
            "never",
            "deleted",
            "other-file-system",
        ]
        .into_iter()
        .filter(|other| other != text)
        .map(Into::into)
        .collect(),
        other => panic!("not a leaf: {other}"),
    }
}

fn read(value: &Value) -> Option<Snapshot> {
    Snapshot::from_json(value.to_string().as_bytes()).ok()
}

/// Each difference must name the section and the key of the leaf.
fn demand(way: &Way, original: &Snapshot, changed: &Snapshot, what: &str) {
    for (left, right) in [(original, changed), (changed, original)] {
        let found = compare(left, right);
        let name = way.join(" / ");
        assert!(!found.is_empty(), "{what} {name}: compare is silent");
        for difference in &found {
            assert_eq!(
                difference.section.as_str(),
                way[0],
                "{what} {name}: {difference}"
            );
            assert_eq!(
                difference.key.as_deref(),
                Some(way[2].as_str()),
                "{what} {name}: {difference}"
            );
            assert_ne!(
                difference.left, difference.right,
                "{what} {name}: {difference}"
            );
        }
    }
}

#[test]
fn every_leaf_takes_part() {
    let original = full();
    let json = serde_json::to_value(&original).expect("JSON");
    let mut all = Vec::new();
    leaves(&json, &mut Vec::new(), &mut all);
    let mut seen = std::collections::BTreeSet::new();
    for way in all {
        if way[0] == "format_version" || way[0] == "tool" {
            continue;
        }
        seen.insert(way[0].clone());
        let mut changed = json.clone();
        let leaf = at(&mut changed, &way).clone();
        let changed = others(&leaf)
            .into_iter()
            .find_map(|other| {
                *at(&mut changed, &way) = other;
                read(&changed)
            })
            .unwrap_or_else(|| panic!("{}: no other value known for {leaf}", way.join(" / ")));
        demand(&way, &original, &changed, "changed");

        // Without the leaf, where the type allows that.
        let (last, parents) = way.split_last().expect("not the root");
        let mut without = json.clone();
        match at(&mut without, parents) {
            Value::Array(items) => drop(items.remove(last.parse::<usize>().expect("an index"))),
            Value::Object(fields) => drop(fields.remove(last)),
            _ => unreachable!("a parent has children"),
        }
        if let Some(without) = read(&without) {
            demand(&way, &original, &without, "without");
        }
    }
    let names: std::collections::BTreeSet<String> =
        SectionName::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(seen, names, "a section of the full snapshot has no leaf");
}

#[test]
fn an_entry_on_one_side_only_is_one_difference() {
    let original = full();
    let json = serde_json::to_value(&original).expect("JSON");
    for name in SectionName::ALL {
        let keys: Vec<String> = json[name.as_str()]["entries"]
            .as_object()
            .expect("entries")
            .keys()
            .cloned()
            .collect();
        for key in keys {
            let mut without = json.clone();
            without[name.as_str()]["entries"]
                .as_object_mut()
                .expect("entries")
                .remove(&key);
            let without = read(&without).expect("a snapshot");
            let found = compare(&original, &without);
            let [difference] = &found[..] else {
                panic!("{name} {key}: {found:?}");
            };
            assert_eq!((difference.section, &difference.key), (*name, &Some(key)));
            assert_eq!((&difference.attribute, &difference.right), (&None, &None));
            assert!(difference.left.is_some(), "{difference}");
        }
    }
}

#[test]
fn a_section_on_one_side_only_is_one_difference() {
    let original = full();
    let json = serde_json::to_value(&original).expect("JSON");
    for name in SectionName::ALL {
        for (state, shown) in [
            (Value::from("not-captured"), "not captured"),
            (
                serde_json::json!({"unavailable": {"why": "no tool"}}),
                "unavailable: no tool",
            ),
        ] {
            let mut without = json.clone();
            without[name.as_str()] = state;
            let without = read(&without).expect("a snapshot");
            let expect = Difference {
                section: *name,
                key: None,
                attribute: None,
                left: Some(shown.to_owned()),
                right: original
                    .statuses()
                    .into_iter()
                    .find(|(section, _)| section == name)
                    .map(|(_, status)| status.to_string()),
            };
            assert_eq!(compare(&without, &original), [expect]);
            assert_eq!(compare(&without, &without), []);
        }
    }
}

#[test]
fn empty_and_missing_are_not_the_same() {
    let (mut left, mut right) = (Snapshot::empty(), Snapshot::empty());
    left.users = Section::from_iter([]);
    assert_eq!(compare(&left, &right).len(), 1);
    right.users = Section::unavailable("getent: not found");
    assert_eq!(
        compare(&left, &right)[0].to_string(),
        "users: 0 entries | unavailable: getent: not found"
    );
    left.users = Section::unavailable("getent: crashed");
    assert_eq!(compare(&left, &right).len(), 1);
    assert_eq!(
        right.users.status(),
        Status::Unavailable("getent: not found".into())
    );
}

#[test]
fn who_made_it_does_not_matter() {
    let left = full();
    let mut right = full();
    right.tool.version.push('x');
    assert_eq!(compare(&left, &right), []);
}

#[test]
fn differences_are_sorted() {
    let found = compare(&Snapshot::empty(), &full());
    assert_eq!(found.len(), SectionName::ALL.len());
    let mut left = full();
    for entry in left.paths.entries_mut().expect("entries").values_mut() {
        entry.uid = 7;
        entry.mode.0 = 0;
        entry.xattrs.clear();
    }
    let found = compare(&left, &full());
    assert!(found.is_sorted(), "{found:?}");
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    paths /etc/a\xff mode: 0000 | 0644
    paths /etc/a\xff uid: 7 | 0
    paths /etc/a\xff xattrs.user.a.note: - | v\x00
    paths /etc/b mode: 0000 | 0644
    paths /etc/b uid: 7 | 0
    paths /etc/b xattrs.user.a.note: - | v\x00
    ");
}

#[test]
fn json_round_trip() {
    let snapshot = full();
    let json = snapshot.to_json();
    assert_eq!(Snapshot::from_json(&json).expect("a snapshot"), snapshot);
    assert_eq!(snapshot.to_json(), json);
    let empty = Snapshot::empty();
    assert_eq!(
        Snapshot::from_json(&empty.to_json()).expect("a snapshot"),
        empty
    );
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let check = |text: &str, expect: &str| {
        let error = Snapshot::from_json(text.as_bytes()).expect_err(text);
        let source = std::error::Error::source(&error).map(|e| format!(": {e}"));
        let shown = format!("{error}{}", source.unwrap_or_default());
        assert!(shown.starts_with(expect), "{text}: {shown}");
    };
    check("", "not a snapshot: EOF");
    check("{}", "not a snapshot: missing field `format_version`");
    check(
        r#"{"format_version": 2}"#,
        "snapshot of format version 2, only 1 is known",
    );
    check(
        r#"{"format_version": 1}"#,
        "not a snapshot: missing field `tool`",
    );
    let full = String::from_utf8(full().to_json()).expect("text");
    check(
        &full.replace("\"uid\": 0", "\"uid\": 0, \"extra\": 1"),
        "not a snapshot: unknown field",
    );
    check(
        &full.replace("\"0644\"", "\"644\""),
        "not a snapshot: mode \"644\"",
    );
}

/// The full snapshot with some of its leaves changed.
fn changed() -> impl Strategy<Value = Snapshot> {
    let json = serde_json::to_value(full()).expect("JSON");
    let mut all = Vec::new();
    leaves(&json, &mut Vec::new(), &mut all);
    proptest::sample::subsequence(all, 0..8).prop_map(move |ways| {
        let mut changed = json.clone();
        for way in ways {
            let leaf = at(&mut changed, &way).clone();
            for other in others(&leaf).into_iter().chain([leaf]) {
                *at(&mut changed, &way) = other;
                if read(&changed).is_some() {
                    break;
                }
            }
        }
        read(&changed).expect("each step could be read")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// From the other side the same differences are seen, and none only where there is none.
    #[test]
    fn comparison_has_no_side(left in changed(), right in changed()) {
        let there = compare(&left, &right);
        let mut back = compare(&right, &left);
        for difference in &mut back {
            std::mem::swap(&mut difference.left, &mut difference.right);
        }
        prop_assert_eq!(&there, &back);
        prop_assert!(there.is_sorted());
        let same_but_for_the_tool =
            Snapshot { tool: right.tool.clone(), ..left.clone() } == right;
        prop_assert_eq!(there.is_empty(), same_but_for_the_tool);
    }
}
