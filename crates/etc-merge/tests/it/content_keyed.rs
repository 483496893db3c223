//! Files of keys: ini, TOML, JSON.

#[cfg(feature = "json")]
use pleach_etc_merge::merge_json;
#[cfg(feature = "toml")]
use pleach_etc_merge::merge_toml;
use pleach_etc_merge::{ContentOptions, MergedContent, NotMerged, Sides, merge_ini};

type Merger = fn(Sides<Option<&[u8]>>, &ContentOptions) -> Result<MergedContent, NotMerged>;

/// `expected` is the file, with its conflicts as lines that begin with `! `; or why there is none.
fn check(merge: Merger, what: &str, [pristine, current, new]: [&str; 3], expected: &str) {
    let sides = Sides {
        pristine,
        current,
        new,
    };
    let bytes = sides.map(|side| Some(side.as_bytes()));
    let shown = match merge(bytes, &ContentOptions::default()) {
        Ok(merged) => {
            let text = String::from_utf8(merged.content.expect("a file")).expect("a text");
            let conflicts = merged.conflicts.iter().map(|c| format!("! {c}\n"));
            text + &conflicts.collect::<String>()
        }
        Err(why) => why.to_string(),
    };
    assert_eq!(shown, expected, "{what}");
}

#[test]
fn ini() {
    let check = |what, sides, expected| check(merge_ini, what, sides, expected);
    check(
        "one key here, its neighbour there",
        [
            "enabled=1\ngpgkey=40\n",
            "enabled=0\ngpgkey=40\n",
            "enabled=1\ngpgkey=41\n",
        ],
        "enabled=0\ngpgkey=41\n",
    );
    check(
        "both changed a key: the machine's, and it is said",
        [
            "[main]\na = 1\nb = 1\n",
            "[main]\na = 2\nb = 1\n",
            "[main]\na = 3\nb = 2\n",
        ],
        "[main]\na = 2\nb = 2\n! [main] a\n",
    );
    check(
        "the same key in another section, comments and blanks stay as they are",
        [
            "[A]\nk=1\n[B]\nk=1\n",
            "; mine\n[A]\n  k =  2   \n\n# why\n[B]\nk=1\n",
            "[A]\nk=1\n[B]\nk=3\n",
        ],
        "; mine\n[A]\n  k =  2   \n\n# why\n[B]\nk=3\n",
    );
    check(
        "a list of systemd's is one value",
        [
            "[Service]\nExecStart=/a\nRestart=no\n",
            "[Service]\nExecStart=/a\nRestart=yes\n",
            "[Service]\nExecStart=\nExecStart=/b \\\n  --more\nRestart=no\n",
        ],
        "[Service]\nExecStart=\nExecStart=/b \\\n  --more\nRestart=yes\n",
    );
    check(
        "new keys and sections come where the image has them, with the comment above",
        [
            "[A]\na=1\n\n[B]\nb=1\n",
            "[A]\na=2\nmine=1\n\n[B]\nb=2\n",
            "[A]\na=1\n# on a2\na2=1\n\n# on N\n[N]\nn=1\nn=2\n\n[B]\nb=1\nb2=1\n",
        ],
        "[A]\na=2\n# on a2\na2=1\nmine=1\n\n# on N\n[N]\nn=1\nn=2\n\n[B]\nb=2\nb2=1\n",
    );
    check(
        "removed by the image, and left alone; removed here, and changed there",
        ["a=1\nb=1\nc=1\nd=1\n", "b=1\nc=1\nd=2\n", "a=2\nc=1\nd=1\n"],
        "c=1\nd=2\n! a\n",
    );
    check(
        "both made the file",
        ["", "[A]\na=1\n", "[A]\na=2\nb=1\n"],
        "[A]\na=1\nb=1\n! [A] a\n",
    );
    check(
        "a line that is none",
        ["a=1\n", "a=2\n", "a=1\n[A]\nwhat\n"],
        "new: cannot be read: line 3: not a section, a comment or key=value",
    );
    check(
        "a section without an end",
        ["a=1\n", "[x\n", "a=2\n"],
        "current: cannot be read: line 1: a section has the form [name]",
    );
}

