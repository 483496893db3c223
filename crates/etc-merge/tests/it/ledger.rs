//! The ownership ledger: pins, adoption, release, restoring, and the answer to "why".

use insta::assert_snapshot;
use pleach_etc_merge::{
    Action, Back, Before, Document, Error, Kept, Ledger, Machine, Outcome, Owner, Place, Policies,
    Record, Rule, Selector, Step, StepAction, plan, restore, what_was_put,
};
use pleach_fs_tree::TreePath;
use proptest::prelude::*;

use crate::random::triple;
use crate::{Etc, show, tree};

fn at(path: &str) -> TreePath {
    TreePath::new(path).expect("a path")
}

fn hand() -> Owner {
    Owner {
        route: "hand".to_owned(),
        document: None,
        place: None,
    }
}

fn site(line: usize) -> Owner {
    Owner {
        route: "etc".to_owned(),
        document: Some(Document {
            name: "site.bu".to_owned(),
            digest: "sha256:1234".to_owned(),
        }),
        place: Some(Place {
            line,
            column: 7,
            path: format!("$.storage.files.{line}"),
        }),
    }
}

/// The ledger of somebody who put these paths of a tree.
fn put(wanted: &Etc, pristine: &Etc, paths: &[&str]) -> Ledger<Vec<u8>> {
    let mut ledger = Ledger::default();
    for (line, path) in paths.iter().enumerate() {
        let path = at(path);
        let inode = wanted.get(&path);
        let record = Record {
            owner: site(line),
            before: Before::of(pristine.get(&path), pristine.get(&path)),
            put: inode.map(what_was_put),
            pinned: false,
        };
        ledger.insert(path, record);
    }
    ledger
}

/// Carries the steps out on trees.
fn take(machine: Machine<'_, Vec<u8>>, steps: &[Step]) -> Etc {
    let mut now = machine.current.clone();
    for Step { path, action } in steps {
        let wanted = machine.pristine.get(path).map(what_was_put);
        match action {
            StepAction::Remove => {
                let entries = now.get(path).and_then(|inode| inode.entries());
                assert!(entries.is_none_or(|e| e.is_empty()), "{path} is not empty");
                assert!(now.remove(path), "{path} is not there");
            }
            StepAction::Put => {
                let there = now.get(path).and_then(|inode| inode.entries());
                assert!(there.is_none(), "{path} is a directory");
                now.put(path, wanted.expect("the image has it"))
                    .unwrap_or_else(|e| panic!("{e}"));
            }
            StepAction::Attributes => {
                let id = now.directory(path).unwrap_or_else(|e| panic!("{e}"));
                *now.metadata_mut(id) = wanted.expect("the image has it").metadata;
            }
        }
    }
    now
}

#[test]
fn a_pin_from_the_ledger_keeps_what_equals_the_default() {
    let [one, two] = ["one", "two"].map(|c| tree(&format!("/a*b file 0644 0:0 0.0 {c}")));
    let machine = Machine {
        pristine: &one,
        current: &one,
    };
    let mut ledger = Ledger::default();
    let adopted = ledger.adopt(machine, &at("a*b"), &site(3), true);
    for (path, record) in adopted.expect("it is there") {
        assert_eq!(record.before, Before::Default);
        ledger.insert(path, record);
    }
    let policies = Policies {
        rules: ledger.pins(),
        ..Policies::default()
    };
    assert_eq!(policies.rules.len(), 1);
    assert_eq!(policies.rules[0].action, Action::Pin);
    // The name is taken literally.
    assert!(!policies.rules[0].pattern.covers(&at("aXb")));
    let plan = plan(&one, &one, &two, &policies).expect("a plan");
    assert_snapshot!(plan, @"image-updated /a*b -> local; policy pin (ownership ledger: etc, site.bu:3:7 ($.storage.files.3))");
}

