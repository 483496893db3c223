//! The account files as one set: what each situation gives, and what is said of it.
//!
//! A set is written one line a line, each after the name of its file; a result has its reports at
//! the end.

use std::collections::BTreeMap;

use pleach_etc_merge::{
    AccountReport, Accounts, ContentOptions, Database, MergedAccounts, Sides, merge_accounts,
};

pub(crate) type Set = Accounts<Option<Vec<u8>>>;

pub(crate) fn merge(sides: &Sides<Set>) -> MergedAccounts {
    merge_with(sides, &ContentOptions::default())
}

fn merge_with(sides: &Sides<Set>, options: &ContentOptions) -> MergedAccounts {
    let files = |set| Accounts::from_fn(|database| Set::get(set, database).as_deref());
    merge_accounts(sides.as_ref().map(files), options)
}

fn set(text: &str) -> Set {
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // A name alone is an empty file.
        let (file, line) = line.split_once(' ').unwrap_or((line, ""));
        let content = files.entry(file).or_default();
        if !line.is_empty() {
            content.extend_from_slice(line.as_bytes());
            content.push(b'\n');
        }
    }
    let set = Accounts::from_fn(|database| files.remove(database.file_name()));
    assert!(files.is_empty(), "not a file of accounts: {files:?}");
    set
}

fn show(merged: &MergedAccounts) -> String {
    let mut text = String::new();
    for database in Database::ALL {
        let Some(content) = merged.files.get(database) else {
            continue;
        };
        if content.is_empty() {
            text += &format!("{database}\n");
        }
        for line in String::from_utf8_lossy(content).lines() {
            text += &format!("{database} {line}\n");
        }
    }
    for report in &merged.reports {
        text += &format!("! {report}\n");
    }
    text
}

fn check(what: &str, pristine: &str, current: &str, new: &str, expected: &str) {
    let sides = Sides {
        pristine,
        current,
        new,
    };
    let merged = merge(&sides.map(set));
    let expected: Vec<_> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(
        show(&merged).lines().collect::<Vec<_>>(),
        expected,
        "{what}"
    );
}

const ROOT: &str = "passwd root:x:0:0:root:/root:/bin/bash";

#[test]
fn names_of_both_sides_are_kept() {
    check(
        "a local user, and a system user in all files of the image's",
        "passwd root:x:0:0::/root:/bin/sh
         passwd bin:x:1:1::/bin:/sbin/nologin
         group root:x:0:
         shadow root:*:19000::::::
         gshadow root:::",
        "passwd root:x:0:0::/root:/bin/sh
         passwd bin:x:1:1::/bin:/sbin/nologin
         passwd alice:x:1000:1000::/home/alice:/bin/bash
         group root:x:0:
         group alice:x:1000:
         shadow root:$6$secret:19500::::::
         shadow bin:*:19000::::::
         shadow alice:$6$alice:19500:0:99999:7:::
         gshadow root:::
         gshadow alice:!::
         subuid alice:100000:65536
         subgid alice:100000:65536",
        "passwd root:x:0:0::/root:/bin/sh
         passwd bin:x:1:1::/bin:/usr/sbin/nologin
         passwd newd:x:990:990::/:/sbin/nologin
         group root:x:0:
         group newd:x:990:
         shadow root:*:19700::::::
         shadow newd:!!:19700::::::
         gshadow root:::
         gshadow newd:!::",
        "passwd root:x:0:0::/root:/bin/sh
         passwd bin:x:1:1::/bin:/usr/sbin/nologin
         passwd newd:x:990:990::/:/sbin/nologin
         passwd alice:x:1000:1000::/home/alice:/bin/bash
         group root:x:0:
         group newd:x:990:
         group alice:x:1000:
         shadow root:$6$secret:19500::::::
         shadow newd:!!:19700::::::
         shadow bin:*:19000::::::
         shadow alice:$6$alice:19500:0:99999:7:::
         gshadow root:::
         gshadow newd:!::
         gshadow alice:!::
         subuid alice:100000:65536
         subgid alice:100000:65536",
    );
    check(
        "several names for one number",
        "passwd root:x:0:0::/root:/bin/sh",
        "passwd root:x:0:0::/root:/bin/sh
         passwd toor:x:0:0::/root:/bin/zsh",
        "passwd root:x:0:0::/root:/bin/sh
         passwd newd:x:990:990::/:/sbin/nologin",
        "passwd root:x:0:0::/root:/bin/sh
         passwd newd:x:990:990::/:/sbin/nologin
         passwd toor:x:0:0::/root:/bin/zsh",
    );
}

