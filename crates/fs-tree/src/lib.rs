//! A file tree as a value: bytes-named paths, whole metadata, scan, materialize, diff.
