//! `floor LAYOUT REFERENCE TARGET [THREADS]`: the least that any verified unpack must do, and what
//! it took, as a line of JSON: every blob is decompressed and both digests are computed, then files
//! of the sizes that the merged tree has are written, all from one buffer. No archive is parsed and
//! no content kept. `cargo xtask bench layers` runs it.
//!
//! What is to be written is found out first, which is not measured.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a program opens the paths that it is given, and prints"
)]

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{FileContent, InodeId, Kind, Tree, TreePath};
use pleach_layer_merge::{Compression, Layer, Layout, MergeOptions, index};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};

const USAGE: &str = "usage: floor LAYOUT REFERENCE TARGET [THREADS]";
const BUFFER: usize = 256 << 10;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [layout, reference, target, threads @ ..] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let threads = match threads {
        [] => std::thread::available_parallelism()?.get(),
        [threads] => threads.parse()?,
        _ => return Err(USAGE.into()),
    };
    let open = |path: &str| Dir::open_ambient_dir(path, ambient_authority());
    let opened = Layout::open(&open(layout)?)?;
    let image = opened.resolve(Some(reference), None)?;
    let options = MergeOptions {
        file_digests: false,
        ..MergeOptions::default()
    };
    let tree = index(&opened, &image, &options)?.tree;
    let plan = Plan::new(&tree);
    let target = OwnedFd::from(open(target)?);

    // Of all threads, in the kernel too.
    let cpu = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime));
    let (begin, cpu_before) = (Instant::now(), cpu()?);
    let mut layers: Vec<&Layer> = image.layers().iter().collect();
    layers.sort_by_key(|layer| layer.size);
    in_threads(threads, layers, |layer| decode(Path::new(layout), layer))?;
    let decoded = begin.elapsed();
    plan.write(&target, threads)?;
    let line = serde_json::json!({
        "decode_s": decoded.as_secs_f64(),
        "wall_s": begin.elapsed().as_secs_f64(),
        "cpu_s": (cpu()? - cpu_before).as_secs_f64(),
    });
    println!("{line}");
    Ok(())
}

/// Gives the items to threads, the last one first.
fn in_threads<T: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let items = Mutex::new(items);
    let next = || items.lock().expect("no panic").pop();
    let worker = || {
        while let Some(item) = next() {
            work(item)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no panic"))
    })
}

fn decode(layout: &Path, layer: &Layer) -> Result<(), Failure> {
    let digest = layer.digest.to_string();
    let name = digest.trim_start_matches("sha256:");
    let file = File::open(layout.join("blobs/sha256").join(name))?;
    let mut blob = Sha256::new();
    let stream = BufReader::with_capacity(BUFFER, Hashed(file, &mut blob));
    let mut stream: Box<dyn Read> = match Compression::of_media_type(&layer.media_type)? {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(stream)?),
    };
    let mut archive = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            n => archive.update(&buffer[..n]),
        }
    }
    drop(stream);
    let found = [blob.finalize(), archive.finalize()];
    if found[0][..] != layer.digest.0 || found[1][..] != layer.diff_id.0 {
        return Err(format!("{digest} is another blob").into());
    }
    Ok(())
}

struct Hashed<'a>(File, &'a mut Sha256);

impl Read for Hashed<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(out)?;
        self.1.update(&out[..n]);
        Ok(n)
    }
}

/// What is written, each directory before what is in it.
struct Plan<'a> {
    directories: Vec<TreePath>,
    files: Vec<Vec<(TreePath, Item<'a>)>>,
    links: Vec<(TreePath, TreePath)>,
}

#[derive(Clone, Copy)]
enum Item<'a> {
    File(u64, u16),
    Symlink(&'a [u8]),
}

impl<'a> Plan<'a> {
    fn new(tree: &'a Tree<FileContent>) -> Self {
        let mut plan = Self {
            directories: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
        };
        let mut of_directory: HashMap<TreePath, usize> = HashMap::new();
        let mut seen: HashMap<InodeId, TreePath> = HashMap::new();
        for (path, id) in tree.walk() {
            let inode = tree.inode(id);
            let item = match &inode.kind {
                Kind::Directory(_) => {
                    of_directory.insert(path.clone(), plan.files.len());
                    plan.files.push(Vec::new());
                    plan.directories.push(path);
                    continue;
                }
                Kind::File(content) => Item::File(content.size, inode.metadata.mode),
                Kind::Symlink(target) => Item::Symlink(target),
                _ => continue,
            };
            match seen.get(&id) {
                Some(first) => plan.links.push((first.clone(), path)),
                None => {
                    let parent = path.parent().expect("not the root");
                    plan.files[of_directory[&parent]].push((path.clone(), item));
                    seen.insert(id, path);
                }
            }
        }
        plan
    }

    fn write(&self, target: &OwnedFd, threads: usize) -> Result<(), Failure> {
        for path in self.directories.iter().filter(|path| !path.is_root()) {
            rustix::fs::mkdirat(target, path.as_bytes(), Mode::RWXU)?;
        }
        let files: Vec<_> = self.files.iter().rev().collect();
        in_threads(threads, files, |files| {
            Ok(files.iter().try_for_each(|file| write(target, file))?)
        })?;
        for (first, path) in &self.links {
            let (first, path) = (first.as_bytes(), path.as_bytes());
            rustix::fs::linkat(target, first, target, path, AtFlags::empty())?;
        }
        Ok(())
    }
}

fn write(target: &OwnedFd, (path, item): &(TreePath, Item<'_>)) -> io::Result<()> {
    const BYTES: &[u8] = &[0x55; BUFFER];
    let path = path.as_bytes();
    let (size, mode) = match *item {
        Item::Symlink(to) => return Ok(rustix::fs::symlinkat(to, target, path)?),
        Item::File(size, mode) => (size, mode),
    };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(target, path, flags, Mode::from_raw_mode(mode.into()))?;
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).map_or(BYTES.len(), |left| left.min(BYTES.len()));
        left -= rustix::io::write(&file, &BYTES[..part])? as u64;
    }
    let time = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::futimens(&file, &times)?)
}
