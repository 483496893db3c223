//! The image, with what the checks ask of it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use pleach_fs_tree::{Inode, InodeId, Kind, Metadata, Tree, TreePath};

use crate::pair::MAX_DATABASE;
use crate::wants::MAX_TEXT;
use crate::{Image, LayerOf};

/// What is at a path.
pub(crate) struct Item<'a> {
    pub(crate) path: TreePath,
    pub(crate) metadata: &'a Metadata,
    pub(crate) what: What<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What<'a> {
    Directory { empty: bool },
    File,
    Symlink(&'a [u8]),
    Special,
}

impl Item<'_> {
    pub(crate) fn is_file(&self) -> bool {
        self.what == What::File
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.what, What::Directory { .. })
    }

    /// The last component as text; empty where it is none.
    pub(crate) fn name(&self) -> &str {
        let last = self.path.components().next_back().unwrap_or_default();
        std::str::from_utf8(last).unwrap_or_default()
    }
}

/// The bytes of a file, by its path and its number among the items.
type Contents<'a> = Box<dyn Fn(&TreePath, usize) -> Option<Vec<u8>> + 'a>;
type Resolve<'a> = Box<dyn Fn(&TreePath) -> Option<TreePath> + 'a>;

/// The tree that is looked at, walked once; what it holds of files stays behind closures, so that a
/// rule is one plain function.
pub(crate) struct View<'a> {
    /// Where the default configuration is: `/etc`, or `/usr/etc` as ostree has it.
    pub(crate) etc: &'static str,
    /// All paths, sorted.
    pub(crate) items: Vec<Item<'a>>,
    read: Contents<'a>,
    size: Box<dyn Fn(usize) -> u64 + 'a>,
    resolve: Resolve<'a>,
    layer: LayerOf<'a>,
    unread: RefCell<BTreeSet<TreePath>>,
}

