//! The recipe: the data files of `fixtures/base`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pleach_fs_tree::TreePath;
use sha2::{Digest as _, Sha256};

/// The Debian suite that the image is made of.
pub(super) const SUITE: &str = "trixie";

/// The time of everything in the image (`SOURCE_DATE_EPOCH`): 2026-01-01 00:00:00 UTC.
pub(super) const EPOCH: i64 = 1_767_225_600;

/// `IMAGE_ID` in os-release.
pub(super) const IMAGE_ID: &str = "pleach-base";

/// What `fixtures/base` holds.
pub(super) struct Recipe {
    root: PathBuf,
    /// Debian packages on top of the essential ones.
    pub(super) packages: Vec<String>,
    /// Where the paths of the image go.
    pub(super) layers: Layers,
    /// What the second version changes.
    pub(super) v2: Changes,
}

impl Recipe {
    pub(super) fn load(root: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = root.join(name);
            std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
        };
        Ok(Self {
            root: root.to_owned(),
            packages: lines(&read("packages")?).map(str::to_owned).collect(),
            layers: Layers::parse(&read("layers")?).context("fixtures/base/layers")?,
            v2: Changes::parse(&read("v2/remove")?, &read("v2/modes")?)
                .context("fixtures/base/v2")?,
        })
    }

    /// Files that go into the root before the initramfs is made.
    pub(super) fn overlay(&self) -> PathBuf {
        self.root.join("overlay")
    }

    /// Files that the second version adds or replaces.
    pub(super) fn v2_overlay(&self) -> PathBuf {
        self.root.join("v2/overlay")
    }

    /// What mmdebstrap's result depends on, as far as this checkout says it.
    pub(super) fn compose_inputs(&self) -> Vec<PathBuf> {
        vec![self.root.join("packages"), self.overlay()]
    }

    /// What the layers depend on besides.
    pub(super) fn image_inputs(&self) -> Vec<PathBuf> {
        ["layers", "v2"].map(|name| self.root.join(name)).into()
    }
}

/// The layers of the image, lowest first.
pub(super) struct Layers {
    names: Vec<String>,
    prefixes: Vec<(TreePath, usize)>,
}

impl Layers {
    /// A name, then the paths that go there, a layer a line.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        for line in lines(text) {
            let mut words = line.split_whitespace();
            let name = words.next().context("an empty line")?;
            for path in words {
                prefixes.push((TreePath::new(path)?, names.len()));
            }
            names.push(name.to_owned());
        }
        if !prefixes.iter().any(|(path, _)| path.is_root()) {
            bail!("no layer for / itself");
        }
        Ok(Self { names, prefixes })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The layer of a path: that of the longest prefix.
    pub(super) fn of(&self, path: &TreePath) -> usize {
        self.prefixes
            .iter()
            .filter(|(prefix, _)| path.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.depth())
            .map_or(0, |&(_, layer)| layer)
    }
}

/// What a version does to the one before it, apart from the files it brings.
pub(super) struct Changes {
    /// Paths that are gone.
    pub(super) remove: Vec<TreePath>,
    /// Paths whose permissions change.
    pub(super) modes: Vec<(u16, TreePath)>,
}

impl Changes {
    pub(super) fn parse(remove: &str, modes: &str) -> Result<Self> {
        let remove = lines(remove).map(TreePath::new).collect::<Result<_, _>>()?;
        let modes = lines(modes)
            .map(|line| {
                let (mode, path) = line.split_once(' ').context("a mode and a path")?;
                let mode = u16::from_str_radix(mode, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .with_context(|| format!("{mode} is no mode"))?;
                Ok((mode, TreePath::new(path.trim())?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { remove, modes })
    }
}

/// What stands in a list of one item a line, without comments.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A digest over files: their paths relative to `root`, their permissions and their contents.
/// Directories stand for all that is in them.
pub(super) fn fingerprint(root: &Path, inputs: &[PathBuf]) -> Result<String> {
    let mut files = Vec::new();
    for input in inputs {
        collect(input, &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        let (mode, content) = if file.is_symlink() {
            let target = std::fs::read_link(&file)?;
            (0o120_777, target.into_os_string().into_encoded_bytes())
        } else {
            (executable(&file)?, std::fs::read(&file)?)
        };
        for part in [
            name.as_os_str().as_encoded_bytes(),
            mode.to_string().as_bytes(),
            &content,
        ] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Git keeps one bit of a file's mode, so nothing else may count.
fn executable(file: &Path) -> Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(file)?.permissions().mode() & 0o100)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_symlink() || !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
    for entry in entries {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_says_the_layer() -> Result<()> {
        let layers = Layers::parse("os /\nkernel /usr/lib/modules\nconfig /etc /usr/etc\n")?;
        assert_eq!(layers.names(), ["os", "kernel", "config"]);
        for (path, layer) in [
            ("/", 0),
            ("/usr/lib", 0),
            ("/usr/lib/modules-load.d", 0),
            ("/usr/lib/modules", 1),
            ("/usr/lib/modules/6.12/vmlinuz", 1),
            ("/etc/passwd", 2),
            ("/usr/etc/passwd", 2),
        ] {
            assert_eq!(layers.of(&TreePath::new(path)?), layer, "{path}");
        }
        Ok(())
    }

    #[test]
    fn a_recipe_that_makes_no_sense_is_an_error() {
        assert!(Layers::parse("kernel /usr/lib/modules").is_err());
        assert!(Layers::parse("os / ../etc").is_err());
        for modes in ["0600", "0900 /etc/x", "17777 /etc/x", "0600 /etc/../x"] {
            assert!(Changes::parse("", modes).is_err(), "{modes}");
        }
        assert!(Changes::parse("a//b", "").is_err());
    }

    #[test]
    fn the_checkout_has_a_recipe() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/base");
        let recipe = Recipe::load(&root)?;
        assert!(recipe.packages.iter().any(|p| p == "ignition"));
        assert!(recipe.layers.names().len() > 1);
        assert!(!recipe.v2.remove.is_empty() && !recipe.v2.modes.is_empty());
        Ok(())
    }
}
