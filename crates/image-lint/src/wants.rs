//! Which contents the rules read: an index of an image need keep no others.

use crate::pair::{MAX_DATABASE, packages};
use crate::{rpm, secrets};

/// A larger file is not looked into, unless it is a package database.
pub const MAX_TEXT: u64 = 1 << 20;

/// Whether the content of a file is of use to the rules. `path` is that in the image, without a slash
/// in front; `bytes` are the file's. What it refuses, no rule reads.
pub fn wants(path: &[u8], bytes: &[u8]) -> bool {
    let folders: [&[u8]; 6] = [b"etc/", b"var/", b"root/", b"home/", b"opt/", b"srv/"];
    if rpm::wants(path) {
        return bytes.len() as u64 <= MAX_DATABASE;
    }
    if bytes.len() as u64 > MAX_TEXT {
        return false;
    }
    if folders.iter().any(|folder| path.starts_with(folder)) || secrets::begins_as_key(bytes) {
        return true;
    }
    let Some(usr) = path.strip_prefix(b"usr/") else {
        return false;
    };
    if let Some(of) = usr.strip_prefix(b"lib/sysimage/dpkg/info/") {
        return of.ends_with(b".list");
    }
    const USR: [&[u8]; 14] = [
        b"etc/",
        b"local/",
        b"share/base-passwd/",
        b"share/containers/systemd/",
        b"share/factory/",
        b"lib/bootc/",
        b"lib/ignition/",
        b"lib/ostree/",
        b"lib/systemd/network/",
        b"lib/systemd/system/",
        b"lib/systemd/system-preset/",
        b"lib/sysusers.d/",
        b"lib/tmpfiles.d/",
        b"lib/apk/db/",
    ];
    USR.iter().any(|folder| usr.starts_with(folder))
}

/// How large the content of a file may be of which [`wants`] or [`pair_wants`](crate::pair_wants) is
/// asked, in bytes: an index need look into none that is larger. `path` is without a slash in front.
pub fn largest(path: &[u8]) -> u64 {
    match packages::wants(path) {
        true => MAX_DATABASE,
        false => MAX_TEXT,
    }
}
