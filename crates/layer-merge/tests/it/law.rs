//! Merging the layer of a difference gives the tree it was made for.

use pleach_fs_tree::{Device, Inode, Kind, Metadata, Name, Timestamp, Tree, TreePath};
use pleach_layer_merge::{
    Budget, Changes, Compression, ContentRef, ContentStore, LayerOptions, MergeOptions, Merger,
    StoreOptions, diff, read_layer, write_layer,
};
use proptest::prelude::*;

use crate::{bytes, open, show};

/// One change to a tree that is made at random.
#[derive(Debug, Clone)]
enum Step {
    Put(usize, usize, Metadata, u8),
    Link(usize, usize, usize),
    Remove(usize),
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let id = prop_oneof![Just(0), 0..3_u32, Just(3_000_000_000)];
    let mtime = (
        prop_oneof![-5..5_i64, Just(1 << 40)],
        prop_oneof![Just(0), 0..1_000_000_000_u32],
    );
    let value = proptest::collection::vec(any::<u8>(), 0..4);
    let xattrs = proptest::collection::btree_map("trusted\\.[a-c]", value, 0..3);
    (0..0o10000_u16, id, 0..3_u32, mtime, xattrs).prop_map(|(mode, uid, gid, mtime, xattrs)| {
        Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp {
                seconds: mtime.0,
                nanoseconds: mtime.1,
            },
            xattrs: xattrs
                .into_iter()
                .map(|(k, v)| (k.into_bytes().into(), v.into()))
                .collect(),
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<usize>(), 0..NAMES.len(), metadata(), any::<u8>())
            .prop_map(|(parent, name, metadata, what)| Step::Put(parent, name, metadata, what)),
        2 => (any::<usize>(), any::<usize>(), 0..NAMES.len())
            .prop_map(|(target, parent, name)| Step::Link(target, parent, name)),
        2 => any::<usize>().prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 0..25)
}

const LONG: &[u8] = &[b'l'; 255];
const NAMES: [&[u8]; 8] = [
    b"a",
    b"b",
    b"c",
    b"wh.",
    b".wh",
    b"\xff\xfe n\n",
    b"\xc3\xa4",
    LONG,
];

fn apply(tree: &mut Tree<Vec<u8>>, steps: Vec<Step>) {
    for step in steps {
        let paths: Vec<_> = tree.walk().collect();
        let pick = |n: usize| paths[n % paths.len()].clone();
        match step {
            Step::Put(parent, name, mut metadata, what) => {
                let (path, parent) = pick(parent);
                if tree.inode(parent).entries().is_none() || path.depth() > 4 {
                    continue;
                }
                let kind = match what % 8 {
                    0..=2 => Kind::Directory(Default::default()),
                    3 | 4 => Kind::File(vec![what; usize::from(what) * 5]),
                    5 => Kind::Symlink(NAMES[usize::from(what) % NAMES.len()].into()),
                    6 => Kind::Fifo,
                    _ => Kind::CharDevice(Device {
                        major: 1,
                        minor: what.into(),
                    }),
                };
                if let Kind::Symlink(_) = kind {
                    metadata.mode = 0o777;
                }
                let name = Name::new(NAMES[name]).unwrap();
                tree.insert(parent, name, Inode { metadata, kind }).unwrap();
            }
            Step::Link(target, parent, name) => {
                // What cannot be linked, or not there, is not.
                let _ = tree.link(
                    pick(target).1,
                    pick(parent).1,
                    Name::new(NAMES[name]).unwrap(),
                );
            }
            Step::Remove(path) => {
                tree.remove(&pick(path).0);
            }
        }
    }
}

/// Merges layers of changes, from nothing.
fn merged(layers: &[&Changes<Vec<u8>>], compression: Compression) -> Tree<Vec<u8>> {
    let temporary = tempfile::tempdir().unwrap();
    let small = StoreOptions {
        small_file: 100,
        memory: 300,
        ..StoreOptions::default()
    };
    let store = ContentStore::new(&open(temporary.path()), &small).unwrap();
    let options = MergeOptions::default();
    let mut merger = Merger::new(&options);
    for (index, changes) in layers.iter().enumerate() {
        let mut blob = Vec::new();
        let options = LayerOptions {
            compression,
            ..LayerOptions::default()
        };
        let written = write_layer(changes, &mut bytes(), &mut blob, &options).unwrap();
        let layer = written.layer();
        let read = read_layer(
            &*blob,
            index,
            &layer,
            &MergeOptions::default(),
            &Budget::default(),
            &mut store.sink(),
        );
        merger
            .apply(read.unwrap_or_else(|e| panic!("{}", crate::full(&e))))
            .unwrap();
    }
    let merged = merger.finish();
    assert_eq!(merged.notes, []);
    merged.tree.map(|content: ContentRef| {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut content.open(), &mut out).unwrap();
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_difference_applied_gives_the_other_tree(
        root in metadata(),
        other_root in metadata(),
        first in steps(),
        second in steps(),
        compression in prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Zstd)],
    ) {
        let mut lower = Tree::new(root);
        apply(&mut lower, first);
        let mut upper = lower.clone();
        apply(&mut upper, second);
        let id = upper.root();
        *upper.metadata_mut(id) = other_root;

        let changes = diff(&lower, &upper, |a, b| a == b);
        let base = Changes::whole(lower.clone());
        prop_assert_eq!(show(&merged(&[&base, &changes], compression)), show(&upper));
        prop_assert_eq!(show(&merged(&[&base], compression)), show(&lower));
        let nothing = diff(&upper, &upper, |a, b| a == b);
        prop_assert!(nothing.is_empty());
    }
}

#[test]
fn nothing_is_removed_that_is_put_there() {
    let lower = crate::tree("/ directory 0755 0:0 0.0\n/a symlink 0777 0:0 0.0 b");
    let upper = crate::tree("/ directory 0755 0:0 0.0\n/a file 0644 0:0 0.0 x");
    let changes = diff(&lower, &upper, |a, b| a == b);
    assert!(changes.removals.is_empty());
    assert!(
        changes
            .additions
            .get(&TreePath::new("a").unwrap())
            .is_some()
    );
}
