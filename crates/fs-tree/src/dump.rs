//! A tree as text, one line a path, and back: for tests, snapshots and people.
//!
//! ```text
//! / directory 0755 0:0 0.0
//! /etc/a\x20b file 0644 0:0 5.25 CONTENT user.k=v
//! /etc/link symlink 0777 0:0 0.0 ../target
//! /etc/other hardlink /etc/a\x20b
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use thiserror::Error;

use crate::{Device, Inode, InodeId, Kind, Metadata, Timestamp, Tree, TreePath, escape, unescape};

/// A dump that [`parse_dump`] cannot read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} of the dump: {what}")]
#[non_exhaustive]
pub struct DumpError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

fn word(bytes: &[u8]) -> String {
    escape(bytes).replace(' ', "\\x20").replace('=', "\\x3d")
}

/// Prints a tree; `content` prints the content of a regular file as bytes, which are escaped.
pub fn dump<C>(tree: &Tree<C>, content: impl Fn(&C) -> Vec<u8>) -> String {
    let mut out = String::new();
    let mut seen = BTreeMap::<InodeId, TreePath>::new();
    for (path, id) in tree.walk() {
        let shown = path_word(&path);
        if let Some(first) = seen.get(&id) {
            writeln!(out, "{shown} hardlink {}", path_word(first)).expect("writing to a string");
            continue;
        }
        let Inode { metadata: m, kind } = tree.inode(id);
        let Timestamp {
            seconds,
            nanoseconds,
        } = m.mtime;
        let node_type = kind.node_type().as_str();
        write!(
            out,
            "{shown} {node_type} {:04o} {}:{} {seconds}.{nanoseconds}",
            m.mode, m.uid, m.gid
        )
        .expect("writing to a string");
        match kind {
            Kind::File(c) => out.extend([" ", &quoted(&content(c))]),
            Kind::Symlink(target) => out.extend([" ", &quoted(target)]),
            Kind::CharDevice(d) | Kind::BlockDevice(d) => {
                write!(out, " {}:{}", d.major, d.minor).expect("writing to a string");
            }
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
        }
        for (name, value) in &m.xattrs {
            out.extend([" ", &word(name), "=", &word(value)]);
        }
        out.push('\n');
        seen.insert(id, path);
    }
    out
}

fn path_word(path: &TreePath) -> String {
    format!("/{}", word(path.as_bytes()))
}

/// An empty word would vanish between two blanks.
fn quoted(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "-".to_owned()
    } else {
        word(bytes).replace('-', "\\x2d")
    }
}

/// Reads what [`dump`] printed; `content` reads the content of a regular file from its bytes.
///
/// # Errors
/// With the line that cannot be read.
pub fn parse_dump<C>(
    text: &str,
    content: impl Fn(Vec<u8>) -> Option<C>,
) -> Result<Tree<C>, DumpError> {
    let mut tree = Tree::new(Metadata::default());
    for (index, line) in text.lines().enumerate() {
        parse_line(&mut tree, line, &content).map_err(|what| DumpError {
            line: index + 1,
            what,
        })?;
    }
    Ok(tree)
}

fn parse_line<C>(
    tree: &mut Tree<C>,
    line: &str,
    content: &impl Fn(Vec<u8>) -> Option<C>,
) -> Result<(), String> {
    let mut words = line.split(' ');
    let mut next = |what| words.next().ok_or(format!("no {what}"));
    let path = parse_path(next("path")?)?;
    let node_type = next("type")?;
    if node_type == "hardlink" {
        let target = parse_path(next("target")?)?;
        let id = tree
            .lookup(&target)
            .ok_or(format!("hard link to the missing {target}"))?;
        let parent = path.parent().unwrap_or_default();
        let parent = tree.directory(&parent).map_err(|e| e.to_string())?;
        let name = path.file_name().ok_or("the root is no hard link")?;
        return tree.link(id, parent, name).map_err(|e| e.to_string());
    }
    let mode = u16::from_str_radix(next("mode")?, 8).map_err(|e| format!("mode: {e}"))?;
    let (uid, gid) = pair(next("owner")?, ':')?;
    let (seconds, nanoseconds) = pair(next("mtime")?, '.')?;
    let mut metadata = Metadata {
        mode,
        uid,
        gid,
        ..Metadata::default()
    };
    metadata.mtime = Timestamp {
        seconds,
        nanoseconds,
    };
    let mut device = || {
        let (major, minor) = pair(next("device")?, ':')?;
        Ok::<_, String>(Device { major, minor })
    };
    let kind = match node_type {
        "directory" => Kind::Directory(BTreeMap::new()),
        "char-device" => Kind::CharDevice(device()?),
        "block-device" => Kind::BlockDevice(device()?),
        "fifo" => Kind::Fifo,
        "socket" => Kind::Socket,
        "file" => Kind::File(content(unquote(next("content")?)?).ok_or("bad content")?),
        "symlink" => Kind::Symlink(unquote(next("target")?)?.into()),
        other => return Err(format!("unknown type {other:?}")),
    };
    for xattr in words {
        let (name, value) = xattr
            .split_once('=')
            .ok_or(format!("bad xattr {xattr:?}"))?;
        let read = |text| unescape(text).map_err(|e| e.to_string());
        metadata
            .xattrs
            .insert(read(name)?.into(), read(value)?.into());
    }
    tree.put(&path, Inode { metadata, kind })
        .map_err(|e| e.to_string())?;
    Ok(())
}

fn parse_path(text: &str) -> Result<TreePath, String> {
    let bytes = unescape(text).map_err(|e| e.to_string())?;
    TreePath::new(bytes).map_err(|e| e.to_string())
}

fn unquote(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        Ok(Vec::new())
    } else {
        unescape(text).map_err(|e| e.to_string())
    }
}

fn pair<A: std::str::FromStr, B: std::str::FromStr>(
    text: &str,
    separator: char,
) -> Result<(A, B), String> {
    let bad = || format!("bad pair {text:?}");
    let (a, b) = text.split_once(separator).ok_or_else(bad)?;
    Ok((a.parse().map_err(|_| bad())?, b.parse().map_err(|_| bad())?))
}
