//! Rules that the vectors say little of: policies, signatures, labels, and the plan's text.

use insta::assert_snapshot;
use pleach_etc_merge::{Action, Error, Labels, MergePlan, Pattern, Policies, Rule, plan};
use pleach_fs_tree::TreePath;

use crate::{Etc, show, tree};

/// Merges three dumps and gives the plan and the result.
fn merge(sides: [&str; 3], policies: &Policies) -> (MergePlan, Etc) {
    let [pristine, current, new] = sides.map(tree);
    let plan = plan(&pristine, &current, &new, policies).expect("a plan");
    let result = plan.result(&current, &new).expect("a result");
    (plan, result)
}

fn policies(rules: &[(&str, Action)]) -> Policies {
    let rule = |(pattern, action): &(&str, Action)| {
        Rule::new(pattern, action.clone(), "test").expect("a rule")
    };
    Policies {
        rules: rules.iter().map(rule).collect(),
        ..Policies::default()
    }
}

/// The result has these lines, after the root's.
#[track_caller]
fn check(sides: [&str; 3], policies: &Policies, expect: &str) {
    let (plan, result) = merge(sides, policies);
    assert_eq!(show(&result), show(&tree(expect)), "\n{plan:#}");
}

const ONE: &str = "/a file 0644 0:0 0.0 one";
const TWO: &str = "/a file 0644 0:0 0.0 two";
const THREE: &str = "/a file 0644 0:0 0.0 three";

#[test]
fn conflicts_go_where_the_policy_says() {
    for (action, expect) in [
        (Action::Local, TWO),
        (Action::Image, THREE),
        (Action::Pin, TWO),
        (Action::Ignore, TWO),
    ] {
        check([ONE, TWO, THREE], &policies(&[("a", action)]), expect);
    }
    // The first rule that covers the path is the path's.
    let ordered = policies(&[("?", Action::Image), ("a", Action::Pin)]);
    check([ONE, TWO, THREE], &ordered, THREE);
}

#[test]
fn a_removal_against_a_change_goes_where_the_policy_says() {
    for (action, expect) in [
        (Action::Local, ""),
        (Action::Image, THREE),
        (Action::Pin, ""),
    ] {
        check([ONE, "", THREE], &policies(&[("a", action)]), expect);
    }
    for (action, expect) in [
        (Action::Local, TWO),
        (Action::Image, ""),
        (Action::Pin, TWO),
    ] {
        check([ONE, TWO, ""], &policies(&[("a", action)]), expect);
    }
}

#[test]
fn the_image_policy_reaches_into_directories_that_one_side_removed() {
    let d = "/d directory 0755 0:0 0.0\n";
    let x = |content: &str| format!("{d}/d/x file 0644 0:0 0.0 {content}");
    let image = policies(&[("d/x", Action::Image)]);
    check([&x("one"), "", &x("two")], &image, &x("two"));
    check([&x("one"), &x("two"), ""], &image, "");
}

#[test]
fn one_sided_changes_win_under_the_image_policy_too() {
    check([ONE, TWO, ONE], &policies(&[("**", Action::Image)]), TWO);
}

#[test]
fn a_pin_holds_what_equals_the_default() {
    check([ONE, ONE, TWO], &Policies::default(), TWO);
    check([ONE, ONE, TWO], &policies(&[("a", Action::Pin)]), ONE);
    check([ONE, ONE, ""], &policies(&[("a", Action::Pin)]), ONE);
}

#[test]
fn a_pinned_file_keeps_its_directory() {
    let both = "/d directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 x\n/d/y file 0644 0:0 0.0 y";
    let only_x = "/d directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 x";
    let pinned = policies(&[("d/x", Action::Pin)]);
    check([both, both, ""], &pinned, only_x);
    // The image has a file there now: nothing of it can be had with the pinned path below.
    check([both, both, "/d file 0644 0:0 0.0 file"], &pinned, both);
    let first = policies(&[("d/x", Action::Pin), ("d", Action::Image)]);
    check([both, both, "/d file 0644 0:0 0.0 file"], &first, both);
}

#[test]
fn a_pin_on_nothing_keeps_the_image_out() {
    let pinned = policies(&[("machine-id", Action::Pin)]);
    check(["", "", "/machine-id file 0444 0:0 0.0 baked"], &pinned, "");
}

