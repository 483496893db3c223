//! Reads the vectors: their `conventions` say what each field means.

use std::path::Path;

use pleach_fs_tree::{Device, Inode, Kind, Metadata, Tree, TreePath};
use serde_json::Value;

use crate::Etc;

/// Stands for a folder of the host. Nothing is there: no test here looks outside its trees.
const HOST_CANARY: &str = "/pleach-test/outside-of-the-tree";

pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) json: Value,
}

impl Vector {
    pub(crate) fn tree(&self, field: &str) -> Etc {
        tree(&self.json[field], &format!("{}: {field}", self.name))
    }

    /// What libostree gave: a tree, or a kind of error.
    pub(crate) fn ostree(&self) -> Result<Etc, String> {
        let expected = &self.json["expected"];
        match text(&expected["outcome"]) {
            "ok" => Ok(tree(&expected["tree"], &self.name)),
            _ => Err(text(&expected["error_kind"]).to_owned()),
        }
    }

    /// What a merge that loses nothing gives.
    pub(crate) fn proposed(&self) -> Etc {
        match self.json["proposed"]["same_as_ostree"] {
            Value::Bool(true) => self.ostree().expect("the proposal never fails"),
            _ => tree(&self.json["proposed"]["tree"], &self.name),
        }
    }

    /// What bootc's etc-merge gave: a tree, or a refusal.
    pub(crate) fn bootc(&self) -> Option<Etc> {
        let bootc = &self.json["bootc"];
        match (text(&bootc["outcome"]), bootc["tree"].is_object()) {
            ("ok", true) => Some(tree(&bootc["tree"], &self.name)),
            ("ok", false) => self.ostree().ok(),
            _ => None,
        }
    }

    /// Path and kind of each thing that the proposal reports.
    pub(crate) fn report(&self) -> Vec<(TreePath, String)> {
        let report = self.json["proposed"]["report"].as_array().expect("a list");
        let one = |item: &Value| {
            (
                tree_path(text(&item["path"])),
                text(&item["kind"]).to_owned(),
            )
        };
        report.iter().map(one).collect()
    }

    /// The neutral state of each path; `None` where the vector only counts them.
    pub(crate) fn states(&self) -> Option<Vec<(TreePath, String)>> {
        let states = self.json["three_way"].as_object().expect("an object");
        let one = |(path, state): (&String, &Value)| (tree_path(path), text(state).to_owned());
        (!states.contains_key("...")).then(|| states.iter().map(one).collect())
    }

    /// libostree left the tree in this case.
    pub(crate) fn escaped(&self) -> bool {
        self.json["ostree"]["escaped"] == Value::Bool(true)
    }
}

const OURS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/vectors/etc-merge.json"
);

/// The file that `PLEACH_ETC_VECTORS` names, or the one of the checkout.
pub(crate) fn read() -> Vec<Vector> {
    let file = std::env::var_os("PLEACH_ETC_VECTORS").unwrap_or_else(|| OURS.into());
    read_file(Path::new(&file))
}

/// Those of the checkout.
pub(crate) fn read_ours() -> Vec<Vector> {
    read_file(Path::new(OURS))
}

fn read_file(file: &Path) -> Vec<Vector> {
    let read = std::fs::read_to_string(file);
    let read = read.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let read = read.replace("@HOST_CANARY@", HOST_CANARY);
    let json: Value = serde_json::from_str(&read).expect("the vectors are JSON");
    assert_eq!(json["schema"], "etcmerge-vectors/1");
    let vectors = json["vectors"].as_array().expect("a list of vectors");
    let vector = |json: &Value| Vector {
        name: text(&json["name"]).to_owned(),
        json: json.clone(),
    };
    let vectors: Vec<_> = vectors.iter().map(vector).collect();
    assert_eq!(Some(vectors.len() as u64), json["count"].as_u64());
    vectors
}

