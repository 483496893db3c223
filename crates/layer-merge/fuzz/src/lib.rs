//! What the fuzz targets share with the tests of the crate, which ask the same of the same files.
#![allow(dead_code, clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../../tests/it/archive.rs"]
mod archive;
#[path = "../properties/mod.rs"]
mod properties;

/// Panics when what a target asks does not hold for the bytes.
pub fn run(target: &str, data: &[u8]) {
    let (_, property) = properties::TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    property(data);
}
