use std::path::PathBuf;

use pleach_fs_tree::Digest;
use pleach_layer_merge::{Image, Layout, MergeOptions, index_cached};
use serde_json::json;

use super::{open, options, outcome, well_formed};

/// The bytes are the kept index of a layer: as they are, they are taken for damaged; behind a right
/// header and with a right sum they are an error, ignored, or a tree that a layer could have given.
pub(crate) fn index(data: &[u8]) {
    thread_local!(static KEPT: Kept = Kept::new());
    KEPT.with(|kept| {
        kept.put(data);
        assert_eq!(kept.outcome(), kept.fresh, "it was taken without a sum");
        let mut whole = [&*kept.header, data].concat();
        whole.extend(Digest::of(&whole).0);
        kept.put(&whole);
        let merged = index_cached(
            &kept.layout,
            &kept.image,
            &open(&kept.cache()),
            &kept.options,
        );
        if let Ok(merged) = merged {
            well_formed(&merged.tree, &kept.options.limits);
        }
    });
}

/// An image of one layer with its kept index.
struct Kept {
    temporary: tempfile::TempDir,
    layout: Layout,
    image: Image,
    options: MergeOptions,
    /// What the index of the layer begins with, whatever the layer has.
    header: Vec<u8>,
    file: PathBuf,
    fresh: String,
}

/// Magic bytes, a digest of options, a diff ID.
const HEADER: usize = 16 + 32 + 32;

impl Kept {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let entries = [json!({"path": "a", "type": "file", "content": "x"})];
        let layer = crate::archive::layer(&entries, &json!({"compression": "none"}));
        let image = temporary.path().join("image");
        crate::archive::write_layout(&image, &[layer]);
        std::fs::create_dir(temporary.path().join("cache")).unwrap();
        let layout = Layout::open(&open(&image)).unwrap();
        let image = layout.resolve(None, None).unwrap();
        let mut kept = Self {
            temporary,
            layout,
            image,
            options: options(),
            header: Vec::new(),
            file: PathBuf::new(),
            fresh: String::new(),
        };
        kept.fresh = kept.outcome();
        let mut files = std::fs::read_dir(kept.cache()).unwrap();
        kept.file = files.next().unwrap().unwrap().path();
        kept.header = std::fs::read(&kept.file).unwrap()[..HEADER].to_vec();
        kept
    }

    fn cache(&self) -> PathBuf {
        self.temporary.path().join("cache")
    }

    fn put(&self, bytes: &[u8]) {
        std::fs::write(&self.file, bytes).unwrap();
    }

    fn outcome(&self) -> String {
        let cache = open(&self.cache());
        outcome(&index_cached(
            &self.layout,
            &self.image,
            &cache,
            &self.options,
        ))
    }
}