fn tree(json: &Value, what: &str) -> Etc {
    let mut tree = Tree::new(Metadata::with_mode(0o755));
    let mut entries: Vec<_> = Vec::new();
    for (path, entry) in json
        .as_object()
        .unwrap_or_else(|| panic!("{what}: no tree"))
    {
        match path.strip_suffix("/@gen") {
            Some(directory) => generate(&tree_path(directory), entry, &mut entries),
            None => entries.push((tree_path(path), inode(entry))),
        }
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, inode) in entries {
        tree.put(&path, inode)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    for (path, entry) in json.as_object().expect("checked above") {
        if let Some(first) = entry["hardlink_to"].as_str() {
            let path = tree_path(path);
            let first = tree
                .lookup(&tree_path(first))
                .expect("a hard link's first name");
            let parent = tree
                .directory(&path.parent().expect("no root"))
                .expect("a parent");
            tree.link(first, parent, path.file_name().expect("no root"))
                .expect("no directory");
        }
    }
    tree
}

fn generate(directory: &TreePath, entry: &Value, out: &mut Vec<(TreePath, Inode<Vec<u8>>)>) {
    let except: Vec<_> = entry["except"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    for i in 0..number(&entry["count"]) {
        let name = printf(text(&entry["name_format"]), i);
        if except.contains(&&*name) {
            continue;
        }
        let content = printf(text(&entry["content_format"]), i).into_bytes();
        let path = directory.concat(&tree_path(&name));
        out.push((path, Inode::file(metadata(entry), content)));
    }
}

/// `%d` and `%05d`.
fn printf(format: &str, i: u64) -> String {
    let Some((before, rest)) = format.split_once('%') else {
        return format.to_owned();
    };
    let (width, after) = rest.split_once('d').expect("only %d is used");
    match width.strip_prefix('0') {
        Some(width) => {
            let width = width.parse().expect("a width");
            format!("{before}{i:0width$}{after}")
        }
        None => format!("{before}{i}{after}"),
    }
}

fn inode(entry: &Value) -> Inode<Vec<u8>> {
    let device = || {
        let (major, minor) = text(&entry["rdev"]).split_once(':').expect("MAJOR:MINOR");
        Device {
            major: major.parse().expect("a number"),
            minor: minor.parse().expect("a number"),
        }
    };
    let kind = match text(&entry["type"]) {
        "dir" => Kind::Directory(Default::default()),
        "file" => Kind::File(match &entry["content_b64"] {
            Value::String(encoded) => base64(encoded),
            _ => text(&entry["content"]).as_bytes().to_vec(),
        }),
        "symlink" => Kind::Symlink(unescape(text(&entry["target"])).into()),
        "fifo" => Kind::Fifo,
        "sock" => Kind::Socket,
        "chr" => Kind::CharDevice(device()),
        "blk" => Kind::BlockDevice(device()),
        other => panic!("unknown type {other}"),
    };
    let metadata = metadata(entry);
    Inode { metadata, kind }
}

fn metadata(entry: &Value) -> Metadata {
    let id = |field: &str| u32::try_from(number(&entry[field])).expect("32 bits");
    let xattrs = entry["xattrs"].as_object().into_iter().flatten();
    Metadata {
        mode: u16::from_str_radix(text(&entry["mode"]), 8).expect("an octal mode"),
        uid: id("uid"),
        gid: id("gid"),
        xattrs: xattrs
            .map(|(name, value)| (name.as_bytes().into(), base64(text(value)).into()))
            .collect(),
        ..Metadata::default()
    }
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn tree_path(text: &str) -> TreePath {
    match text {
        "." => TreePath::root(),
        _ => TreePath::new(unescape(text)).unwrap_or_else(|e| panic!("{e}")),
    }
}

/// `%XX` is a byte.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).expect("two hex digits"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held) = (0u32, 0);
    let mut out = Vec::new();
    for byte in text.bytes().filter(|&b| b != b'=') {
        let value = ALPHABET.iter().position(|&b| b == byte).expect("base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}
