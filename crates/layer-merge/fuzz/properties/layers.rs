use std::collections::{BTreeMap, BTreeSet};

use pleach_fs_tree::{Digest, FileContent, Tree};
use pleach_layer_merge::{
    Budget, Changes, Compression, ContentRef, Error, IndexOnly, Layer, LayerOptions, MergeOptions,
    Merged, Merger, contents, diff, read_layer, write_layer,
};
use serde_json::{Value, json};

use super::{options, show, store, well_formed};

/// The bytes say what the entries of some layers are; names are few, so that they meet.
///
/// Where whiteouts stand among them changes nothing; the merged tree could lie on a disk, and each
/// of its paths comes from a layer; the layer of the difference of two such trees makes the second of
/// the first. Where neither links nor duplicates are, a tree of paths that knows nothing but the
/// specification is the same.
pub(crate) fn layers(data: &[u8]) {
    let stack = stack(data);
    let options = options();
    let merged = merge(&stack, &options);
    for first in [true, false] {
        let moved = merge(&moved(&stack, first), &options);
        match (&merged, &moved) {
            (Ok(a), Ok(b)) => assert_eq!(show(&a.tree), show(&b.tree), "whiteouts moved"),
            (Err(a), Err(b)) => assert_eq!(a.class(), b.class(), "whiteouts moved"),
            (a, b) => panic!("whiteouts moved: {a:?}\n{b:?}"),
        }
    }
    let Ok(merged) = merged else {
        return;
    };
    well_formed(&merged.tree, &options.limits);
    for (path, _) in merged.tree.walk().skip(1) {
        let origin = merged.provenance.origin(&merged.tree, &path);
        let origin = origin.unwrap_or_else(|| panic!("{path} comes from nowhere"));
        assert!(
            origin.chain().all(|origin| origin.layer < stack.len()),
            "{path}"
        );
    }
    if let Some(model) = model(&stack) {
        let found: BTreeMap<_, _> = merged
            .tree
            .walk()
            .skip(1)
            .map(|(path, id)| {
                let inode = merged.tree.inode(id);
                let kind = inode.kind.node_type().as_str();
                (
                    path.to_string()[1..].to_owned(),
                    format!("{kind} {:o} {}", inode.metadata.mode, inode.metadata.uid),
                )
            })
            .collect();
        assert_eq!(found, model, "the model differs");
    }
    law(&stack, &merged.tree);
}

const NAMES: [&str; 4] = ["a", "b", "c", "\u{e9}"];

/// Three bytes are an entry: what it is, where, and with what.
fn stack(data: &[u8]) -> Vec<Vec<Value>> {
    let mut layers = vec![Vec::new()];
    for entry in data.chunks_exact(3).take(60) {
        let (what, at, how) = (entry[0], entry[1], entry[2]);
        if what >= 0xf8 && layers.len() < 5 {
            layers.push(Vec::new());
            continue;
        }
        let names = |bits: u8| {
            let depth = usize::from(bits >> 6).max(1);
            (0..depth)
                .map(|level| NAMES[usize::from(bits >> (2 * level) & 3)])
                .collect::<Vec<_>>()
        };
        let path = names(at);
        let text = path.join("/");
        let sibling = |name: &str| {
            let mut path = path.clone();
            *path.last_mut().expect("a name") = name;
            path.join("/")
        };
        let mode = format!("{:o}", u32::from(how) << 4);
        let mut value =
            json!({"path": text, "mode": mode, "uid": how & 15, "mtime": u32::from(how) << 8});
        match what % 16 {
            0..4 => value["type"] = "dir".into(),
            4..7 => {
                value["type"] = "file".into();
                value["content"] = format!("rep:{}:x", how & 3).into();
            }
            7 => {
                value["type"] = "symlink".into();
                let target = names(how).join("/");
                value["target"] = match how & 3 {
                    0 => format!("/{target}"),
                    1 => format!("../{target}"),
                    _ => target,
                }
                .into();
            }
            8 => {
                value["type"] = "hardlink".into();
                value["target"] = names(how).join("/").into();
            }
            9 => value["type"] = "fifo".into(),
            10..13 => {
                let name = format!(".wh.{}", path.last().expect("a name"));
                value = json!({"path": sibling(&name), "type": "file"});
            }
            13 | 14 => value = json!({"path": format!("{text}/.wh..wh..opq"), "type": "file"}),
            _ => {
                value["type"] = "dir".into();
                value["xattrs"] = json!({"user.k": "v"});
            }
        }
        layers.last_mut().expect("a layer").push(value);
    }
    layers
}

fn is_whiteout(entry: &Value) -> bool {
    let path = entry["path"].as_str().unwrap();
    path.rsplit('/').next().unwrap().starts_with(".wh.")
}

fn moved(stack: &[Vec<Value>], first: bool) -> Vec<Vec<Value>> {
    let mut stack = stack.to_vec();
    for layer in &mut stack {
        layer.sort_by_key(|entry| is_whiteout(entry) != first);
    }
    stack
}

