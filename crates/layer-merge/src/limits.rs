//! How much an image may ask for.

/// Limits on what is read. Reaching one is [`Fault::Limit`](crate::Fault::Limit) with its name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a manifest, a configuration or an index.
    pub document: u64,
    /// Layers of an image.
    pub layers: usize,
    /// Entries of all layers together, whiteouts included; and names that they put into
    /// directories, those of directories included that no entry names.
    pub entries: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Components of a path.
    pub depth: usize,
    /// Components of symbolic links' targets that are walked on the way to all entries together:
    /// one path may lead through forty links, each of thousands of components.
    pub link_steps: u64,
    /// Bytes of one component of a path (Linux: 255).
    pub name: usize,
    /// Bytes of the target of a symbolic link (Linux: 4095).
    pub link_target: usize,
    /// Bytes of one record that describes an entry: PAX header, GNU long name or link, sparse map.
    pub metadata_record: u64,
    /// Extents of a sparse file.
    pub sparse_extents: usize,
    /// Bytes of one regular file, holes included.
    pub file: u64,
    /// Bytes of the names, targets and extended attributes of all entries of all layers together:
    /// they are held in memory.
    pub metadata: u64,
    /// Bytes of all archives and of all holes, uncompressed, of all layers together.
    pub unpacked: u64,
    /// Bytes after the end of an archive.
    pub trailing: u64,
    /// Extended attributes of one inode.
    pub xattrs: usize,
    /// Bytes of an extended attribute's name (Linux: 255).
    pub xattr_name: usize,
    /// Bytes of an extended attribute's value (Linux: 65536).
    pub xattr_value: usize,
    /// Uncompressed bytes for each compressed one, holes included, once a layer is larger than
    /// [`compression_grace`](Self::compression_grace).
    pub compression_ratio: u64,
    /// Uncompressed bytes of a layer up to which any ratio is fine.
    pub compression_grace: u64,
    /// Base-2 logarithm of the largest window a zstd frame may ask for, that is of its memory.
    pub zstd_window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 4 << 20,
            layers: 1024,
            entries: 4_000_000,
            path: 16 << 10,
            depth: 255,
            link_steps: 100_000_000,
            name: 255,
            link_target: 4095,
            metadata_record: 1 << 20,
            sparse_extents: 100_000,
            file: 64 << 30,
            metadata: 512 << 20,
            unpacked: 256 << 30,
            trailing: 64 << 20,
            xattrs: 1024,
            xattr_name: 255,
            xattr_value: 64 << 10,
            compression_ratio: 1100,
            compression_grace: 1 << 30,
            zstd_window_log: 27,
        }
    }
}
