//! `pleach etc`, from outside.

mod afar;
mod ledger;
mod merge;
mod policies;
mod schema;

use std::io::Cursor;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{MaterializeOptions, ScanOptions, Tree, dump, materialize, parse_dump, scan};
use serde_json::Value;

use crate::pleach;

/// A tree of this user's from its dump, one path a line; the root is understood.
fn tree(text: &str) -> Tree<Vec<u8>> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let owner = format!(" {}:{} ", uid.as_raw(), gid.as_raw());
    let mut all = "/ directory 0755 0:0 1.0\n".to_owned();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        all.extend([line, "\n"]);
    }
    let all = all.replace(" 0:0 ", &owner);
    parse_dump(&all, Some).unwrap_or_else(|e| panic!("{e}\n{all}"))
}

fn open(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// Writes a tree into a new directory.
fn write(folder: &Path, text: &str) {
    std::fs::create_dir_all(folder).expect("made");
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    let options = MaterializeOptions::default();
    materialize(&tree(text), &open(folder), &mut source, &options).expect("written");
}

/// Path, type, mode and content of all that is in a directory.
fn shown(folder: &Path) -> Vec<String> {
    let scanned = scan(&open(folder), &ScanOptions::default()).expect("scanned");
    let content = |content: &pleach_fs_tree::FileContent| format!("{content:?}").into_bytes();
    let text = dump(&scanned, content);
    let word = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let mtime = 4;
        let kept = words.iter().enumerate().filter(|(i, _)| *i != mtime);
        kept.map(|(_, w)| *w).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(word).collect()
}

/// A machine in `root`: `usr/etc` and `etc`.
fn machine(folder: &Path, pristine: &str, current: &str) {
    write(&folder.join("root/usr/etc"), pristine);
    write(&folder.join("root/etc"), current);
}

/// Runs `pleach etc`, which must end with this code; gives what it printed and said.
#[track_caller]
fn etc(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let all: Vec<&str> = ["etc"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let (ended, stdout, stderr) = pleach(folder, &all);
    assert_eq!(ended, Some(code), "{arguments:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// The same as JSON, which must fit the published schema.
#[track_caller]
fn json(folder: &Path, arguments: &[&str], code: i32) -> Value {
    let all = [arguments, &["--format", "json"]].concat();
    let (stdout, _) = etc(folder, &all, code);
    let value: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}\n{stdout}"));
    schema::check(&value);
    value
}

/// The entry of a path in a list of a report.
#[track_caller]
fn at<'a>(list: &'a Value, path: &str) -> &'a Value {
    let mut found = list.as_array().expect("a list").iter();
    let found = found.find(|entry| entry["path"] == path);
    found.unwrap_or_else(|| panic!("no {path} in\n{list:#}"))
}