#[test]
fn fail_refuses_a_conflict_and_nothing_else() {
    let fail = policies(&[("a", Action::Fail)]);
    check([ONE, TWO, ONE], &fail, TWO);
    let [pristine, current, new] = [ONE, TWO, THREE].map(tree);
    let plan = plan(&pristine, &current, &new, &fail).expect("a plan");
    let refused: Vec<_> = plan.refused().map(|entry| entry.path.to_string()).collect();
    assert_eq!(refused, ["/a"]);
    let error = plan.result(&current, &new).expect_err("refused");
    assert!(matches!(error, Error::Refused { count: 1, .. }), "{error}");
}

#[test]
fn ignored_paths_are_kept_without_a_word() {
    let ignore = policies(&[("**/*.swp", Action::Ignore)]);
    let [one, two, three] =
        ["one", "two", "three"].map(|c| format!("/.a.swp file 0600 0:0 0.0 {c}"));
    let (plan, result) = merge([&one, &two, &three], &ignore);
    assert_eq!(show(&result), show(&tree(&two)));
    assert!(plan.entries()[0].findings.is_empty(), "{plan}");
}

#[test]
fn patterns() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("a", &["a", "a/b/c"], &["b", "ab", "b/a"]),
        ("/a/b", &["a/b", "a/b/c"], &["a", "a/c"]),
        ("*.d", &["x.d", ".d", "x.d/y"], &["x.dd", "y/x.d"]),
        ("a*b*c", &["abc", "aXbYc", "abbc"], &["ab", "acb"]),
        ("?", &["a", "b/c"], &["ab"]),
        ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
        ("[!a-c]x", &["dx"], &["ax"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("a/**", &["a/b", "a/b/c"], &["a", "b"]),
        ("**", &["a", "a/b"], &[]),
        ("**/x", &["x", "a/x", "a/b/x", "a/x/y"], &["a", "xx"]),
        ("a/**/x", &["a/x", "a/b/x", "a/b/c/x"], &["x", "b/a/x"]),
        ("\\*", &["*"], &["a"]),
        (
            "ssh/ssh_host_*",
            &["ssh/ssh_host_key.pub"],
            &["ssh/sshd_config"],
        ),
    ];
    for (pattern, covered, others) in rows {
        let read = Pattern::new(pattern).unwrap_or_else(|e| panic!("{e}"));
        let covers = |path: &&str| read.covers(&TreePath::new(path).expect("a path"));
        for path in *covered {
            assert!(covers(path), "{pattern} covers {path}");
        }
        for path in *others {
            assert!(!covers(path), "{pattern} does not cover {path}");
        }
        assert!(
            !read.covers(&TreePath::root()),
            "{pattern} does not cover the root"
        );
    }
    for bad in ["", "/", "a//b", "a/", "./a", "a/..", "[a", "a\\"] {
        assert!(Pattern::new(bad).is_err(), "{bad:?} is no pattern");
    }
}

#[test]
fn signatures_come_with_what_they_sign() {
    let file = |mode: &str, content: &str, xattrs: &str| {
        format!("/a file {mode} 0:0 0.0 {content} {xattrs}")
            .trim_end()
            .to_owned()
    };
    let default = Policies::default();
    // The machine's content, the image's signature: neither fits.
    let sides = [
        file("0644", "one", "security.ima=1"),
        file("0644", "two", "security.ima=1"),
        file("0600", "one", "security.ima=1"),
    ];
    check(
        sides.each_ref().map(|s| &**s),
        &default,
        &file("0600", "two", ""),
    );
    let (plan, _) = merge(sides.each_ref().map(|s| &**s), &default);
    assert_snapshot!(plan, @"conflict:both-modified /a -> merged (content local, 0600 0:0); note:signature-dropped:security.ima");
    // The machine signed its own content.
    let sides = [
        file("0644", "one", "security.ima=1"),
        file("0644", "two", "security.ima=2"),
        file("0600", "one", "security.ima=1"),
    ];
    check(
        sides.each_ref().map(|s| &**s),
        &default,
        &file("0600", "two", "security.ima=2"),
    );
    // The image's content under the machine's mode.
    let sides = [
        file("0644", "one", "security.ima=1"),
        file("0600", "one", "security.ima=1"),
        file("0644", "two", "security.ima=2 security.evm=2"),
    ];
    check(
        sides.each_ref().map(|s| &**s),
        &default,
        &file("0600", "two", "security.ima=2"),
    );
}

