//! Many images by many customizations, divided among processes and put together again.

mod merge;
mod report;
mod shard;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Moment, Route};

pub use merge::{MergeError, merge};
pub use report::{Judged, MATRIX_FORMAT_VERSION, MatrixReport, Outcome, Run};
pub use shard::{Shard, ShardError};

/// What is to be compared: every image with every customization, by every pair of routes, at every
/// moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Matrix {
    /// The base images.
    pub images: Vec<MatrixImage>,
    /// The documents, as they were named.
    pub customizations: Vec<String>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The moments.
    pub moments: Vec<Moment>,
    /// Whether machines are booted; else deployments are compared as they are composed.
    pub booted: bool,
}

/// A base image of a matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MatrixImage {
    /// As it was named.
    pub name: String,
    /// The image that an upgrade of it brings.
    pub upgrade: Option<String>,
}

/// One comparison of a matrix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cell {
    /// The base image, as it was named.
    pub image: String,
    /// The document, as it was named.
    pub customization: String,
    /// Route of the left system.
    pub left: Route,
    /// Route of the right system.
    pub right: Route,
    /// When.
    pub moment: Moment,
}

impl Matrix {
    /// The matrix with its routes and moments in their order, and nothing in it twice: the same
    /// question is the same matrix, however it was typed. The order of images and documents stays.
    #[must_use]
    pub fn normal(mut self) -> Self {
        self.routes.sort();
        self.routes.dedup();
        self.moments.sort();
        self.moments.dedup();
        let mut seen = Vec::new();
        self.images.retain(|image| {
            let new = !seen.contains(&image.name);
            seen.push(image.name.clone());
            new
        });
        seen.clear();
        self.customizations.retain(|name| {
            let new = !seen.contains(name);
            seen.push(name.clone());
            new
        });
        self
    }

    /// All cells in their order: images, then documents, pairs of routes, moments. Neighbours share
    /// an image and a document, so a contiguous part needs few machines.
    pub fn cells(&self) -> Vec<Cell> {
        let mut out = Vec::new();
        for image in &self.images {
            for customization in &self.customizations {
                for (index, &left) in self.routes.iter().enumerate() {
                    for &right in &self.routes[index + 1..] {
                        out.extend(self.moments.iter().map(|&moment| Cell {
                            image: image.name.clone(),
                            customization: customization.clone(),
                            left,
                            right,
                            moment,
                        }));
                    }
                }
            }
        }
        out
    }
}

/// `IMAGE, DOCUMENT: LEFT and RIGHT at MOMENT`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            image,
            customization,
            left,
            right,
            moment,
        } = self;
        write!(
            f,
            "{image}, {customization}: {left} and {right} at {moment}"
        )
    }
}
