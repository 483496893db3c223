//! `storage.trees`: directories of local files, as files and links.

use super::{Decoder, Entry};
use crate::fields;
use crate::local::TreeKind;
use crate::model::{Contents, Customization, File, Link, Origin, Source};
use crate::source::Place;

/// A tree that is to be read.
pub(super) struct Tree {
    /// Its name among the local files.
    local: String,
    /// Where it goes, without a `/` at its end.
    path: String,
    origin: Origin,
}

impl Decoder<'_> {
    pub(super) fn tree(&mut self, entry: Entry<'_>) -> Option<Tree> {
        let object = self.object(entry, fields::TREE)?;
        let local = self
            .required(&object, "local", fields::TREE)
            .and_then(|(name, place, path)| self.local_name(name, place, &path));
        let path = match self.text(object.get("path")) {
            None | Some(("" | "/", ..)) => Some(String::new()),
            Some((text, place, path)) => self.clean(text, place, &path).then(|| text.to_owned()),
        };
        Some(Tree {
            local: local?,
            path: path?,
            origin: self.origin(object.place, &object.path),
        })
    }

    /// Adds what the trees hold. Directories are made by what is in them; a file or link that the
    /// document has as well gives its attributes, and takes the tree's contents.
    pub(super) fn trees(&mut self, trees: &[Tree], out: &mut Customization) {
        for tree in trees {
            let place = Place {
                line: tree.origin.line,
                column: tree.origin.column,
            };
            let at = tree.origin.path.clone();
            let mut entries = match self.local.tree(&tree.local) {
                Ok(entries) => entries,
                Err(reason) => {
                    self.error(place, &at, format!("local tree '{}': {reason}", tree.local));
                    continue;
                }
            };
            let limit = self.options.max_tree_entries;
            if entries.len() > limit {
                let message = format!("local tree '{}' has more than {limit} entries", tree.local);
                self.error(place, &at, message);
                continue;
            }
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            for (index, entry) in entries.iter().enumerate() {
                let target = format!("{}/{}", tree.path, entry.path);
                if !self.clean(&target, place, &at) {
                    continue;
                }
                match &entry.kind {
                    TreeKind::File { executable } => {
                        let name = match &*tree.local {
                            "" => entry.path.clone(),
                            local => format!("{local}/{}", entry.path),
                        };
                        if let Some(data) = self.local_file(&name, place, &at) {
                            self.tree_file(target, data, *executable, &tree.origin, out);
                        }
                    }
                    TreeKind::Symlink { target: to } => {
                        self.tree_link(target, to, &tree.origin, out);
                    }
                    TreeKind::Directory => {
                        let below = format!("{}/", entry.path);
                        let filled = entries[index + 1..]
                            .iter()
                            .any(|e| e.path.starts_with(&below));
                        let said = out.directories.iter().any(|d| d.path == target);
                        if !filled && !said {
                            let message = format!(
                                "'{}' is an empty directory and is left out: name it in storage.directories",
                                entry.path
                            );
                            self.warn(place, &at, message);
                        }
                    }
                    TreeKind::Other => {
                        let message = format!(
                            "'{}' is neither file nor directory nor symbolic link",
                            entry.path
                        );
                        self.error(place, &at, message);
                    }
                }
            }
        }
    }

    fn tree_file(
        &mut self,
        path: String,
        data: Vec<u8>,
        executable: bool,
        origin: &Origin,
        out: &mut Customization,
    ) {
        let taken = out.directories.iter().any(|d| d.path == path)
            || out.links.iter().any(|link| link.path == path);
        let known = out.files.iter().position(|file| file.path == path);
        let full = known.is_some_and(|index| out.files[index].contents.is_some());
        if taken || full {
            return self.in_the_way(&path, origin);
        }
        let index = known.unwrap_or_else(|| {
            out.files.push(File {
                path,
                overwrite: None,
                contents: None,
                append: Vec::new(),
                mode: None,
                user: None,
                group: None,
                published: false,
                origin: origin.clone(),
            });
            out.files.len() - 1
        });
        let file = &mut out.files[index];
        file.contents = Some(Contents {
            source: Source::Bytes(data),
            hash: None,
            compression: None,
            origin: origin.clone(),
        });
        file.mode
            .get_or_insert(if executable { 0o755 } else { 0o644 });
    }

    fn tree_link(&mut self, path: String, target: &str, origin: &Origin, out: &mut Customization) {
        let taken = out.directories.iter().any(|d| d.path == path)
            || out.files.iter().any(|file| file.path == path);
        let known = out.links.iter_mut().find(|link| link.path == path);
        match known {
            Some(link) if link.target.is_empty() && !taken => link.target = target.into(),
            None if !taken => out.links.push(Link {
                path,
                overwrite: None,
                target: target.into(),
                hard: None,
                user: None,
                group: None,
                origin: origin.clone(),
            }),
            _ => self.in_the_way(&path, origin),
        }
    }

    fn in_the_way(&mut self, path: &str, origin: &Origin) {
        let place = Place {
            line: origin.line,
            column: origin.column,
        };
        let message = format!(
            "'{path}' of the tree is in the document already, with contents or as something else"
        );
        self.error(place, &origin.path, message);
    }
}
