//! Texts and sets of lines; texts beside what git makes of them.

use std::process::{Command, Stdio};

use pleach_etc_merge::{ContentOptions, NotMerged, Sides, merge_lines, merge_text};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn sides<'a>(pristine: &'a str, current: &'a str, new: &'a str) -> Sides<&'a str> {
    Sides {
        pristine,
        current,
        new,
    }
}

fn bytes(sides: Sides<&str>) -> Sides<Option<&[u8]>> {
    sides.map(|side| Some(side.as_bytes()))
}

#[test]
fn a_text_is_merged_only_when_clean() {
    let check = |text: Sides<&str>, expected: Result<&str, &str>| {
        let merged = merge_text(bytes(text), &ContentOptions::default());
        let merged = merged.map(|merged| {
            assert_eq!(merged.conflicts, []);
            String::from_utf8(merged.content.expect("a file")).expect("a text")
        });
        let merged = merged.map_err(|why| why.to_string());
        assert_eq!(
            merged.as_deref().map_err(|why| &**why),
            expected,
            "{text:?}"
        );
    };
    check(
        sides("1\n2\n3\n4\n5\n", "1\nB\n3\n4\n5\n", "1\n2\n3\n4\nE\n"),
        Ok("1\nB\n3\n4\nE\n"),
    );
    check(
        sides("1\n2\n3\n", "0\n1\n2\n3\n", "1\n2\n3"),
        Ok("0\n1\n2\n3"),
    );
    check(
        sides("1\n2\n3\n", "1\nB\n3\n", "1\nb\n3\n"),
        Err("both sides changed the same lines"),
    );
    check(
        sides("", "a\n", "b\n"),
        Err("both sides changed the same lines"),
    );
    check(
        sides("1\n", "1\n2\n", "1\n3\n"),
        Err("both sides changed the same lines"),
    );
    check(
        sides("1\n", "1\n2\n", "1\n\0\n"),
        Err("new: not a text: line 2 has a NUL byte"),
    );
}

#[test]
fn what_is_not_merged_says_why() {
    let (a, b, c) = (Some(&b"a\n"[..]), Some(&b"b\n"[..]), Some(&b"c\nd\n"[..]));
    let options = ContentOptions {
        max_bytes: 3,
        max_lines: 1,
    };
    let check = |[pristine, current, new]: [Option<&[u8]>; 3], options: &_, expected: &str| {
        let sides = Sides {
            pristine,
            current,
            new,
        };
        let why = merge_text(sides, options).expect_err(expected);
        assert_eq!(why.to_string(), expected);
    };
    let default = ContentOptions::default();
    check(
        [a, None, c],
        &default,
        "removed on the local side and changed on the other",
    );
    check(
        [a, b, None],
        &default,
        "removed on the image side and changed on the other",
    );
    check(
        [a, b, c],
        &options,
        "new: 4 bytes, and no more than 3 are merged",
    );
    let options = ContentOptions {
        max_bytes: 4,
        ..options
    };
    check(
        [a, b, c],
        &options,
        "new: 2 lines, and no more than 1 are merged",
    );
}

#[test]
fn lines_are_a_set() {
    let check = |what: &str, text: Sides<&str>, expected: &str| {
        let merged = merge_lines(bytes(text), &ContentOptions::default()).expect(what);
        let merged = String::from_utf8(merged.content.expect("a file")).expect("a text");
        assert_eq!(merged, expected, "{what}");
    };
    check(
        "the image's additions come after what they follow, and the order is the machine's",
        sides("a\nb\nc\n", "c\nb\na\nmine\n", "0\na\na2\na3\nb\nc\nc2\n"),
        "0\nc\nc2\nb\na\na2\na3\nmine\n",
    );
    check(
        "what one side removed is removed, and not brought back",
        sides("a\nb\nc\nd\n", "b\nc\nd\nx\n", "a\nc\nd\ny\n"),
        "c\nd\ny\nx\n",
    );
    check(
        "blanks at the end make no other entry",
        sides("a\n", "a\nb  \n", "a\nb\nc\t\n"),
        "a\nb  \nc\t\n",
    );
    check(
        "the same entry twice is the machine's affair",
        sides("a\n", "a\nb\nb\n", "a\nb\nc\nc\n"),
        "a\nb\nc\nb\n",
    );
    check(
        "comments and blank lines travel, as often as they are there",
        sides(
            "# shells\na\n",
            "# shells\na\nmine\n",
            "# shells\na\n\n# new\nb\n\n# more\nc\n",
        ),
        "# shells\na\n\n# new\nb\n\n# more\nc\nmine\n",
    );
    check(
        "a last line without an end gets one when it is not last any more",
        sides("a", "a\nb", "a\nc"),
        "a\nc\nb",
    );
    check(
        "the end of the last line is merged like a line",
        sides("a\n", "a\nb", "a\nc\n"),
        "a\nc\nb",
    );
    check(
        "both made the file",
        sides("", "a\nb\n", "b\nc\n"),
        "a\nb\nc\n",
    );
    let removed = merge_lines(
        Sides {
            pristine: Some(b"a\n"),
            current: None,
            new: Some(b"a\nb\n"),
        },
        &ContentOptions::default(),
    );
    let by = pleach_etc_merge::Side::Local;
    assert_eq!(removed, Err(NotMerged::Removed { by }));
}