#[cfg(feature = "toml")]
#[test]
fn toml() {
    let check = |what, sides, expected| check(merge_toml, what, sides, expected);
    check(
        "one key here, its neighbour there; all else stays as it is",
        [
            "a = 1 # one\nb = [1, 2]\n",
            "# mine\na   = 2 # two\nb = [1, 2]\n\n[t]\nx = 'x'\n",
            "a = 1\nb = [1, 3] # new\n",
        ],
        "# mine\na   = 2 # two\nb = [1, 3] # new\n\n[t]\nx = 'x'\n",
    );
    check(
        "conflicts, and tables that are merged within",
        [
            "[a.b]\nx = 1\ny = 1\nz = 1\n",
            "[a.b]\nx = 2\ny = 1\n",
            "[a.b]\nx = 3\ny = 2\nz = 2\n",
        ],
        "[a.b]\nx = 2\ny = 2\n! a.b.x\n! a.b.z\n",
    );
    check(
        "new and dropped tables",
        [
            "[a]\nx = 1\n[b]\nx = 1\n[c]\nx = 1\n",
            "[a]\nx = 2\n[b]\nx = 1\n[c]\nx = 1\n",
            "[a]\nx = 1\ny = { z = 1 }\n[c]\nx = 1\n[[d]]\nx = 1\n",
        ],
        "[a]\nx = 2\ny = { z = 1 }\n[c]\nx = 1\n[[d]]\nx = 1\n",
    );
    check(
        "the same in another spelling is no change",
        [
            "a = 1_000\nb = 'x'\n",
            "a = 1000\nb = \"x\"\n",
            "a = 2000\nb = 'y'\n",
        ],
        "a = 2000\nb = 'y'\n",
    );
    check(
        "no TOML",
        ["a = 1\n", "a = 2\n", "a = 1\nb = secret\n"],
        "new: cannot be read: line 2: string values must be quoted, expected literal string",
    );
}

#[cfg(feature = "json")]
#[test]
fn json() {
    let check = |what, sides, expected| check(merge_json, what, sides, expected);
    check(
        "members of an object, in the machine's style",
        [
            "{\"a\": 1, \"b\": {\"c\": 1}}",
            "{\n\t\"a\": 2,\n\t\"b\": {\n\t\t\"c\": 1\n\t}\n}\n",
            "{\"a\": 1, \"a2\": [1], \"b\": {\"c\": 1, \"d\": null}}",
        ],
        "{\n\t\"a\": 2,\n\t\"a2\": [\n\t\t1\n\t],\n\t\"b\": {\n\t\t\"c\": 1,\n\t\t\"d\": null\n\t}\n}\n",
    );
    check(
        "a text merge that says the same keeps every byte",
        [
            "{\"a\": 1,\n\n \"b\": 1,\n \"c\" :1}",
            "{\"a\": 2,\n\n \"b\": 1,\n \"c\" :1}",
            "{\"a\": 1,\n\n \"b\": 1,\n \"c\" :2}",
        ],
        "{\"a\": 2,\n\n \"b\": 1,\n \"c\" :2}",
    );
    check(
        "conflicts; an array is one value",
        [
            "{\"a\":[1],\"b/c\":1,\"d\":1}",
            "{\"a\":[1,2],\"b/c\":2}",
            "{\"a\":[1,3],\"b/c\":3,\"d\":2}",
        ],
        "{\"a\":[1,2],\"b/c\":2}! /a\n! /b~1c\n! /d\n",
    );
    check(
        "both made it",
        ["", "{\"a\":1}\n", "{\"b\":1}\n"],
        "{\"b\":1,\"a\":1}\n",
    );
    check(
        "a key twice",
        ["{}", "{\"a\":1,\"a\":\"x:y\"}", "{\"b\":1}"],
        "current: cannot be read: line 1: an object has a key twice",
    );
    check(
        "a number that is not kept",
        [
            "{}",
            "{\"a\":1}",
            "{\n\"b\": 123456789012345678901234567890}",
        ],
        "new: cannot be read: line 2: a number that would be written in another way",
    );
    check(
        "no JSON",
        ["{}", "{\"a\":1}", "{\n// why\n}"],
        "new: cannot be read: line 2: key must be a string",
    );
}
