//! The base image that demo, tests and benches work on: Debian packages in the shape of a bootable
//! container, as an OCI image layout with the tags `v1` and `v2`.
//!
//! mmdebstrap makes a root (`compose`); from then on everything happens in memory, on trees, by
//! functions that know no clock and no machine (`reshape`, `tree`), and ends as layers (`image`).
//! The recipe is data: `fixtures/base`.

mod compose;
mod image;
mod large;
mod recipe;
mod reshape;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use xshell::Shell;

use crate::cache::Cache;
use crate::workspace::Workspace;
pub(crate) use large::large;
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
    let root = builder
        .cache
        .get("base-root", &builder.root_key()?, |dir| {
            eprintln!("fixtures: composing the root from packages (a minute or two)");
            compose::base(&workspace.sh, &builder.recipe, &dir.join(ROOT))
        })?;
    let layout = builder.cache.get("base", &builder.image_key()?, |dir| {
        eprintln!("fixtures: making the layers");
        builder.images(&root.join(ROOT), dir)
    })?;
    if options.check_reproducible {
        builder.check_reproducible(&root.join(ROOT), &layout)?;
    }
    Ok(BaseImage { layout })
}

const ROOT: &str = "root.tar";

fn cache(workspace: &Workspace) -> Cache<'_> {
    Cache {
        sh: &workspace.sh,
        dir: workspace.artifacts().join("fixtures"),
    }
}

struct Builder<'a> {
    sh: &'a Shell,
    root: &'a Path,
    cache: Cache<'a>,
    recipe: Recipe,
}

impl<'a> Builder<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self> {
        let root = workspace.root();
        Ok(Self {
            sh: &workspace.sh,
            root,
            cache: cache(workspace),
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
        let scratch = self
            .cache
            .dir
            .join(format!(".again-{}", std::process::id()));
        self.sh.remove_path(&scratch)?;
        self.sh.create_dir(scratch.join("layout"))?;
        let again = scratch.join(ROOT);
        eprintln!("fixtures: once more, from the packages on");
        compose::base(self.sh, &self.recipe, &again)?;
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