impl<'a> View<'a> {
    pub(crate) fn new<C>(image: &Image<'a, C>) -> Self {
        let tree = image.tree;
        let filled = tree
            .get(&path("/etc"))
            .and_then(|inode| inode.entries())
            .is_some_and(|entries| !entries.is_empty());
        let etc = if filled { "/etc" } else { USR_ETC };
        let (paths, ids): (Vec<TreePath>, Vec<InodeId>) = tree.walk().unzip();
        let items = paths.into_iter().zip(&ids).map(|(path, id)| {
            let inode = tree.inode(*id);
            Item {
                path,
                metadata: &inode.metadata,
                what: match &inode.kind {
                    Kind::Directory(entries) => What::Directory {
                        empty: entries.is_empty(),
                    },
                    Kind::File(_) => What::File,
                    Kind::Symlink(target) => What::Symlink(target),
                    _ => What::Special,
                },
            }
        });
        let items = items.collect();
        let sizes = ids.clone();
        let (read, size, layer) = (image.read, image.size, image.layer);
        let resolve: Resolve<'a> = if filled {
            Box::new(move |path| resolve(tree, path))
        } else {
            let booted = booted(tree);
            Box::new(move |path| {
                let found = resolve(&booted, &at_boot(path).unwrap_or_else(|| path.clone()))?;
                // Back to where the image has it.
                let below = found.strip_prefix(&self::path("/etc"));
                Some(
                    below.map_or_else(|| found.clone(), |below| self::path(USR_ETC).concat(&below)),
                )
            })
        };
        Self {
            etc,
            items,
            read: Box::new(move |path, index| match &tree.inode(ids[index]).kind {
                Kind::File(content) => read(path, content),
                _ => None,
            }),
            size: Box::new(move |index| match &tree.inode(sizes[index]).kind {
                Kind::File(content) => size(content),
                _ => 0,
            }),
            resolve,
            layer,
            unread: RefCell::default(),
        }
    }

    /// A path below the default configuration.
    pub(crate) fn etc(&self, below: &str) -> String {
        format!("{}/{below}", self.etc)
    }

    fn index(&self, path: &TreePath) -> Option<usize> {
        self.items.binary_search_by(|item| item.path.cmp(path)).ok()
    }

    pub(crate) fn at(&self, path: &TreePath) -> Option<&Item<'a>> {
        self.index(path).map(|index| &self.items[index])
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Item<'a>> {
        self.at(&TreePath::new(path).ok()?)
    }

    /// What is below a path, in order.
    pub(crate) fn below(&self, path: &str) -> &[Item<'a>] {
        let Ok(path) = TreePath::new(path) else {
            return &[];
        };
        let Some(first) = self.index(&path) else {
            return &[];
        };
        let rest = &self.items[first + 1..];
        let end = rest.partition_point(|item| item.path.starts_with(&path));
        &rest[..end]
    }

    /// What is in a directory, in order.
    pub(crate) fn children<'s>(
        &'s self,
        path: &str,
    ) -> impl Iterator<Item = &'s Item<'a>> + use<'s, 'a> {
        let depth = TreePath::new(path).map_or(0, |path| path.depth()) + 1;
        let below = self.below(path).iter();
        below.filter(move |item| item.path.depth() == depth)
    }

    /// The path that this one is in the end, links followed inside the tree as it is at boot; `None`
    /// where it leads nowhere.
    pub(crate) fn resolve(&self, path: &TreePath) -> Option<TreePath> {
        (self.resolve)(path)
    }

    pub(crate) fn layer(&self, path: &TreePath) -> Option<usize> {
        (self.layer)(path)
    }

    pub(crate) fn size(&self, item: &Item<'_>) -> u64 {
        self.index(&item.path).map_or(0, |index| (self.size)(index))
    }

    /// The bytes of a regular file that is there; one that cannot be had, or is larger than
    /// [`MAX_TEXT`], counts as empty and is remembered.
    pub(crate) fn bytes(&self, item: &Item<'_>) -> Vec<u8> {
        let Some(index) = self.index(&item.path).filter(|_| item.is_file()) else {
            return Vec::new();
        };
        let size = (self.size)(index);
        let bytes = match size {
            0 => Some(Vec::new()),
            size if size > MAX_TEXT => None,
            _ => (self.read)(&item.path, index),
        };
        bytes.unwrap_or_else(|| {
            self.unread.borrow_mut().insert(item.path.clone());
            Vec::new()
        })
    }

    /// The bytes of a package database; why they cannot be had, if so.
    pub(crate) fn database(&self, item: &Item<'_>) -> Result<Vec<u8>, String> {
        let path = &item.path;
        let index = self.index(path).filter(|_| item.is_file());
        let size = index.map_or(0, self.size.as_ref());
        if size > MAX_DATABASE {
            return Err(format!(
                "{path}: {size} bytes, at most {MAX_DATABASE} are read"
            ));
        }
        let bytes = match size {
            0 => Some(Vec::new()),
            _ => index.and_then(|index| (self.read)(path, index)),
        };
        bytes.ok_or_else(|| format!("{path}: cannot be read"))
    }

    /// As [`bytes`](Self::bytes), for a file that is looked into only if it is kept.
    pub(crate) fn peek(&self, item: &Item<'_>) -> Vec<u8> {
        let index = self.index(&item.path).filter(|_| item.is_file());
        let small = index.filter(|&index| (self.size)(index) <= MAX_TEXT);
        let bytes = small.and_then(|index| (self.read)(&item.path, index));
        bytes.unwrap_or_default()
    }

    /// The lines of a text file with their numbers, links followed; none if it is not there.
    pub(crate) fn lines(&self, path: &str) -> Vec<(usize, String)> {
        let Ok(path) = TreePath::new(path) else {
            return Vec::new();
        };
        let found = self.at(&path).filter(|item| item.is_file());
        let found = found.or_else(|| self.at(&self.resolve(&path)?));
        let bytes = found.map(|item| self.bytes(item)).unwrap_or_default();
        lines(&bytes)
    }

    /// The files of a folder of drop-ins as systemd reads it: of each name only the one of the
    /// first place, sorted by names; one that is masked counts for nothing.
    pub(crate) fn drop_ins(&self, folder: &str, end: &str) -> Vec<String> {
        let places = [
            self.etc(folder),
            format!("/usr/local/lib/{folder}"),
            format!("/usr/lib/{folder}"),
        ];
        let mut found = std::collections::BTreeMap::new();
        for place in places {
            for item in self.children(&place) {
                if item.name().ends_with(end) {
                    let masked = item.what == What::Symlink(b"/dev/null");
                    let path = (!masked).then(|| item.path.to_string());
                    found.entry(item.name().to_owned()).or_insert(path);
                }
            }
        }
        found.into_values().flatten().collect()
    }

    /// What was to be read and could not be.
    pub(crate) fn unread(&self) -> Vec<String> {
        self.unread
            .borrow()
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

/// The lines of a text with their numbers.
pub(crate) fn lines(bytes: &[u8]) -> Vec<(usize, String)> {
    String::from_utf8_lossy(bytes)
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect()
}

/// A path of ours.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a plain path")
}

const USR_ETC: &str = "/usr/etc";

fn resolve<C>(tree: &Tree<C>, path: &TreePath) -> Option<TreePath> {
    let found = tree.resolve(path, true).ok()?;
    tree.lookup(&found).map(|_| found)
}

/// Where something of `/usr/etc` is at boot.
fn at_boot(of: &TreePath) -> Option<TreePath> {
    let below = of.strip_prefix(&path(USR_ETC))?;
    Some(path("/etc").concat(&below))
}

/// The shape of a tree, with its `/usr/etc` as `/etc` too.
fn booted<C>(tree: &Tree<C>) -> Tree<()> {
    let mut out = Tree::new(Metadata::default());
    let mut put = |path: &TreePath, kind: &Kind<C>| {
        let kind = match kind {
            Kind::Directory(_) => Kind::Directory(Default::default()),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            // That it is there is all that counts.
            _ => Kind::File(()),
        };
        let metadata = Metadata::default();
        out.put(path, Inode { metadata, kind })
            .expect("a directory comes before what is in it");
    };
    // The image's own /etc is empty, or a link; /usr comes after it.
    for (path, id) in tree.walk().filter(|(path, _)| path.as_bytes() != b"etc") {
        let kind = &tree.inode(id).kind;
        put(&path, kind);
        if let Some(path) = at_boot(&path) {
            put(&path, kind);
        }
    }
    out
}

/// The layer of a path that is written out.
pub(crate) fn layer_of(view: &View<'_>, path: &str) -> Option<usize> {
    view.layer(&TreePath::new(path).ok()?)
}
