//! Laws of all content mergers, over random files and random bytes.
//!
//! `PROPTEST_CASES` sets how many triples each law is asked for; 2,000 without it.

use std::collections::{BTreeMap, BTreeSet};

use pleach_etc_merge::{
    Accounts, ContentOptions, Database, MergedContent, NotMerged, Sides, merge_ini, merge_lines,
    merge_text,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::content_accounts::{Set, merge as accounts};

type Merger = fn(Sides<Option<&[u8]>>, &ContentOptions) -> Result<MergedContent, NotMerged>;

const MERGERS: &[(&str, Merger)] = &[
    ("text", merge_text),
    ("lines", merge_lines),
    ("ini", merge_ini),
    #[cfg(feature = "toml")]
    ("toml", pleach_etc_merge::merge_toml),
    #[cfg(feature = "json")]
    ("json", pleach_etc_merge::merge_json),
];

type Content = Option<Vec<u8>>;

fn run(merge: Merger, sides: &Sides<&Content>) -> Result<MergedContent, NotMerged> {
    merge(
        sides.map(|side| side.as_deref()),
        &ContentOptions::default(),
    )
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").map_or(2_000, |n| n.parse().expect("a number"));
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// A file of few different lines, of any kind that a merger understands or does not.
fn content() -> impl Strategy<Value = Content> {
    let line = select(vec![
        "a",
        "b",
        "c",
        "a ",
        "# a",
        "#",
        "",
        "[s]",
        "[t]",
        "a=1",
        "a = 2",
        " b=3",
        "b=4 \\",
        "b=",
        "{",
        "}",
        "\"a\": 1",
        "{\"a\": 1}",
        "\t",
        "\r",
        "é",
        "a = [",
        "]",
        "x.y = 1",
    ]);
    let text = (prop::collection::vec(line, 0..7), any::<bool>()).prop_map(|(lines, end)| {
        let mut text = lines.join("\n").into_bytes();
        if end {
            text.push(b'\n');
        }
        text
    });
    prop_oneof![
        1 => Just(None),
        8 => text.prop_map(Some),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Some),
    ]
}

fn sides<T: std::fmt::Debug + Clone>(
    one: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Sides<T>> {
    (one.clone(), one.clone(), one).prop_map(|(pristine, current, new)| Sides {
        pristine,
        current,
        new,
    })
}

/// A section and a key, both never empty.
type Key = (&'static str, &'static str);

/// What a file of keys says, and how.
#[derive(Debug, Clone)]
struct Keyed {
    keys: BTreeMap<Key, u8>,
    comments: bool,
    compact: bool,
    reversed: bool,
}

fn keyed() -> impl Strategy<Value = Keyed> + Clone {
    let key = (select(vec!["s", "t"]), select(vec!["a", "b", "c"]));
    let keys = prop::collection::btree_map(key, 0..3_u8, 0..6);
    let keyed =
        (keys, any::<[bool; 3]>()).prop_map(|(keys, [comments, compact, reversed])| Keyed {
            keys,
            comments,
            compact,
            reversed,
        });
    keyed.boxed()
}

impl Keyed {
    fn sections(&self) -> BTreeMap<&str, Vec<(&str, u8)>> {
        let mut sections: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (&(section, key), &value) in &self.keys {
            sections.entry(section).or_default().push((key, value));
        }
        if self.reversed {
            sections.values_mut().for_each(|keys| keys.reverse());
        }
        sections
    }

    fn ini(&self) -> String {
        self.text(&self.sections())
    }

    /// Every section is there, if empty: a table that goes is another change than a key.
    #[cfg(feature = "toml")]
    fn toml(&self) -> String {
        let mut sections = self.sections();
        for section in ["s", "t"] {
            sections.entry(section).or_default();
        }
        self.text(&sections)
    }

    fn text(&self, sections: &BTreeMap<&str, Vec<(&str, u8)>>) -> String {
        let equals = if self.compact { "=" } else { " = " };
        let mut text = String::new();
        for (section, keys) in sections {
            text += &format!("[{section}]\n");
            for (key, value) in keys {
                if self.comments {
                    text += &format!("# {key} is {value}\n");
                }
                text += &format!("{key}{equals}{value}\n");
            }
            if !self.compact {
                text += "\n";
            }
        }
        text
    }
}

fn read_ini(text: &str) -> BTreeMap<Key, u8> {
    let mut section = "";
    let mut keys = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().parse().expect("a value");
            let twice = keys.insert(known(section, key.trim()), value);
            assert_eq!(twice, None, "a key twice: {text}");
        }
    }
    keys
}

fn known(section: &str, key: &str) -> Key {
    let name = |name| ["s", "t", "a", "b", "c"].into_iter().find(|n| *n == name);
    (name(section).expect("a section"), name(key).expect("a key"))
}

