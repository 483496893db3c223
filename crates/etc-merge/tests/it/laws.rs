//! Laws of the profile `strict`, numbered as in its specification. Those of what happens on disk
//! are elsewhere: P7 in `hostile`, P13, P14 and P18 to P20 in `disk_laws`, P17 in `faults`.
//!
//! `PROPTEST_CASES` sets how many triples each law is asked for; 2,000 without it.

use std::collections::BTreeSet;

use pleach_etc_merge::{
    Action, Conflict, Divergence, Entry, Finding, MergePlan, Note, Policies, Rule, Sides, plan,
};
use pleach_fs_tree::{Inode, Kind, Metadata, Name, TreePath};
use proptest::prelude::*;

use crate::random::{triple, triple_with_specials};
use crate::vectors::has_reason;
use crate::{Etc, show};

fn merge(sides: &Sides<Etc>) -> (MergePlan, Etc) {
    let plan = plan(
        &sides.pristine,
        &sides.current,
        &sides.new,
        &Policies::default(),
    );
    let plan = plan.expect("P10: no plan fails");
    let result = plan.result(&sides.current, &sides.new);
    let result = result.expect("P10: no merge fails");
    (plan, result)
}

/// What the three sides and the result have at one path.
struct Here<'a> {
    path: TreePath,
    pristine: Option<&'a Inode<Vec<u8>>>,
    current: Option<&'a Inode<Vec<u8>>>,
    new: Option<&'a Inode<Vec<u8>>>,
    result: Option<&'a Inode<Vec<u8>>>,
}

fn each<'a>(sides: &'a Sides<Etc>, result: &'a Etc) -> Vec<Here<'a>> {
    let trees = [&sides.pristine, &sides.current, &sides.new, result];
    let paths: BTreeSet<_> = trees
        .iter()
        .flat_map(|t| t.walk())
        .map(|(path, _)| path)
        .collect();
    let here = |path: TreePath| Here {
        pristine: sides.pristine.get(&path),
        current: sides.current.get(&path),
        new: sides.new.get(&path),
        result: result.get(&path),
        path,
    };
    paths.into_iter().map(here).collect()
}

type Side<'a> = Option<&'a Inode<Vec<u8>>>;

/// Type and content.
fn same_content(a: Side<'_>, b: Side<'_>) -> bool {
    match (a.map(|i| &i.kind), b.map(|i| &i.kind)) {
        (Some(Kind::Directory(_)), Some(Kind::Directory(_))) => true,
        (a, b) => a == b,
    }
}

fn same(a: Side<'_>, b: Side<'_>) -> bool {
    same_content(a, b) && a.map(|i| &i.metadata) == b.map(|i| &i.metadata)
}

fn same_type(a: Side<'_>, b: Side<'_>) -> bool {
    a.map(|i| i.kind.node_type()) == b.map(|i| i.kind.node_type())
}

/// Each attribute by name.
fn attributes(inode: &Inode<Vec<u8>>) -> [(&'static str, Vec<u8>); 4] {
    let Metadata {
        mode,
        uid,
        gid,
        ref xattrs,
        ..
    } = inode.metadata;
    let xattr = xattrs.get(&b"user.n"[..]);
    [
        ("mode", mode.to_be_bytes().to_vec()),
        ("uid", uid.to_be_bytes().to_vec()),
        ("gid", gid.to_be_bytes().to_vec()),
        ("user.n", xattr.map(|v| v.to_vec()).unwrap_or_default()),
    ]
}

/// The entries of a path and of those above it.
fn at_or_above<'a>(plan: &'a MergePlan, path: &'a TreePath) -> impl Iterator<Item = &'a Entry> {
    plan.entries()
        .iter()
        .filter(|entry| path.starts_with(&entry.path))
}

/// A conflict over whether there is something, or of which type, at the path or above.
fn in_conflict(plan: &MergePlan, path: &TreePath) -> bool {
    at_or_above(plan, path).any(|entry| {
        let mut conflicts = entry.conflicts();
        conflicts.any(|conflict| match conflict {
            Conflict::Attribute(_) => false,
            Conflict::Content(how) => !matches!(how, Divergence::BothModified | Divergence::AddAdd),
            _ => true,
        })
    })
}

fn in_type_conflict(plan: &MergePlan, path: &TreePath) -> bool {
    at_or_above(plan, path).any(|entry| entry.conflicts().any(|c| *c == Conflict::Type))
}

fn noted(plan: &MergePlan, path: &TreePath, note: &Note) -> bool {
    let wanted = Finding::Note(note.clone());
    at_or_above(plan, path).any(|entry| entry.findings.contains(&wanted))
}

fn config() -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => ProptestConfig {
            cases: 2000,
            ..config
        },
    }
}

