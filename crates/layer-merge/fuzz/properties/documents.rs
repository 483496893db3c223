use std::fs;
use std::path::{Path, PathBuf};

use pleach_fs_tree::Digest;
use pleach_layer_merge::{Error, Image, Layout};
use serde_json::{Value, json};

use super::open;

/// The bytes, after the first one, are a document of a layout: `index.json`, a manifest or a
/// configuration, as the first byte says; what is around it is good.
///
/// An error or an image, the same each time; and an image keeps the limits.
pub(crate) fn documents(data: &[u8]) {
    thread_local!(static GOOD: Good = Good::new());
    let Some((which, document)) = data.split_first() else {
        return;
    };
    GOOD.with(|good| good.with(*which, document));
}

struct Good {
    temporary: tempfile::TempDir,
    index: Value,
    manifest: Value,
}

impl Good {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let entries = [json!({"path": "a", "type": "file", "content": "x"})];
        let layer = crate::archive::layer(&entries, &json!({"compression": "none"}));
        crate::archive::write_layout(temporary.path(), &[layer]);
        let read = |path: PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let index: Value = read(temporary.path().join("index.json"));
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        let manifest = read(blob(temporary.path(), digest));
        Self {
            temporary,
            index,
            manifest,
        }
    }

    fn with(&self, which: u8, document: &[u8]) {
        let root = self.temporary.path();
        let mut made = Vec::new();
        let mut put = |bytes: &[u8]| {
            let digest = Digest::of(bytes).to_string();
            let path = blob(root, &digest);
            if !path.exists() {
                fs::write(&path, bytes).unwrap();
                made.push(path);
            }
            (digest, bytes.len())
        };
        let mut index = self.index.clone();
        let mut name = |(digest, size): (String, usize)| {
            index["manifests"][0]["digest"] = digest.into();
            index["manifests"][0]["size"] = size.into();
        };
        match which % 3 {
            0 => {}
            1 => name(put(document)),
            _ => {
                let (digest, size) = put(document);
                let mut manifest = self.manifest.clone();
                manifest["config"]["digest"] = digest.into();
                manifest["config"]["size"] = size.into();
                name(put(manifest.to_string().as_bytes()));
            }
        }
        let index = match which % 3 {
            0 => document.to_vec(),
            _ => index.to_string().into_bytes(),
        };
        fs::write(root.join("index.json"), index).unwrap();
        let layout = Layout::open(&open(root)).unwrap();
        let _ = layout.images();
        for reference in [None, Some("image")] {
            let image = layout.resolve(reference, None);
            assert_eq!(text(&image), text(&layout.resolve(reference, None)));
            if let Ok(image) = image {
                assert!(image.layers().len() <= layout.limits().layers);
                let _ = pleach_layer_merge::index(&layout, &image, &super::options());
            }
        }
        for path in made {
            fs::remove_file(path).unwrap();
        }
    }
}

fn text(image: &Result<Image, Error>) -> String {
    match image {
        Ok(image) => format!("{:?}", image.layers()),
        Err(error) => format!("{error:?}"),
    }
}

fn blob(root: &Path, digest: &str) -> PathBuf {
    root.join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"))
}
