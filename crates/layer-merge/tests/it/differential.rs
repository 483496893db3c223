//! The same random layers, merged by us and unpacked by somebody else, give the same tree.
//!
//! `PLEACH_LAYER_PEER` names the other one: umoci if it is not set, or podman, which is slower and run by
//! hand. What differs is a row of [`ALLOWED`] with its reason, or a failure.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pleach_fs_tree::{
    Changed, FileContent, Inode, Kind, Kinds, Metadata, ScanOptions, Timestamp, Tree, diff, scan,
};
use pleach_layer_merge::{Error, ErrorClass, Layout, MergeOptions, Merged, index};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::archive::{layer, write_layout};
use crate::{as_root, full, open};

const CASES: usize = 500;
/// The latest time that a layer has.
const LATEST: i64 = 1_000_000_000;

/// An entry of a random layer. Names are few, so that layers meet.
fn entry() -> impl Strategy<Value = Value> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("c"), Just("d\u{e9}")];
    let path = |most: usize| {
        let names = proptest::collection::vec(name(), 1..=most);
        names.prop_map(|names| names.join("/"))
    };
    let mode = prop_oneof![
        Just("0644"),
        Just("0755"),
        Just("4711"),
        Just("1777"),
        Just("0600")
    ];
    let time = prop_oneof![
        4 => (0..=LATEST).prop_map(|seconds| seconds.to_string()),
        1 => (0..LATEST, 0..1_000_000_000_u32).prop_map(|(s, ns)| format!("{s}.{ns:09}")),
        1 => (1..LATEST).prop_map(|seconds| format!("-{seconds}")),
        1 => (1..1000, 1..10_u32).prop_map(|(s, tenth)| format!("-{s}.{tenth}")),
    ];
    let target = (
        prop_oneof![3 => Just(""), 1 => Just("/"), 1 => Just("../")],
        path(2),
    )
        .prop_map(|(begin, path)| format!("{begin}{path}"));
    let attributes = prop_oneof![
        3 => Just(json!({})),
        1 => Just(json!({"user.k": "v"})),
        1 => Just(json!({"user.other": "hex:00ff0a", "user.k": "w"})),
    ];
    let numbers = (0..4_u32, 0..3_u32, 0..100_u32);
    (path(3), mode, numbers, time, target, path(2), attributes).prop_map(
        |(path, mode, (uid, gid, what), time, target, linked, attributes)| {
            let mut entry = json!({
                "path": path, "mode": mode, "uid": uid, "gid": gid, "tar": {"pax_mtime": time},
            });
            let (parent, name) = path.rsplit_once('/').map_or(("", &*path), |(p, n)| (p, n));
            let sibling = |name: &str| match parent {
                "" => name.to_owned(),
                parent => format!("{parent}/{name}"),
            };
            match what {
                0..28 => entry["type"] = "dir".into(),
                28..56 => {
                    entry["type"] = "file".into();
                    entry["content"] = format!("rep:{what}:{time}").into();
                }
                56..66 => {
                    entry["type"] = "symlink".into();
                    entry["target"] = target.into();
                }
                66..69 => entry["type"] = "fifo".into(),
                69..71 => {
                    entry["type"] = "char".into();
                    (entry["major"], entry["minor"]) = (json!(1), json!(what));
                }
                71..78 => {
                    entry["type"] = "hardlink".into();
                    entry["target"] = linked.into();
                }
                78..92 => entry = json!({"path": sibling(&format!(".wh.{name}")), "type": "file"}),
                _ => entry = json!({"path": sibling(".wh..wh..opq"), "type": "file"}),
            }
            if matches!(entry["type"].as_str(), Some("dir" | "file")) && what < 56 {
                entry["xattrs"] = attributes;
            }
            entry
        },
    )
}

fn is_whiteout(entry: &Value) -> bool {
    let path = entry["path"].as_str().unwrap();
    path.rsplit('/').next().unwrap().starts_with(".wh.")
}

/// Layers without what the specification forbids or leaves open and we refuse: duplicates, entries
/// below what is no directory. A link may be a parent, also in its own layer, but what is below it comes
/// after it and is no whiteout: readers that go entry by entry look that up where the link is not yet.
fn stack() -> impl Strategy<Value = Vec<Value>> {
    let layer = proptest::collection::vec(entry(), 0..12).prop_map(|entries| {
        let mut seen = std::collections::BTreeSet::new();
        let mut kept: Vec<Value> = Vec::new();
        for entry in entries {
            let path = entry["path"].as_str().unwrap().to_owned();
            let file_above = kept.iter().any(|other| {
                let other_path = other["path"].as_str().unwrap();
                let below = |a: &str, b: &str| a.starts_with(&format!("{b}/"));
                let is_parent =
                    other["type"] == "dir" || (other["type"] == "symlink" && !is_whiteout(&entry));
                (below(&path, other_path) && !is_parent)
                    || (below(other_path, &path) && entry["type"] != "dir")
            });
            if !file_above && seen.insert(path) {
                kept.push(entry);
            }
        }
        Value::Array(kept)
    });
    proptest::collection::vec(layer, 1..5)
}

