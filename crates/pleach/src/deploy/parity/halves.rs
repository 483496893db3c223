//! The route `split`: one half in a layer, the other in `/etc` and `/var`.

use anyhow::{Context as _, Result};
use pleach_customization::Customization;
use pleach_derive::{Content, Derivation};
use pleach_inject::EtcPlan;
use pleach_layer_merge::ContentRef;

use crate::cli::derive::{self, Placing};
use crate::cli::image::{Merged, OpenImage, Reader, today};
use crate::cli::output;

/// A customization in two parts.
pub(super) struct Halves {
    /// What a layer holds.
    pub(super) derivation: Derivation<ContentRef>,
    /// The rest, for a deployment of the image with that layer.
    pub(super) rest: EtcPlan,
}

impl Halves {
    /// Divides a customization, and plans what is left for the image that the one half makes.
    pub(super) fn plan(
        customization: &Customization,
        merged: &Merged,
        base: &OpenImage,
        placing: &Placing,
    ) -> Result<Self> {
        let (parts, derivation) = derive::divide(customization, merged, base, placing)?;
        let reader = Reader::default();
        let read = |content: &Content<ContentRef>| match content {
            Content::Base(content) => reader.read(content),
            Content::New(bytes) => Some(bytes.clone()),
        };
        let rest = pleach_inject::plan(&parts.remainder, &derivation.tree, &read, today()?);
        reader.finish()?;
        let rest = rest.context("what a split leaves")?;
        let left = parts.refusals().count();
        let all = parts.placements.len();
        output::step(&format!(
            "split: {left} of {all} items are left to injection"
        ));
        Ok(Self { derivation, rest })
    }
}
