//! How layers are read, and what is left out of them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Fault, Limits};

/// What happens to an extended attribute of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrAction {
    /// It is in the tree.
    Keep,
    /// It is left out, with a [`Note`](crate::Note).
    Drop,
    /// The image is refused.
    Refuse,
}

/// How layers are read.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// See there.
    pub limits: Limits,
    /// Refuse what the specification forbids writers but leaves open for readers, and what only
    /// some readers take: two entries for one path in a layer, and an entry below something that
    /// lower layers have as a file.
    pub strict: bool,
    /// By the beginning of an extended attribute's name, the longest counts; a name that none fits
    /// is dropped.
    pub xattrs: Vec<(Vec<u8>, XattrAction)>,
    /// Compute the SHA-256 of each regular file.
    pub file_digests: bool,
    /// Layers that are read at a time, each with buffers of its own; 0 is one for each processor,
    /// but at most four. With more than one, each is decompressed by one more thread.
    pub threads: usize,
    /// Remember which entry put each path there, and what it hid. Without, [`Merged::provenance`](crate::Merged)
    /// and [`Merged::hidden`](crate::Merged) know nothing, and less memory is used.
    pub provenance: bool,
}

/// More threads than this only where they are asked for.
const MAX_THREADS: usize = 4;

impl Default for MergeOptions {
    /// All of the four namespaces is kept, apart from SELinux labels, which are the host's policy's,
    /// and attributes that would make overlayfs hide or redirect files.
    fn default() -> Self {
        use XattrAction::{Drop, Keep, Refuse};
        let rules: [(&str, XattrAction); 8] = [
            ("user.", Keep),
            ("user.overlay.", Refuse),
            ("trusted.", Keep),
            ("trusted.overlay.", Refuse),
            ("security.", Keep),
            ("security.selinux", Drop),
            ("system.posix_acl_access", Keep),
            ("system.posix_acl_default", Keep),
        ];
        Self {
            limits: Limits::default(),
            strict: false,
            xattrs: rules.map(|(name, action)| (name.into(), action)).into(),
            file_digests: true,
            threads: 0,
            provenance: true,
        }
    }
}

impl MergeOptions {
    pub(crate) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
            threads => threads,
        }
    }

    pub(crate) fn xattr(&self, name: &[u8]) -> XattrAction {
        let rules = self
            .xattrs
            .iter()
            .filter(|(prefix, _)| name.starts_with(prefix));
        let rule = rules.max_by_key(|(prefix, _)| prefix.len());
        rule.map_or(XattrAction::Drop, |&(_, action)| action)
    }
}

/// What all layers of one image together have used of the limits. Layers may be read at the same
/// time.
#[derive(Debug, Default)]
pub struct Budget {
    entries: AtomicU64,
    metadata: AtomicU64,
    unpacked: AtomicU64,
}

impl Budget {
    pub(crate) fn entries(&self, more: u64, limits: &Limits) -> Result<(), Fault> {
        charge(&self.entries, more, limits.entries, "entries")
    }

    pub(crate) fn metadata(&self, bytes: u64, limits: &Limits) -> Result<(), Fault> {
        let what = "bytes of names, targets and extended attributes";
        charge(&self.metadata, bytes, limits.metadata, what)
    }

    pub(crate) fn unpacked(&self, bytes: u64, limits: &Limits) -> Result<(), Fault> {
        charge(&self.unpacked, bytes, limits.unpacked, "unpacked bytes")
    }
}

fn charge(used: &AtomicU64, more: u64, limit: u64, what: &'static str) -> Result<(), Fault> {
    let before = used.fetch_add(more, Ordering::Relaxed);
    match before.checked_add(more).filter(|&after| after <= limit) {
        Some(_) => Ok(()),
        None => Err(Fault::Limit { what, limit }),
    }
}
