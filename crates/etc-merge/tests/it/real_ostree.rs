//! The machine's libostree does the same merge, and nothing may differ.
//!
//! Random triples lie side by side in one `/etc`, since a deployment takes long; those that are
//! refused are tried alone. `PLEACH_ETC_DIFFERENTIAL` sets how many triples there are;
//! 1,000 without it.

use std::path::{Path, PathBuf};
use std::process::Command;

use pleach_etc_merge::{Refusal, RefusalKind, Sides, ostree};
use pleach_fs_tree::{Kind, Metadata, NodeType, Tree};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::disk::{contents, is_root, open, scratch, write};
use crate::laws::beside;
use crate::random::triple_with_specials;
use crate::{Etc, show};

/// How many triples are merged in one deployment.
const BATCH: usize = 100;
/// How many refused ones are tried for each batch.
const ALONE: usize = 5;

#[test]
fn libostree_gives_the_same() {
    if !can_run() {
        return;
    }
    let count =
        std::env::var("PLEACH_ETC_DIFFERENTIAL").map_or(1_000, |n| n.parse().expect("a number"));
    let mut runner = TestRunner::deterministic();
    let (mut merged, mut refused, mut not_tried, mut failed) = (0, 0, 0, Vec::new());
    let mut left = count;
    while left > 0 {
        let mut batch = Vec::new();
        let mut alone = 0;
        while batch.len() < BATCH.min(left) {
            let triple = triple_with_specials()
                .new_tree(&mut runner)
                .expect("a triple")
                .current();
            let triple = triple.map(plain);
            left -= 1;
            match ostree(&triple.pristine, &triple.current, &triple.new) {
                Ok(_) => batch.push(triple),
                Err(_) if alone == ALONE => not_tried += 1,
                Err(ours) => {
                    alone += 1;
                    refused += 1;
                    failed.extend(refuses_too(&triple, &ours));
                }
            }
            if left == 0 {
                break;
            }
        }
        merged += batch.len();
        failed.extend(merges_alike(&batch));
    }
    eprintln!("{merged} merged, {refused} refused, {not_tried} refused and not tried");
    assert!(
        failed.is_empty(),
        "{}\n{} differ",
        failed.join("\n\n"),
        failed.len()
    );
}

/// What random trees have not.
#[test]
fn libostree_lets_acls_be_inherited() {
    if !can_run() {
        return;
    }
    let acl = "\\x02\\x00\\x00\\x00\\x01\\x00\\x07\\x00\\xff\\xff\\xff\\xff\\x02\\x00\\x05\\x00\\xe8\\x03\\x00\\x00\\x04\\x00\\x05\\x00\\xff\\xff\\xff\\xff\\x10\\x00\\x05\\x00\\xff\\xff\\xff\\xff\\x20\\x00\\x05\\x00\\xff\\xff\\xff\\xff";
    let below = "
        /d/l symlink 0777 0:0 0.0 x
        /d/s directory 0755 0:0 0.0
        /d/s/y file 0600 0:0 0.0 y
        /d/x file 0644 0:0 0.0 x";
    let without = format!("/d directory 0755 0:0 0.0{below}");
    let with = format!("/d directory 0755 0:0 0.0 system.posix_acl_default={acl}{below}");
    let added = format!("{with}\n/d/t directory 0755 0:0 0.0\n/d/t/z file 0640 0:0 0.0 z");
    let changed = with.replace("0.0 x\n", "0.0 changed\n");
    let rows = [
        [&with, &with, &with],
        [&with, &changed, &with],
        [&without, &added, &without],
        [&without, &added, &with],
        [&with, &without, &with],
    ];
    let row = |[pristine, current, new]: [&String; 3]| Sides {
        pristine: crate::tree(pristine),
        current: crate::tree(current),
        new: crate::tree(new),
    };
    let failed = merges_alike(&rows.map(row));
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn can_run() -> bool {
    let can = is_root() && Command::new("ostree").arg("--version").output().is_ok();
    if !can {
        eprintln!("SKIP: needs root and the ostree program");
    }
    can
}

fn refuses_too(triple: &Sides<Etc>, ours: &Refusal) -> Option<String> {
    // There it would leave the tree; what it does then is what it finds.
    if ours.kind == RefusalKind::Escape {
        return None;
    }
    let words = match ours.kind {
        RefusalKind::FileOverDirectory => "newly defaults to directory",
        RefusalKind::NotADirectory => "Not a directory",
        RefusalKind::NoParent => "No such file or directory",
        RefusalKind::SpecialInDirectory => "non-regular/non-symlink",
        RefusalKind::Loop => "Too many levels",
        _ => "",
    };
    match libostree(triple) {
        Err(theirs) if theirs.contains(words) => None,
        Err(theirs) => Some(format!("{}\nours {ours}\ntheirs {theirs}", shown(triple))),
        Ok(theirs) => Some(format!(
            "{}\nours {ours}\ntheirs\n{}",
            shown(triple),
            show(&theirs)
        )),
    }
}

/// Merges all in one deployment; where that goes wrong, finds out where.
fn merges_alike(batch: &[Sides<Etc>]) -> Vec<String> {
    if batch.is_empty() {
        return Vec::new();
    }
    let together = |pick: fn(&Sides<Etc>) -> &Etc| {
        let trees = batch
            .iter()
            .enumerate()
            .map(|(i, triple)| (format!("t{i:03}"), pick(triple)));
        beside(trees)
    };
    let all = Sides {
        pristine: together(|t| &t.pristine),
        current: together(|t| &t.current),
        new: together(|t| &t.new),
    };
    let ours = ostree(&all.pristine, &all.current, &all.new).map_err(|e| e.to_string());
    let theirs = libostree(&all);
    let same = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => show(ours) == show(theirs),
        _ => false,
    };
    match (same, batch) {
        (true, _) => Vec::new(),
        (false, [_]) => {
            let text = |tree: Result<Etc, String>| tree.map_or_else(|e| e, |tree| show(&tree));
            vec![format!(
                "{}\nours\n{}\ntheirs\n{}",
                shown(&all),
                text(ours),
                text(theirs)
            )]
        }
        (false, _) => {
            let (a, b) = batch.split_at(batch.len() / 2);
            [merges_alike(a), merges_alike(b)].concat()
        }
    }
}

