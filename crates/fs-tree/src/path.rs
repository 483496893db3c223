//! Names and paths inside a tree: bytes, relative, already normal.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

use thiserror::Error;

use crate::escape;

/// Why some bytes are not a [`Name`] or a [`TreePath`].
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// An empty name, or two slashes in a row.
    #[error("empty component in path {path:?}")]
    Empty {
        /// The path, escaped.
        path: String,
    },
    /// A component `.` or `..`.
    #[error("component {component:?} in path {path:?}: a path inside a tree has neither . nor ..")]
    Dots {
        /// The path, escaped.
        path: String,
        /// `.` or `..`.
        component: String,
    },
    /// A NUL byte.
    #[error("NUL byte in path {path:?}")]
    Nul {
        /// The path, escaped.
        path: String,
    },
    /// A slash inside a single name.
    #[error("slash in name {path:?}")]
    Slash {
        /// The name, escaped.
        path: String,
    },
}

/// One component of a path: not empty, not `.` or `..`, no slash, no NUL; otherwise any bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// When `bytes` is not a single plain component.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.contains(&b'/') {
            return Err(PathError::Slash {
                path: escape(bytes),
            });
        }
        check_component(bytes, bytes)?;
        Ok(Self(bytes.into()))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn check_component(component: &[u8], whole: &[u8]) -> Result<(), PathError> {
    if component.is_empty() {
        return Err(PathError::Empty {
            path: escape(whole),
        });
    }
    if component == b"." || component == b".." {
        return Err(PathError::Dots {
            path: escape(whole),
            component: escape(component),
        });
    }
    if component.contains(&0) {
        return Err(PathError::Nul {
            path: escape(whole),
        });
    }
    Ok(())
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", escape(&self.0))
    }
}

/// A path inside a tree, relative to its root, without `.` or `..` or doubled slashes.
///
/// The root itself is the empty path. The order is that of a walk: a directory comes before what
/// is in it, and siblings are sorted by their bytes.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks and takes a path; one leading slash is allowed and means the root of the tree.
    ///
    /// # Errors
    /// When a component is empty, `.` or `..`, or holds a NUL.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let whole = path.as_ref();
        let bytes = whole.strip_prefix(b"/").unwrap_or(whole);
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        for component in bytes.split(|&b| b == b'/') {
            check_component(component, whole)?;
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// How many components there are.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// This path with one more component.
    #[must_use]
    pub fn join(&self, name: &Name) -> Self {
        if self.is_root() {
            return Self(name.as_bytes().into());
        }
        Self([&self.0, b"/".as_slice(), name.as_bytes()].concat().into())
    }

    /// This path with all of `other`'s components behind it.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            _ => Self([&self.0, b"/".as_slice(), &other.0].concat().into()),
        }
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].into()))
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<Name> {
        self.components().next_back().map(|c| Name(c.into()))
    }

    /// Whether this is `ancestor` or below it.
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        self.strip_prefix(ancestor).is_some()
    }

    /// The rest of this path below `ancestor`; the root if they are equal.
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&*ancestor.0)?;
        match rest.first() {
            None => Some(Self::root()),
            Some(b'/') => Some(Self(rest[1..].into())),
            Some(_) => None,
        }
    }
}

impl From<Name> for TreePath {
    fn from(name: Name) -> Self {
        Self(name.0)
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// With a leading slash, escaped: `/etc/passwd`, and `/` for the root.
impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", escape(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
