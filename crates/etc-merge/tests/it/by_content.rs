//! Policies that merge what files say, and those that do not merge at all, in whole plans.

use insta::assert_snapshot;
use pleach_etc_merge::{
    Action, Bytes, Contents, Error, Format, Policies, Resolution, Rule, Sides, plan, plan_with,
};
use pleach_fs_tree::{Tree, TreePath};

use crate::{Etc, show, tree};

fn policies(rules: &[(&str, Action)]) -> Policies {
    let rule = |(pattern, action): &(&str, Action)| {
        Rule::new(pattern, action.clone(), "test").expect("a rule")
    };
    Policies {
        rules: rules.iter().map(rule).collect(),
        ..Policies::default()
    }
}

/// The plan, and the tree that it gives.
fn merged(sides: [&str; 3], rules: &[(&str, Action)]) -> String {
    let [pristine, current, new] = sides.map(tree);
    let plan = plan(&pristine, &current, &new, &policies(rules)).expect("a plan");
    let result: Etc = plan.result(&current, &new).expect("a result");
    format!("{plan}{}", show(&result))
}

#[test]
fn a_text_is_merged_line_by_line_or_is_a_conflict() {
    let text = |lines: &str| format!("/t file 0644 0:0 0.0 {lines}");
    let (one, here, there) = (
        text("a\\nb\\nc\\nd\\ne\\n"),
        text("A\\nb\\nc\\nd\\ne\\n"),
        text("a\\nb\\nc\\nd\\nE\\n"),
    );
    let rules = [("t", Action::Text)];
    assert_snapshot!(merged([&one, &here, &there], &rules), @r"
    conflict:both-modified /t -> composed (10 bytes, 0644 0:0); policy text (test)
    / directory 0755 0:0 0.0
    /t file 0644 0:0 0.0 A\nb\nc\nd\nE\n
    ");
    let meets = text("x\\nb\\nc\\nd\\ne\\n");
    assert_snapshot!(merged([&one, &here, &meets], &rules), @r"
    conflict:both-modified /t -> local; policy text (test); conflict:both-modified; note:not-merged:both sides changed the same lines; image side saved
    / directory 0755 0:0 0.0
    /t file 0644 0:0 0.0 A\nb\nc\nd\ne\n
    ");
    // A mode that one side changed goes along with a content that is made of both.
    let tight = there.replace("0644", "0600");
    assert_snapshot!(merged([&one, &here, &tight], &rules), @r"
    conflict:both-modified /t -> composed (10 bytes, 0600 0:0); policy text (test)
    / directory 0755 0:0 0.0
    /t file 0600 0:0 0.0 A\nb\nc\nd\nE\n
    ");
}

#[test]
fn lines_are_a_set() {
    let shells = |lines: &str| format!("/shells file 0644 0:0 0.0 {lines}");
    let sides = [
        &*shells("/bin/sh\\n/bin/bash\\n"),
        &shells("/bin/sh\\n/bin/bash\\n/bin/zsh\\n"),
        &shells("/bin/sh\\n/bin/fish\\n"),
    ];
    assert_snapshot!(merged(sides, &[("shells", Action::Lines)]), @r"
    conflict:both-modified /shells -> composed (27 bytes, 0644 0:0); policy lines (test)
    / directory 0755 0:0 0.0
    /shells file 0644 0:0 0.0 /bin/sh\n/bin/fish\n/bin/zsh\n
    ");
}

const ACCOUNTS: [&str; 3] = [
    r"/group file 0644 0:0 0.0 root:x:0:\nwheel:x:10:\n
      /passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/sh\n
      /shadow file 0000 0:0 0.0 root:*:1:0:99999:7:::\n",
    r"/group file 0644 0:0 0.0 root:x:0:\nwheel:x:10:ada\nada:x:1000:\n
      /passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n
      /shadow file 0000 0:0 0.0 root:$6$hash:9:0:99999:7:::\nada:!:9:0:99999:7:::\n",
    r"/group file 0644 0:0 0.0 root:x:0:\nwheel:x:10:\ngdm:x:42:\n
      /passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/sh\ngdm:x:42:42::/:/sbin/nologin\n
      /shadow file 0000 0:0 0.0 root:*:1:0:99999:7:::\ngdm:!:1:0:99999:7:::\n",
];

#[test]
fn accounts_are_merged_as_one() {
    assert_snapshot!(merged(ACCOUNTS, &[("*", Action::Accounts)]), @r"
    conflict:both-modified /group -> composed (47 bytes, 0644 0:0); policy accounts (test)
    conflict:both-modified /passwd -> composed (94 bytes, 0644 0:0); policy accounts (test)
    conflict:both-modified /shadow -> composed (70 bytes, 0000 0:0); policy accounts (test)
    / directory 0755 0:0 0.0
    /group file 0644 0:0 0.0 root:x:0:\nwheel:x:10:ada\ngdm:x:42:\nada:x:1000:\n
    /passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/sh\ngdm:x:42:42::/:/sbin/nologin\nada:x:1000:1000::/home/ada:/bin/sh\n
    /shadow file 0000 0:0 0.0 root:$6$hash:9:0:99999:7:::\ngdm:!:1:0:99999:7:::\nada:!:9:0:99999:7:::\n
    ");
}

/// Files on `/var` may still be owned by the old number.
#[test]
fn an_account_that_the_image_renumbers_is_told() {
    let renumbered = ACCOUNTS[2].replace("x:42:42:", "x:43:42:");
    let sides = [ACCOUNTS[2], ACCOUNTS[2], &renumbered];
    assert_snapshot!(merged(sides, &[("*", Action::Accounts)]), @r"
    image-updated /passwd -> image; policy accounts (test); note:account:gdm: the image changed its uid from 42 to 43; files outside of the image may be owned by 42
    / directory 0755 0:0 0.0
    /group file 0644 0:0 0.0 root:x:0:\nwheel:x:10:\ngdm:x:42:\n
    /passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/sh\ngdm:x:43:42::/:/sbin/nologin\n
    /shadow file 0000 0:0 0.0 root:*:1:0:99999:7:::\ngdm:!:1:0:99999:7:::\n
    ");
}

/// The hash of a password is in the result, and in nothing that is printed.
#[test]
fn no_password_is_printed() {
    let [pristine, current, new] = ACCOUNTS.map(tree);
    let rules = policies(&[("*", Action::Accounts)]);
    let plan = plan(&pristine, &current, &new, &rules).expect("a plan");
    for printed in [format!("{plan}"), format!("{plan:#}"), format!("{plan:?}")] {
        assert!(!printed.contains("hash"), "{printed}");
    }
    let path = TreePath::new("shadow").expect("a path");
    let Resolution::Composed { content, .. } = &plan.get(&path).expect("an entry").resolution
    else {
        panic!("{plan}");
    };
    assert!(String::from_utf8_lossy(&content.0).contains("$6$hash"));
}

#[test]
fn keys_are_merged_one_by_one() {
    let ini = |text: &str| format!("/a.conf file 0644 0:0 0.0 {text}");
    let sides = [
        &*ini("[Main]\\nx=1\\ny=1\\n"),
        &ini("[Main]\\nx=2\\ny=2\\n"),
        &ini("[Main]\\nx=1\\ny=3\\nz=1\\n"),
    ];
    let rules = [("*.conf", Action::Keyed(Format::Ini))];
    assert_snapshot!(merged(sides, &rules), @r"
    conflict:both-modified /a.conf -> composed (19 bytes, 0644 0:0); policy ini (test); conflict:key:[Main] y; image side saved
    / directory 0755 0:0 0.0
    /a.conf file 0644 0:0 0.0 [Main]\nx\x3d2\ny\x3d2\nz\x3d1\n
    ");
}

#[test]
fn what_is_derived_is_the_images_and_is_made_anew() {
    let derived = || Action::Derived {
        regenerate: "ldconfig".into(),
    };
    let cache = |content: &str| format!("/ld.so.cache file 0644 0:0 0.0 {content}");
    let rules = [("ld.so.cache", derived())];
    for (sides, expect) in [
        ([&*cache("1"), &cache("2"), &cache("1")], &*cache("1")),
        ([&cache("1"), &cache("2"), &cache("3")], &cache("3")),
        ([&cache("1"), &cache("1"), &cache("3")], &cache("3")),
        ([&cache("1"), "", &cache("1")], &cache("1")),
        (["", &cache("2"), ""], &cache("2")),
        ([&cache("1"), &cache("2"), ""], ""),
    ] {
        let [pristine, current, new] = sides.map(tree);
        let plan = plan(&pristine, &current, &new, &policies(&rules)).expect("a plan");
        let result = plan.result(&current, &new).expect("a result");
        assert_eq!(show(&result), show(&tree(expect)), "{plan}");
        assert_eq!(plan.conflicts().count(), 0, "{plan}");
        let changed = sides[0] != sides[1] && sides[1] != sides[2];
        assert_eq!(
            plan.to_string().contains("regenerate:ldconfig"),
            changed,
            "{plan}"
        );
    }
}

/// A place where contents are, and cannot be had.
struct Far;

impl Contents<Vec<u8>> for Far {
    fn same(&self, a: &Vec<u8>, b: &Vec<u8>) -> bool {
        a == b
    }

    fn identify(&self, content: &Vec<u8>, tell: &mut dyn FnMut(&[u8])) {
        Bytes.identify(content, tell);
    }

    fn bytes<'a>(
        &self,
        _: &TreePath,
        _: &'a Vec<u8>,
    ) -> Result<Option<std::borrow::Cow<'a, [u8]>>, Error> {
        Ok(None)
    }
}

#[test]
fn a_policy_that_lacks_the_contents_says_so() {
    let [pristine, current, new] = ACCOUNTS.map(tree);
    let trees: Sides<&Tree<Vec<u8>>> = Sides {
        pristine: &pristine,
        current: &current,
        new: &new,
    };
    let rules = policies(&[("*", Action::Accounts)]);
    let plan = plan_with(trees, &rules, &Far).expect("a plan");
    assert_snapshot!(plan.to_string(), @"
    conflict:both-modified /group -> local; policy accounts (test); conflict:both-modified; note:needs-contents; image side saved
    conflict:both-modified /passwd -> local; policy accounts (test); conflict:both-modified; note:needs-contents; image side saved
    conflict:both-modified /shadow -> local; policy accounts (test); conflict:both-modified; note:needs-contents; image side saved
    ");
}