#[test]
fn labels_come_from_the_image_where_it_changed_the_path() {
    let file = |content: &str, label: &str| {
        format!("/a file 0644 0:0 0.0 {content} security.selinux={label}")
    };
    let [one, two, three] = [
        file("one", "etc_t"),
        file("two", "my_t"),
        file("three", "new_t"),
    ];
    check(
        [&one, &two, &three],
        &Policies::default(),
        &file("two", "new_t"),
    );
    // The image left it alone: the machine's label is kept, and the plan says so.
    let (plan, result) = merge([&one, &two, &one], &Policies::default());
    assert_eq!(show(&result), show(&tree(&two)));
    assert!(plan.entries()[0].carries_label, "{plan}");
    let from_image = Policies {
        labels: Labels::FromImage,
        ..Policies::default()
    };
    check([&one, &two, &one], &from_image, &file("two", "etc_t"));
    check(["", &two, ""], &from_image, "/a file 0644 0:0 0.0 two");
}

#[test]
fn what_overlayfs_keeps_for_itself_is_no_change() {
    let kept = format!("{ONE} trusted.overlay.origin=x");
    check([ONE, &kept, TWO], &Policies::default(), TWO);
    check(
        [ONE, &format!("{TWO} trusted.overlay.origin=x"), ONE],
        &Policies::default(),
        TWO,
    );
}

#[test]
fn the_limit_of_paths_is_an_error() {
    let policies = Policies {
        max_paths: 2,
        ..Policies::default()
    };
    let [pristine, current, new] = [ONE, "/b file 0644 0:0 0.0 x", ONE].map(tree);
    let error = plan(&pristine, &current, &new, &policies).expect_err("three paths");
    assert_eq!(error.to_string(), "/b: more than 2 paths to merge");
}

#[test]
fn a_deep_tree_needs_no_deep_stack() {
    let mut deep = Etc::new(Default::default());
    let path = TreePath::new(["d"; 3_000].join("/")).expect("a path");
    deep.make_directories(&path, &Default::default())
        .expect("directories");
    let none = Etc::new(Default::default());
    let plan = plan(&none, &deep, &none, &Policies::default()).expect("a plan");
    assert_eq!(plan.entries().len(), 3_000);
}

#[test]
fn the_text_of_a_plan() {
    let pristine = "
        /cron.d directory 0755 0:0 0.0
        /cron.d/old file 0644 0:0 0.0 old
        /hostname file 0644 0:0 0.0 localhost
        /motd file 0644 0:0 0.0 hello
        /sshd_config file 0644 0:0 0.0 one";
    let current = "
        /cron.d directory 0700 0:0 0.0
        /cron.d/old file 0644 0:0 0.0 old
        /hostname file 0644 0:0 0.0 box
        /motd file 0600 0:0 0.0 hello
        /initctl fifo 0600 0:0 0.0
        /sshd_config file 0644 0:0 0.0 two";
    let new = "
        /cron.d directory 0755 0:0 0.0
        /hostname file 0644 0:0 0.0 localhost
        /motd file 0644 0:0 0.0 welcome
        /sshd_config file 0644 0:0 0.0 three";
    let (plan, _) = merge(
        [pristine, current, new],
        &policies(&[("hostname", Action::Pin)]),
    );
    assert_snapshot!(plan, @r"
    local-modified /cron.d -> local
    image-removed /cron.d/old -> absent
    local-modified /hostname -> local; policy pin (test)
    local-added /initctl -> absent; note:special-in-current
    conflict:both-modified /motd -> merged (content image, 0600 0:0)
    conflict:both-modified /sshd_config -> local; conflict:both-modified; image side saved
    ");
    let conflict = plan.conflicts().next().expect("a conflict");
    assert_snapshot!(format!("{conflict:#}"), @r"
    conflict:both-modified /sshd_config -> local; conflict:both-modified; image side saved
        pristine: file 0644 0:0
        current: file 0644 0:0
        new: file 0644 0:0
    ");
}
