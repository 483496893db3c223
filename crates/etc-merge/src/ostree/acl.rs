//! POSIX ACLs as they are kept in extended attributes (acl(5), `linux/posix_acl_xattr.h`): a
//! 32-bit version, then entries of a 16-bit tag, 16-bit permissions and a 32-bit id, little-endian.

use pleach_fs_tree::{Metadata, NodeType};

pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const HEADER: usize = 4;
const ENTRY: usize = 8;
const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What a new inode gets from its directory's default ACL.
pub(super) fn inherit(directory: &Metadata, node_type: NodeType, inode: &mut Metadata) {
    let Some(default) = directory.xattrs.get(DEFAULT) else {
        return;
    };
    if node_type == NodeType::Symlink {
        return;
    }
    if node_type == NodeType::Directory {
        inode.xattrs.insert(DEFAULT.into(), default.clone());
    }
    // An ACL that says no more than mode bits can is not kept as one.
    if tags(default).any(|tag| ![USER_OBJ, GROUP_OBJ, OTHER].contains(&tag)) {
        inode.xattrs.insert(ACCESS.into(), default.clone());
    }
}

/// What chmod(2) does with an access ACL: owner, mask and others follow the mode.
pub(super) fn follow_mode(inode: &mut Metadata) {
    let mode = inode.mode;
    let Some(acl) = inode.xattrs.get_mut(ACCESS) else {
        return;
    };
    let masked = tags(acl).any(|tag| tag == MASK);
    for entry in acl
        .get_mut(HEADER..)
        .unwrap_or_default()
        .chunks_exact_mut(ENTRY)
    {
        let permissions = match u16::from_le_bytes([entry[0], entry[1]]) {
            USER_OBJ => mode >> 6,
            MASK => mode >> 3,
            GROUP_OBJ if !masked => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        entry[2..4].copy_from_slice(&(permissions & 7).to_le_bytes());
    }
}

fn tags(acl: &[u8]) -> impl Iterator<Item = u16> {
    let entries = acl.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY);
    entries.map(|entry| u16::from_le_bytes([entry[0], entry[1]]))
}
