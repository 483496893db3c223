//! Merge OCI image layers into one file tree, and make reproducible layers.