#[test]
fn adoption_takes_all_that_is_below_and_keeps_what_was_before() {
    let pristine = tree("/d directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 x");
    let current = tree(
        "/d directory 0755 0:0 0.0
         /d/pipe fifo 0644 0:0 0.0
         /d/x file 0644 0:0 0.0 mine
         /d/y file 0600 0:0 9.0 y",
    );
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    let mut ledger = put(&current, &pristine, &[]);
    ledger.insert(
        at("d/y"),
        Record {
            owner: hand(),
            before: Before::Local,
            put: None,
            pinned: false,
        },
    );
    let adopted = ledger
        .adopt(machine, &at("d"), &site(1), true)
        .expect("there");
    let rows: Vec<_> = adopted
        .iter()
        .map(|(path, r)| (path.to_string(), r.before, r.pinned))
        .collect();
    assert_eq!(
        rows,
        [
            ("/d".to_owned(), Before::Default, true),
            ("/d/x".to_owned(), Before::Default, false),
            ("/d/y".to_owned(), Before::Local, false),
        ]
    );
    let missing = |pinned| ledger.adopt(machine, &at("no"), &hand(), pinned);
    assert!(matches!(missing(false), Err(Error::NoSuchPath { .. })));
    let pinned = missing(true).expect("nothing can be pinned");
    assert_eq!(pinned[0].1.put, None);
    let root = ledger.adopt(machine, &TreePath::root(), &hand(), true);
    assert!(matches!(root, Err(Error::WholeTree)));
}

/// A document put what `wanted` has at `paths`; the machine is `current` now. Releasing it gives these
/// outcomes and this tree.
#[track_caller]
fn check(sides: [&str; 3], paths: &[&str], force: bool, outcomes: &[Outcome], expect: &str) {
    let [pristine, wanted, current] = sides.map(tree);
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    let ledger = put(&wanted, &pristine, paths);
    let back = ledger
        .release(Selector::Document("sha256:1234"), machine, force)
        .expect("it has records");
    let result = take(machine, &back.steps);
    assert_eq!(show(&result), show(&tree(expect)), "\n{back:#?}");
    let returned: Vec<_> = back.returned.iter().map(|r| r.outcome.clone()).collect();
    assert_eq!(returned, outcomes, "\n{back:#?}");
}

const ONE: &str = "/a file 0644 0:0 0.0 one";
const TWO: &str = "/a file 0644 0:0 0.0 two";
const D: &str = "/d directory 0755 0:0 0.0";
const DX: &str = "/d directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 x";
const DXY: &str = "/d directory 0755 0:0 0.0\n/d/x file 0644 0:0 0.0 x\n/d/y file 0644 0:0 0.0 y";

#[test]
fn what_is_released_is_the_default_again() {
    check([ONE, TWO, TWO], &["a"], false, &[Outcome::Restored], ONE);
    check(["", TWO, TWO], &["a"], false, &[Outcome::Removed], "");
    check([ONE, ONE, ONE], &["a"], false, &[Outcome::Already], ONE);
    let both = [Outcome::Removed, Outcome::Removed];
    check(["", DX, DX], &["d", "d/x"], false, &both, "");
    let [tight, wide] = ["0700", "0755"].map(|m| format!("/d directory {m} 0:0 0.0"));
    let sides = [&*wide, &tight, &tight];
    check(sides, &["d"], false, &[Outcome::Restored], &wide);
}

#[test]
fn what_the_machine_changed_since_is_kept_unless_forced() {
    let kept = [Outcome::Kept(Kept::Changed)];
    let three = "/a file 0644 0:0 0.0 three";
    check([ONE, TWO, three], &["a"], false, &kept, three);
    check([ONE, TWO, three], &["a"], true, &[Outcome::Restored], ONE);
    let mode = "/a file 0600 0:0 0.0 two";
    check([ONE, TWO, mode], &["a"], false, &kept, mode);
    let gone = [Outcome::Kept(Kept::Gone)];
    check([ONE, TWO, ""], &["a"], false, &gone, "");
    check([ONE, TWO, ""], &["a"], true, &[Outcome::Restored], ONE);
    // A label is the system's.
    let label = format!("{TWO} security.selinux=etc_t");
    check([ONE, TWO, &label], &["a"], false, &[Outcome::Restored], ONE);
}

