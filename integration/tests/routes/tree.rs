//! Two roots, compared where machines keep what is theirs.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, ScanOptions, Tree, dump, scan};

use crate::chroot::Root;

/// Each path below `/etc` and `/var` with all that is known of it but its time.
fn paths(root: &Root) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for top in ["etc", "var"] {
        let dir = Dir::open_ambient_dir(root.path().join(top), ambient_authority())?;
        let tree: Tree<FileContent> = scan(&dir, &ScanOptions::default())?;
        let text = dump(&tree, |content| {
            let digest = content.digest.map(|digest| digest.0.to_vec());
            digest.unwrap_or_default()
        });
        for line in text.lines() {
            let mut words: Vec<_> = line.split(' ').collect();
            if words.len() > 4 && words[1] != "hardlink" {
                words[4] = "t";
            }
            out.insert(format!("{top}{}", words[0]), words[1..].join(" "));
        }
    }
    Ok(out)
}

/// Holds two roots to be the same, but for the paths that have a reason; each reason must be needed.
pub(crate) fn same(expected: &Root, found: &Root, reasons: &[(&str, &str)]) -> Result<()> {
    let (left, right) = (paths(expected)?, paths(found)?);
    ensure!(left.len() > 100, "only {} paths were compared", left.len());
    let all: BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let differs = all
        .into_iter()
        .filter(|path| left.get(*path) != right.get(*path));
    let differs: BTreeSet<&str> = differs.map(String::as_str).collect();
    let known: BTreeSet<&str> = reasons.iter().map(|(path, _)| *path).collect();
    let show = |path: &&str| {
        let of = |side: &BTreeMap<String, String>| side.get(*path).cloned().unwrap_or_default();
        format!("{path}\n  etc: {}\n  here: {}", of(&left), of(&right))
    };
    let new: Vec<_> = differs.difference(&known).map(show).collect();
    ensure!(new.is_empty(), "without a reason:\n{}", new.join("\n"));
    let idle: Vec<_> = known.difference(&differs).collect();
    ensure!(idle.is_empty(), "reasons that nothing needs: {idle:?}");
    Ok(())
}