fn shown(sides: &Sides<Etc>) -> String {
    let Sides {
        pristine,
        current,
        new,
    } = sides.as_ref().map(show);
    format!("pristine\n{pristine}current\n{current}new\n{new}")
}

/// Links and special files cannot have attributes of the user's.
pub(crate) fn plain(tree: Etc) -> Etc {
    let mut tree = tree;
    let all: Vec<_> = tree.walk().map(|(_, id)| id).collect();
    for id in all {
        let node_type = tree.inode(id).kind.node_type();
        if !matches!(node_type, NodeType::Directory | NodeType::File) {
            tree.metadata_mut(id).xattrs.clear();
        }
        if node_type == NodeType::Symlink {
            tree.metadata_mut(id).mode = 0o777;
        }
    }
    tree
}

/// A merge by the machine's libostree, in a system root of its own.
fn libostree(sides: &Sides<Etc>) -> Result<Etc, String> {
    let keep = scratch();
    let root = keep.path().join("sysroot");
    std::fs::create_dir(&root).expect("a directory");
    let sysroot = format!("--sysroot={}", root.display());
    run(&["admin", "init-fs", &root.display().to_string()]).expect("a system root");
    run(&["admin", "os-init", &sysroot, "test"]).expect("a state root");
    commit(keep.path(), "pristine", &sides.pristine);
    let deploy = ["admin", "deploy", &sysroot, "--os=test", "test"];
    run(&deploy).expect("the first deployment");
    let before = deployments(&root);
    let etc = before[0].join("etc");
    std::fs::remove_dir_all(&etc).expect("it was there");
    std::fs::create_dir(&etc).expect("a directory");
    write(&sides.current, &open(&etc)).expect("the current tree");
    commit(keep.path(), "new", &sides.new);
    run(&deploy)?;
    let after = deployments(&root);
    let made: Vec<_> = after.iter().filter(|d| !before.contains(d)).collect();
    let [made] = made[..] else {
        panic!("not one new deployment: {after:?}");
    };
    Ok(without_times(contents(&made.join("etc"))))
}

fn commit(keep: &Path, name: &str, etc: &Etc) {
    let tree = keep.join(name);
    let modules = tree.join("usr/lib/modules/6.0");
    std::fs::create_dir_all(&modules).expect("a directory");
    std::fs::write(modules.join("vmlinuz"), "kernel").expect("written");
    std::fs::write(modules.join("initramfs.img"), "initramfs").expect("written");
    // Two commits of one tree would be one deployment.
    std::fs::write(
        tree.join("usr/lib/os-release"),
        format!("PRETTY_NAME={name}\nID=test\n"),
    )
    .expect("written");
    std::fs::create_dir(tree.join("usr/etc")).expect("a directory");
    write(etc, &open(&tree.join("usr/etc"))).expect("the tree");
    let repo = format!("--repo={}", keep.join("sysroot/ostree/repo").display());
    run(&["commit", &repo, "-b", "test", &tree.display().to_string()]).expect("a commit");
}

fn deployments(root: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(root.join("ostree/deploy/test/deploy")).expect("a directory");
    let all = all.map(|entry| entry.expect("an entry").path());
    all.filter(|path| path.is_dir()).collect()
}

fn run(args: &[&str]) -> Result<(), String> {
    let mut ostree = Command::new("ostree");
    ostree
        .args(args)
        .env("OSTREE_SYSROOT_DEBUG", "mutable-deployments");
    let output = ostree.output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn without_times(tree: Etc) -> Etc {
    let mut out = Tree::new(Metadata::default());
    for (path, id) in tree.walk() {
        let mut inode = tree.inode(id).clone();
        inode.metadata.mtime = Default::default();
        if let Kind::Directory(entries) = &mut inode.kind {
            entries.clear();
        }
        out.put(&path, inode).expect("parents come first");
    }
    out
}