#[test]
fn what_nobody_released_is_never_touched() {
    let not_empty = Outcome::Kept(Kept::NotEmpty(at("d/y")));
    let left = "/d directory 0755 0:0 0.0\n/d/y file 0644 0:0 0.0 y";
    for force in [false, true] {
        check(
            ["", DX, DXY],
            &["d", "d/x"],
            force,
            &[not_empty.clone(), Outcome::Removed],
            left,
        );
    }
    // The image has a file where the document made a directory.
    let file = "/d file 0644 0:0 0.0 d";
    check(
        [file, DX, DXY],
        &["d", "d/x"],
        false,
        &[not_empty, Outcome::Removed],
        left,
    );
    check(
        [file, DX, DX],
        &["d", "d/x"],
        false,
        &[Outcome::Restored, Outcome::Removed],
        file,
    );
    // The machine has a file where the image's path has a directory.
    let blocked = [Outcome::Kept(Kept::Gone)];
    check([DX, DX, file], &["d/x"], false, &blocked, file);
    let blocked = [Outcome::Kept(Kept::Blocked(at("d")))];
    check([DX, DX, file], &["d/x"], true, &blocked, file);
}

#[test]
fn a_directory_that_was_replaced_comes_back_whole() {
    let file = "/d file 0644 0:0 0.0 d";
    check([DXY, file, file], &["d"], false, &[Outcome::Restored], DXY);
}

#[test]
fn selectors() {
    let (pristine, current) = (tree(""), tree(DXY));
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    let ledger = put(&current, &pristine, &["d", "d/x", "d/y"]);
    let paths = |back: Result<Back, Error>| -> Vec<String> {
        let back = back.unwrap_or_else(|e| panic!("{e}"));
        back.returned.iter().map(|r| r.path.to_string()).collect()
    };
    let by_path = |path: &str| ledger.release(Selector::Path(&at(path)), machine, false);
    assert_eq!(paths(by_path("d/x")), ["/d/x"]);
    assert_eq!(paths(by_path("d")), ["/d", "/d/x", "/d/y"]);
    let error = by_path("e").expect_err("no record");
    assert_eq!(
        error.to_string(),
        "the ownership ledger has no record of /e"
    );
    let error = ledger.release(Selector::Document("sha256:5678"), machine, false);
    assert!(matches!(error, Err(Error::NotInLedger { .. })));
}

#[test]
fn local_content_from_before_is_spoken_of() {
    let [pristine, current] = [ONE, TWO].map(tree);
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    let mut ledger = put(&current, &pristine, &["a"]);
    let mut record = ledger.remove(&at("a")).expect("a record");
    record.before = Before::Local;
    ledger.insert(at("a"), record);
    let back = ledger.release(Selector::Path(&at("a")), machine, false);
    assert!(back.expect("a record").returned[0].local_before);
}

