//! Small bootable images in a layout, and a sysroot with the first of them.

use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, Metadata, Timestamp, Tree, TreePath};
use pleach_layer_merge::Layout;
use rustix::fs::IFlags;
use serde_json::json;

use crate::images::put_scratch_image;

/// What an image has, besides what every image has.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) version: String,
    /// RFC 3339.
    pub(super) created: String,
    /// Paths with what they hold.
    pub(super) files: Vec<(String, String)>,
}

impl Image {
    /// Version and files follow the number; the kernel is another one for each.
    pub(super) fn number(number: u32) -> Self {
        let file = |path: &str, text: String| (path.to_owned(), text);
        Self {
            version: format!("{number}.0"),
            created: format!("2026-01-{number:02}T00:00:00Z"),
            files: vec![
                file("usr/lib/modules/6.1/vmlinuz", format!("kernel {number}\n")),
                file(
                    "usr/lib/modules/6.1/initramfs.img",
                    format!("initramfs {number}\n"),
                ),
                file(
                    "usr/lib/os-release",
                    format!("PRETTY_NAME=\"Test {number}\"\n"),
                ),
                file(
                    "usr/lib/bootc/kargs.d/10.toml",
                    format!("kargs = [\"quiet\", \"v={number}\"]\n"),
                ),
                file("usr/share/same", "the same in all\n".to_owned()),
                file("usr/share/number", format!("{number}\n")),
                file("etc/motd", format!("welcome to {number}\n")),
                file("etc/hosts", "127.0.0.1 localhost\n".to_owned()),
                file("etc/conf.d/a", format!("a={number}\n")),
                file("var/lib/seed", format!("{number}\n")),
            ],
        }
    }

    pub(super) fn with(mut self, path: &str, text: &str) -> Self {
        self.files.retain(|(p, _)| p != path);
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Writes it into the layout `folder`.
    pub(super) fn write(&self, folder: &Path, tag: &str) {
        std::fs::create_dir_all(folder).expect("a folder");
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).expect("a folder");
        let layout = Layout::open(&dir).or_else(|_| Layout::create(&dir));
        let layout = layout.expect("a layout");
        let metadata = |mode| Metadata {
            mtime: Timestamp::from_seconds(1_767_225_600),
            ..Metadata::with_mode(mode)
        };
        let mut tree = Tree::new(metadata(0o755));
        let directory = |tree: &mut Tree<Vec<u8>>, path: &str| {
            let path = TreePath::new(path).expect("a path");
            if tree.lookup(&path).is_none() {
                tree.put(&path, Inode::directory(metadata(0o755)))
                    .expect("put");
            }
        };
        for path in [
            "usr", "etc", "var", "sysroot", "boot", "dev", "proc", "sys", "run", "tmp",
        ] {
            directory(&mut tree, path);
        }
        for (path, text) in &self.files {
            let mut above = PathBuf::new();
            for part in Path::new(path)
                .parent()
                .into_iter()
                .flat_map(Path::components)
            {
                above.push(part);
                directory(&mut tree, above.to_str().expect("UTF-8"));
            }
            let path = TreePath::new(path).expect("a path");
            tree.put(
                &path,
                Inode::file(metadata(0o644), text.clone().into_bytes()),
            )
            .expect("put");
        }
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": self.created,
            "config": { "Labels": { "org.opencontainers.image.version": self.version } },
        });
        put_scratch_image(&layout, tree, config, tag);
    }
}

/// A folder with the images v1, v2 and v3 and a sysroot; what is immutable in it can be deleted.
pub(super) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(super) fn new() -> Self {
        let scratch = Self(crate::scratch());
        for number in 1..=3 {
            Image::number(number).write(&scratch.path("images"), &format!("v{number}"));
        }
        scratch
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        clear_immutable(self.0.path(), 7);
    }
}

fn clear_immutable(path: &Path, depth: u32) {
    let Ok(dir) = Dir::open_ambient_dir(path, ambient_authority()) else {
        return;
    };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&dir)
        && flags.contains(IFlags::IMMUTABLE)
    {
        let _ = rustix::fs::ioctl_setflags(&dir, flags - IFlags::IMMUTABLE);
    }
    for entry in dir.entries().into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            clear_immutable(&path.join(entry.file_name()), depth - 1);
        }
    }
}