proptest! {
    #![proptest_config(config())]

    /// P1: nobody changed anything here, so the result is the next image.
    #[test]
    fn p01_an_untouched_machine_follows_the_image(sides in triple()) {
        let current = sides.pristine.clone();
        let (plan, result) = merge(&Sides { current, ..sides.clone() });
        prop_assert_eq!(show(&result), show(&sides.new));
        prop_assert_eq!(plan.conflicts().count(), 0, "{}", plan);
    }

    /// P2: the image changed nothing, so the machine stays as it is.
    #[test]
    fn p02_an_unchanged_image_changes_nothing(sides in triple()) {
        let new = sides.pristine.clone();
        let (plan, result) = merge(&Sides { new, ..sides.clone() });
        prop_assert_eq!(show(&result), show(&sides.current));
        prop_assert_eq!(plan.conflicts().count(), 0, "{}", plan);
    }

    /// P3: both made the same changes.
    #[test]
    fn p03_equal_sides_are_the_result(sides in triple()) {
        let new = sides.current.clone();
        let (plan, result) = merge(&Sides { new, ..sides.clone() });
        prop_assert_eq!(show(&result), show(&sides.current));
        prop_assert_eq!(plan.conflicts().count(), 0, "{}", plan);
    }

    /// P4: a file or link that the machine added or changed is in the result, at its path.
    #[test]
    fn p04_local_content_is_never_lost(sides in triple_with_specials()) {
        let (plan, result) = merge(&sides);
        for here in each(&sides, &result) {
            let Some(current) = here.current else { continue };
            if !matches!(current.kind, Kind::File(_) | Kind::Symlink(_)) {
                continue;
            }
            if !same_content(here.pristine, here.current) {
                prop_assert!(same_content(here.result, here.current), "{}\n{}", here.path, plan);
            }
        }
    }

    /// P5: an attribute that the machine changed is kept, where what it belongs to is.
    #[test]
    fn p05_local_attributes_are_kept(sides in triple()) {
        let (plan, result) = merge(&sides);
        for here in each(&sides, &result) {
            let (Some(was), Some(is), Some(result)) = (here.pristine, here.current, here.result)
            else {
                continue;
            };
            let survives = same_type(here.pristine, here.current)
                && same_type(here.result, here.current)
                && (here.new.is_none() || same_type(here.new, here.current));
            if !survives {
                continue;
            }
            for ((was, is), result) in attributes(was).iter().zip(attributes(is)).zip(attributes(result)) {
                if *was != is {
                    prop_assert_eq!(&result, &is, "{}\n{}", here.path, plan);
                }
            }
        }
    }

    /// P6: what only the image changed is in the result, unless a conflict there or above says why
    /// not.
    #[test]
    fn p06_one_sided_image_changes_arrive(sides in triple_with_specials()) {
        let (plan, result) = merge(&sides);
        for here in each(&sides, &result) {
            if in_conflict(&plan, &here.path) {
                continue;
            }
            if same(here.pristine, here.current) {
                prop_assert!(same(here.result, here.new), "{}\n{}", here.path, plan);
            }
            let (Some(was), Some(is), Some(new)) = (here.pristine, here.current, here.new) else {
                continue;
            };
            if same_type(here.pristine, here.new) && same_type(here.pristine, here.current) {
                let result = here.result.expect("both sides have it");
                let all = attributes(was).into_iter().zip(attributes(is));
                let all = all.zip(attributes(new)).zip(attributes(result));
                for (((was, is), new), result) in all {
                    if was == is {
                        prop_assert_eq!(result, new, "{}\n{}", here.path, plan);
                    }
                }
                if same_content(here.pristine, here.current) {
                    prop_assert!(same_content(here.result, here.new), "{}\n{}", here.path, plan);
                }
            }
        }
    }

    /// P8: what the image dropped and the machine gave no other content is gone. Two reasons there
    /// are why not: a type conflict there or above, and a directory that holds something of the
    /// machine's.
    #[test]
    fn p08_image_removals_stick(sides in triple_with_specials()) {
        let (plan, result) = merge(&sides);
        let all = each(&sides, &result);
        for here in &all {
            let dropped = here.pristine.is_some() && here.new.is_none();
            if !dropped || !same_content(here.pristine, here.current) || here.result.is_none() {
                continue;
            }
            let holds = all.iter().any(|below| {
                below.path != here.path
                    && below.path.starts_with(&here.path)
                    && below.result.is_some()
                    && !same_content(below.pristine, below.current)
            });
            let excused = holds || in_type_conflict(&plan, &here.path);
            prop_assert!(excused, "{}\n{}", here.path, plan);
        }
    }

    /// P9: what the machine removed and the image left alone is gone, unless the image has
    /// something new for a removed directory, and the report says so.
    #[test]
    fn p09_local_removals_stick(sides in triple()) {
        let (plan, result) = merge(&sides);
        for here in each(&sides, &result) {
            let removed = here.pristine.is_some() && here.current.is_none();
            if removed && same(here.pristine, here.new) {
                let again = noted(&plan, &here.path, &Note::ImageAddedBelowLocalRemoval);
                prop_assert!(here.result.is_none() || again, "{}\n{}", here.path, plan);
            }
        }
    }

    /// P10: no merge fails but where a policy says so, and then on conflicts alone.
    #[test]
    fn p10_a_merge_fails_only_where_a_policy_says_so(sides in triple_with_specials()) {
        let Sides { pristine, current, new } = &sides;
        let rule = Rule::new("**", Action::Fail, "test").expect("a rule");
        let policies = Policies { rules: vec![rule], ..Policies::default() };
        let plan = plan(pristine, current, new, &policies).expect("a plan never fails");
        // The pattern covers all but the root.
        let conflicts = plan.conflicts().filter(|entry| !entry.path.is_root()).count();
        prop_assert_eq!(plan.result(current, new).is_err(), conflicts > 0, "{}", plan);
        prop_assert_eq!(plan.refused().count(), conflicts, "{}", plan);
    }

    /// P11: merged again with the same image, nothing changes any more.
    #[test]
    fn p11_a_merge_is_idempotent(sides in triple_with_specials()) {
        let (_, result) = merge(&sides);
        let again = Sides { pristine: sides.new.clone(), current: result.clone(), new: sides.new };
        let (plan, twice) = merge(&again);
        prop_assert_eq!(show(&twice), show(&result), "{}", plan);
        prop_assert_eq!(plan.conflicts().count(), 0, "{}", plan);
    }

    /// P12: what each side has in its own way is reported, at the path or above; and no conflict is
    /// reported where each two sides agree on something.
    #[test]
    fn p12_the_report_is_complete_and_says_no_more(sides in triple_with_specials()) {
        let (plan, result) = merge(&sides);
        for here in each(&sides, &result) {
            let told = at_or_above(&plan, &here.path).any(|entry| !entry.findings.is_empty());
            if apart(&here) {
                prop_assert!(told, "{} is not reported\n{}", here.path, plan);
            }
        }
        let all = each(&sides, &result);
        for entry in plan.conflicts() {
            let here = all.iter().find(|here| here.path == entry.path).expect("it is listed");
            for conflict in entry.conflicts() {
                let reason = match conflict {
                    Conflict::Attribute(_)
                    | Conflict::Content(Divergence::BothModified | Divergence::AddAdd) => {
                        apart_in(here).contains(&conflict.to_string())
                    }
                    _ => has_reason(&plan, &entry.path),
                };
                prop_assert!(reason, "{} {}\n{}", entry.path, conflict, plan);
            }
        }
    }

    /// P13: the same inputs give the same plan, other ones another digest.
    #[test]
    fn p13_a_plan_is_of_its_inputs(x in triple_with_specials(), y in triple_with_specials()) {
        let ((x_plan, _), (again, _)) = (merge(&x), merge(&x.clone()));
        prop_assert_eq!(&x_plan, &again);
        let swapped = Sides { current: y.current, ..x.clone() };
        let (plan, _) = merge(&swapped);
        let same = show(&swapped.current) == show(&x.current);
        prop_assert_eq!(plan.inputs() == x_plan.inputs(), same);
        prop_assert!(!same || plan == x_plan);
    }

    /// P15: neither the order in which a tree was read nor the names matter.
    #[test]
    fn p15_order_and_names_do_not_matter(sides in triple_with_specials()) {
        let (plan, result) = merge(&sides);
        let (renamed_plan, renamed) = merge(&sides.map(|tree| rename(&tree)));
        prop_assert_eq!(show(&rename(&result)), show(&renamed));
        let entries = |plan: &MergePlan| {
            let all = plan.entries().iter();
            let mut all: Vec<_> = all.map(|e| (e.path.clone(), e.state, e.findings.clone())).collect();
            all.sort();
            all
        };
        let mut expected = entries(&plan);
        for (path, ..) in &mut expected {
            *path = rename_path(path);
        }
        expected.sort();
        prop_assert_eq!(expected, entries(&renamed_plan));
    }

    /// P16: what happens below one name is not felt below another.
    #[test]
    fn p16_unrelated_names_merge_as_if_alone(x in triple_with_specials(), y in triple_with_specials()) {
        let ((x_plan, x_result), (y_plan, y_result)) = (merge(&x), merge(&y));
        let both = x.zip(y).map(|(x, y)| two(&x, &y));
        let (plan, result) = merge(&both);
        prop_assert_eq!(show(&result), show(&two(&x_result, &y_result)));
        // The roots of the two are plain directories here, but the stamp is only at the real root.
        prop_assert_eq!(plan.entries().len(), x_plan.entries().len() + y_plan.entries().len());
        prop_assert_eq!(plan.conflicts().count(), x_plan.conflicts().count() + y_plan.conflicts().count());
    }
}

