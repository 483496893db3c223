//! A folder several levels deep with a target in it, and canaries around that.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// ```text
/// outer/                                   .. .. .. .. of the target
///   canary, etc/shadow, dir/inner          what an escape would hit
///   one/two/three/
///     canary, etc/shadow, dir/inner
///     target/
///   image/, spool/
/// ```
pub(crate) struct Scratch {
    temporary: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let scratch = Self { temporary };
        fs::create_dir_all(scratch.target()).unwrap();
        for folder in [scratch.image(), scratch.spool()] {
            fs::create_dir(folder).unwrap();
        }
        for at in [scratch.outer(), scratch.target().parent().unwrap()] {
            canaries(at);
        }
        scratch
    }

    pub(crate) fn outer(&self) -> &Path {
        self.temporary.path()
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.outer().join("one/two/three/target")
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.outer().join("image")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.outer().join("spool")
    }

    /// The layers with the outermost folder in place of `@OUTSIDE@`.
    pub(crate) fn fill_in(&self, layers: &[Value]) -> Vec<Value> {
        let outside = self.outer().to_str().unwrap();
        let fill = |value: &Value| {
            let text = value.to_string().replace("@OUTSIDE@", outside);
            serde_json::from_str(&text).unwrap()
        };
        layers.iter().map(fill).collect()
    }

    /// All that can be said about everything outside the target, times of change too.
    pub(crate) fn outside(&self) -> String {
        let mut out = String::new();
        describe(self.outer(), &self.target(), &mut out);
        out
    }

    /// The target's own attributes and what is in it.
    pub(crate) fn target_itself(&self) -> String {
        let mut out = String::new();
        describe(&self.target(), Path::new(""), &mut out);
        out
    }
}

fn canaries(at: &Path) {
    for folder in ["etc", "dir"] {
        fs::create_dir(at.join(folder)).unwrap();
    }
    for (name, mode) in [
        ("canary", 0o644),
        ("etc/shadow", 0o600),
        ("dir/inner", 0o640),
    ] {
        fs::write(at.join(name), "canary").unwrap();
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("canary", at.join("link")).unwrap();
    // Not everywhere; where it is refused there is nothing to compare.
    let file = fs::File::open(at.join("canary")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let _ = rustix::fs::fsetxattr(&file, "user.canary", b"kept", flags);
}

fn describe(path: &Path, but: &Path, out: &mut String) {
    let meta = fs::symlink_metadata(path).unwrap();
    if path == but {
        return;
    }
    let content = if meta.is_file() {
        fs::read(path).unwrap()
    } else {
        fs::read_link(path)
            .map(|target| target.into_os_string().into_encoded_bytes())
            .unwrap_or_default()
    };
    let owner = (meta.uid(), meta.gid(), meta.mode(), meta.nlink());
    let times = (
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    );
    let kind = (meta.ino(), meta.rdev(), meta.len());
    let mut value = [0; 64];
    let xattr = rustix::fs::lgetxattr(path, "user.canary", &mut value).ok();
    let content = String::from_utf8_lossy(&content);
    writeln!(
        out,
        "{path:?} {owner:?} {times:?} {kind:?} {xattr:?} {content:?}"
    )
    .unwrap();
    if meta.is_dir() {
        let names = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<OsString> = names.collect();
        names.sort();
        for name in names {
            describe(&path.join(name), but, out);
        }
    }
}
