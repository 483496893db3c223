//! Hostile images as rows of data, each taken the whole way: layout, merge, directory. What is around
//! the directory stays as it is. An extractor that works with paths shows that this would be seen.

mod compression;
mod control;
mod document;
mod headers;
mod limits;
mod links;
mod manifests;
mod metadata;
mod paths;
mod scratch;
mod whiteouts;

use std::collections::BTreeSet;
use std::path::Path;

use pleach_fs_tree::{Kinds, MaterializeOptions, ScanOptions, materialize, scan};
use pleach_layer_merge::{
    ContentRef, ContentStore, Error, ErrorClass, Layout, MergeOptions, Merged, StoreOptions,
    contents, index, merge,
};
use serde_json::{Value, json};

use crate::archive::{layer, write_layout};
use crate::{as_root, full, open};
pub(crate) use scratch::Scratch;

enum Expect {
    /// An error of this class, and nothing is written.
    Refused(&'static str),
    /// An image, by this rule; the listing of its tree and its notes has this text.
    Contained(&'static str, String),
}

type Change = Box<dyn Fn(&Path)>;

/// One hostile image. Rows whose names begin alike, up to a slash, are one class.
pub(crate) struct Row {
    name: String,
    layers: Vec<Value>,
    /// Options of the layers' blobs; one for all of them.
    blob: Value,
    options: fn(&mut MergeOptions),
    /// Changes the finished layout.
    layout: Option<Change>,
    expect: Expect,
    /// Whether a careless extractor changes something outside.
    escapes: bool,
    /// Whether the time is one that file systems may round to what they can hold.
    rounded: bool,
}

fn row(name: impl Into<String>, layers: &[Value], expect: Expect) -> Row {
    Row {
        name: name.into(),
        layers: layers.to_vec(),
        blob: Value::Null,
        options: |_| {},
        layout: None,
        expect,
        escapes: false,
        rounded: false,
    }
}

fn refused(name: impl Into<String>, class: &'static str, layers: &[Value]) -> Row {
    row(name, layers, Expect::Refused(class))
}

fn contained(
    name: impl Into<String>,
    rule: &'static str,
    listing: impl Into<String>,
    layers: &[Value],
) -> Row {
    row(name, layers, Expect::Contained(rule, listing.into()))
}

impl Row {
    fn blob(mut self, options: Value) -> Self {
        self.blob = options;
        self
    }

    fn layout(mut self, change: impl Fn(&Path) + 'static) -> Self {
        self.layout = Some(Box::new(change));
        self
    }

    fn options(mut self, change: fn(&mut MergeOptions)) -> Self {
        self.options = change;
        self
    }

    fn escapes(mut self) -> Self {
        self.escapes = true;
        self
    }

    fn rounded(mut self) -> Self {
        self.rounded = true;
        self
    }

    fn class(&self) -> &str {
        self.name.split('/').next().expect("a name")
    }
}

fn file(path: &str) -> Value {
    json!({"path": path, "type": "file", "content": "x"})
}

fn dir(path: &str) -> Value {
    json!({"path": path, "type": "dir"})
}

fn symlink(path: &str, target: &str) -> Value {
    json!({"path": path, "type": "symlink", "target": target})
}

fn hard_link(path: &str, target: &str) -> Value {
    json!({"path": path, "type": "hardlink", "target": target})
}

fn with(mut entry: Value, key: &str, value: Value) -> Value {
    entry[key] = value;
    entry
}

/// A file with something special in how it is written down.
fn tar(value: Value) -> Value {
    with(file("a"), "tar", value)
}

/// Images that are after the same thing.
struct Section {
    title: &'static str,
    /// What the images of it attack, and how one that believes them would fall for it.
    attacks: &'static str,
    rows: Vec<Row>,
}

fn sections() -> Vec<Section> {
    [
        paths::sections(),
        links::sections(),
        vec![whiteouts::section()],
        metadata::sections(),
        headers::sections(),
        vec![compression::section()],
        manifests::sections(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn rows() -> Vec<Row> {
    sections()
        .into_iter()
        .flat_map(|section| section.rows)
        .collect()
}

#[test]
fn hostile_images() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows of one name");
    let classes: BTreeSet<_> = rows.iter().map(Row::class).collect();
    let failed: Vec<_> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}\n", row.name, check(row).err()?)))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} rows fail:\n\n{}",
        failed.len(),
        rows.len(),
        failed.join("\n")
    );
    println!(
        "hostile images: {} rows, {} classes",
        rows.len(),
        classes.len()
    );
    assert!(classes.len() >= 150, "only {} classes", classes.len());
}

#[test]
fn a_careless_extractor_is_seen() {
    let rows: Vec<_> = rows().into_iter().filter(|row| row.escapes).collect();
    println!("control: {} rows escape", rows.len());
    assert!(rows.len() >= 50, "only {} rows escape", rows.len());
    for row in rows {
        let scratch = Scratch::new();
        let layers = scratch.fill_in(&row.layers);
        let before = scratch.outside();
        control::extract(&scratch, &layers);
        assert_ne!(
            before,
            scratch.outside(),
            "{}: the control changed nothing outside",
            row.name
        );
    }
}

fn check(row: &Row) -> Result<(), String> {
    let scratch = Scratch::new();
    let layers = scratch.fill_in(&row.layers);
    let blobs: Vec<_> = layers
        .iter()
        .map(|entries| layer(entries.as_array().expect("entries"), &row.blob))
        .collect();
    write_layout(&scratch.image(), &blobs);
    if let Some(change) = &row.layout {
        change(&scratch.image());
    }
    let before = (scratch.outside(), scratch.target_itself());
    let result = take(row, &scratch);
    if let Expect::Refused(_) = row.expect
        && before.1 != scratch.target_itself()
    {
        return Err("something was written before it was refused".to_owned());
    }
    let after = scratch.outside();
    if before.0 != after {
        return Err(format!(
            "something outside changed:\n{}\nto\n{after}",
            before.0
        ));
    }
    result
}

/// The whole way of one image, and what the row says of it.
fn take(row: &Row, scratch: &Scratch) -> Result<(), String> {
    let mut options = MergeOptions::default();
    (row.options)(&mut options);
    let merged = merge_all(scratch, &options);
    match (&merged, &row.expect) {
        (Err(error), Expect::Refused(class)) if error.class().as_str() == *class => Ok(()),
        (Err(error), Expect::Refused(class)) => Err(format!(
            "refused as {}, expected {class}: {}",
            error.class(),
            full(error)
        )),
        (Err(error), Expect::Contained(rule, _)) => Err(format!(
            "refused as {} ({}), expected by the rule: {rule}",
            error.class(),
            full(error)
        )),
        (Ok(merged), Expect::Refused(class)) => {
            Err(format!("taken, expected {class}: {}", listing(merged)))
        }
        (Ok(merged), Expect::Contained(rule, expect)) => {
            let found = listing(merged);
            if !found.contains(expect) {
                return Err(format!("{found}\nexpected: {expect}\nby the rule: {rule}"));
            }
            write(merged, scratch, row.rounded)
        }
    }
}

fn merge_all(scratch: &Scratch, options: &MergeOptions) -> Result<Merged<ContentRef>, Error> {
    let layout = Layout::open(&open(&scratch.image()))?;
    let image = layout.resolve(Some("image"), None)?;
    let small = StoreOptions {
        small_file: 64,
        memory: 1024,
        ..StoreOptions::default()
    };
    let store = ContentStore::new(&open(&scratch.spool()), &small)?;
    let merged = merge(&layout, &image, &store, options);
    match (&merged, &index(&layout, &image, options)) {
        (Ok(merged), Ok(indexed)) => {
            let same = |a: &ContentRef, b: &_| a.content() == *b;
            let differences = pleach_fs_tree::diff(&merged.tree, &indexed.tree, same);
            assert!(differences.is_empty(), "{differences:?}");
        }
        // Which layer reaches a limit that they share is a matter of time.
        (Err(a), Err(b)) if a.class() == ErrorClass::Limit => assert_eq!(a.class(), b.class()),
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        _ => panic!("with and without contents: {merged:?}"),
    }
    merged
}

/// Paths with types and modes, then the notes.
fn listing(merged: &Merged<ContentRef>) -> String {
    let line = |(path, id)| {
        let inode = merged.tree.inode(id);
        let kind = inode.kind.node_type().as_str();
        format!("{path} {kind} {:04o}", inode.metadata.mode)
    };
    let paths = merged.tree.walk().map(line);
    let notes = merged.notes.iter();
    let notes = notes.map(|note| format!("note: {} {}", note.path, note.what));
    paths.chain(notes).collect::<Vec<_>>().join(", ")
}

/// Writes the tree; what is on the disk then is the tree and nothing else.
fn write(merged: &Merged<ContentRef>, scratch: &Scratch, rounded: bool) -> Result<(), String> {
    let root = as_root();
    let options = MaterializeOptions {
        owner: root,
        xattrs: root,
        devices: root,
        ..MaterializeOptions::default()
    };
    let target = open(&scratch.target());
    materialize(&merged.tree, &target, &mut contents(), &options)
        .map_err(|error| format!("materialize: {}", full(&error)))?;
    if !root {
        return Ok(());
    }
    let found = scan(&target, &ScanOptions::default()).map_err(|error| full(&error))?;
    let same = |a: &ContentRef, b: &_| a.content() == *b;
    let mut differences = pleach_fs_tree::diff(&merged.tree, &found, same);
    differences.retain_mut(|difference| match &mut difference.kinds {
        Kinds::Both(_, _, changed) if rounded => {
            changed.mtime = false;
            !changed.is_empty()
        }
        _ => true,
    });
    match differences.first() {
        Some(difference) => Err(format!("on disk: {difference:?}")),
        None => Ok(()),
    }
}
