//! Small blobs that ask for much: each is read in a process of its own, whose peak of memory is
//! asked for at its end. `PLEACH_BOMBS=full` takes the full sizes, which needs minutes.

use std::io::{self, Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use pleach_layer_merge::{
    Budget, Compression, ContentStore, Digest, IndexOnly, Layer, Limits, MergeOptions, Merger,
    StoreOptions, read_layer,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::entry;
use crate::open;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

struct Bomb {
    name: &'static str,
    /// How much there is of it: bytes or entries, in CI and by hand.
    size: (u64, u64),
    compression: Compression,
    limits: fn(&mut Limits, full: bool),
    /// How it ends: the class of an error or `taken`.
    expect: (&'static str, &'static str),
    /// MiB of memory that it may take.
    peak: (u64, u64),
}

const BOMBS: [Bomb; 14] = [
    // 100 GB in one file: more than a file may have. In parts: read to the end.
    bomb("zeros", (2 * GIB, 100 * GIB), Compression::Gzip).ends("taken", "limit"),
    bomb("zeros-in-parts", (2 * GIB, 100 * GIB), Compression::Gzip),
    bomb("zeros-stored", (GIB, 8 * GIB), Compression::Gzip)
        .with(|l, _| l.file = 64 * MIB)
        .ends("limit", "limit"),
    bomb("zeros-zstd", (2 * GIB, 100 * GIB), Compression::Zstd).ends("limit", "limit"),
    bomb(
        "zeros-behind-the-archive",
        (GIB, 100 * GIB),
        Compression::Gzip,
    )
    .ends("limit", "limit"),
    bomb("hole", (60 * GIB, 60 * GIB), Compression::None).ends("limit", "limit"),
    bomb("entries", (100_000, 10_000_000), Compression::None)
        .ends("taken", "limit")
        .peak(150, 4096),
    bomb("entries-allowed", (100_000, 10_000_000), Compression::None)
        .with(|l, _| l.entries = u64::MAX)
        .peak(150, 12 * 1024),
    bomb("attributes", (200, 2000), Compression::Gzip)
        .with(|l, full| l.metadata = if full { l.metadata } else { 64 * MIB })
        .ends("limit", "limit")
        .peak(160, 800),
    bomb("keywords", (200, 5000), Compression::Gzip).peak(80, 80),
    bomb("directories", (10_000, 100_000), Compression::None)
        .with(|l, full| l.entries = if full { l.entries } else { 200_000 })
        .ends("limit", "limit")
        .peak(200, 4096),
    bomb("whiteouts", (100_000, 1_000_000), Compression::None).peak(100, 600),
    bomb("links", (100_000, 1_000_000), Compression::None)
        .with(|l, full| l.link_steps = if full { l.link_steps } else { 5_000_000 })
        .ends("limit", "limit")
        .peak(150, 1024),
    bomb("hard-links", (100_000, 1_000_000), Compression::None).peak(150, 1024),
];

const fn bomb(name: &'static str, size: (u64, u64), compression: Compression) -> Bomb {
    Bomb {
        name,
        size,
        compression,
        limits: |_, _| {},
        expect: ("taken", "taken"),
        peak: (80, 80),
    }
}

impl Bomb {
    const fn ends(mut self, in_ci: &'static str, by_hand: &'static str) -> Self {
        self.expect = (in_ci, by_hand);
        self
    }

    const fn with(mut self, limits: fn(&mut Limits, bool)) -> Self {
        self.limits = limits;
        self
    }

    const fn peak(mut self, in_ci: u64, by_hand: u64) -> Self {
        self.peak = (in_ci, by_hand);
        self
    }
}

fn full() -> bool {
    std::env::var("PLEACH_BOMBS").is_ok_and(|value| value == "full")
}

#[test]
fn bombs() {
    let mut failed = Vec::new();
    for bomb in &BOMBS {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bombs::child", "--ignored", "--nocapture"])
            .env("PLEACH_BOMB", bomb.name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().find_map(|line| line.split_once("bomb: ")) else {
            let errors = String::from_utf8_lossy(&output.stderr);
            failed.push(format!("{}: {}\n{errors}", bomb.name, output.status));
            continue;
        };
        println!("{}", line.1);
        let mut words = line.1.split_whitespace().skip(1);
        let (end, peak) = (words.next().unwrap(), words.next().unwrap());
        let (expect, most) = match full() {
            true => (bomb.expect.1, bomb.peak.1),
            false => (bomb.expect.0, bomb.peak.0),
        };
        if end != expect || peak.parse::<u64>().unwrap() > most {
            failed.push(format!(
                "{}\n  expected: {expect}, at most {most} MiB",
                line.1
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
#[ignore = "run by the test `bombs`, one process for each"]
fn child() {
    let Ok(name) = std::env::var("PLEACH_BOMB") else {
        return;
    };
    let bomb = BOMBS.iter().find(|bomb| bomb.name == name).unwrap();
    let full = full();
    let size = if full { bomb.size.1 } else { bomb.size.0 };
    let most = if full { bomb.peak.1 } else { bomb.peak.0 };
    // Whatever goes wrong, it does not take the machine with it.
    let limit = Some(2 * most * MIB + GIB);
    let limit = rustix::process::Rlimit {
        current: limit,
        maximum: limit,
    };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();

    let mut options = MergeOptions::default();
    (bomb.limits)(&mut options.limits, full);
    let layer = described(bomb, size);
    let begin = Instant::now();
    let blob = Pieces::new(bomb, size).stream();
    let budget = Budget::default();
    let result = if name == "zeros-stored" {
        let temporary = tempfile::tempdir().unwrap();
        let store = ContentStore::new(&open(temporary.path()), &StoreOptions::default()).unwrap();
        let sink = &mut store.sink();
        read_layer(blob, 0, &layer, &options, &budget, sink).map(|_| "taken".to_owned())
    } else {
        let read = read_layer(blob, 0, &layer, &options, &budget, &mut IndexOnly);
        let mut merger = Merger::new(&options);
        read.and_then(|read| merger.apply(read))
            .map(|()| format!("taken {}", merger.finish().notes.len()))
    };
    let (class, message) = match &result {
        Ok(_) => ("taken", String::new()),
        Err(error) => (error.class().as_str(), error.to_string()),
    };
    let (peak, seconds) = (peak(), begin.elapsed().as_secs_f32());
    println!(
        "\nbomb: {name} {class} {} MiB peak, {seconds:.1} s, {size} of it, blob {} bytes {message}",
        peak.div_ceil(1024),
        layer.size,
    );
}

/// The most memory this process had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// What the manifest says: the blob is made twice, so that nobody has to hold it.
fn described(bomb: &Bomb, size: u64) -> Layer {
    let (mut blob, mut archive, mut length) = (Sha256::new(), Sha256::new(), 0);
    // More than that is never read by anybody who has limits.
    let mut left = 101 * GIB;
    for piece in Pieces::new(bomb, size) {
        blob.update(&piece.blob);
        length += piece.blob.len() as u64;
        if left > 0 {
            archive.update(&piece.plain);
            left = left.saturating_sub(piece.plain.len() as u64);
        }
    }
    Layer {
        media_type: bomb.compression.media_type(),
        digest: Digest(blob.finalize().into()),
        size: length,
        diff_id: Digest(archive.finalize().into()),
    }
}

/// A stretch of the archive, and the same compressed as a member or frame of its own.
struct Piece {
    plain: Vec<u8>,
    blob: Vec<u8>,
}

struct Pieces {
    name: &'static str,
    compression: Compression,
    size: u64,
    next: u64,
    zeros: Arc<Piece>,
}

const PIECE: u64 = 4 * MIB;

impl Pieces {
    fn new(bomb: &Bomb, size: u64) -> Self {
        Self {
            name: bomb.name,
            compression: bomb.compression,
            size,
            next: 0,
            zeros: Arc::new(piece(bomb.compression, vec![0; PIECE as usize])),
        }
    }

    fn stream(self) -> Stream {
        Stream {
            pieces: self,
            current: None,
            at: 0,
        }
    }

    /// What comes at this place; `None` behind the end.
    fn piece(&self, number: u64) -> Option<Arc<Piece>> {
        let new = |bytes| Some(Arc::new(piece(self.compression, bytes)));
        if let Some(kind) = self.name.strip_prefix("zeros") {
            let parts = if kind == "-in-parts" { 4 } else { 1 };
            let each = self.size / PIECE / parts;
            return match (number / (each + 1), number % (each + 1)) {
                (part, _) if part == parts => {
                    (number == parts * (each + 1)).then(|| self.zeros.clone())
                }
                (part, 0) if kind == "-behind-the-archive" => new(file(part, 0, &[])),
                (part, 0) => new(file(part, each * PIECE, &[])),
                _ => Some(self.zeros.clone()),
            };
        }
        // Entries of a piece: those that are large come one by one.
        let many = match self.name {
            "attributes" | "keywords" => 1,
            _ => 1000,
        };
        let first = number * many;
        if self.name == "hole" {
            let pax = [
                (
                    b"GNU.sparse.size".to_vec(),
                    self.size.to_string().into_bytes(),
                ),
                (b"GNU.sparse.map".to_vec(), b"0,0".to_vec()),
            ];
            return match number {
                0 => new(file(0, 0, &pax)),
                1 => new(vec![0; 1024]),
                _ => None,
            };
        }
        if first >= self.size {
            return (first < self.size + many).then(|| new(vec![0; 1024]))?;
        }
        let mut out = Vec::new();
        if number == 0 {
            out.extend(prologue(self.name));
        }
        for n in first..(first + many).min(self.size) {
            out.extend(self.entry(n));
        }
        new(out)
    }

    fn entry(&self, n: u64) -> Vec<u8> {
        let value = |byte: u8, length: usize| vec![byte; length];
        match self.name {
            "attributes" => {
                let record = |k: u64| {
                    (
                        format!("SCHILY.xattr.user.{k}").into_bytes(),
                        value(b'v', 1 << 16),
                    )
                };
                file(n, 0, &(0..15).map(record).collect::<Vec<_>>())
            }
            "keywords" => file(n, 0, &[(value(b'k', (1 << 20) - 100), b"v".to_vec())]),
            "directories" => {
                entry(&json!({"path": format!("d{n}/{}f", "a/".repeat(250)), "type": "file"}))
            }
            "whiteouts" => entry(&json!({"path": format!("d/.wh.n{n}"), "type": "file"})),
            "links" => entry(&json!({"path": format!("s39/f{n}"), "type": "file"})),
            "hard-links" if n > 0 => {
                entry(&json!({"path": format!("f{n}"), "type": "hardlink", "target": "f0"}))
            }
            _ => file(n, 0, &[]),
        }
    }
}

/// Forty links, each leading through thousands of components to the next one.
fn prologue(name: &str) -> Vec<u8> {
    if name != "links" {
        return Vec::new();
    }
    let mut out = entry(&json!({"path": "d", "type": "dir"}));
    let turns = "d/../".repeat(800);
    for n in 0..40_u32 {
        let next = n.checked_sub(1).map_or("d".to_owned(), |n| format!("s{n}"));
        let target = format!("{turns}{next}");
        out.extend(entry(
            &json!({"path": format!("s{n}"), "type": "symlink", "target": target}),
        ));
    }
    out
}

/// The header of a file of that many bytes, which follow or not.
fn file(number: u64, size: u64, pax: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap();
    let mut pax: Vec<_> = pax.iter().map(|(k, v)| json!([text(k), text(v)])).collect();
    if size > 0 {
        // Octal digits end at 8 GiB.
        pax.push(json!(["size", size.to_string()]));
    }
    entry(&json!({"path": format!("f{number}"), "type": "file", "tar": {"pax": pax}}))
}

fn piece(compression: Compression, plain: Vec<u8>) -> Piece {
    let blob = match compression {
        Compression::None => plain.clone(),
        Compression::Gzip => {
            let level = flate2::Compression::new(9);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(&*plain, 1).unwrap(),
    };
    Piece { plain, blob }
}

impl Iterator for Pieces {
    type Item = Arc<Piece>;

    fn next(&mut self) -> Option<Arc<Piece>> {
        let piece = self.piece(self.next)?;
        self.next += 1;
        Some(piece)
    }
}

struct Stream {
    pieces: Pieces,
    current: Option<Arc<Piece>>,
    at: usize,
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(piece) = &self.current
                && self.at < piece.blob.len()
            {
                let n = out.len().min(piece.blob.len() - self.at);
                out[..n].copy_from_slice(&piece.blob[self.at..][..n]);
                self.at += n;
                return Ok(n);
            }
            self.at = 0;
            self.current = self.pieces.next();
            if self.current.is_none() {
                return Ok(0);
            }
        }
    }
}
