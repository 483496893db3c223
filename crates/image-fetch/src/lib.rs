//! Fetch container images by reference into an OCI image layout, each blob verified.