type Render = fn(&Keyed) -> String;
type Read = fn(&str) -> BTreeMap<Key, u8>;

const KEYED: &[(&str, Merger, Render, Read)] = &[
    ("ini", merge_ini, Keyed::ini, read_ini),
    // The reader of the crate itself has compared the result as TOML.
    #[cfg(feature = "toml")]
    ("toml", pleach_etc_merge::merge_toml, Keyed::toml, read_ini),
    #[cfg(feature = "json")]
    (
        "json",
        pleach_etc_merge::merge_json,
        json::write,
        json::read,
    ),
];

#[cfg(feature = "json")]
mod json {
    use std::collections::BTreeMap;

    use serde_json::{Map, Value};

    use super::{Key, Keyed, known};

    /// Every section is there, if empty: an object that goes is another change than a key.
    pub(super) fn write(keyed: &Keyed) -> String {
        let mut file = Map::new();
        for section in ["s", "t"] {
            file.insert(section.to_owned(), Value::Object(Map::new()));
        }
        for (section, keys) in keyed.sections() {
            let keys = keys
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()));
            file.insert(section.to_owned(), Value::Object(keys.collect()));
        }
        let file = Value::Object(file);
        if keyed.compact {
            file.to_string()
        } else {
            serde_json::to_string_pretty(&file).expect("JSON")
        }
    }

    pub(super) fn read(text: &str) -> BTreeMap<Key, u8> {
        let file: BTreeMap<String, BTreeMap<String, u8>> =
            serde_json::from_str(text).expect("JSON");
        let sections = file.iter();
        sections
            .flat_map(|(section, keys)| {
                keys.iter()
                    .map(move |(key, value)| (known(section, key), *value))
            })
            .collect()
    }
}

fn account_file(database: Database) -> impl Strategy<Value = Content> + Clone {
    let fields = match database {
        Database::Passwd => vec!["x:1:1::/:/bin/sh", "x:2:1::/:/bin/sh", "x:1:2:A:/:/bin/zsh"],
        Database::Group => vec!["x:1:", "x:1:a,b", "x:2:b", "!:1:c"],
        Database::Shadow => vec!["*:1::::::", "$6$a:2::::::", "!!:2:3:::::", "!$6$a:0::::::"],
        Database::Gshadow => vec!["!::", "!:a:b", "x::a,b"],
        Database::Subuid | Database::Subgid => vec!["1:5", "1:6", "6:5"],
    };
    let entry = (select(vec!["a", "b", "c", "d"]), select(fields));
    let line = prop_oneof![
        8 => entry.prop_map(|(name, fields)| format!("{name}:{fields}")),
        1 => select(vec!["# a", "", "+", "+@b::::::", "-a", "a", "a:", ":", "b:x"])
            .prop_map(str::to_owned),
    ];
    let file = (prop::collection::vec(line, 0..5), any::<bool>()).prop_map(|(lines, end)| {
        let end = if end && !lines.is_empty() { "\n" } else { "" };
        format!("{}{end}", lines.join("\n")).into_bytes()
    });
    prop_oneof![1 => Just(None), 9 => file.prop_map(Some)].boxed()
}

fn set() -> impl Strategy<Value = Set> + Clone {
    let file = account_file;
    let [p, g, s, gs, u, sg] = Database::ALL.map(file);
    let set = (p, g, s, gs, u, sg).prop_map(|(passwd, group, shadow, gshadow, subuid, subgid)| {
        Accounts {
            passwd,
            group,
            shadow,
            gshadow,
            subuid,
            subgid,
        }
    });
    set.boxed()
}