/// Whether each two of the three sides differ here, in one and the same thing.
fn apart(here: &Here<'_>) -> bool {
    let (pristine, current, new) = (here.pristine, here.current, here.new);
    if current.is_some() && new.is_some() && same_type(current, new) {
        return !apart_in(here).is_empty();
    }
    !same(pristine, current) && !same(pristine, new) && !same(current, new)
}

/// In what they do, where both sides have the same type; as a conflict over it is called.
fn apart_in(here: &Here<'_>) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let (Some(current), Some(new)) = (here.current, here.new) else {
        return out;
    };
    let was = here
        .pristine
        .filter(|_| same_type(here.pristine, here.current));
    if !same_content(here.current, here.new)
        && !same_content(was, here.current)
        && !same_content(was, here.new)
    {
        let name = if was.is_some() {
            "both-modified"
        } else {
            "add/add"
        };
        out.insert(name.to_owned());
    }
    let all = attributes(current).into_iter().zip(attributes(new));
    for (i, ((name, current), (_, new))) in all.enumerate() {
        let was = was.map(|inode| attributes(inode)[i].1.clone());
        // Without a pristine one, an extended attribute that one side alone has is that side's.
        let was = if i == 3 {
            was.or(Some(Vec::new()))
        } else {
            was
        };
        if current != new && was.as_ref() != Some(&current) && was.as_ref() != Some(&new) {
            let kind = if i == 3 { "xattr:" } else { "" };
            out.insert(format!("attr:{kind}{name}"));
        }
    }
    out
}