#[test]
fn lines_that_are_no_entries_stay_where_they_are() {
    check(
        "comments, NIS, damage, and a second line for a name",
        ROOT,
        "passwd # managed by hand
         passwd root:x:0:0:root:/root:/bin/bash
         passwd no entry
         passwd root:x:0:0:again:/root:/bin/zsh
         passwd -@bad
         passwd +::::::",
        "passwd root:x:0:0:root:/root:/bin/bash
         passwd # of the image
         passwd newd:x:990:990::/:/sbin/nologin
         passwd +guest::::::",
        "passwd # managed by hand
         passwd root:x:0:0:root:/root:/bin/bash
         passwd # of the image
         passwd newd:x:990:990::/:/sbin/nologin
         passwd no entry
         passwd root:x:0:0:again:/root:/bin/zsh
         passwd -@bad
         passwd +::::::
         passwd +guest::::::",
    );
    check(
        "an entry that follows NIS in the image comes before it here",
        "passwd root:x:0:0::/:/bin/sh
         passwd +::::::",
        "passwd +::::::",
        "passwd root:x:0:0::/:/bin/sh
         passwd +::::::
         passwd newd:x:990:990::/:/sbin/nologin",
        "passwd newd:x:990:990::/:/sbin/nologin
         passwd +::::::",
    );
    check(
        "an entry with too few fields is one field",
        "passwd a:x:1:1::/:/bin/sh",
        "passwd a:x:1:1",
        "passwd a:x:1:1::/:/bin/zsh",
        "passwd a:x:1:1
         ! passwd: a: both sides changed line; the machine's is kept",
    );
}

#[test]
fn each_field_is_merged_on_its_own() {
    check(
        "a shell here, a comment and a home there",
        "passwd a:x:1:1:A:/home/a:/bin/sh",
        "passwd a:x:1:1:A:/home/a:/bin/zsh",
        "passwd a:x:1:1:Aa:/var/a:/bin/sh",
        "passwd a:x:1:1:Aa:/var/a:/bin/zsh",
    );
    check(
        "two shells",
        "passwd a:x:1:1:A:/home/a:/bin/sh",
        "passwd a:x:1:1:A:/home/a:/bin/zsh",
        "passwd a:x:1:1:Aa:/home/a:/bin/bash",
        "passwd a:x:1:1:Aa:/home/a:/bin/zsh
         ! passwd: a: both sides changed shell; the machine's is kept",
    );
    check(
        "both made the same user: what differs is said",
        "",
        "passwd a:x:985:1::/:/bin/sh
         shadow a:!*:19000::::::",
        "passwd a:x:982:1::/:/bin/sh
         shadow a:!!:19700::::::",
        "passwd a:x:985:1::/:/bin/sh
         shadow a:!*:19000::::::
         ! passwd: a: both sides changed UID; the machine's is kept",
    );
}

#[test]
fn members_are_sets() {
    check(
        "one added on each side",
        "group wheel:x:10:root",
        "group wheel:x:10:root,alice",
        "group wheel:x:10:root,bob",
        "group wheel:x:10:root,bob,alice",
    );
    check(
        "one removed here, a group added there",
        "group wheel:x:10:root,bob",
        "group wheel:x:10:root",
        "group wheel:x:10:root,bob
         group new:x:990:",
        "group wheel:x:10:root
         group new:x:990:",
    );
    check(
        "administrators too; an order of one's own stays",
        "gshadow wheel:!:root:a,b,c",
        "gshadow wheel:!:root,me:c,b,a",
        "gshadow wheel:!::a,b",
        "gshadow wheel:!:me:b,a",
    );
}

