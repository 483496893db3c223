//! The base image that demo, tests and benches work on: Debian packages in the shape of a bootable
//! container, as an OCI image layout with the tags `v1` and `v2`.
//!
//! mmdebstrap makes a root (`compose`); from then on everything happens in memory, on trees, by
//! functions that know no clock and no machine (`reshape`, `tree`), and ends as layers (`image`).
//! The recipe is data: `fixtures/base`. A variant is the same image with one layer more.

mod compose;
mod image;
mod large;
mod recipe;
mod reshape;
mod tree;
mod variant;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use pleach_fs_tree::Tree;
use xshell::{Shell, cmd};

use crate::cache::Cache;
use crate::workspace::Workspace;
pub(crate) use large::large;
use recipe::Recipe;
use tree::Content;
use variant::Variant;

/// How to build.
#[derive(Default, clap::Args)]
pub(crate) struct Options {
    /// A variant: the base image with one layer more (a folder of fixtures/base/variants).
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// Build it a second time, from the packages on, and compare.
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
        format!("{}:{tag}", self.layout())
    }

    /// The reference of the layout; a colon and a tag go behind it.
    pub(crate) fn layout(&self) -> String {
        format!("oci:{}", self.layout.display())
    }
}

/// Builds the image, or takes the one that was built from the same recipe by the same code.
///
/// # Errors
/// When there is no such variant, mmdebstrap fails (packages cannot be fetched, no user namespaces),
/// or what it made cannot be brought into shape.
pub(crate) fn build(workspace: &Workspace, options: &Options) -> Result<BaseImage> {
    let builder = Builder::new(workspace)?;
    let variant = options.variant.as_ref();
    let variant = variant.map(|name| builder.load(name)).transpose()?;
    let base = builder.base()?;
    let built = match &variant {
        Some(variant) => builder.variant(&base, variant)?,
        None => base.clone(),
    };
    if options.check_reproducible {
        builder.check_reproducible(&base, variant.as_ref(), &built)?;
    }
    Ok(BaseImage {
        layout: built.layout,
    })
}

/// The names of the variants that can be built.
pub(crate) fn variants(workspace: &Workspace) -> Result<Vec<String>> {
    Variant::names(&workspace.root().join(VARIANTS))
}

const ROOT: &str = "root.tar";
const VARIANTS: &str = "fixtures/base/variants";

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

/// What is kept of a build.
#[derive(Clone)]
struct Built {
    /// The root as mmdebstrap made it.
    root: PathBuf,
    layout: PathBuf,
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

    fn load(&self, variant: &str) -> Result<Variant> {
        Variant::load(&self.root.join(VARIANTS), variant)
    }

    fn base(&self) -> Result<Built> {
        let root = self.cache.get("base-root", &self.root_key(None)?, |dir| {
            eprintln!("fixtures: composing the root from packages (a minute or two)");
            compose::base(self.sh, &self.recipe, &dir.join(ROOT))
        })?;
        let root = root.join(ROOT);
        let layout = self.cache.get("base", &self.image_key(None)?, |dir| {
            eprintln!("fixtures: making the layers");
            self.base_layout(&root, dir)
        })?;
        Ok(Built { root, layout })
    }

    fn variant(&self, base: &Built, variant: &Variant) -> Result<Built> {
        let name = format!("variant-{}", variant.name);
        let key = self.root_key(Some(variant))?;
        let root = self.cache.get(&format!("{name}-root"), &key, |dir| {
            eprintln!("fixtures: adding the packages of {}", variant.name);
            compose::variant(self.sh, variant, &base.root, &dir.join(ROOT))
        })?;
        let root = root.join(ROOT);
        let key = self.image_key(Some(variant))?;
        let layout = self.cache.get(&name, &key, |dir| {
            eprintln!("fixtures: making the layer of {}", variant.name);
            self.variant_layout(base, variant, &root, dir)
        })?;
        Ok(Built { root, layout })
    }

    fn root_key(&self, variant: Option<&Variant>) -> Result<String> {
        let mut inputs = self.recipe.compose_inputs();
        inputs.push(self.root.join("xtask/src/base/compose.rs"));
        inputs.extend(variant.map(Variant::dir));
        recipe::fingerprint(self.root, &inputs)
    }

    fn image_key(&self, variant: Option<&Variant>) -> Result<String> {
        let code = [
            "xtask/src/base",
            "crates/fs-tree/src",
            "crates/layer-merge/src",
        ];
        let mut inputs = self.recipe.compose_inputs();
        inputs.extend(self.recipe.image_inputs());
        inputs.extend(code.map(|path| self.root.join(path)));
        inputs.extend(variant.map(Variant::dir));
        recipe::fingerprint(self.root, &inputs)
    }

    /// Both versions, from a composed root.
    fn versions(&self, root: &Path, variant: Option<&Variant>) -> Result<[Tree<Content>; 2]> {
        let mut v1 = image::read_tar(root)?;
        reshape::reshape(&mut v1, variant.map(|variant| variant.name.as_str()))?;
        let scratch = self.sh.create_temp_dir()?;
        let packed = scratch.path().join("v2.tar");
        compose::pack(self.sh, &self.recipe.v2_overlay(), &packed)?;
        let mut v2 = v1.clone();
        reshape::second_version(&mut v2, &image::read_tar(&packed)?, &self.recipe.v2)?;
        Ok([v1, v2])
    }

    fn base_layout(&self, root: &Path, dir: &Path) -> Result<()> {
        let versions = self.versions(root, None)?;
        let kernel = reshape::kernel_version(&versions[0])?;
        image::write(dir, &self.recipe.layers, &versions, &kernel)
    }

    fn variant_layout(
        &self,
        base: &Built,
        variant: &Variant,
        root: &Path,
        dir: &Path,
    ) -> Result<()> {
        // Blobs never change, and the index is replaced as a whole.
        let layout = base.layout.join(".");
        cmd!(self.sh, "cp --archive --link {layout} {dir}")
            .quiet()
            .run()?;
        let lower = self.versions(&base.root, None)?;
        let upper = self.versions(root, Some(variant))?;
        let kernel = reshape::kernel_version(&upper[0])?;
        image::write_variant(dir, &variant.name, &lower, &upper, &kernel)
    }

    fn check_reproducible(
        &self,
        base: &Built,
        variant: Option<&Variant>,
        first: &Built,
    ) -> Result<()> {
        let scratch = self
            .cache
            .dir
            .join(format!(".again-{}", std::process::id()));
        self.sh.remove_path(&scratch)?;
        let (again, layout) = (scratch.join(ROOT), scratch.join("layout"));
        self.sh.create_dir(&layout)?;
        eprintln!("fixtures: once more, from the packages on");
        match variant {
            None => {
                compose::base(self.sh, &self.recipe, &again)?;
                self.base_layout(&again, &layout)?;
            }
            Some(variant) => {
                compose::variant(self.sh, variant, &base.root, &again)?;
                self.variant_layout(base, variant, &again, &layout)?;
            }
        }
        let index = |dir: &Path| self.sh.read_file(dir.join("index.json"));
        if index(&first.layout)? != index(&layout)? {
            let [first, _] = self.versions(&first.root, variant)?;
            let [second, _] = self.versions(&again, variant)?;
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
