//! `storage`: directories, files and links.

use super::mode::ModeOf;
use super::shorthand::Shorthands;
use super::{Decoder, Entry, Object, Pending};
use crate::fields;
use crate::model::{Customization, Directory, File, Link, Owner};

/// Longest path and longest component that Linux takes.
const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;

impl Decoder<'_> {
    /// All of `storage`; gives what is said in short.
    pub(super) fn storage(&mut self, entry: Entry<'_>, out: &mut Customization) -> Shorthands {
        let mut short = Shorthands::default();
        let Some(object) = self.object(entry, fields::STORAGE) else {
            return short;
        };
        for entry in self.list(object.get("disks")) {
            out.disks.extend(self.disk(entry));
        }
        for entry in self.list(object.get("raid")) {
            out.raid.extend(self.array(entry));
        }
        for entry in self.list(object.get("luks")) {
            out.luks.extend(self.luks(entry));
        }
        for entry in self.list(object.get("filesystems")) {
            if let Some((filesystem, mount)) = self.filesystem(entry) {
                let index = out.filesystems.len();
                short.mounts.extend(mount.map(|origin| (index, origin)));
                out.filesystems.push(filesystem);
            }
        }
        for entry in self.list(object.get("directories")) {
            out.directories.extend(self.directory(entry));
        }
        for entry in self.list(object.get("files")) {
            out.files.extend(self.file(entry));
        }
        for entry in self.list(object.get("links")) {
            out.links.extend(self.link(entry));
        }
        for entry in self.list(object.get("trees")) {
            short.trees.extend(self.tree(entry));
        }
        short
    }

    fn directory(&mut self, entry: Entry<'_>) -> Option<Directory> {
        let object = self.object(entry, fields::DIRECTORY)?;
        let path = self.tree_path(&object);
        let mode = self.mode(&object, ModeOf::Directory);
        let user = self.owner(&object, "user");
        let group = self.owner(&object, "group");
        let overwrite = self.boolean(&object, "overwrite");
        let origin = self.origin(object.place, &object.path);
        Some(Directory {
            path: path?,
            overwrite,
            mode,
            user,
            group,
            origin,
        })
    }

    fn file(&mut self, entry: Entry<'_>) -> Option<File> {
        let object = self.object(entry, fields::FILE)?;
        let item = self.tree_path(&object);
        let found = self.found.len();
        let contents = object
            .get("contents")
            .and_then(|entry| self.resource(entry, fields::RESOURCE));
        let readable = self.found.len() == found;
        let mut append = Vec::new();
        for (node, path) in self.list(object.get("append")) {
            let found = self.found.len();
            match self.resource((node, path.clone()), fields::RESOURCE) {
                Some(fragment) => append.push(fragment),
                None if self.found.len() == found => {
                    self.error(node.place, &path, "a fragment to append needs contents");
                }
                None => {}
            }
        }
        let overwrite = self.boolean(&object, "overwrite");
        if overwrite == Some(true)
            && contents.is_none()
            && readable
            && let Some((node, path)) = object.get("overwrite")
        {
            self.pending.extend(item.as_ref().map(|item| Pending {
                item: item.clone(),
                place: node.place,
                path,
                message: "a file that overwrites needs contents".into(),
            }));
        }
        let mode = self.mode(&object, ModeOf::File);
        let user = self.owner(&object, "user");
        let group = self.owner(&object, "group");
        let origin = self.origin(object.place, &object.path);
        Some(File {
            path: item?,
            overwrite,
            contents,
            append,
            mode,
            user,
            group,
            published: false,
            origin,
        })
    }

    fn link(&mut self, entry: Entry<'_>) -> Option<Link> {
        let object = self.object(entry, fields::LINK)?;
        let item = self.tree_path(&object);
        let said = object
            .get("target")
            .is_some_and(|(node, _)| node.as_str() != Some(""));
        let target = match said {
            true => self.required(&object, "target", fields::LINK),
            false => {
                self.pending.extend(item.as_ref().map(|item| Pending {
                    item: item.clone(),
                    place: object.place,
                    path: object.path.clone(),
                    message: "'target' is required".into(),
                }));
                Some(("", object.place, object.path.clone()))
            }
        };
        let hard = self.boolean(&object, "hard");
        if let Some((text, place, path)) = &target {
            if text.is_empty() {
                // A tree may have it.
            } else if text.contains('\0') || text.len() > PATH_MAX {
                self.error(*place, path, "this cannot be a link's target");
            } else if hard == Some(true) && !text.starts_with('/') {
                // Ignition joins a relative one to the link's own path, which names nothing.
                self.error(*place, path, "the target of a hard link must be absolute");
            } else if hard == Some(true) {
                self.clean(text, *place, path);
            }
        }
        let user = self.owner(&object, "user");
        let group = self.owner(&object, "group");
        if hard == Some(true) {
            for name in ["user", "group"] {
                if let Some((node, path)) = object.get(name).filter(|(node, _)| !node.is_empty()) {
                    self.warn(
                        node.place,
                        &path,
                        "a hard link has no owner of its own, and Ignition sets none: give it to the target",
                    );
                }
            }
        }
        let overwrite = self.boolean(&object, "overwrite");
        let origin = self.origin(object.place, &object.path);
        let target = target?.0.to_owned();
        Some(Link {
            path: item?,
            overwrite,
            target,
            hard,
            user,
            group,
            origin,
        })
    }

    fn tree_path(&mut self, object: &Object<'_>) -> Option<String> {
        let (path, place, at) = self.required(object, "path", fields::FILE)?;
        self.clean(path, place, &at).then(|| path.to_owned())
    }

    /// Whether a path is absolute and has only one spelling.
    pub(super) fn clean(&mut self, path: &str, place: crate::source::Place, at: &str) -> bool {
        let problem = if path.contains('\0') {
            "holds a NUL"
        } else if !path.starts_with('/') {
            "is not absolute"
        } else if path == "/" {
            "is the root directory itself"
        } else if path.ends_with('/') {
            "ends with '/'"
        } else if path[1..].split('/').any(str::is_empty) {
            "has an empty component ('//')"
        } else if path.split('/').any(|part| part == "..") {
            "has the component '..'"
        } else if path.split('/').any(|part| part == ".") {
            "has the component '.'"
        } else if path.len() > PATH_MAX {
            "is longer than 4095 bytes"
        } else if path.split('/').any(|part| part.len() > NAME_MAX) {
            "has a component longer than 255 bytes"
        } else {
            return true;
        };
        self.error(
            place,
            at,
            format!("path '{}' {problem}", path.escape_debug()),
        );
        false
    }

    fn owner(&mut self, object: &Object<'_>, name: &str) -> Option<Owner> {
        let entry = object.get(name)?;
        let owner = self.object(entry, fields::OWNER)?;
        let id = self.id(&owner, "id");
        let account = self.string(&owner, "name").filter(|name| !name.is_empty());
        match (id, account) {
            (Some(_), Some(_)) => {
                self.error(owner.place, &owner.path, "both id and name are given");
                None
            }
            (Some(id), None) => Some(Owner::Id(id)),
            (None, account) => account.map(Owner::Name),
        }
    }
}
