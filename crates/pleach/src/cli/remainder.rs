//! What a route cannot carry: refused, or left for Ignition and said, item by item.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use pleach_customization::{
    Customization, Placement, Refusal, Refused, Route, Split, Verdict, split, split_without,
};

use super::output;
use super::private::Folder;

/// What becomes of items that the route cannot carry.
#[derive(Args, Clone, Default)]
pub(crate) struct Remainder {
    /// Carry what can be carried, and say what is left and why.
    #[arg(long)]
    pub(crate) allow_remainder: bool,
    /// Write what is left as an Ignition document for the machine's first boot, readable by its owner
    /// alone. An empty document where nothing is left.
    #[arg(long, value_name = "FILE", requires = "allow_remainder")]
    pub(crate) remainder: Option<PathBuf>,
}

impl Remainder {
    /// Emits a document by a route: all of it, or, where that is allowed, what the route carries. What
    /// `emit` refuses besides, with [`Refused`] as its error, is left too. What is left is said, and written where it was asked for.
    ///
    /// # Errors
    /// When something is left and nobody allowed it: all of it, with places.
    pub(crate) fn emit<T>(
        &self,
        customization: &Customization,
        route: Route,
        emit: impl Fn(&Customization) -> Result<T>,
    ) -> Result<T> {
        if !self.allow_remainder {
            return emit(customization);
        }
        let mut refused: Vec<Refusal> = Vec::new();
        loop {
            let parts = split_without(customization, route, &refused);
            match emit(&parts.carried) {
                Ok(emitted) => {
                    self.finish(&parts)?;
                    return Ok(emitted);
                }
                Err(error) => {
                    let Refused(more) = error.downcast()?;
                    let new = |refusal: &Refusal| {
                        refused.iter().all(|known| known.origin != refusal.origin)
                    };
                    let more: Vec<Refusal> = more.into_iter().filter(new).collect();
                    // Each round leaves more, or is the last.
                    if more.is_empty() {
                        return Err(Refused(refused).into());
                    }
                    refused.extend(more);
                }
            }
        }
    }

    /// Says what became of each item, and writes the remainder where it was asked for.
    pub(crate) fn finish(&self, parts: &Split) -> Result<()> {
        tell(&parts.placements);
        let rest = split(&parts.remainder, Route::Ignition);
        for refusal in rest.refusals() {
            output::step(&format!(
                "lost, for Ignition cannot do it either: {refusal}"
            ));
        }
        match &self.remainder {
            Some(path) => write(path, &rest.carried, parts.is_whole()),
            None => Ok(()),
        }
    }
}

/// Says which items are carried in another way, and which are left.
pub(crate) fn tell(placements: &[Placement]) {
    for placement in placements {
        let Placement {
            origin,
            item,
            verdict,
            ..
        } = placement;
        match verdict {
            Verdict::Carried => {}
            Verdict::CarriedDifferently { how, why } => {
                output::step(&format!("{origin}: {item}: {how}: {why}"))
            }
            Verdict::Refused { why, instead } => {
                output::step(&format!("left: {origin}: {item}: {why}; {instead}"))
            }
        }
    }
}

/// What neither a route nor Ignition can do, if anything.
///
/// # Errors
/// All of it, with places.
pub(crate) fn nothing_is_lost(parts: &Split) -> Result<()> {
    let lost: Vec<Refusal> = split(&parts.remainder, Route::Ignition)
        .refusals()
        .collect();
    match lost.is_empty() {
        true => Ok(()),
        false => Err(Refused(lost)).context("neither the route nor Ignition can carry it"),
    }
}

fn write(path: &Path, rest: &Customization, whole: bool) -> Result<()> {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let name = name.with_context(|| format!("{}: no name of a file", path.display()))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = Folder::make(folder.unwrap_or(Path::new(".")))?;
    folder.write(name, pleach_inject::to_ignition(rest).as_str().as_bytes())?;
    let shown = path.display();
    match whole {
        true => output::step(&format!("nothing is left; {shown} is an empty document")),
        false => output::step(&format!(
            "what is left is in {shown}, for Ignition at first boot"
        )),
    }
    Ok(())
}
