//! Laws of all content mergers, over random files and random bytes.
//!
//! `PROPTEST_CASES` sets how many triples each law is asked for; 2,000 without it.

use std::collections::BTreeSet;

use pleach_etc_merge::{
    Accounts, ContentOptions, Database, MergedContent, NotMerged, Sides, merge_ini, merge_lines,
    merge_text,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::content_accounts::{Set, merge as accounts};

type Merger = fn(Sides<Option<&[u8]>>, &ContentOptions) -> Result<MergedContent, NotMerged>;

const MERGERS: &[(&str, Merger)] = &[("text", merge_text), ("lines", merge_lines)];

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
            let Ok(MergedContent { content: result, .. }) = merged else { continue };
            // The image is the machine's default from now on.
            let next = Sides { pristine: &sides.new, current: &result, new: &sides.new };
            prop_assert_eq!(&run(merge, &next).expect("two sides are equal").content, &result);
            // It was interrupted, and is done again. A text may then overlap with itself.
            let again = Sides { current: &result, ..sides.as_ref() };
            match run(merge, &again) {
                Ok(again) => prop_assert_eq!(again.content, result, "{}: not done", name),
                Err(why) => prop_assert_eq!((name, why), ("text", NotMerged::Overlap)),
            }
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