#[test]
fn passwords_stay_the_machines() {
    check(
        "set here, while the image changes other fields: the date comes along",
        "shadow root:*:19000::::::",
        "shadow root:$6$s:19500::::::",
        "shadow root:*:19700:0:99999:7:::",
        "shadow root:$6$s:19500:0:99999:7:::",
    );
    check(
        "locked here, changed there: stays locked, and is said",
        "shadow root:$6$s:19000::::::",
        "shadow root:!$6$s:19000::::::",
        "shadow root:$6$t:19700::::::",
        "shadow root:!$6$s:19000::::::
         ! shadow: root: both sides changed password; the machine's is kept",
    );
    check(
        "unlocked here, locked in another spelling there: is said, and works",
        "shadow root:!:19000::::::",
        "shadow root:$6$s:19500::::::",
        "shadow root:!*:19700::::::",
        "shadow root:$6$s:19500::::::
         ! shadow: root: both sides changed password; the machine's is kept",
    );
    check(
        "a change is demanded at the next login",
        "shadow a:$6$s:19000::::::",
        "shadow a:$6$s:0::::::",
        "shadow a:$6$s:19700::::::",
        "shadow a:$6$s:0::::::
         ! shadow: a: both sides changed date of last password change; the machine's is kept",
    );
    check(
        "only the image changed it",
        "shadow a:$6$s:19000::::::
         shadow b:*:1::::::",
        "shadow a:$6$s:19000::::::
         shadow b:*:2::::::",
        "shadow a:$6$t:19700::::::
         shadow b:*:1::::::",
        "shadow a:$6$t:19700::::::
         shadow b:*:2::::::",
    );
}

#[test]
fn what_one_side_removed() {
    check(
        "the image drops a user that nobody touched",
        "passwd root:x:0:0::/root:/bin/sh
         passwd games:x:12:100::/usr/games:/bin/sh
         shadow games:*:1::::::
         group users:x:100:",
        "passwd root:x:0:0::/root:/bin/zsh
         passwd games:x:12:100::/usr/games:/bin/sh
         shadow games:*:1::::::
         group users:x:100:",
        "passwd root:x:0:0::/root:/bin/sh
         shadow
         group",
        "passwd root:x:0:0::/root:/bin/zsh
         group
         shadow
         ! shadow: root: has no entry",
    );
    check(
        "the image drops a user whose password was set here: both entries and the group stay",
        "passwd svc:x:990:990::/:/bin/sh
         shadow svc:*:1::::::
         group svc:x:990:
         gshadow svc:!::",
        "passwd svc:x:990:990::/:/bin/sh
         shadow svc:$6$s:2::::::
         group svc:x:990:
         gshadow svc:!::",
        "passwd root:x:0:0::/root:/bin/sh
         shadow root:*:1::::::
         group root:x:0:
         gshadow root:::",
        "passwd root:x:0:0::/root:/bin/sh
         passwd svc:x:990:990::/:/bin/sh
         group root:x:0:
         group svc:x:990:
         shadow root:*:1::::::
         shadow svc:$6$s:2::::::
         gshadow root:::
         gshadow svc:!::
         ! passwd: svc: dropped by the image and changed here; kept
         ! group: svc: dropped by the image and changed here; kept
         ! shadow: svc: dropped by the image and changed here; kept
         ! gshadow: svc: dropped by the image and changed here; kept",
    );
    check(
        "removed here, changed there; a new build date is no change",
        "passwd a:x:1:1::/:/bin/sh
         passwd b:x:2:2::/:/bin/sh
         shadow a:*:1::::::
         shadow b:*:1::::::",
        "passwd
         shadow",
        "passwd a:x:1:1::/:/bin/zsh
         passwd b:x:2:2::/:/bin/sh
         shadow a:*:2::::::
         shadow b:*:2::::::",
        "passwd
         shadow
         ! passwd: a: removed here and changed by the image; stays removed",
    );
    check(
        "the image has no account files any more",
        "passwd root:x:0:0::/root:/bin/sh
         group root:x:0:",
        "passwd root:x:0:0::/root:/bin/zsh
         group root:x:0:",
        "",
        "passwd root:x:0:0::/root:/bin/zsh
         group root:x:0:
         ! passwd: removed on the image side; the machine's side is kept
         ! group: removed on the image side; the machine's side is kept",
    );
    check(
        "the machine does without gshadow",
        "group a:x:1:
         gshadow a:!::",
        "group a:x:1:b",
        "group a:x:1:
         gshadow a:!::
         gshadow c:!::",
        "group a:x:1:b
         ! gshadow: removed on the local side; the machine's side is kept",
    );
}

