//! The base image that demo, tests and benches work on: Debian packages in the shape of a bootable
//! container, as an OCI image layout with the tags `v1` and `v2`.
//!
//! mmdebstrap makes a root (`compose`); from then on everything happens in memory, on trees, by
//! functions that know no clock and no machine (`reshape`, `tree`), and ends as layers (`image`).
//! The recipe is data: `fixtures/base`.

mod compose;
mod image;
mod recipe;
mod reshape;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use xshell::Shell;

use crate::workspace::Workspace;
use recipe::Recipe;

/// How to build.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// Build everything a second time, from the packages on, and compare.
    #[arg(long)]
    pub(crate) check_reproducible: bool,
}

/// An OCI image layout with the tags `v1` and `v2`.
pub(crate) struct BaseImage {
    layout: PathBuf,
}

impl BaseImage {
    /// The image reference of a tag.
    pub(crate) fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.layout.display())
    }
}

/// Builds the image, or takes the one that was built from the same recipe by the same code.
///
/// # Errors
/// When mmdebstrap fails (packages cannot be fetched, no user namespaces), or what it made cannot be
/// brought into shape.
pub(crate) fn build(workspace: &Workspace, options: &Options) -> Result<BaseImage> {
    let builder = Builder::new(workspace)?;
    let root = builder.cached("base-root", &builder.root_key()?, |dir| {
        eprintln!("fixtures: composing the root from packages (a minute or two)");
        compose::compose(&workspace.sh, &builder.recipe, &dir.join(ROOT))
    })?;
    let layout = builder.cached("base", &builder.image_key()?, |dir| {
        eprintln!("fixtures: making the layers");
        builder.images(&root.join(ROOT), dir)
    })?;
    if options.check_reproducible {
        builder.check_reproducible(&root.join(ROOT), &layout)?;
    }
    Ok(BaseImage { layout })
}

const ROOT: &str = "root.tar";

struct Builder<'a> {
    sh: &'a Shell,
    root: &'a Path,
    cache: PathBuf,
    recipe: Recipe,
}

impl<'a> Builder<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self> {
        let root = workspace.root();
        Ok(Self {
            sh: &workspace.sh,
            root,
            cache: workspace.artifacts().join("fixtures"),
            recipe: Recipe::load(&root.join("fixtures/base"))?,
        })
    }

    fn root_key(&self) -> Result<String> {
        let mut inputs = self.recipe.compose_inputs();
        inputs.push(self.root.join("xtask/src/base/compose.rs"));
        recipe::fingerprint(self.root, &inputs)
    }

    fn image_key(&self) -> Result<String> {
        let inputs = [
            "fixtures/base",
            "xtask/src/base",
            "crates/fs-tree/src",
            "crates/layer-merge/src",
        ];
        recipe::fingerprint(self.root, &inputs.map(|path| self.root.join(path)))
    }

    /// The directory that `make` filled for this key, now or earlier. It gets its name only when
    /// it is whole; those of other keys go.
    fn cached(
        &self,
        name: &str,
        key: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.cache.join(format!("{name}-{}", &key[..16]));
        if done.exists() {
            return Ok(done);
        }
        self.sh.create_dir(&self.cache)?;
        let part = self.cache.join(format!(".{name}-{}", std::process::id()));
        self.sh.remove_path(&part)?;
        self.sh.create_dir(&part)?;
        if let Err(error) = make(&part) {
            self.sh.remove_path(&part)?;
            return Err(error);
        }
        match std::fs::rename(&part, &done) {
            // Somebody else was faster, with the same inputs.
            Err(_) if done.exists() => self.sh.remove_path(&part)?,
            result => result.with_context(|| format!("naming {}", done.display()))?,
        }
        for old in self.sh.read_dir(&self.cache)? {
            if old != done && is_entry_of(&old, name) {
                self.sh.remove_path(&old)?;
            }
        }
        Ok(done)
    }

    /// Both versions, from the composed root, as an OCI image layout in `dir`.
    fn images(&self, root: &Path, dir: &Path) -> Result<()> {
        let mut v1 = image::read_tar(root)?;
        reshape::reshape(&mut v1, "v1")?;
        let kernel = reshape::kernel_version(&v1)?;

        let scratch = self.sh.create_temp_dir()?;
        let packed = scratch.path().join("v2.tar");
        compose::pack(self.sh, &self.recipe.v2_overlay(), &packed)?;
        let mut v2 = v1.clone();
        reshape::second_version(&mut v2, &image::read_tar(&packed)?, &self.recipe.v2)?;

        image::write(dir, &self.recipe.layers, &v1, &v2, &kernel)
    }

    fn check_reproducible(&self, root: &Path, layout: &Path) -> Result<()> {
        let scratch = self.cache.join(format!(".again-{}", std::process::id()));
        self.sh.remove_path(&scratch)?;
        self.sh.create_dir(scratch.join("layout"))?;
        let again = scratch.join(ROOT);
        eprintln!("fixtures: once more, from the packages on");
        compose::compose(self.sh, &self.recipe, &again)?;
        self.images(&again, &scratch.join("layout"))?;
        let index = |dir: &Path| self.sh.read_file(dir.join("index.json"));
        let same = index(layout)? == index(&scratch.join("layout"))?;
        if !same {
            let (mut first, mut second) = (image::read_tar(root)?, image::read_tar(&again)?);
            reshape::reshape(&mut first, "v1")?;
            reshape::reshape(&mut second, "v1")?;
            let report = tree::differences(&first, &second);
            bail!(
                "not reproducible (the second one is in {}):\n{report}",
                scratch.display()
            );
        }
        self.sh.remove_path(&scratch)?;
        eprintln!("fixtures: built twice, the same index.json");
        Ok(())
    }
}

/// Whether a path is an entry `NAME-KEY` of the cache.
fn is_entry_of(path: &Path, name: &str) -> bool {
    path.file_name()
        .and_then(|file| file.to_str())
        .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'))
        .is_some_and(|key| key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_entries_of_the_cache_are_left_alone() {
        for (file, name, expect) in [
            ("base-0123456789abcdef", "base", true),
            ("base-root-0123456789abcdef", "base", false),
            ("base-root-0123456789abcdef", "base-root", true),
            (".base-17", "base", false),
            ("base-notes", "base", false),
        ] {
            assert_eq!(is_entry_of(Path::new(file), name), expect, "{file} {name}");
        }
    }
}
