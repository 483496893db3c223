//! What is there is not written again, and what is known is not read again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pleach_layer_merge::ostree::{CommitOptions, ImportOptions, Mode};
use serde_json::{Value, json};

use super::{Place, import, needs_root_and_ostree, ostree};

fn layers() -> Vec<Value> {
    vec![
        json!([
            {"path": "usr/a", "type": "file", "content": "rep:5000:a"},
            {"path": "usr/hidden", "type": "file", "content": "hidden"},
            {"path": "usr/b", "type": "file", "content": "b", "mode": "4755"}
        ]),
        json!([
            {"path": "usr/hidden", "type": "file", "content": "rep:5000:seen"},
            {"path": "usr/c", "type": "hardlink", "target": "usr/b"}
        ]),
        json!([{"path": "usr/version", "type": "file", "content": "1"}]),
    ]
}

fn objects(repo: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for directory in fs::read_dir(repo.join("objects")).unwrap() {
        let directory = directory.unwrap();
        let name = directory.file_name().into_string().unwrap();
        for object in fs::read_dir(directory.path()).unwrap() {
            let rest = object.unwrap().file_name().into_string().unwrap();
            all.insert(format!("{name}/{rest}"));
        }
    }
    all
}

#[test]
fn an_upgrade_reads_the_changed_layer_alone() {
    let place = Place::new();
    let repo = place.repo("repo", Mode::BareUser);
    let cache = place.dir("cache");
    let options = ImportOptions {
        cache: Some(&cache),
        ..ImportOptions::default()
    };
    let commit = CommitOptions::default();
    let first = place.image("first", &layers());
    let (imported, one) = import(&repo, &first, &options, &commit, "image").unwrap();
    assert_eq!(imported.read, BTreeSet::from([0, 1, 2]));
    let before = objects(&place.path("repo"));
    let files = before.iter().filter(|name| name.ends_with(".file")).count();
    assert_eq!(files, 4, "one for each content, none of what is hidden");

    // The same again writes nothing.
    let (imported, again) = import(&repo, &first, &options, &commit, "image").unwrap();
    assert_eq!((imported.read, again.name), (BTreeSet::new(), one.name));
    assert_eq!(objects(&place.path("repo")), before);

    let mut changed = layers();
    changed[2] = json!([{"path": "usr/version", "type": "file", "content": "2"}]);
    let second = place.image("second", &changed);
    for layer in &second.1.layers()[..2] {
        let name = layer.digest.to_string().replace(':', "/");
        fs::remove_file(place.path("second/blobs").join(name)).unwrap();
    }
    let (imported, two) = import(&repo, &second, &options, &commit, "image").unwrap();
    assert_eq!(
        imported.read,
        BTreeSet::from([2]),
        "the others are not there"
    );
    let fresh = place.repo("fresh", Mode::BareUser);
    let whole = place.image("whole", &changed);
    let plain = ImportOptions::default();
    let (_, same) = import(&fresh, &whole, &plain, &commit, "image").unwrap();
    assert_eq!(two.name, same.name);
    let new: Vec<_> = objects(&place.path("repo"))
        .difference(&before)
        .cloned()
        .collect();
    assert_eq!(new.len(), 4, "a file, two directories, a commit: {new:?}");

    // An object of the lowest layer goes, and the index of it is believed no more.
    let mut gone = 0;
    for name in objects(&place.path("repo")) {
        let path = place.path("repo/objects").join(name);
        if path.extension().is_some_and(|e| e == "file")
            && fs::metadata(&path).unwrap().len() == 5000
        {
            fs::remove_file(path).unwrap();
            gone += 1;
        }
    }
    assert_eq!(gone, 1);
    let (imported, again) = import(&repo, &whole, &options, &commit, "image").unwrap();
    assert_eq!((imported.read, again.name), (BTreeSet::from([0]), two.name));
    // Another repository has none of the objects; all but one layer are read.
    let other = place.repo("other", Mode::BareUser);
    let (imported, again) = import(&other, &whole, &options, &commit, "image").unwrap();
    assert_eq!(imported.read, BTreeSet::from([0, 1, 2]));
    assert_eq!(again.name, two.name);
    if super::missing().is_none() {
        for repo in ["repo", "fresh", "other"] {
            ostree(&place.path(repo), &["fsck", "-q"]).unwrap();
        }
    }
}

/// libostree's lock is ours: nothing is pruned while a transaction is open, and its refs and
/// objects stay valid.
#[test]
fn prune_waits() {
    needs_root_and_ostree!();
    let place = Place::new();
    let repo = place.repo("repo", Mode::Bare);
    let path = place.path("repo");
    let config = fs::read_to_string(path.join("config")).unwrap();
    fs::write(path.join("config"), config + "lock-timeout-secs=0\n").unwrap();
    let image = place.image("image", &layers());
    let options = ImportOptions::default();
    let (_, old) = import(&repo, &image, &options, &CommitOptions::default(), "old").unwrap();
    ostree(&path, &["refs", "--delete", "old"]).unwrap();

    let mut transaction = repo.transaction(super::transaction_options()).unwrap();
    let prune = ["prune", "--refs-only"];
    let refused = ostree(&path, &prune).unwrap_err();
    assert!(refused.to_lowercase().contains("lock"), "{refused}");
    // What it has is taken for there.
    let imported = transaction.import(&image.0, &image.1, &options).unwrap();
    let commit = transaction.commit(&imported.merged.tree, &CommitOptions::default());
    let commit = commit.unwrap();
    assert_eq!(commit.name, old.name);
    transaction.finish(&[("new", commit.name)]).unwrap();
    ostree(&path, &prune).unwrap();
    ostree(&path, &["fsck", "-q"]).unwrap();
    assert_eq!(
        ostree(&path, &["rev-parse", "new"]).unwrap(),
        commit.checksum()
    );
}