/// Who else unpacks the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Umoci,
    Podman,
}

impl Peer {
    fn asked_for() -> Self {
        match std::env::var("PLEACH_LAYER_PEER").as_deref() {
            Err(_) | Ok("umoci") => Self::Umoci,
            Ok("podman") => Self::Podman,
            Ok(other) => panic!("PLEACH_LAYER_PEER: {other} is neither umoci nor podman"),
        }
    }

    fn tool(self) -> &'static str {
        match self {
            Self::Umoci => "umoci",
            Self::Podman => "podman",
        }
    }

    /// The tree of the image in `work/image`, or what the tool says.
    fn unpack(self, work: &Path) -> Result<Tree<FileContent>, String> {
        match self {
            Self::Umoci => umoci(work),
            Self::Podman => podman(work),
        }
    }
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Some(124) => Err("it was still at it after a minute".to_owned()),
        _ => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn umoci(work: &Path) -> Result<Tree<FileContent>, String> {
    let image = format!("{}:image", work.join("image").display());
    let mut unpack = Command::new("umoci");
    run(unpack
        .args(["unpack", "--image", &image])
        .arg(work.join("bundle")))?;
    let tree = scan(&open(&work.join("bundle/rootfs")), &ScanOptions::default()).unwrap();
    fs::remove_dir_all(work.join("bundle")).unwrap();
    Ok(tree)
}

/// With a store of its own below `work`.
fn podman(work: &Path) -> Result<Tree<FileContent>, String> {
    let podman = |arguments: &[&str]| {
        // A pipe of a lower layer as the parent of a whiteout is opened, and nobody writes to it.
        let mut command = Command::new("timeout");
        command.args(["60", "podman"]);
        // It makes a name of the path, in which capitals must not be.
        command.current_dir(work);
        command.arg("--root").arg(work.join("store"));
        command.arg("--runroot").arg(work.join("run"));
        run(command.args(["--storage-driver", "vfs"]).args(arguments))
    };
    let id = podman(&["pull", "--quiet", "oci:image:image"])?;
    let mounted = PathBuf::from(podman(&["image", "mount", &id])?);
    let tree = scan(&open(&mounted), &ScanOptions::default()).unwrap();
    podman(&["image", "umount", &id])?;
    Ok(tree)
}

/// A difference, and what of it no rule has forgiven so far.
struct Seen<'a> {
    entries: Vec<&'a Value>,
    path: String,
    ours: Option<&'a Inode<FileContent>>,
    theirs: Option<&'a Inode<FileContent>>,
    /// What differs if both have the path.
    changed: Changed,
    /// Whether only one has it.
    alone: bool,
}

impl Seen<'_> {
    fn is_directory(&self) -> bool {
        self.theirs.is_some_and(|inode| inode.entries().is_some())
    }
}

