//! `merge [--low-memory] LAYOUT REFERENCE [TARGET]`: merges an image of a layout and says what it
//! took; with a target, an empty directory, it is written there.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program opens the paths that it is given, and prints"
)]

use std::error::Error;
use std::time::Instant;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{MaterializeOptions, materialize_parallel};
use pleach_layer_merge::{
    ContentStore, Layout, MergeOptions, StoreOptions, index, merge, take_contents,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<_> = std::env::args().skip(1).collect();
    let low_memory = arguments
        .first()
        .is_some_and(|first| first == "--low-memory");
    if low_memory {
        arguments.remove(0);
    }
    let (path, reference) = match &arguments[..] {
        [path, reference] | [path, reference, _] => (path, reference),
        _ => return Err("usage: merge [--low-memory] LAYOUT REFERENCE [TARGET]".into()),
    };
    let open = |path: &str| Dir::open_ambient_dir(path, ambient_authority());
    let layout = Layout::open(&open(path)?)?;
    let image = layout.resolve(Some(reference), None)?;
    let options = MergeOptions {
        threads: usize::from(low_memory),
        file_digests: false,
        ..MergeOptions::default()
    };
    let begin = Instant::now();
    let notes = if let Some(target) = arguments.get(2) {
        let target = open(target)?;
        let store = match low_memory {
            true => StoreOptions::low_memory(),
            false => StoreOptions::default(),
        };
        let store = StoreOptions {
            own_files: 256,
            ..store
        };
        let store = ContentStore::new(&target, &store)?;
        let merged = merge(&layout, &image, &store, &options)?;
        println!(
            "merged: {} paths, {:?}",
            merged.tree.walk().count(),
            begin.elapsed()
        );
        let options = MaterializeOptions {
            threads: options.threads,
            ..MaterializeOptions::default()
        };
        materialize_parallel(&merged.tree, &target, take_contents, &options)?;
        println!("written: {:?}", begin.elapsed());
        merged.notes
    } else {
        let merged = index(&layout, &image, &options)?;
        println!(
            "indexed: {} paths, {:?}",
            merged.tree.walk().count(),
            begin.elapsed()
        );
        merged.notes
    };
    for note in notes {
        println!(
            "note: layer {}, entry {} ({}): {}",
            note.layer, note.entry, note.path, note.what
        );
    }
    Ok(())
}
