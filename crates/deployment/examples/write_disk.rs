//! `write_disk TREE SYSROOT IMAGE [KERNEL-ARGUMENT]...`: all of this crate in one go.
//!
//! TREE is a merged tree, SYSROOT an empty directory, IMAGE the file to write.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a program: it opens what its arguments name, and prints"
)]

use std::path::Path;
use std::time::Instant;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_deployment::{CommitOptions, DeployOptions, Origin, Sysroot, disk};

const UUID: &str = "6f1ddb3a-3f6a-4f0c-9d55-0d2b6a1f7a10";
const TIMESTAMP: u64 = 1_767_225_600;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: write_disk TREE SYSROOT IMAGE [ARGUMENT]...")
    };
    let tree = Dir::open_ambient_dir(next()?, ambient_authority())?;
    let root = Dir::open_ambient_dir(next()?, ambient_authority())?;
    let image = next()?;
    let image = Path::new(&image);
    let parent = image.parent().filter(|p| !p.as_os_str().is_empty());
    let out = Dir::open_ambient_dir(parent.unwrap_or(Path::new(".")), ambient_authority())?;
    let name = Path::new(image.file_name().ok_or("IMAGE has no name")?);

    let start = Instant::now();
    let sysroot = Sysroot::init(&root)?.without_fsync();
    let mut options = CommitOptions::new("pleach/tree", TIMESTAMP);
    options.skip_unstorable = true;
    let commit = sysroot.commit_tree(&tree, &options)?;
    println!("{:6.2?} commit {}", start.elapsed(), commit.checksum);
    for file in &commit.skipped {
        println!("       left out: {:?} {}", file.kind, file.path.display());
    }

    let start = Instant::now();
    sysroot.init_stateroot("default")?;
    let origin = Origin::Refspec("pleach/tree".into());
    let mut options = DeployOptions::new("default", commit.checksum, origin);
    options.kernel_arguments = arguments.collect::<Vec<_>>().join(" ").parse()?;
    let deployment = sysroot.deploy(&options)?;
    println!(
        "{:6.2?} deployment {}",
        start.elapsed(),
        deployment.path.display()
    );

    let start = Instant::now();
    let bytes = disk::write_image(
        &root,
        (&out, name),
        &disk::DiskOptions::new(UUID, UUID, TIMESTAMP),
    )?;
    println!("{:6.2?} image of {} MiB", start.elapsed(), bytes >> 20);
    for entry in disk::boot_entries((&out, name))? {
        println!("{entry:#?}");
    }
    Ok(())
}
