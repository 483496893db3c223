//! The tree that changes are made to, as far as they need to see it.

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, with what it holds.
    Symlink(Vec<u8>),
    /// A device, socket or fifo.
    Other,
}

/// What is at a path, with its owner and mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Why a path cannot be resolved inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A component is a file.
    #[error("{0} is not a directory")]
    NotADirectory(String),
    /// More links than [`MAX_LINKS`].
    #[error("more than {MAX_LINKS} symbolic links")]
    TooManyLinks,
}

/// The most symbolic links that one resolution follows, as the kernel does.
pub const MAX_LINKS: usize = 40;

/// A tree to look at. Paths are absolute, clean and made of bytes, and name the thing itself: no
/// implementation follows a link.
///
/// Three methods are asked of an implementation; the others are built on them.
pub trait BaseView {
    /// What is at a path, not following it if it is a link. `/` is always a directory.
    fn node(&self, path: &[u8]) -> Option<Node>;

    /// The bytes of a regular file.
    fn read_file(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// The names in a directory, in any order; none if it is not a directory.
    fn names(&self, dir: &[u8]) -> Vec<Vec<u8>>;

    /// The path with all links of its parent followed inside the root. Components that do not exist
    /// stay as they are, for they will be made.
    ///
    /// # Errors
    /// A component that is a file, or a loop of links.
    fn resolve_parent(&self, path: &[u8]) -> Result<Vec<u8>, ResolveError> {
        let (parent, name) = split(path);
        Ok(join(&self.resolve(parent)?, name))
    }

    /// The path with all its links followed inside the root, the last component's too.
    ///
    /// # Errors
    /// A component that is a file although more follow, or a loop of links.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, ResolveError> {
        let mut rest: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut done = b"/".to_vec();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                done = split(&done).0.to_vec();
                continue;
            }
            let here = join(&done, &name);
            match self.node(&here).map(|node| node.kind) {
                Some(Kind::Symlink(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::TooManyLinks);
                    }
                    if target.first() == Some(&b'/') {
                        done = b"/".to_vec();
                    }
                    rest.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                Some(Kind::File | Kind::Other) if !rest.is_empty() => {
                    return Err(ResolveError::NotADirectory(lossy(&here)));
                }
                _ => done = here,
            }
        }
        Ok(done)
    }
}

/// A path's components, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

/// `dir/name`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Parent and name; the parent of `/` is `/`.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) | None => (b"/", path.strip_prefix(b"/").unwrap_or(path)),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
    }
}

/// For messages.
pub(crate) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