#[test]
fn the_answer_to_why() {
    let [pristine, current] = [ONE, TWO].map(tree);
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    let mut ledger = put(&current, &pristine, &["a"]);
    let none = Policies::default();
    assert_snapshot!(ledger.why(&at("a"), machine, &none), @r"
    /a: local-modified
      image: file 0644 0:0
      machine: file 0644 0:0
      put by: etc, site.bu:0:7 ($.storage.files.0); before: default; since: unchanged
      policy: none, the default
    ");
    let policies = Policies {
        rules: vec![Rule::new("a", Action::Image, "site.toml:3").expect("a rule")],
        ..Policies::default()
    };
    let record = ledger.remove(&at("a")).expect("a record");
    ledger.insert(at("d"), record);
    assert_snapshot!(ledger.why(&at("d/x"), machine, &policies), @r"
    /d/x: image-default
      image: nothing
      machine: nothing
      put by: nobody known; /d by etc, site.bu:0:7 ($.storage.files.0)
      policy: none, the default
    ");
    assert_snapshot!(ledger.why(&at("a"), machine, &policies), @r"
    /a: local-modified
      image: file 0644 0:0
      machine: file 0644 0:0
      put by: nobody known
      policy: image (site.toml:3)
    ");
}

#[test]
fn restoring_makes_missing_parents_and_stops_at_what_is_in_the_way() {
    let pristine = tree(DXY);
    let with = |current: &str, path: &str| {
        let current = tree(current);
        let machine = Machine {
            pristine: &pristine,
            current: &current,
        };
        restore(machine, &at(path)).map(|steps| show(&take(machine, &steps)))
    };
    let only_x = show(&tree(DX));
    assert_eq!(with("", "d/x").expect("restored"), only_x);
    let file = "/d file 0644 0:0 0.0 d";
    let error = with(file, "d/x").expect_err("blocked").to_string();
    assert_eq!(error, "/d/x: cannot be put there: /d is in the way");
    assert_eq!(with(file, "d").expect("restored"), show(&pristine));
    assert!(with("", "e").is_err());
    assert_eq!(
        with(&format!("{D}\n/d/z fifo 0600 0:0 0.0"), "d").expect("restored"),
        show(&pristine)
    );
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    }
}

/// The lines of a tree that are at or below a path, or those that are not.
fn below(etc: &Etc, top: &TreePath, inside: bool) -> Vec<String> {
    let walk = etc.walk().map(|(path, _)| path.starts_with(top));
    let lines = show(etc);
    let lines = walk.zip(lines.lines());
    let wanted = lines.filter(|(is, _)| *is == inside);
    wanted.map(|(_, line)| line.to_owned()).collect()
}

proptest! {
    #![proptest_config(config())]

    /// Restoring everything below a name makes that name the image's, and touches no other.
    #[test]
    fn restored_is_the_default(sides in triple()) {
        let (pristine, current) = (&sides.pristine, &sides.current);
        let machine = Machine { pristine, current };
        for top in ["a", "b", "c"].map(at) {
            match restore(machine, &top) {
                Ok(steps) => {
                    let result = take(machine, &steps);
                    prop_assert_eq!(below(&result, &top, true), below(pristine, &top, true));
                    prop_assert_eq!(below(&result, &top, false), below(current, &top, false));
                }
                Err(error) => {
                    prop_assert!(matches!(error, Error::NoSuchPath { .. }), "{error}");
                    prop_assert!(pristine.get(&top).is_none() && current.get(&top).is_none());
                }
            }
        }
    }

    /// What somebody put and released is the default again, where the machine left it alone; and
    /// nothing without a record is touched.
    #[test]
    fn released_is_the_default(sides in triple()) {
        let (pristine, current) = (&sides.pristine, &sides.current);
        let machine = Machine { pristine, current };
        let mut ledger = Ledger::default();
        for top in ["a", "b"].map(at) {
            let adopted = ledger.adopt(machine, &top, &site(1), false).unwrap_or_default();
            for (path, record) in adopted {
                ledger.insert(path, record);
            }
        }
        if ledger.is_empty() {
            return Ok(());
        }
        let back = ledger.release(Selector::Document("sha256:1234"), machine, false).expect("records");
        let result = take(machine, &back.steps);
        let c = at("c");
        prop_assert_eq!(below(&result, &c, true), below(current, &c, true));
        for returned in &back.returned {
            let path = &returned.path;
            let is_default = |etc: &Etc| {
                let (there, wanted) = (etc.get(path), pristine.get(path));
                match (there, wanted) {
                    (Some(a), Some(b)) => what_was_put(a) == what_was_put(b),
                    (a, b) => a.is_none() && b.is_none(),
                }
            };
            prop_assert_eq!(is_default(&result), !matches!(returned.outcome, Outcome::Kept(_)), "{} {:#?}", path, back);
        }
    }
}
