//! A configuration extension, systemd-confext(8): a tree that is laid over `/etc`.

use pleach_customization::lower::{Action, Change, LowerErrors};
use pleach_customization::{Customization, Placement, Refusal, Refused, Route, carried};
use pleach_fs_tree::{Inode, Metadata, Tree, TreeError, TreePath};
use thiserror::Error;

use crate::Sealed;
use crate::alone::{alone, brings};

/// A hierarchy for `/var/lib/confexts/NAME` or `/run/confexts/NAME`, or for an image.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Confext {
    /// What the folder, or the image, must be called.
    pub name: String,
    /// `etc/…`, with `etc/extension-release.d/extension-release.NAME` in it.
    pub tree: Tree<Sealed>,
    /// Items that arrive in another way than the document says.
    pub notes: Vec<Placement>,
}

/// Choices of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfextOptions {
    /// The extension's name: letters, digits, `_`, `-` and `.`.
    pub name: String,
    /// `ID` and `VERSION_ID` of the os-release(5) that it fits; none fits any.
    pub release: Option<(String, String)>,
}

/// A customization that cannot become a configuration extension.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfextError {
    /// Items that this route cannot carry.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Items that need the image: an owner that only it knows, a unit that only it has.
    #[error(transparent)]
    Lower(#[from] LowerErrors),
    /// A name that no file can have.
    #[error("'{name}' cannot be an extension's name: it takes letters, digits, '_', '-' and '.'")]
    Name {
        /// The name.
        name: String,
    },
    /// Two items in each other's way.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Lays a customization out as a configuration extension. Files that the image has below the same
/// path are hidden by it, and `/etc` is read-only while it is merged; directories have the mode that
/// they have here.
///
/// The same customization gives the same tree.
///
/// # Errors
/// The items that this route cannot carry, and a name that none can have.
pub fn to_confext(
    customization: &Customization,
    options: &ConfextOptions,
) -> Result<Confext, ConfextError> {
    let name = &options.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        return Err(ConfextError::Name { name: name.clone() });
    }
    let notes = carried(customization, Route::Confext)?;
    refuse(customization)?;
    let mut tree = Tree::new(Metadata::with_mode(0o755));
    for change in alone(customization)? {
        put(&mut tree, &change)?;
    }
    let release = release(options, !customization.units.is_empty());
    let path = format!("/etc/extension-release.d/extension-release.{name}");
    let file = Inode::file(Metadata::with_mode(0o644), Sealed::new(release));
    tree.put_with_parents(&at(path.as_bytes()), file, &Metadata::with_mode(0o755))?;
    Ok(Confext {
        name: name.clone(),
        tree,
        notes,
    })
}

fn at(path: &[u8]) -> TreePath {
    TreePath::new(path).expect("a path of a checked document")
}

/// What would need the file or the link that is below.
fn refuse(c: &Customization) -> Result<(), Refused> {
    let mut out = Vec::new();
    let mut no = |item: String, origin: &pleach_customization::Origin, why, instead| {
        let origin = origin.clone();
        out.push(Refusal {
            origin,
            item,
            why,
            instead,
        });
    };
    for f in c.files.iter().filter(|f| f.contents.is_none()) {
        no(
            format!("file {}", f.path),
            &f.origin,
            "an extension hides the file that is there",
            "give the whole contents",
        );
    }
    for unit in &c.units {
        let item = || format!("unit {}", unit.name);
        if unit.enabled == Some(false) || unit.mask == Some(false) {
            no(
                item(),
                &unit.origin,
                "an extension takes no link away",
                "mask it, or inject it by another route",
            );
        }
        if unit.enabled == Some(true) && unit.mask != Some(true) && !brings(c, &unit.name) {
            no(
                item(),
                &unit.origin,
                "what enables it stands in the image's own unit file",
                "give its contents, or inject it by another route",
            );
        }
    }
    match out.is_empty() {
        true => Ok(()),
        false => Err(Refused(out)),
    }
}

fn put(tree: &mut Tree<Sealed>, change: &Change) -> Result<(), TreeError> {
    let metadata = |mode: u32, uid: u32, gid: u32| Metadata {
        uid,
        gid,
        ..Metadata::with_mode(u16::try_from(mode & 0o7777).expect("twelve bits"))
    };
    let path = at(&change.path);
    let inode = match &change.action {
        Action::Write {
            contents,
            mode,
            uid,
            gid,
        } => Inode::file(metadata(*mode, *uid, *gid), Sealed::new(contents.clone())),
        Action::Mkdir { mode, uid, gid } => {
            let metadata = metadata(*mode, *uid, *gid);
            match tree
                .lookup(&path)
                .filter(|id| tree.inode(*id).entries().is_some())
            {
                Some(id) => {
                    *tree.metadata_mut(id) = metadata;
                    return Ok(());
                }
                None => Inode::directory(metadata),
            }
        }
        Action::Symlink { target, uid, gid } => Inode::symlink(metadata(0o777, *uid, *gid), target),
        Action::HardLink { target } => {
            let (Some(target), Some(parent), Some(name)) =
                (tree.lookup(&at(target)), path.parent(), path.file_name())
            else {
                return Ok(());
            };
            let parent = tree.directory(&parent)?;
            tree.remove(&path);
            return tree.link(target, parent, name);
        }
        _ => {
            tree.remove(&path);
            return Ok(());
        }
    };
    tree.remove(&path);
    tree.put(&path, inode).map(|_| ())
}

/// extension-release(5), which is os-release(5) and says whom it fits.
fn release(options: &ConfextOptions, units: bool) -> String {
    let mut text = match &options.release {
        Some((id, version)) => format!("ID={id}\nVERSION_ID={version}\n"),
        None => "ID=_any\n".to_owned(),
    };
    if units {
        text.push_str("EXTENSION_RELOAD_MANAGER=1\n");
    }
    text
}
