//! Derive: a customization and a base image become one reproducible layer.
