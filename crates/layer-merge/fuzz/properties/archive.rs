use pleach_fs_tree::Tree;
use pleach_layer_merge::{
    ContentRef, Error, IndexOnly, LayerOptions, MergeOptions, contents, read_tar, write_tree,
};

use super::{Drops, options, outcome, show, store, well_formed};

/// The bytes are an archive; checksums of its headers are made right, so that what is behind them is
/// reached.
///
/// A tree or an error, the same however the bytes come and whether contents are kept; a tree that
/// could lie on a disk; and written as a layer and read again, it is the same tree.
pub(crate) fn archive(data: &[u8]) {
    let mut bytes = data.to_vec();
    repair(&mut bytes);
    let options = options();
    let index = read_tar(&mut &*bytes, &mut IndexOnly, &options);
    let drops = read_tar(&mut Drops(&bytes), &mut IndexOnly, &options);
    assert_eq!(outcome(&index), outcome(&drops), "in drops");
    let store = store();
    let kept = read_tar(&mut &*bytes, &mut store.sink(), &options);
    let (index, kept) = match (index, kept) {
        (Ok(index), Ok(kept)) => (index.tree, kept.tree),
        (Err(a), Err(b)) => return assert_eq!(a.to_string(), b.to_string()),
        (a, b) => panic!("with and without contents: {a:?}\n{b:?}"),
    };
    well_formed(&index, &options.limits);

    let mut layer = Vec::new();
    let plain = LayerOptions {
        compression: pleach_layer_merge::Compression::None,
        ..LayerOptions::default()
    };
    match write_tree(&kept, &mut contents(), &mut layer, &plain) {
        Ok(_) => {}
        Err(Error::Unrepresentable { .. }) if unrepresentable(&kept) => return,
        Err(error) => panic!("{error}"),
    }
    let again = read_tar(&mut &*layer, &mut IndexOnly, &MergeOptions::default()).unwrap();
    assert_eq!(again.notes, []);
    assert_eq!(show(&again.tree), show(&index));
}

/// A plain archive may have names that are whiteouts in a layer.
fn unrepresentable(tree: &Tree<ContentRef>) -> bool {
    tree.walk().any(|(path, id)| {
        let mut names = tree.inode(id).metadata.xattrs.keys();
        path.components().any(|name| name.starts_with(b".wh."))
            || names.any(|name| name.contains(&b'='))
    })
}

/// Makes every header's checksum right again, so that what is behind it is reached.
pub(crate) fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