#[test]
fn numbers() {
    check(
        "the image renumbers what the machine left alone, here another file only",
        "passwd gdm:x:42:42::/:/bin/sh
         group gdm:x:42:",
        "passwd gdm:x:42:42::/:/bin/sh
         group gdm:x:42:alice",
        "passwd gdm:x:43:43::/:/bin/sh
         group gdm:x:43:",
        "passwd gdm:x:43:43::/:/bin/sh
         group gdm:x:43:alice
         ! gdm: the image changed its uid from 42 to 43; files outside of the image may be owned by 42
         ! gdm: the image changed its gid from 42 to 43; files outside of the image may be owned by 42",
    );
    check(
        "the same with nothing changed here at all",
        "passwd gdm:x:42:42::/:/bin/sh",
        "passwd gdm:x:42:42::/:/bin/sh",
        "passwd gdm:x:43:42::/:/bin/sh",
        "passwd gdm:x:43:42::/:/bin/sh
         ! gdm: the image changed its uid from 42 to 43; files outside of the image may be owned by 42",
    );
    check(
        "two names meet at a number; those that shared one before are no news",
        "passwd root:x:0:0::/:/bin/sh
         group root:x:0:",
        "passwd root:x:0:0::/:/bin/sh
         passwd toor:x:0:0::/:/bin/sh
         passwd mine:x:990:0::/:/bin/sh
         group root:x:0:
         group mine:x:990:",
        "passwd root:x:0:0::/:/bin/sh
         passwd newd:x:990:990::/:/bin/sh
         group root:x:0:
         group newd:x:990:",
        "passwd root:x:0:0::/:/bin/sh
         passwd newd:x:990:990::/:/bin/sh
         passwd toor:x:0:0::/:/bin/sh
         passwd mine:x:990:0::/:/bin/sh
         group root:x:0:
         group newd:x:990:
         group mine:x:990:
         ! passwd: uid 990 is shared by newd, mine
         ! group: gid 990 is shared by newd, mine",
    );
    check(
        "the image renames a group that has a member of the machine's",
        "group old:x:990:",
        "group old:x:990:alice",
        "group fresh:x:990:",
        "group fresh:x:990:
         group old:x:990:alice
         ! group: old: dropped by the image and changed here; kept
         ! group: gid 990 is shared by fresh, old",
    );
    check(
        "the machine renamed a group",
        "group old:x:990:",
        "group fresh:x:990:",
        "group old:x:990:svc",
        "group fresh:x:990:
         ! group: old: removed here and changed by the image; stays removed",
    );
    check(
        "a primary group is renumbered away",
        "passwd root:x:0:0::/:/bin/sh
         group root:x:0:
         group users:x:100:",
        "passwd root:x:0:0::/:/bin/sh
         passwd alice:x:1000:100::/:/bin/sh
         group root:x:0:
         group users:x:100:",
        "passwd root:x:0:0::/:/bin/sh
         group root:x:0:
         group users:x:985:",
        "passwd root:x:0:0::/:/bin/sh
         passwd alice:x:1000:100::/:/bin/sh
         group root:x:0:
         group users:x:985:
         ! users: the image changed its gid from 100 to 985; files outside of the image may be owned by 100
         ! passwd: alice: no group has the gid 100 of its primary group",
    );
}

#[test]
fn subordinate_ids() {
    check(
        "a set of lines; a range of the image's over one of the machine's is said",
        "subuid old:1:1",
        "subuid alice:100000:65536
         subuid bob:165536:65536
         subuid old:1:1",
        "subuid svc:165000:10",
        "subuid svc:165000:10
         subuid alice:100000:65536
         subuid bob:165536:65536
         ! subuid: the image's range of svc overlaps that of alice here, from 165000 on",
    );
    check(
        "neighbours do not overlap, and the same range is one",
        "",
        "subgid a:10:10
         subgid b:30:10",
        "subgid a:10:10
         subgid c:20:10",
        "subgid a:10:10
         subgid c:20:10
         subgid b:30:10",
    );
}

