//! A merged tree into an ostree repository, a deployment and a bootable disk.
