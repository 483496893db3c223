//! The control: an extractor as nobody should write one. It joins paths, follows every link, applies
//! entries one by one and believes them. It can do harm in its scratch folder only: each place is
//! resolved first, and what lies outside the folder is left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::scratch::Scratch;
use crate::archive::bytes;

pub(crate) fn extract(scratch: &Scratch, layers: &[Value]) {
    let control = Control {
        top: scratch.outer().canonicalize().unwrap(),
        target: scratch.target().canonicalize().unwrap(),
    };
    for entry in layers.iter().flat_map(|layer| layer.as_array().unwrap()) {
        // As careless as the rest: what does not work is skipped.
        let _ = control.entry(entry);
    }
}

struct Control {
    top: PathBuf,
    target: PathBuf,
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(&bytes(value)).into_owned()
}

impl Control {
    fn entry(&self, entry: &Value) -> io::Result<()> {
        let pax = |key: &str| {
            let mut pairs = entry["tar"]["pax"].as_array().into_iter().flatten();
            pairs
                .rfind(|pair| pair[0] == key)
                .map(|pair| text(&pair[1]))
        };
        let name = pax("path").unwrap_or_else(|| text(&entry["path"]));
        let link = pax("linkpath").unwrap_or_else(|| text(&entry["target"]));
        let path = self.target.join(&name);
        let last = name
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        if let Some(hidden) = last.strip_prefix(".wh.") {
            let parent = path.parent().unwrap_or(&self.target);
            return match hidden {
                ".wh..opq" => self.clear(&self.within(parent)?),
                hidden => self.remove(&self.within(&parent.join(hidden))?),
            };
        }
        let mode = match &entry["mode"] {
            Value::String(octal) => u32::from_str_radix(octal, 8).unwrap(),
            _ if entry["type"] == "dir" => 0o755,
            _ => 0o644,
        };
        match entry["type"].as_str().unwrap_or_default() {
            "dir" => {
                let place = self.within(&path)?;
                fs::create_dir_all(&place)?;
                fs::set_permissions(&place, fs::Permissions::from_mode(mode))
            }
            "symlink" => {
                let place = self.in_parent(&path)?;
                let _ = self.remove(&place);
                symlink(link, place)
            }
            "hardlink" => {
                let source = self.within(&self.target.join(link))?;
                let place = self.in_parent(&path)?;
                let _ = fs::remove_file(&place);
                fs::hard_link(source, place)
            }
            "file" | "oldfile" | "contig" => {
                let place = self.within(&path)?;
                fs::create_dir_all(place.parent().unwrap())?;
                fs::write(&place, bytes(&entry["content"]))?;
                fs::set_permissions(&place, fs::Permissions::from_mode(mode))
            }
            _ => Ok(()),
        }
    }

    /// Where a path leads, all links followed.
    fn within(&self, path: &Path) -> io::Result<PathBuf> {
        let outside = || io::Error::other("outside the scratch folder");
        let mut place = PathBuf::from("/");
        let mut rest: Vec<PathBuf> = components(path);
        for _ in 0..1000 {
            let Some(component) = rest.pop() else {
                // Also not the folder itself: only what is below it.
                let inside = place.starts_with(&self.top) && place != self.top;
                return inside.then_some(place).ok_or_else(outside);
            };
            if component.as_os_str() == ".." {
                place.pop();
                continue;
            }
            match fs::read_link(place.join(&component)) {
                Ok(target) => {
                    if target.is_absolute() {
                        place = PathBuf::from("/");
                    }
                    rest.extend(components(&target));
                }
                Err(_) => place.push(component),
            }
        }
        Err(outside())
    }

    /// A name in a directory to which links were followed; the name itself is none.
    fn in_parent(&self, path: &Path) -> io::Result<PathBuf> {
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok(self.within(parent)?.join(name)),
            _ => self.within(path),
        }
    }

    fn remove(&self, place: &Path) -> io::Result<()> {
        match fs::symlink_metadata(place)?.is_dir() {
            // Not the way to the target: what is beside it shall be compared.
            true if self.target.starts_with(place) => self.clear(place),
            true => fs::remove_dir_all(place),
            false => fs::remove_file(place),
        }
    }

    fn clear(&self, place: &Path) -> io::Result<()> {
        for entry in fs::read_dir(place)? {
            let path = entry?.path();
            if !self.target.starts_with(&path) {
                let _ = self.remove(&path);
            }
        }
        Ok(())
    }
}

/// The components of a path that mean something, the last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    let named = |c: &Component<'_>| matches!(c, Component::Normal(_) | Component::ParentDir);
    path.components()
        .filter(named)
        .rev()
        .map(|c| PathBuf::from(c.as_os_str()))
        .collect()
}
