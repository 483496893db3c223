//! Images made by hand, with every byte known, so that they can also be wrong.

use std::fs;
use std::io::Write;
use std::path::Path;

use pleach_image_fetch::Digest;
use serde_json::{Value, json};

#[derive(Clone, Copy)]
pub(crate) enum Pack {
    Plain,
    Gzip,
    /// Two members.
    GzipTwice,
    Zstd,
}

#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: &'static str,
    pub(crate) diff_id: Digest,
}

impl Layer {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// A layer with one file of `size` bytes that do not compress.
pub(crate) fn layer(seed: u64, size: usize, pack: Pack) -> Layer {
    packed(&tar(&format!("file-{seed}"), &noise(seed, size)), pack)
}

pub(crate) fn packed(tar: &[u8], pack: Pack) -> Layer {
    let (bytes, media_type) = match pack {
        Pack::Plain => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
        Pack::Gzip => (gzip(tar), "application/vnd.oci.image.layer.v1.tar+gzip"),
        Pack::GzipTwice => {
            let (a, b) = tar.split_at(tar.len() / 2);
            (
                [gzip(a), gzip(b)].concat(),
                "application/vnd.oci.image.layer.v1.tar+gzip",
            )
        }
        Pack::Zstd => (
            zstd::encode_all(tar, 3).unwrap(),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    };
    Layer {
        bytes,
        media_type,
        diff_id: Digest::of(tar),
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8))
        .flat_map(|_| next())
        .take(size)
        .collect()
}

/// A ustar archive with one file.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&it| u32::from(it)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend_from_slice(content);
    out.resize(out.len().div_ceil(512) * 512 + 1024, 0);
    out
}

/// An image layout with one image, named `latest`.
pub(crate) struct Image {
    pub(crate) layers: Vec<Layer>,
    pub(crate) config: Value,
    pub(crate) manifest: Value,
}

impl Image {
    pub(crate) fn new(layers: Vec<Layer>) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|it| it.diff_id.to_string()).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Labels": { "containers.bootc": "1" } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let mut image = Self {
            layers,
            config,
            manifest: Value::Null,
        };
        image.remake_manifest();
        image
    }

    /// Three small layers of different kinds.
    pub(crate) fn small(seed: u64) -> Self {
        Self::new(vec![
            layer(seed, 300_000, Pack::Gzip),
            layer(seed + 1, 20_000, Pack::Gzip),
            layer(seed + 2, 7, Pack::Gzip),
        ])
    }

    pub(crate) fn remake_manifest(&mut self) {
        let config = serde_json::to_vec(&self.config).unwrap();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|it| {
                json!({
                    "mediaType": it.media_type,
                    "digest": it.digest().to_string(),
                    "size": it.bytes.len(),
                })
            })
            .collect();
        self.manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config).to_string(),
                "size": config.len(),
            },
            "layers": layers,
            // Not in the order that a program would write them in: bytes must survive as they are.
            "annotations": { "z": "1", "a": "2" },
        });
    }

    /// Indented, so that a program that writes it anew is found out.
    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.manifest).unwrap()
    }

    pub(crate) fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest_bytes())
    }

    pub(crate) fn write(&self, to: &Path) {
        let blobs = to.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        put(&self.manifest_bytes());
        put(&serde_json::to_vec(&self.config).unwrap());
        self.layers.iter().for_each(|it| put(&it.bytes));
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": self.manifest_digest().to_string(),
                "size": self.manifest_bytes().len(),
                "annotations": { "org.opencontainers.image.ref.name": "latest" },
            }],
        });
        fs::write(to.join("index.json"), index.to_string()).unwrap();
        fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }
}