fn rename_path(path: &TreePath) -> TreePath {
    let rename = |name: &[u8]| match name {
        b"a" => b"b".to_vec(),
        b"b" => b"c".to_vec(),
        b"c" => b"a".to_vec(),
        other => other.to_vec(),
    };
    let names: Vec<_> = path.components().map(rename).collect();
    TreePath::new(names.join(&b'/')).expect("a path")
}

/// The same tree with its names exchanged, put together in another order.
fn rename(tree: &Etc) -> Etc {
    let mut out = Etc::new(tree.inode(tree.root()).metadata.clone());
    let mut all: Vec<_> = tree.walk().collect();
    all.sort_by_key(|(path, _)| (path.depth(), std::cmp::Reverse(path.clone())));
    for (path, id) in all {
        put_copy(&mut out, &rename_path(&path), tree.inode(id));
    }
    out
}

fn two(x: &Etc, y: &Etc) -> Etc {
    beside([("x".to_owned(), x), ("y".to_owned(), y)])
}

/// One tree with others as its directories.
pub(crate) fn beside<'a>(trees: impl IntoIterator<Item = (String, &'a Etc)>) -> Etc {
    let mut out = Etc::new(Metadata::with_mode(0o755));
    for (name, tree) in trees {
        let top = TreePath::from(Name::new(name.as_bytes()).expect("a name"));
        for (path, id) in tree.walk() {
            put_copy(&mut out, &top.concat(&path), tree.inode(id));
        }
    }
    out
}

fn put_copy(out: &mut Etc, path: &TreePath, inode: &Inode<Vec<u8>>) {
    let metadata = inode.metadata.clone();
    let inode = match &inode.kind {
        Kind::Directory(_) => Inode::directory(metadata),
        kind => Inode {
            metadata,
            kind: kind.clone(),
        },
    };
    out.put(path, inode).expect("parents come first");
}