fn blob(entries: &[Value]) -> (Vec<u8>, Layer) {
    let mut bytes: Vec<u8> = entries.iter().flat_map(crate::archive::entry).collect();
    bytes.extend([0; 1024]);
    let layer = Layer {
        media_type: Compression::None.media_type(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        diff_id: Digest::of(&bytes),
    };
    (bytes, layer)
}

fn merge(stack: &[Vec<Value>], options: &MergeOptions) -> Result<Merged<FileContent>, Error> {
    let budget = Budget::default();
    let mut merger = Merger::new(options);
    for (index, entries) in stack.iter().enumerate() {
        let (bytes, layer) = blob(entries);
        merger.apply(read_layer(
            &*bytes,
            index,
            &layer,
            options,
            &budget,
            &mut IndexOnly,
        )?)?;
    }
    Ok(merger.finish())
}

/// What all paths are, by the words of the specification alone: everything that a layer hides goes,
/// with what is below it, and then what it has comes. `None` where there are links, or a layer has
/// two entries for one path or one below something that is no directory: those are rules of ours.
fn model(stack: &[Vec<Value>]) -> Option<BTreeMap<String, String>> {
    let mut tree = BTreeMap::<String, String>::new();
    let below = |path: &str, top: &str| {
        path.strip_prefix(top)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    for layer in stack {
        let (hides, has): (Vec<_>, Vec<_>) = layer.iter().partition(|entry| is_whiteout(entry));
        for entry in hides {
            let path = entry["path"].as_str().unwrap();
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            if name == ".wh..wh..opq" {
                tree.retain(|path, _| !below(path, parent));
                continue;
            }
            let name = name.trim_start_matches(".wh.");
            let hidden = match parent {
                "" => name.to_owned(),
                parent => format!("{parent}/{name}"),
            };
            tree.retain(|path, _| *path != hidden && !below(path, &hidden));
        }
        let mut own = BTreeSet::new();
        let mut leaves = Vec::new();
        for entry in &has {
            let path = entry["path"].as_str().unwrap();
            match entry["type"].as_str().unwrap() {
                "symlink" | "hardlink" => return None,
                "dir" => {}
                _ => leaves.push(path),
            }
            if !own.insert(path) {
                return None;
            }
        }
        if leaves
            .iter()
            .any(|leaf| own.iter().any(|path| below(path, leaf)))
        {
            return None;
        }
        for entry in has {
            let path = entry["path"].as_str().unwrap();
            for (at, _) in path.match_indices('/') {
                let parent = &path[..at];
                if !tree
                    .get(parent)
                    .is_some_and(|kind| kind.starts_with("directory"))
                {
                    tree.insert(parent.to_owned(), "directory 755 0".to_owned());
                }
            }
            let kind = match entry["type"].as_str().unwrap() {
                "dir" => "directory",
                kind => {
                    tree.retain(|other, _| !below(other, path));
                    kind
                }
            };
            let mode = entry["mode"].as_str().unwrap();
            tree.insert(path.to_owned(), format!("{kind} {mode} {}", entry["uid"]));
        }
    }
    Some(tree)
}

/// Merging the layer of a difference over the first tree gives the second one.
fn law(stack: &[Vec<Value>], upper: &Tree<FileContent>) {
    let store = store();
    let options = MergeOptions::default();
    let kept = |stack: &[Vec<Value>]| -> Option<Tree<ContentRef>> {
        let budget = Budget::default();
        let mut merger = Merger::new(&options);
        for (index, entries) in stack.iter().enumerate() {
            let (bytes, layer) = blob(entries);
            let sink = &mut store.sink();
            let read = read_layer(&*bytes, index, &layer, &options, &budget, sink).ok()?;
            merger.apply(read).ok()?;
        }
        Some(merger.finish().tree)
    };
    let lower = kept(&stack[..stack.len() - 1]).expect("a part of what was merged");
    let whole = kept(stack).expect("it was merged");
    let same = |a: &ContentRef, b: &ContentRef| a.content() == b.content();
    let changes = diff(&lower, &whole, same);
    let base = Changes::whole(lower);
    let budget = Budget::default();
    let mut merger = Merger::new(&options);
    for (index, changes) in [base, changes].iter().enumerate() {
        let (bytes, layer) = written(changes);
        let read = read_layer(&*bytes, index, &layer, &options, &budget, &mut IndexOnly);
        merger.apply(read.unwrap()).unwrap();
    }
    let merged = merger.finish();
    assert_eq!(merged.notes, []);
    assert_eq!(show(&merged.tree), show(upper), "the law of differences");
}

fn written(changes: &Changes<ContentRef>) -> (Vec<u8>, Layer) {
    let mut bytes = Vec::new();
    let plain = LayerOptions {
        compression: Compression::None,
        ..LayerOptions::default()
    };
    let written = write_layer(changes, &mut contents(), &mut bytes, &plain).unwrap();
    (bytes, written.layer())
}
