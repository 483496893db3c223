//! Names that hide what lower layers have (OCI image spec, layer.md, "Whiteouts").

/// What the name of a whiteout begins with.
pub(crate) const PREFIX: &[u8] = b".wh.";
