//! Variants: the base image with one purpose more, a folder each in `fixtures/base/variants`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::recipe::lines;

/// What a variant adds to the base.
pub(super) struct Variant {
    pub(super) name: String,
    dir: PathBuf,
    /// Debian packages, as apt-get takes them: `name-` removes one.
    pub(super) packages: Vec<String>,
}

impl Variant {
    /// Loads the variant of a name.
    pub(super) fn load(variants: &Path, name: &str) -> Result<Self> {
        let known = Self::names(variants)?;
        if !known.iter().any(|other| other == name) {
            bail!("no variant {name}; there are {}", known.join(", "));
        }
        let dir = variants.join(name);
        let path = dir.join("packages");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let packages: Vec<_> = lines(&text).map(str::to_owned).collect();
        if let Some(wrong) = packages.iter().find(|package| !is_package(package)) {
            bail!("{}: {wrong:?} is no package name", path.display());
        }
        Ok(Self {
            name: name.to_owned(),
            dir,
            packages,
        })
    }

    /// The names of all variants, sorted.
    pub(super) fn names(variants: &Path) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(variants)
            .with_context(|| format!("reading {}", variants.display()))?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Files that go into the root after the packages, if there are any.
    pub(super) fn overlay(&self) -> Option<PathBuf> {
        Some(self.dir.join("overlay")).filter(|dir| dir.exists())
    }

    /// The folder, which is all that its root depends on besides the base's.
    pub(super) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }
}

/// Debian policy 5.6.7, and apt-get's `-` behind it. The names go through a shell.
fn is_package(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_s_variants_can_be_read() -> Result<()> {
        let variants = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/base/variants");
        let names = Variant::names(&variants)?;
        assert!(names.iter().any(|name| name == "cloud-init"), "{names:?}");
        for name in &names {
            let variant = Variant::load(&variants, name)?;
            assert!(!variant.packages.is_empty(), "{name}");
        }
        let unknown = Variant::load(&variants, "../v2").err();
        let said = unknown.context("there is no such variant")?.to_string();
        assert!(said.contains("no variant ../v2; there are "), "{said}");
        Ok(())
    }

    #[test]
    fn package_names_are_harmless_in_a_shell() {
        for (name, expect) in [
            ("linux-image-cloud-amd64-", true),
            ("libstdc++6", true),
            ("a b", false),
            ("-o", false),
            ("$(id)", false),
            ("", false),
        ] {
            assert_eq!(is_package(name), expect, "{name}");
        }
    }
}