/// The names of the accounts or groups that have an entry, whatever is in it.
fn names(set: &Set, database: Database) -> BTreeSet<Vec<u8>> {
    let lines = set.get(database).as_deref().unwrap_or_default();
    let names = lines.split(|&b| b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some(line[..colon].to_vec())
    });
    names
        .filter(|name| !matches!(name[..], [] | [b'#' | b'+' | b'-', ..]))
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_one_side_left_alone_is_the_others(sides in sides(content().boxed())) {
        for &(name, merge) in MERGERS {
            let Sides { pristine: a, current: b, .. } = &sides;
            for (pristine, current, new, expected) in [(a, a, b, b), (a, b, a, b), (a, b, b, b)] {
                let merged = run(merge, &Sides { pristine, current, new });
                let merged = merged.expect("two sides are equal");
                prop_assert_eq!(&merged.content, expected, "{}", name);
                prop_assert!(merged.conflicts.is_empty(), "{}", name);
            }
        }
    }

    #[test]
    fn what_is_merged_is_merged_for_good(sides in sides(content().boxed())) {
        for &(name, merge) in MERGERS {
            let merged = run(merge, &sides.as_ref());
            prop_assert_eq!(&merged, &run(merge, &sides.as_ref()), "{}: not the same again", name);
            let Ok(MergedContent { content: result, conflicts }) = merged else { continue };
            // The image is the machine's default from now on.
            let next = Sides { pristine: &sides.new, current: &result, new: &sides.new };
            prop_assert_eq!(&run(merge, &next).expect("two sides are equal").content, &result);
            // It was interrupted, and is done again. A text may then overlap with itself, and a file
            // of keys may get a comment of the image's that was in the way of a change before.
            let again = run(merge, &Sides { current: &result, ..sides.as_ref() });
            match (name, again) {
                ("text", Err(NotMerged::Overlap)) => {}
                ("ini" | "toml" | "json", Ok(again)) => {
                    prop_assert_eq!(again.conflicts, conflicts, "{}: not done", name);
                }
                (_, Ok(again)) => prop_assert_eq!(again.content, result, "{}: not done", name),
                (_, Err(why)) => prop_assert!(false, "{}: {}", name, why),
            }
        }
    }

    #[test]
    fn keys_are_merged_one_by_one(sides in sides(keyed())) {
        let mut expected = BTreeMap::new();
        let mut disputed = 0;
        let all = [&sides.pristine, &sides.current, &sides.new];
        let keys: BTreeSet<_> = all.into_iter().flat_map(|side| side.keys.keys()).collect();
        for &key in &keys {
            let [was, is, image] = all.map(|side| side.keys.get(key));
            let value = if was == is || is == image { image } else { is };
            disputed += usize::from(was != is && is != image && was != image);
            expected.extend(value.map(|value| (*key, *value)));
        }
        for &(name, merge, render, read) in KEYED {
            let files = sides.as_ref().map(|side| Some(render(side).into_bytes()));
            let merged = run(merge, &files.as_ref());
            let shown = files.as_ref().map(|f| String::from_utf8_lossy(f.as_deref().unwrap_or_default()));
            let merged = match merged {
                Ok(merged) => merged,
                Err(why) => return Err(TestCaseError::fail(format!("{name}: {why}: {shown:#?}"))),
            };
            let text = String::from_utf8(merged.content.expect("a file")).expect("a text");
            prop_assert_eq!(&read(&text), &expected, "{}: {:#?}\n{}", name, shown, text);
            prop_assert_eq!(merged.conflicts.len(), disputed, "{}: {:#?}", name, shown);
        }
    }

    #[test]
    fn accounts_that_one_side_left_alone_are_the_others(sides in sides(set())) {
        let Sides { pristine: a, current: b, .. } = sides;
        for (pristine, current, new, expected) in
            [(&a, &a, &b, &b), (&a, &b, &a, &b), (&a, &b, &b, &b)]
        {
            let sides = Sides { pristine, current, new }.map(Clone::clone);
            let merged = accounts(&sides);
            for database in Database::ALL {
                prop_assert_eq!(merged.files.get(database), expected.get(database));
            }
        }
    }

    #[test]
    fn accounts_are_merged_for_good(sides in sides(set())) {
        let merged = accounts(&sides);
        prop_assert!(merged == accounts(&sides), "not the same again");
        let again = Sides { current: merged.files.clone(), ..sides.clone() };
        for database in Database::ALL {
            let show = |set: &Set| set.get(database).as_ref().map(|c| c.escape_ascii().to_string());
            prop_assert_eq!(
                show(&accounts(&again).files), show(&merged.files),
                "{}: {:?}", database, sides.as_ref().map(show)
            );
        }
    }

    #[test]
    fn no_name_is_lost(sides in sides(set())) {
        let merged = accounts(&sides);
        for database in Database::ALL {
            if matches!(database, Database::Subuid | Database::Subgid) {
                continue;
            }
            let of = |set| names(set, database);
            let [pristine, current, new] = [&sides.pristine, &sides.current, &sides.new].map(of);
            let result = of(&merged.files);
            for name in current.difference(&result) {
                prop_assert!(
                    pristine.contains(name) && !new.contains(name),
                    "{} lost the machine's {}", database, name.escape_ascii()
                );
            }
            for name in new.difference(&result) {
                let file_removed = sides.current.get(database).is_none();
                prop_assert!(
                    pristine.contains(name) && !current.contains(name) || file_removed,
                    "{} lost the image's {}", database, name.escape_ascii()
                );
            }
            for name in &result {
                prop_assert!(
                    current.contains(name) || new.contains(name),
                    "{} has {} from nowhere", database, name.escape_ascii()
                );
            }
            // The first line of a name counts: there is none twice that no side has twice.
            let lines = |set: &Set| {
                let content = set.get(database).as_deref().unwrap_or_default().to_vec();
                let lines = content.split(|&b| b == b'\n').filter(|l| l.contains(&b':'));
                lines.count() - names(set, database).len()
            };
            prop_assert!(
                lines(&merged.files) <= lines(&sides.current) + lines(&sides.new),
                "{} has a name twice", database
            );
        }
    }
}
