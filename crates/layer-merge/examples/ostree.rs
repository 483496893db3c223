//! `ostree LAYOUT REFERENCE REPO [CACHE]`: imports an image into a repository, which is made in mode
//! `bare` if the directory is empty, and commits it as `image`; says what it took.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program opens the paths that it is given, and prints"
)]

use std::error::Error;
use std::time::Instant;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_layer_merge::ostree::{
    CommitOptions, ImportOptions, Mode, Repo, TransactionOptions, Unstorable,
};
use pleach_layer_merge::{Layout, MergeOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (layout, reference, repo) = match &arguments[..] {
        [layout, reference, repo] | [layout, reference, repo, _] => (layout, reference, repo),
        _ => return Err("usage: ostree LAYOUT REFERENCE REPO [CACHE]".into()),
    };
    let open = |path: &str| Dir::open_ambient_dir(path, ambient_authority());
    let layout = Layout::open(&open(layout)?)?;
    let image = layout.resolve(Some(reference), None)?;
    let cache = arguments.get(3).map(|path| open(path)).transpose()?;
    let options = ImportOptions {
        merge: MergeOptions {
            file_digests: false,
            ..MergeOptions::default()
        },
        cache: cache.as_ref(),
    };
    let begin = Instant::now();
    let repo = Repo::create(&open(repo)?, Mode::Bare)?;
    let mut transaction = repo.transaction(TransactionOptions::default())?;
    let imported = transaction.import(&layout, &image, &options)?;
    println!(
        "imported, layers {:?}: {:?}",
        imported.read,
        begin.elapsed()
    );
    let options = CommitOptions {
        unstorable: Unstorable::LeaveOut,
        ..CommitOptions::default()
    };
    let commit = transaction.commit(&imported.merged.tree, &options)?;
    println!("committed: {:?}", begin.elapsed());
    transaction.finish(&[("image", commit.name)])?;
    println!("{}: {:?}", commit.checksum(), begin.elapsed());
    for left_out in commit.left_out {
        println!("left out: {left_out}");
    }
    Ok(())
}
