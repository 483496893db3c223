//! Trees become an image, and an archive becomes a tree.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, Metadata, Timestamp, Tree};
use pleach_layer_merge::{
    Changes, ContentSink, History, Image, LayerOptions, Layout, MergeOptions, NewImage,
    WrittenLayer, append_layer, diff, write_layer,
};
use serde_json::json;

use super::recipe::{EPOCH, Layers};
use super::tree::{self, Content};

/// [`EPOCH`] as RFC 3339 has it.
pub(super) const CREATED: &str = "2026-01-01T00:00:00Z";

/// The tags.
pub(super) const VERSIONS: [&str; 2] = ["v1", "v2"];

const VERSION_LABEL: &str = "org.opencontainers.image.version";

/// Writes both versions as the tags `v1` and `v2` of a new layout in `dir`.
///
/// `v1` has a layer for each line of the recipe; `v2` has one more, on the same lower ones.
pub(super) fn write(
    dir: &Path,
    layers: &Layers,
    [v1, v2]: &[Tree<Content>; 2],
    kernel: &str,
) -> Result<()> {
    let dir = Dir::open_ambient_dir(dir, ambient_authority())?;
    let layout = Layout::create(&dir)?;
    let image = first(&layout, layers, v1, kernel)?;
    let layer = put_layer(&layout, &diff(v1, v2, |a, b| a == b))?;
    let labels = BTreeMap::from([(VERSION_LABEL.to_owned(), "v2".to_owned())]);
    let said = history("fixtures/base/v2");
    let second = append_layer(&image, &layer, &said, &labels, &BTreeMap::new())?;
    layout.put_image(&second, Some("v2"))?;
    Ok(())
}

/// Writes both versions of a variant as the tags `v1` and `v2` in `dir`, which is a copy of the
/// base's layout: each is the base's image of that version with one layer more.
pub(super) fn write_variant(
    dir: &Path,
    name: &str,
    base: &[Tree<Content>; 2],
    variant: &[Tree<Content>; 2],
    kernel: &str,
) -> Result<()> {
    let dir = Dir::open_ambient_dir(dir, ambient_authority())?;
    let layout = Layout::open(&dir)?;
    let labels = BTreeMap::from([("ostree.linux".to_owned(), kernel.to_owned())]);
    let said = history(&format!("fixtures/base/variants/{name}"));
    for (tag, (base, variant)) in VERSIONS.into_iter().zip(base.iter().zip(variant)) {
        let lower = layout.resolve(Some(tag), None)?;
        let layer = put_layer(&layout, &diff(base, variant, |a, b| a == b))?;
        let image = append_layer(&lower, &layer, &said, &labels, &BTreeMap::new())?;
        layout.put_image(&image, Some(tag))?;
    }
    Ok(())
}

fn first(layout: &Layout, layers: &Layers, v1: &Tree<Content>, kernel: &str) -> Result<Image> {
    let mut stack = Vec::new();
    // Nothing, not even the root's metadata, so that the first layer sets them.
    let mut lower = Tree::new(Metadata::default());
    for (index, name) in layers.names().iter().enumerate() {
        let upper = tree::filter(v1, |path| layers.of(path) <= index)?;
        let changes = diff(&lower, &upper, |a, b| a == b);
        let said = history(&format!("fixtures/base, layer {name}"));
        stack.push((put_layer(layout, &changes)?, said));
        lower = upper;
    }
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {
            "Cmd": ["/sbin/init"],
            "StopSignal": "SIGRTMIN+3",
            "Labels": {
                "containers.bootc": "1",
                "ostree.bootable": "true",
                "ostree.linux": kernel,
                (VERSION_LABEL): "v1",
            },
        },
    });
    let image = NewImage::scratch(config, &stack, &BTreeMap::new())?;
    layout.put_image(&image, Some("v1"))?;
    Ok(layout.resolve(Some("v1"), None)?)
}

pub(super) fn put_layer(layout: &Layout, changes: &Changes<Content>) -> Result<WrittenLayer> {
    let options = LayerOptions {
        clamp_mtime: Some(Timestamp::from_seconds(EPOCH)),
        ..LayerOptions::default()
    };
    let mut source = |content: &Content| Ok(Cursor::new(content.clone()));
    let mut blob = layout.write_blob()?;
    let layer = write_layer(changes, &mut source, &mut blob, &options)?;
    blob.finish()?;
    Ok(layer)
}

pub(super) fn history(created_by: &str) -> History {
    History {
        created: Some(CREATED.to_owned()),
        created_by: Some(created_by.to_owned()),
        ..History::default()
    }
}