/// A text and two that were made of it by a few edits.
fn edited() -> impl Strategy<Value = Sides<String>> {
    let line = || prop::sample::select(vec!["a", "b", "c", "d", "e", "", "# x", "a=1", "}"]);
    let edit = || (0..3_u8, any::<prop::sample::Index>(), line());
    let edits = || prop::collection::vec(edit(), 0..4);
    let text = prop::collection::vec(line(), 0..24);
    let ends = prop::array::uniform3(prop::bool::weighted(0.9));
    (text, edits(), edits(), ends).prop_map(|(text, ours, theirs, ends)| {
        let apply = |edits: Vec<(u8, prop::sample::Index, &'static str)>| {
            let mut text = text.clone();
            for (kind, at, line) in edits {
                let at = at.index(text.len() + 1);
                match kind {
                    0 => text.insert(at, line),
                    1 if at < text.len() => text[at] = line,
                    _ if at < text.len() => drop(text.remove(at)),
                    _ => {}
                }
            }
            text
        };
        let whole = |text: Vec<&str>, end| {
            let end = if end && !text.is_empty() { "\n" } else { "" };
            text.join("\n") + end
        };
        Sides {
            pristine: whole(text.clone(), ends[0]),
            current: whole(apply(ours), ends[1]),
            new: whole(apply(theirs), ends[2]),
        }
    })
}

/// What `git merge-file -p` makes of it; `None` where it finds conflicts.
fn git(dir: &std::path::Path, sides: &Sides<String>) -> Option<Vec<u8>> {
    let all = [
        ("current", &sides.current),
        ("pristine", &sides.pristine),
        ("new", &sides.new),
    ];
    for (name, content) in all {
        std::fs::write(dir.join(name), content).expect("write");
    }
    let mut command = Command::new("git");
    command.args(["merge-file", "-p", "-q"]);
    command.args(all.map(|(name, _)| name)).current_dir(dir);
    command.env_clear().env("LC_ALL", "C");
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    let output = command.output().expect("git runs");
    match output.status.code() {
        Some(0) => Some(output.stdout),
        Some(1..128) => None,
        _ => panic!("git: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// `PLEACH_ETC_TEXTS` sets how many triples there are.
#[test]
fn git_merges_texts_alike() {
    let mut version = Command::new("git");
    version.arg("--version").stdout(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI needs git");
        return eprintln!("SKIP git_merges_texts_alike: needs git");
    }
    let count = std::env::var("PLEACH_ETC_TEXTS").map_or(400, |n| n.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut runner = TestRunner::deterministic();
    let (mut both, mut ours, mut theirs, mut differ) = (0, 0, 0, Vec::new());
    for _ in 0..count {
        let sides = edited().new_tree(&mut runner).expect("a triple").current();
        let merged = merge_text(
            sides.as_ref().map(|side| Some(side.as_bytes())),
            &ContentOptions::default(),
        );
        match (merged, git(dir.path(), &sides)) {
            (Ok(merged), Some(git)) if merged.content.as_ref() == Some(&git) => both += 1,
            (Ok(merged), Some(git)) => {
                let merged = String::from_utf8(merged.content.expect("a file"));
                differ.push((sides, merged, String::from_utf8(git)));
            }
            (Ok(_), None) => ours += 1,
            (Err(NotMerged::Overlap), Some(_)) => theirs += 1,
            (Err(NotMerged::Overlap), None) => {}
            (Err(why), _) => panic!("{why}: {sides:?}"),
        }
    }
    eprintln!("{count} texts: {both} alike, clean for us alone {ours}, for git alone {theirs}");
    assert!(
        differ.is_empty(),
        "{} differ, first: {:#?}",
        differ.len(),
        differ[0]
    );
    assert!(
        both > count / 4,
        "only {both} of {count} are clean for both"
    );
}