#[test]
fn shadow_entries_that_are_missing_are_said_and_not_made() {
    check(
        "the machine's shadow was not merged for years",
        "passwd a:x:1:1::/:/bin/sh
         shadow a:*:1::::::",
        "passwd a:x:1:1::/:/bin/sh
         shadow
         gshadow",
        "passwd a:x:1:1::/:/bin/sh
         passwd b:x:2:2::/:/bin/sh
         shadow a:*:1::::::
         shadow b:*:1::::::
         group b:x:2:",
        "passwd a:x:1:1::/:/bin/sh
         passwd b:x:2:2::/:/bin/sh
         group b:x:2:
         shadow b:*:1::::::
         gshadow
         ! shadow: a: has no entry
         ! gshadow: b: has no entry",
    );
    check(
        "an entry without an account, that neither side had",
        "passwd a:x:1:1::/:/bin/sh
         shadow a:*:1::::::",
        "passwd root:x:0:0::/:/bin/sh
         shadow root:*:1::::::
         shadow a:*:1::::::",
        "passwd a:x:1:1::/:/bin/sh
         passwd b:x:2:2::/:/bin/sh
         shadow a:*:1:7:::::
         shadow b:*:1::::::
         shadow other:*:1::::::",
        "passwd b:x:2:2::/:/bin/sh
         passwd root:x:0:0::/:/bin/sh
         shadow root:*:1::::::
         shadow a:*:1:7:::::
         shadow b:*:1::::::
         shadow other:*:1::::::",
    );
}

#[test]
fn one_file_that_cannot_be_merged_keeps_all() {
    let mut sides = Sides {
        pristine: "passwd a:x:1:1::/:/bin/sh",
        current: "passwd a:x:1:1::/:/bin/zsh",
        new: "passwd a:x:1:1::/:/bin/sh
              passwd b:x:2:2::/:/bin/sh",
    }
    .map(set);
    sides.new.gshadow = Some(b"a:!::\n\0".to_vec());
    let merged = merge(&sides);
    assert_eq!(merged.files, sides.current);
    let [report @ AccountReport::NotMerged { .. }] = &merged.reports[..] else {
        panic!("not one report that says why: {:?}", merged.reports);
    };
    assert_eq!(
        report.to_string(),
        "gshadow: new: not a text: line 2 has a NUL byte: all account files are the machine's"
    );
    let options = ContentOptions {
        max_bytes: 30,
        ..ContentOptions::default()
    };
    sides.new.gshadow = None;
    assert_eq!(
        merge_with(&sides, &options).reports[0].to_string(),
        "passwd: new: 38 bytes, and no more than 30 are merged: all account files are the machine's"
    );
}

/// Every report of a set whose passwords are all one word: the word is nowhere.
#[test]
fn hashes_are_in_no_report() {
    let word = "$6$HUSH$HUSH";
    let side = |other: &str, uid: u32| {
        set(&format!(
            "passwd a:{word}{other}:{uid}:1::/:/bin/sh
             group a:{word}{other}:{uid}:
             shadow a:{word}{other}:{uid}:{word}{other}:{word}:{word}:{word}::
             shadow {other}:{word}::::::{word}:
             gshadow a:{word}{other}:a:{other}
             subuid a:{uid}:{word}"
        ))
    };
    let sides = Sides {
        pristine: side("p", 1),
        current: side("c", 2),
        new: side("n", 3),
    };
    let merged = merge(&sides);
    assert!(merged.reports.len() > 5, "{:?}", merged.reports);
    let said = format!("{merged:?} {sides:?} {}", {
        let said: Vec<_> = merged.reports.iter().map(ToString::to_string).collect();
        said.join("\n")
    });
    assert!(!said.contains("HUSH"), "{said}");
    // Nor as numbers of bytes.
    assert!(!said.contains("72, 85, 83, 72"), "{said}");
}