/// Reads an archive into memory.
pub(super) fn read_tar(path: &Path) -> Result<Tree<Content>> {
    let mut file =
        std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let options = MergeOptions {
        file_digests: false,
        ..MergeOptions::default()
    };
    let merged = pleach_layer_merge::read_tar(&mut file, &mut InMemory::default(), &options)
        .with_context(|| format!("reading {}", path.display()))?;
    if !merged.notes.is_empty() {
        bail!(
            "{}: not all of it can be kept: {:?}",
            path.display(),
            merged.notes
        );
    }
    Ok(merged.tree)
}

/// Takes each file's bytes as they come.
#[derive(Default)]
struct InMemory(Vec<u8>);

impl ContentSink for InMemory {
    type Content = Content;

    fn begin(&mut self, _: &Metadata, _: u64) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.resize(self.0.len() + length, 0);
        Ok(())
    }

    fn finish(&mut self, _: FileContent) -> io::Result<Content> {
        Ok(Content::new(self.0.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use pleach_fs_tree::{dump, parse_dump};
    use pleach_layer_merge::merge_with;
    use xshell::Shell;

    use super::*;

    const V1: &str = "\
/ directory 0755 0:0 5.0
/etc directory 0755 0:0 5.0
/etc/hosts file 0644 0:0 5.0 hosts
/etc/old file 0644 0:0 5.0 old
/usr directory 0755 0:0 5.0
/usr/bin directory 0755 0:0 5.0
/usr/bin/su file 4755 0:0 5.0 su
/usr/bin/sudo hardlink /usr/bin/su
/usr/lib directory 0750 0:7 5.0
/usr/lib/modules directory 0755 0:0 5.0
/usr/lib/modules/vmlinuz file 0600 0:0 5.0 kernel
/var directory 1777 0:0 5.0
";

    fn parse(text: &str) -> Tree<Content> {
        parse_dump(text, |bytes| Some(Content::new(bytes))).expect("a dump")
    }

    #[test]
    fn both_versions_come_out_as_they_went_in_and_share_layers() -> Result<()> {
        let layers = Layers::parse("os /\nkernel /usr/lib/modules\nconfig /etc\n")?;
        let v1 = parse(V1);
        let old = "/etc/old file 0644 0:0 5.0 old";
        let v2 = parse(&V1.replace(old, "/etc/new file 0600 0:0 5.0 new"));
        let sh = Shell::new()?;
        let (first, second) = (sh.create_temp_dir()?, sh.create_temp_dir()?);
        let versions = [v1, v2];
        for dir in [&first, &second] {
            write(dir.path(), &layers, &versions, "6.1")?;
        }
        let index = |dir: &Path| sh.read_file(dir.join("index.json"));
        assert_eq!(index(first.path())?, index(second.path())?);

        let dir = Dir::open_ambient_dir(first.path(), ambient_authority())?;
        let layout = Layout::open(&dir)?;
        let options = MergeOptions::default();
        let mut blobs = Vec::new();
        for (tag, tree) in VERSIONS.into_iter().zip(&versions) {
            let image = layout.resolve(Some(tag), None)?;
            let merged = merge_with(&layout, &image, &mut InMemory::default(), &options)?;
            let print = |tree| dump(tree, |content: &Content| content.to_vec());
            assert_eq!(print(&merged.tree), print(tree), "{tag}");
            for (label, value) in [
                ("containers.bootc", "1"),
                ("ostree.bootable", "true"),
                ("ostree.linux", "6.1"),
                (VERSION_LABEL, tag),
            ] {
                assert_eq!(image.label(label), Some(value), "{tag} {label}");
            }
            blobs.push(
                image
                    .layers()
                    .iter()
                    .map(|layer| layer.digest)
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!((blobs[0].len(), blobs[1].len()), (3, 4));
        assert_eq!(blobs[0], blobs[1][..3]);

        // A variant, in the same layout.
        let more = "/usr/lib/tool file 0755 0:0 5.0 tool\n/var ";
        let [v1, v2] = &versions;
        let add = |tree| {
            let text = dump(tree, |content: &Content| content.to_vec());
            parse(&text.replacen("/var ", more, 1))
        };
        let variant = [add(v1), add(v2)];
        write_variant(first.path(), "tool", &versions, &variant, "6.2")?;
        for ((tag, tree), lower) in VERSIONS.into_iter().zip(&variant).zip(&blobs) {
            let image = layout.resolve(Some(tag), None)?;
            let merged = merge_with(&layout, &image, &mut InMemory::default(), &options)?;
            let print = |tree| dump(tree, |content: &Content| content.to_vec());
            assert_eq!(print(&merged.tree), print(tree), "{tag}");
            assert_eq!(image.label("ostree.linux"), Some("6.2"), "{tag}");
            let digests: Vec<_> = image.layers().iter().map(|layer| layer.digest).collect();
            let (last, below) = digests.split_last().context("no layer")?;
            assert_eq!(below, lower, "{tag}");
            assert!(!lower.contains(last), "{tag}");
        }
        Ok(())
    }
}