/// A difference that is none of ours.
struct Allowed {
    peers: &'static [Peer],
    reason: &'static str,
    forgive: fn(&mut Seen<'_>),
}

const ALLOWED: [Allowed; 7] = [
    Allowed {
        peers: &[Peer::Umoci, Peer::Podman],
        reason: "a directory that it changed after it set the time, or that no layer names, has the time of \
                 unpacking; no layer has a time as late as that",
        forgive: |seen| {
            let late = |inode: &Inode<_>| inode.metadata.mtime.seconds > LATEST;
            if seen.is_directory() && seen.theirs.is_some_and(late) {
                seen.changed.mtime = false;
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "it gives an inode the mode, owner and time of the header of a hard link to it: the specification \
                 has one inode, whose attributes are those of its own entry",
        forgive: |seen| {
            let theirs = seen
                .theirs
                .map(|inode| (inode.metadata.uid, inode.metadata.gid));
            let from_link = seen.entries.iter().any(|entry| {
                let id = |key: &str| entry[key].as_u64().and_then(|id| u32::try_from(id).ok());
                entry["type"] == "hardlink" && id("uid").zip(id("gid")) == theirs
            });
            if from_link && !seen.is_directory() {
                (seen.changed.mode, seen.changed.mtime) = (false, false);
                (seen.changed.uid, seen.changed.gid) = (false, false);
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "a directory over a directory keeps old attributes: the specification has them replaced",
        forgive: |seen| {
            if seen.is_directory() {
                let ours = seen.ours.map(|inode| &inode.metadata.xattrs);
                let there = |name: &[u8]| ours.is_none_or(|ours| ours.contains_key(name));
                seen.changed.xattrs.retain(|name| there(name));
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "it makes the parents of a whiteout that hides nothing",
        forgive: |seen| {
            // Not by the path: a link may lead there.
            let on_the_way = seen.entries.iter().any(|entry| is_whiteout(entry));
            let made = |inode: &Inode<_>| {
                let Metadata {
                    mode,
                    uid,
                    gid,
                    mtime,
                    ..
                } = inode.metadata;
                (mode, uid, gid) == (0o755, 0, 0) && mtime.seconds > LATEST
            };
            if seen.is_directory() && seen.theirs.is_some_and(made) && on_the_way {
                seen.alone = false;
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "names of one link, pipe or device are inodes of their own after it copied a lower layer",
        forgive: |seen| {
            let file = |inode: &Inode<_>| matches!(inode.kind, Kind::File(_));
            if !seen.theirs.is_some_and(file) {
                seen.changed.hard_links = false;
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "a root that no layer names has mode 0555 there: the specification has no word on it",
        forgive: |seen| {
            let theirs = seen.theirs.map(|inode| inode.metadata.mode);
            if seen.path.is_empty() && theirs == Some(0o555) {
                seen.changed.mode = false;
            }
        },
    },
    Allowed {
        peers: &[Peer::Podman],
        reason: "a time before 1970 is 1970 there",
        forgive: |seen| {
            let time = |inode: Option<&Inode<_>>| inode.map(|inode| inode.metadata.mtime);
            let before = time(seen.ours).is_some_and(|time| time.seconds < 0);
            if before && time(seen.theirs) == Some(Timestamp::default()) {
                seen.changed.mtime = false;
            }
        },
    },
];

/// What the others refuse and we take: who, a piece of what they say, and why we do.
const REFUSED: [(&[Peer], &str, &str); 4] = [
    (
        &[Peer::Umoci, Peer::Podman],
        "not a directory",
        "a file of a lower layer as a parent: the directory takes its place, as an entry for it would",
    ),
    (
        &[Peer::Umoci, Peer::Podman],
        "too many levels of symbolic links",
        "a whiteout through a loop of links that its own layer hides: it hides nothing",
    ),
    (
        &[Peer::Podman],
        ": no such file or directory",
        "an entry that takes the place of the very link that its parent is: it does",
    ),
    (
        &[Peer::Podman],
        "still at it after a minute",
        "a whiteout below a pipe of a lower layer: it hides nothing, and nothing is opened",
    ),
];

#[test]
fn random_stacks() {
    let peer = Peer::asked_for();
    let (cases, tool) = (cases(), peer.tool());
    if !as_root() || Command::new(tool).arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{tool} and root are needed"
        );
        eprintln!("SKIP random_stacks: {cases} cases, {tool} and root are needed");
        return;
    }
    let mut runner = TestRunner::deterministic();
    let (mut compared, mut ours, mut theirs, mut both, mut failed) = (0, 0, 0, 0, Vec::new());
    let mut forgiven = BTreeMap::new();
    while compared < cases {
        let stack = stack().new_tree(&mut runner).unwrap().current();
        match compare(&stack, peer, &mut forgiven) {
            Ok(Outcome::Same) => compared += 1,
            Ok(Outcome::WeRefuse) => ours += 1,
            Ok(Outcome::TheyRefuse) => theirs += 1,
            Ok(Outcome::BothRefuse) => both += 1,
            Err(why) => {
                compared += 1;
                failed.push(format!("{why}\n{}\n", json!(stack)));
            }
        }
        assert!(
            ours + theirs + both < 20 * cases,
            "nearly every stack is refused: {compared} compared"
        );
    }
    eprintln!(
        "{compared} stacks compared with {tool}; not compared: {ours} that we refuse by a rule of ours, \
         {theirs} that it refuses by one of its own, {both} that both do"
    );
    for (reason, count) in &forgiven {
        eprintln!("allowed {count} times: {reason}");
    }
    assert!(
        failed.is_empty(),
        "{} of {compared} differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// How many stacks are compared; `PLEACH_LAYER_STACKS` says another number.
fn cases() -> usize {
    let given = std::env::var("PLEACH_LAYER_STACKS").ok();
    given.map_or(CASES, |text| {
        text.parse().expect("PLEACH_LAYER_STACKS is a number")
    })
}

enum Outcome {
    Same,
    /// For a reason that is in the README: a link that leads nowhere as a parent, and a hard link to
    /// what the same layer hides, or to nothing.
    WeRefuse,
    /// For one of [`REFUSED`].
    TheyRefuse,
    BothRefuse,
}

fn compare(
    stack: &[Value],
    peer: Peer,
    forgiven: &mut BTreeMap<&'static str, usize>,
) -> Result<Outcome, String> {
    let work = tempfile::tempdir().unwrap();
    let ours = index_of(&work.path().join("as-it-is"), stack);
    // The others apply entries one by one, so a whiteout of what the same layer has a parent of comes
    // too late for them; to us it must not matter where the whiteouts stand.
    let image = work.path().join("image");
    let sorted = index_of(&image, &whiteouts_first(stack));
    match (&ours, &sorted) {
        (Ok(a), Ok(b)) => {
            if let Some(first) = diff(&a.tree, &b.tree, |a, b| a == b).first() {
                return Err(format!("the place of the whiteouts matters: {first:?}"));
            }
        }
        (Err(a), Err(b)) if a.class() == b.class() => {}
        (a, b) => {
            return Err(format!(
                "the place of the whiteouts matters: {a:?} and {b:?}"
            ));
        }
    }
    use ErrorClass::{BadLink, ParentNotDirectory};
    if let Err(error) = &ours
        && matches!(error.class(), ParentNotDirectory | BadLink)
    {
        return Ok(Outcome::WeRefuse);
    }
    match (ours, peer.unpack(work.path())) {
        (Err(error), Ok(_)) => Err(format!("only we refuse: {}", full(&error))),
        (Err(_), Err(_)) => Ok(Outcome::BothRefuse),
        (Ok(_), Err(text))
            if REFUSED
                .iter()
                .any(|(peers, piece, _)| peers.contains(&peer) && text.contains(piece)) =>
        {
            Ok(Outcome::TheyRefuse)
        }
        (Ok(_), Err(text)) => Err(format!("only {} refuses: {text}", peer.tool())),
        (Ok(ours), Ok(theirs)) => match difference(&ours.tree, &theirs, stack, peer, forgiven) {
            None => Ok(Outcome::Same),
            Some(text) => Err(text),
        },
    }
}

fn index_of(image: &Path, stack: &[Value]) -> Result<Merged<FileContent>, Error> {
    let entries = stack.iter().map(|entries| entries.as_array().unwrap());
    let blobs: Vec<_> = entries
        .map(|entries| layer(entries, &Value::Null))
        .collect();
    write_layout(image, &blobs);
    let layout = Layout::open(&open(image)).unwrap();
    index(
        &layout,
        &layout.resolve(None, None).unwrap(),
        &MergeOptions::default(),
    )
}

fn whiteouts_first(stack: &[Value]) -> Vec<Value> {
    let sort = |entries: &Value| {
        let mut entries = entries.as_array().unwrap().clone();
        entries.sort_by_key(|entry| !is_whiteout(entry));
        Value::Array(entries)
    };
    stack.iter().map(sort).collect()
}

/// The first difference that is not allowed, and of those that are, how often each reason is one.
fn difference(
    ours: &Tree<FileContent>,
    theirs: &Tree<FileContent>,
    stack: &[Value],
    peer: Peer,
    forgiven: &mut BTreeMap<&'static str, usize>,
) -> Option<String> {
    let entries = stack.iter().flat_map(|layer| layer.as_array().unwrap());
    let entries: Vec<_> = entries.collect();
    diff(ours, theirs, |a, b| a == b)
        .into_iter()
        .find_map(|difference| {
            let (left, right) = match difference.kinds {
                Kinds::OnlyLeft(id) => (Some(ours.inode(id)), None),
                Kinds::OnlyRight(id) => (None, Some(theirs.inode(id))),
                Kinds::Both(a, b, _) => (Some(ours.inode(a)), Some(theirs.inode(b))),
            };
            let mut seen = Seen {
                entries: entries.clone(),
                path: difference.path.to_string()[1..].to_owned(),
                ours: left,
                theirs: right,
                alone: !matches!(difference.kinds, Kinds::Both(..)),
                changed: match &difference.kinds {
                    Kinds::Both(_, _, changed) => changed.clone(),
                    _ => Changed::default(),
                },
            };
            for rule in ALLOWED.iter().filter(|rule| rule.peers.contains(&peer)) {
                let before = (seen.changed.clone(), seen.alone);
                (rule.forgive)(&mut seen);
                if before != (seen.changed.clone(), seen.alone) {
                    *forgiven.entry(rule.reason).or_default() += 1;
                }
            }
            let allowed = !seen.alone && seen.changed.is_empty();
            (!allowed).then(|| {
                format!(
                    "{}: {:?}\nours: {left:?}\ntheirs: {right:?}",
                    seen.path, difference.kinds
                )
            })
        })
}
