//! Extended attributes that no file could be given: the kernel would refuse them while files are
//! written, which is too late.

use crate::tar::member::Type;

/// What is wrong with an attribute of an entry, if something is.
pub(crate) fn fault(kind: Type, name: &[u8], value: &[u8]) -> Option<&'static str> {
    let point = name.iter().position(|&b| b == b'.');
    if name.is_empty() || name.contains(&0) || point.is_some_and(|at| at + 1 == name.len()) {
        return Some("no name of an attribute");
    }
    match name {
        b"security.capability" if !is_capability(value) => Some("no capabilities of a file"),
        b"system.posix_acl_access" if kind == Type::Symlink => Some("an ACL of a symbolic link"),
        b"system.posix_acl_default" if kind != Type::Directory => {
            Some("a default ACL of what is no directory")
        }
        b"system.posix_acl_access" | b"system.posix_acl_default" if !is_acl(value) => {
            Some("no POSIX ACL")
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// `struct vfs_cap_data`, version 2, or 3 with the root user of a namespace (capabilities(7)).
fn is_capability(value: &[u8]) -> bool {
    let effective = 1;
    let version = value
        .first_chunk::<4>()
        .map(|head| number(head) & !effective);
    matches!(
        (version, value.len()),
        (Some(0x0200_0000), 20) | (Some(0x0300_0000), 24)
    )
}

/// Version 2 of an ACL as Linux keeps it (posix_acl_xattr.h): entries of tag, permissions and id, in
/// the order of their tags; owner, group and others once each, and a mask where anybody else is
/// named (acl(5)).
fn is_acl(value: &[u8]) -> bool {
    let Some((version, entries)) = value.split_first_chunk::<4>() else {
        return false;
    };
    if number(version) != 2 || entries.len() % 8 != 0 {
        return false;
    }
    let half = |entry: &[u8], at| u16::from_le_bytes([entry[at], entry[at + 1]]);
    let entries: Vec<_> = entries
        .chunks_exact(8)
        .map(|e| (half(e, 0), half(e, 2)))
        .collect();
    let count = |tag| entries.iter().filter(|entry| entry.0 == tag).count();
    let [owner, user, group, other_group, mask, others] = [1, 2, 4, 8, 16, 32].map(count);
    let named = user + other_group > 0;
    entries.is_sorted_by_key(|entry| entry.0)
        && entries.iter().all(|entry| entry.1 <= 7)
        && (owner, group, others) == (1, 1, 1)
        && (mask == 1 || (mask == 0 && !named))
        && owner + user + group + other_group + mask + others == entries.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let entry = |&(tag, permissions): &(u16, u16)| {
            let id = u32::MAX.to_le_bytes();
            [tag.to_le_bytes(), permissions.to_le_bytes()]
                .concat()
                .into_iter()
                .chain(id)
        };
        [2, 0, 0, 0]
            .into_iter()
            .chain(entries.iter().flat_map(entry))
            .collect()
    }

    #[test]
    fn acls() {
        let check = |entries: &[(u16, u16)], expect: bool| {
            assert_eq!(is_acl(&acl(entries)), expect, "{entries:?}");
        };
        check(&[(1, 6), (4, 4), (32, 4)], true);
        check(&[(1, 6), (4, 4), (16, 7), (32, 4)], true);
        check(
            &[(1, 6), (2, 7), (2, 7), (4, 4), (8, 4), (16, 7), (32, 4)],
            true,
        );
        check(&[(1, 6), (2, 7), (4, 4), (32, 4)], false);
        check(&[(4, 4), (1, 6), (32, 4)], false);
        check(&[(1, 6), (1, 6), (4, 4), (32, 4)], false);
        check(&[(1, 8), (4, 4), (32, 4)], false);
        check(&[(1, 6), (4, 4)], false);
        check(&[(1, 6), (4, 4), (32, 4), (64, 0)], false);
        check(&[], false);
        assert!(!is_acl(&acl(&[(1, 6), (4, 4), (32, 4)])[..27]));
    }

    #[test]
    fn capabilities() {
        let check = |version: u32, size: usize, expect: bool| {
            let mut value = version.to_le_bytes().to_vec();
            value.resize(size, 0);
            assert_eq!(is_capability(&value), expect, "{version:x}, {size} bytes");
        };
        check(0x0200_0000, 20, true);
        check(0x0200_0001, 20, true);
        check(0x0300_0001, 24, true);
        check(0x0300_0000, 20, false);
        check(0x0200_0002, 20, false);
        check(0x0100_0000, 12, false);
        check(0, 0, false);
    }
}
