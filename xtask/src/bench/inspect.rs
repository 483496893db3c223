//! An image of a gigabyte is looked into: us, and what nobody who verifies a layer can leave out,
//! `gzip -dc | sha256sum`, in the same run.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_layer_merge::{FileSize, History, LayerOptions, Layout, NewImage, diff, write_layer};
use serde_json::json;
use xshell::cmd;

use super::figures::Spread;
use crate::workspace::Workspace;

const FILES: u64 = 50_000;
const BYTES: u64 = 1_000_000_000;
/// Where the files are, a layer each, with their share of a hundred.
const LAYERS: [(&str, u64); 4] = [
    ("usr/share/locale", 45),
    ("usr/lib/python3/dist-packages", 30),
    ("usr/lib/firmware", 23),
    ("etc/site", 2),
];
/// What is allowed: so many times as long as the floor, and so many seconds the second time.
const RATIO: f64 = 1.3;
const AGAIN: f64 = 1.0;

/// A file that is made when it is read.
#[derive(Clone, PartialEq, Eq)]
struct Made {
    seed: u64,
    size: u64,
}

impl FileSize for Made {
    fn file_size(&self) -> u64 {
        self.size
    }
}

impl Made {
    /// Three quarters words, one quarter noise: it compresses as a system does.
    fn bytes(&self) -> Vec<u8> {
        let mut state = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let size = usize::try_from(self.size).expect("within memory");
        let mut out = Vec::with_capacity(size + 16);
        while out.len() < size {
            let number = next();
            if number % 4 == 0 {
                out.extend_from_slice(&next().to_le_bytes());
            } else {
                out.extend_from_slice(format!("word{} ", number % 509).as_bytes());
            }
        }
        out.truncate(size);
        out
    }
}

pub(super) fn run(workspace: &Workspace, pairs: usize) -> Result<()> {
    let sh = &workspace.sh;
    cmd!(sh, "cargo build --release -p pleach").run()?;
    let pleach = workspace.release().join("pleach");
    let folder = workspace.artifacts().join("bench-inspect");
    sh.remove_path(&folder)?;
    sh.create_dir(&folder)?;
    eprintln!("bench: making an image of {BYTES} bytes in {FILES} files");
    let blobs = make(&folder.join("image"))?;
    let (mut floor, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..=pairs {
        eprintln!("bench: pair {pair} of {pairs}, the first warms up");
        let cache = folder.join("cache");
        sh.remove_path(&cache)?;
        let inspect = || {
            let mut command = Command::new(&pleach);
            let image = format!("oci:{}:bench", folder.join("image").display());
            command.arg("inspect").arg(image).arg("--cache").arg(&cache);
            command
        };
        let below = || -> Result<f64> {
            let mut seconds = 0.0;
            for blob in &blobs {
                let mut command = Command::new("sh");
                command
                    .args(["-c", "gzip -dc \"$0\" | sha256sum"])
                    .arg(blob);
                seconds += timed(&mut command)?;
            }
            Ok(seconds)
        };
        // Who begins alternates.
        let (floored, looked) = match pair % 2 {
            0 => (below()?, timed(&mut inspect())?),
            _ => {
                let looked = timed(&mut inspect())?;
                (below()?, looked)
            }
        };
        let second = timed(&mut inspect())?;
        if pair > 0 {
            floor.push(floored);
            first.push(looked);
            again.push(second);
        }
    }
    let ratios = first.iter().zip(&floor).map(|(first, floor)| first / floor);
    let ratio = Spread::of(ratios.collect::<Vec<_>>());
    let (floor, first, again) = (Spread::of(floor), Spread::of(first), Spread::of(again));
    println!(
        "inspect, {BYTES} bytes in {FILES} files, {} layers, {pairs} pairs",
        LAYERS.len()
    );
    println!("  gzip -dc | sha256sum      {floor:.2} s");
    println!("  pleach inspect            {first:.2} s, {ratio:.2} times that");
    println!("  pleach inspect, again     {again:.2} s");
    println!("acceptance");
    println!(
        "  at most {RATIO} times as long: {}",
        word(ratio.median <= RATIO)
    );
    println!("  again in under {AGAIN} s: {}", word(again.median < AGAIN));
    sh.remove_path(&folder)?;
    Ok(())
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

fn timed(command: &mut Command) -> Result<f64> {
    let begin = Instant::now();
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(begin.elapsed().as_secs_f64())
}

/// Writes the image; gives the files of its layers.
fn make(place: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir(place)?;
    let layout = Layout::create(&Dir::open_ambient_dir(place, ambient_authority())?)?;
    let size = BYTES / FILES;
    let (mut lower, mut stack, mut blobs) =
        (Tree::new(Metadata::default()), Vec::new(), Vec::new());
    let mut seed = 0;
    for (folder, share) in LAYERS {
        let mut upper = lower.clone();
        for number in 0..FILES * share / 100 {
            seed += 1;
            // From a half to one and a half times the mean.
            let size = size / 2 + seed * 7919 % size;
            let path = format!("{folder}/{}/file-{number}", number % 200);
            let file = Inode::file(Metadata::with_mode(0o644), Made { seed, size });
            upper.put_with_parents(&TreePath::new(path)?, file, &Metadata::with_mode(0o755))?;
        }
        let mut blob = layout.write_blob()?;
        let mut source = |made: &Made| Ok(Cursor::new(made.bytes()));
        let changes = diff(&lower, &upper, |a, b| a == b);
        let layer = write_layer(&changes, &mut source, &mut blob, &LayerOptions::default())?;
        blob.finish()?;
        let hex = layer.digest.to_string().replace("sha256:", "");
        blobs.push(place.join("blobs/sha256").join(hex));
        stack.push((layer, History::default()));
        lower = upper;
    }
    let config = json!({"architecture": "amd64", "os": "linux"});
    let image = NewImage::scratch(config, &stack, &BTreeMap::new())?;
    layout.put_image(&image, Some("bench"))?;
    Ok(blobs)
}
