//! vfat as Linux writes it, for machines whose kernel has none: operations go in, and the log of a disk's
//! writes comes out.
//!
//! What matters for a cut is modelled as `fs/fat` of Linux does it:
//!
//! - a change is made in memory first; when it comes to the disk is anybody's guess (here: a random part,
//!   after each operation) until something is synced;
//! - where a file is and how long it is, is its inode's affair: a new name says nothing of it, also after a
//!   rename, until the inode is written;
//! - fsync(2) of a file writes its contents, its inode, the allocation tables, and empties the disk's cache;
//!   of a directory, what was added to and removed from it and the tables, no inodes of what is in it;
//! - syncfs(2) writes everything, and leaves it in the disk's cache;
//! - a freed cluster is the next one that is used, where it is the lowest. (Linux goes on upwards, until it
//!   is mounted again; this is the worse case.)
//!
//! Not modelled: times, and the mark that says that a file system was not unmounted.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

use super::log::{Log, SECTOR};
use super::state::{Random, Recording};

/// What a program does to a mounted file system; paths are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file is made, or emptied.
    Create(String),
    /// Bytes are added at the end of a file.
    Write(String, Vec<u8>),
    /// A directory is made.
    MakeDirectory(String),
    /// A file is removed.
    Remove(String),
    /// An empty directory is removed.
    RemoveDirectory(String),
    /// A file gets another name, in place of a file that may have it.
    Rename(String, String),
    /// fsync(2) of a file or directory.
    Sync(String),
    /// syncfs(2).
    SyncAll,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {path}"),
            Self::Write(path, bytes) => write!(f, "write {} bytes to {path}", bytes.len()),
            Self::MakeDirectory(path) => write!(f, "mkdir {path}"),
            Self::Remove(path) => write!(f, "unlink {path}"),
            Self::RemoveDirectory(path) => write!(f, "rmdir {path}"),
            Self::Rename(from, to) => write!(f, "rename {from} {to}"),
            Self::Sync(path) => write!(f, "fsync /{path}"),
            Self::SyncAll => write!(f, "syncfs"),
        }
    }
}

/// Whose a changed sector is: who syncs what, writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Tables,
    /// By its first cluster.
    Directory(u32),
    /// By the number of the inode.
    File(usize),
    Nobody,
}

/// A file that is known in memory.
#[derive(Debug, Clone)]
struct Inode {
    number: usize,
    clusters: Vec<u32>,
    size: usize,
    /// Where its entry is, on the disk.
    at: usize,
    changed: bool,
}

/// An entry of a directory.
struct Entry {
    /// Where its slots are, on the disk; the last one has all but the long name.
    slots: Vec<usize>,
    name: String,
}

impl Entry {
    fn at(&self) -> usize {
        *self.slots.last().expect("an entry has a slot")
    }
}

/// A mounted vfat file system.
#[derive(Debug)]
pub struct Vfat {
    base: Vec<u8>,
    /// As it is in memory.
    now: Vec<u8>,
    reserved: usize,
    /// Bytes of a table.
    table: usize,
    tables: usize,
    cluster: usize,
    root: u32,
    changed: BTreeMap<u64, Owner>,
    inodes: BTreeMap<String, Inode>,
    numbers: usize,
    writes: Vec<(u64, Vec<u8>)>,
    random: Random,
    /// Of eight: how likely something that has changed is written after an operation.
    eager: usize,
}

const SLOT: usize = 32;
const END: u32 = 0x0fff_fff8;
const LONG: u8 = 0x0f;
const DIRECTORY: u8 = 0x10;
const ARCHIVE: u8 = 0x20;

impl Vfat {
    /// Mounts a FAT32 file system.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(disk: Vec<u8>, seed: u64, eager: usize) -> Result<Self> {
        let two = |at: usize| usize::from(disk[at]) | usize::from(disk[at + 1]) << 8;
        ensure!(
            two(11) == SECTOR && two(22) == 0,
            "no FAT32 with sectors of 512 bytes"
        );
        Ok(Self {
            reserved: two(14) * SECTOR,
            table: (two(36) | two(38) << 16) * SECTOR,
            tables: usize::from(disk[16]),
            cluster: usize::from(disk[13]) * SECTOR,
            root: (two(44) | two(46) << 16) as u32,
            now: disk.clone(),
            base: disk,
            changed: BTreeMap::new(),
            inodes: BTreeMap::new(),
            numbers: 0,
            writes: Vec::new(),
            random: Random::new(seed),
            eager,
        })
    }

    /// Does what a program does.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn run(&mut self, operation: &Operation) -> Result<()> {
        self.one(operation).with_context(|| operation.to_string())?;
        if !matches!(operation, Operation::Write(..)) {
            self.write_some();
        }
        Ok(())
    }

    fn one(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Create(path) => self.create(path),
            Operation::Write(path, bytes) => self.append(path, bytes),
            Operation::MakeDirectory(path) => self.make_directory(path),
            Operation::Remove(path) => self.remove(path),
            Operation::RemoveDirectory(path) => self.remove_directory(path),
            Operation::Rename(from, to) => self.rename(from, to),
            Operation::Sync(path) => self.sync(path),
            Operation::SyncAll => {
                let paths: Vec<String> = self.inodes.keys().cloned().collect();
                paths.iter().for_each(|path| self.write_inode(path));
                self.write_summary();
                self.submit(|_| true);
                Ok(())
            }
        }
    }

    /// What was written by now.
    ///
    /// # Errors
    /// As [`Recording::new`].
    pub fn finish(self) -> Result<Recording> {
        Recording::new(self.base, Log::of(&self.writes), 0..0)
    }

    fn create(&mut self, path: &str) -> Result<()> {
        let (directory, name) = self.place(path)?;
        if self.find(directory, name).is_some() {
            let mut inode = self.load(path)?;
            self.free(&std::mem::take(&mut inode.clusters));
            inode.size = 0;
            inode.changed = true;
            self.inodes.insert(path.to_owned(), inode);
            return Ok(());
        }
        let at = self.add(directory, name, ARCHIVE, 0)?;
        let number = self.number();
        let inode = Inode {
            number,
            clusters: Vec::new(),
            size: 0,
            at,
            changed: true,
        };
        self.inodes.insert(path.to_owned(), inode);
        Ok(())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut inode = self.load(path)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = inode.size % self.cluster;
            if within == 0 {
                let next = self.allocate()?;
                if let Some(last) = inode.clusters.last() {
                    self.set_table(*last, next);
                }
                inode.clusters.push(next);
            }
            let last = *inode.clusters.last().expect("one was added");
            let (part, later) = rest.split_at(rest.len().min(self.cluster - within));
            let at = self.offset(last) + within;
            self.put(at, part, Owner::File(inode.number));
            inode.size += part.len();
            rest = later;
        }
        inode.changed = true;
        self.inodes.insert(path.to_owned(), inode);
        Ok(())
    }

    fn make_directory(&mut self, path: &str) -> Result<()> {
        let (parent, name) = self.place(path)?;
        let cluster = self.empty_cluster(None)?;
        let above = if parent == self.root { 0 } else { parent };
        for (number, (name, start)) in [(".", cluster), ("..", above)].into_iter().enumerate() {
            let slot = short(format!("{name:<11}").as_bytes(), DIRECTORY, start);
            let at = self.offset(cluster) + number * SLOT;
            self.put(at, &slot, Owner::Directory(cluster));
        }
        self.add(parent, name, DIRECTORY, cluster).map(drop)
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let inode = self.load(path)?;
        self.remove_name(path)?;
        self.inodes.remove(path);
        self.forget(&inode);
        Ok(())
    }

    fn remove_directory(&mut self, path: &str) -> Result<()> {
        let own = self.directory(path)?;
        ensure!(
            self.entries(own).iter().all(|e| e.name.starts_with('.')),
            "not empty"
        );
        self.remove_name(path)?;
        let chain = self.chain(own);
        self.free(&chain);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let mut inode = self.load(from)?;
        let (directory, name) = self.place(to)?;
        let replaced = match self.find(directory, name) {
            Some(_) => Some(self.load(to)?),
            None => None,
        };
        inode.at = match &replaced {
            Some(other) => other.at,
            None => self.add(directory, name, ARCHIVE, 0)?,
        };
        inode.changed = true;
        self.remove_name(from)?;
        self.inodes.remove(from);
        if let Some(other) = replaced {
            self.forget(&other);
        }
        self.inodes.insert(to.to_owned(), inode);
        Ok(())
    }

    fn sync(&mut self, path: &str) -> Result<()> {
        if let Ok(own) = self.directory(path) {
            self.submit(|owner| owner == Owner::Directory(own));
            if own != self.root {
                let (parent, name) = self.place(path)?;
                let at = self.find(parent, name).context("it has a name")?.at();
                self.submit_sector(at);
            }
        } else {
            let inode = self.load(path)?;
            self.submit(|owner| owner == Owner::File(inode.number));
            if inode.changed {
                self.write_inode(path);
                self.submit_sector(inode.at);
            }
        }
        self.submit(|owner| owner == Owner::Tables);
        self.writes.push((0, Vec::new()));
        Ok(())
    }

    /// What the kernel may write whenever it likes.
    fn write_some(&mut self) {
        let paths: Vec<String> = self.inodes.keys().cloned().collect();
        for path in paths {
            if self.lucky() {
                self.write_inode(&path);
            }
        }
        // Contents by pages, all else by sectors.
        let mut taken = BTreeMap::new();
        let changed: Vec<_> = self.changed.iter().map(|(s, o)| (*s, *o)).collect();
        for (sector, owner) in &changed {
            let page = match owner {
                Owner::File(_) => sector / 8 * 8,
                _ => *sector,
            };
            taken.entry(page).or_insert_with(|| self.lucky());
        }
        let sectors = changed.iter().filter(|(sector, owner)| match owner {
            Owner::File(_) => taken[&(sector / 8 * 8)],
            _ => taken[sector],
        });
        let sectors: Vec<u64> = sectors.map(|(sector, _)| *sector).collect();
        self.submit_these(&sectors);
    }

    fn lucky(&mut self) -> bool {
        self.random.below(8) < self.eager
    }

    fn submit(&mut self, wanted: impl Fn(Owner) -> bool) {
        let sectors = self.changed.iter().filter(|(_, owner)| wanted(**owner));
        let sectors: Vec<u64> = sectors.map(|(sector, _)| *sector).collect();
        self.submit_these(&sectors);
    }

    fn submit_sector(&mut self, at: usize) {
        let sector = (at / SECTOR) as u64;
        if self.changed.contains_key(&sector) {
            self.submit_these(&[sector]);
        }
    }

    /// Hands sectors, which are in order, to the disk; neighbours at once.
    fn submit_these(&mut self, sectors: &[u64]) {
        for run in sectors.chunk_by(|a, b| a + 1 == *b) {
            let start = run[0] as usize * SECTOR;
            let bytes = self.now[start..start + run.len() * SECTOR].to_vec();
            self.writes.push((run[0], bytes));
        }
        for sector in sectors {
            self.changed.remove(sector);
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8], owner: Owner) {
        self.now[at..at + bytes.len()].copy_from_slice(bytes);
        for sector in at / SECTOR..(at + bytes.len()).div_ceil(SECTOR) {
            let known = self.changed.entry(sector as u64).or_insert(owner);
            if owner != Owner::Nobody {
                *known = owner;
            }
        }
    }

    /// Where a file is and how long: into its entry.
    fn write_inode(&mut self, path: &str) {
        let Some(inode) = self.inodes.get_mut(path).filter(|inode| inode.changed) else {
            return;
        };
        inode.changed = false;
        let (at, size) = (inode.at, inode.size as u32);
        let start = inode.clusters.first().copied().unwrap_or_default();
        let mut slot: [u8; SLOT] = self.now[at..at + SLOT].try_into().expect("a slot");
        set_start(&mut slot, start);
        slot[28..].copy_from_slice(&size.to_le_bytes());
        self.put(at, &slot, Owner::Nobody);
    }

    /// How many clusters are free.
    fn write_summary(&mut self) {
        let sector = usize::from(self.now[48]) | usize::from(self.now[49]) << 8;
        let free = (2..self.last_cluster())
            .filter(|c| self.table(*c) == 0)
            .count() as u32;
        let at = sector * SECTOR + 488;
        if self.now[at..at + 4] != free.to_le_bytes() {
            self.put(at, &free.to_le_bytes(), Owner::Nobody);
        }
    }

    fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    /// A file, as it is in memory.
    fn load(&mut self, path: &str) -> Result<Inode> {
        if let Some(known) = self.inodes.get(path) {
            return Ok(known.clone());
        }
        let (directory, name) = self.place(path)?;
        let at = self.find(directory, name).context("it is not there")?.at();
        ensure!(self.now[at + 11] & DIRECTORY == 0, "{path} is a directory");
        let start = self.start(at);
        let size = u32::from_le_bytes(self.now[at + 28..at + 32].try_into()?);
        let inode = Inode {
            number: self.number(),
            clusters: if start == 0 {
                Vec::new()
            } else {
                self.chain(start)
            },
            size: size as usize,
            at,
            changed: false,
        };
        self.inodes.insert(path.to_owned(), inode.clone());
        Ok(inode)
    }

    /// A file has no name any more, and nobody has it open.
    fn forget(&mut self, inode: &Inode) {
        self.changed
            .retain(|_, owner| *owner != Owner::File(inode.number));
        self.free(&inode.clusters);
    }

    /// The directory that a path is in, and its name there.
    fn place<'p>(&self, path: &'p str) -> Result<(u32, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.directory(parent)?, name))
    }

    /// The first cluster of a directory.
    fn directory(&self, path: &str) -> Result<u32> {
        let mut cluster = self.root;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entry = self.find(cluster, name);
            let at = entry.with_context(|| format!("there is no {path}"))?.at();
            ensure!(self.now[at + 11] & DIRECTORY != 0, "{name} is no directory");
            cluster = self.start(at);
        }
        Ok(cluster)
    }

    fn start(&self, at: usize) -> u32 {
        let two = |at: usize| u32::from(self.now[at]) | u32::from(self.now[at + 1]) << 8;
        two(at + 26) | two(at + 20) << 16
    }

    fn find(&self, directory: u32, name: &str) -> Option<Entry> {
        let mut entries = self.entries(directory).into_iter();
        entries.find(|entry| entry.name.eq_ignore_ascii_case(name))
    }

    fn slots(&self, directory: u32) -> Vec<usize> {
        let clusters = self.chain(directory).into_iter();
        let starts = clusters.map(|cluster| self.offset(cluster));
        starts
            .flat_map(|start| (start..start + self.cluster).step_by(SLOT))
            .collect()
    }

    fn entries(&self, directory: u32) -> Vec<Entry> {
        let (mut entries, mut slots, mut long) = (Vec::new(), Vec::new(), Vec::new());
        for at in self.slots(directory) {
            let slot = &self.now[at..at + SLOT];
            match (slot[0], slot[11]) {
                (0, _) => break,
                (0xe5, _) => (slots, long) = (Vec::new(), Vec::new()),
                (_, LONG) => {
                    slots.push(at);
                    let units = LETTERS.map(|i| u16::from_le_bytes([slot[i], slot[i + 1]]));
                    long.splice(0..0, units.into_iter().filter(|u| *u != 0 && *u != 0xffff));
                }
                _ => {
                    slots.push(at);
                    let name = match long.is_empty() {
                        true => short_name(slot),
                        false => String::from_utf16_lossy(&long),
                    };
                    let slots = std::mem::take(&mut slots);
                    long.clear();
                    entries.push(Entry { slots, name });
                }
            }
        }
        entries
    }

    /// Adds a name to a directory.
    fn add(&mut self, directory: u32, name: &str, attributes: u8, start: u32) -> Result<usize> {
        ensure!(name.is_ascii() && name.len() < 200, "a name as {name:?}");
        let letters: Vec<u8> = name.bytes().collect();
        let parts: Vec<&[u8]> = letters.chunks(13).collect();
        let free = |at: &usize, disk: &[u8]| [0, 0xe5].contains(&disk[*at]);
        let slots = self.slots(directory);
        let mut runs = slots.windows(parts.len() + 1);
        let run = match runs.find(|run| run.iter().all(|at| free(at, &self.now))) {
            Some(run) => run.to_vec(),
            None => {
                let last = *self.chain(directory).last().context("a directory")?;
                let next = self.empty_cluster(Some(directory))?;
                self.set_table(last, next);
                let kept = slots
                    .iter()
                    .rev()
                    .take_while(|at| free(at, &self.now))
                    .count();
                let more = self.slots(directory);
                more[slots.len() - kept..][..=parts.len()].to_vec()
            }
        };
        let short_name = format!("{:06X}~1   ", self.random.below(1 << 24));
        let slot = short(short_name.as_bytes(), attributes, start);
        let sum = slot[..11]
            .iter()
            .fold(0_u8, |sum, b| sum.rotate_right(1).wrapping_add(*b));
        for (number, part) in parts.iter().enumerate().rev() {
            let last = if number + 1 == parts.len() { 0x40 } else { 0 };
            let mut long = [0_u8; SLOT];
            (long[0], long[11], long[13]) = ((number as u8 + 1) | last, LONG, sum);
            for (index, at) in LETTERS.into_iter().enumerate() {
                let unit: u16 = match index.cmp(&part.len()) {
                    std::cmp::Ordering::Less => u16::from(part[index]),
                    std::cmp::Ordering::Equal => 0,
                    std::cmp::Ordering::Greater => 0xffff,
                };
                long[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            let at = run[parts.len() - 1 - number];
            self.put(at, &long, Owner::Directory(directory));
        }
        let at = run[parts.len()];
        self.put(at, &slot, Owner::Directory(directory));
        Ok(at)
    }

    fn remove_name(&mut self, path: &str) -> Result<()> {
        let (directory, name) = self.place(path)?;
        let entry = self.find(directory, name).context("it is not there")?;
        for at in entry.slots {
            self.put(at, &[0xe5], Owner::Directory(directory));
        }
        Ok(())
    }

    /// A cluster of zeros for a directory; none: for its own.
    fn empty_cluster(&mut self, directory: Option<u32>) -> Result<u32> {
        let cluster = self.allocate()?;
        let at = self.offset(cluster);
        let owner = Owner::Directory(directory.unwrap_or(cluster));
        self.put(at, &vec![0; self.cluster], owner);
        Ok(cluster)
    }

    fn last_cluster(&self) -> u32 {
        // Which may be less than there is.
        let sectors: [u8; 4] = self.now[32..36].try_into().expect("four bytes");
        let all = u32::from_le_bytes(sectors) as usize * SECTOR;
        let data = all - self.reserved - self.tables * self.table;
        (data / self.cluster) as u32 + 2
    }

    fn allocate(&mut self) -> Result<u32> {
        let Some(free) = (2..self.last_cluster()).find(|cluster| self.table(*cluster) == 0) else {
            bail!("it is full");
        };
        self.set_table(free, 0x0fff_ffff);
        Ok(free)
    }

    fn free(&mut self, clusters: &[u32]) {
        for cluster in clusters {
            self.set_table(*cluster, 0);
        }
    }

    fn offset(&self, cluster: u32) -> usize {
        self.reserved + self.tables * self.table + (cluster as usize - 2) * self.cluster
    }

    fn table(&self, cluster: u32) -> u32 {
        let at = self.reserved + cluster as usize * 4;
        let entry: [u8; 4] = self.now[at..at + 4].try_into().expect("four bytes");
        u32::from_le_bytes(entry) & 0x0fff_ffff
    }

    fn set_table(&mut self, cluster: u32, value: u32) {
        for copy in 0..self.tables {
            let at = self.reserved + copy * self.table + cluster as usize * 4;
            self.put(at, &value.to_le_bytes(), Owner::Tables);
        }
    }

    fn chain(&self, start: u32) -> Vec<u32> {
        let next = |cluster: &u32| {
            let next = self.table(*cluster);
            (2..END).contains(&next).then_some(next)
        };
        std::iter::successors(Some(start), next).collect()
    }
}

/// Where the letters of a long name are in a slot.
const LETTERS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

fn short(name: &[u8], attributes: u8, start: u32) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..11].copy_from_slice(&name[..11]);
    slot[11] = attributes;
    set_start(&mut slot, start);
    slot
}

fn set_start(slot: &mut [u8; SLOT], start: u32) {
    let [a, b, c, d] = start.to_le_bytes();
    (slot[26], slot[27], slot[20], slot[21]) = (a, b, c, d);
}

/// `LOADER     `, of which bits may say that it is in small letters.
fn short_name(slot: &[u8]) -> String {
    let part = |bytes: &[u8], small: bool| {
        let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if small { text.to_lowercase() } else { text }
    };
    let name = part(&slot[..8], slot[12] & 8 != 0);
    let end = part(&slot[8..11], slot[12] & 16 != 0);
    if end.is_empty() {
        name
    } else {
        format!("{name}.{end}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Cut;
    use super::*;

    /// A hundred clusters, of which the root directory has one.
    fn empty() -> Vec<u8> {
        let mut disk = vec![0; (32 + 2 + 8 * 100) * SECTOR];
        for (at, value) in [
            (12, 2),
            (13, 8),
            (14, 32),
            (16, 2),
            (36, 1),
            (44, 2),
            (48, 1),
            (32, 0x42),
            (33, 3),
        ] {
            disk[at] = value;
        }
        for table in [32, 33] {
            disk[table * SECTOR + 8..][..4].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
        }
        disk
    }

    fn create(path: &str, text: &str) -> Vec<Operation> {
        let bytes = text.as_bytes().to_vec();
        vec![
            Operation::Create(path.into()),
            Operation::Write(path.into(), bytes),
        ]
    }

    /// What is on the disk if all that was written came to it, and nothing else.
    fn after(operations: &[Operation], eager: usize) -> Vfat {
        let mut vfat = Vfat::new(empty(), 1, eager).expect("a vfat");
        for operation in operations {
            vfat.run(operation).expect("it can be done");
        }
        let recording = vfat.finish().expect("a recording");
        let at = recording.len();
        Vfat::new(recording.disk(Cut { at, seed: None }).bytes(), 1, 0).expect("a vfat")
    }

    fn contents(disk: &mut Vfat, path: &str) -> Option<String> {
        let inode = disk.load(path).ok()?;
        let bytes = inode.clusters.iter().flat_map(|cluster| {
            let at = disk.offset(*cluster);
            disk.now[at..at + disk.cluster].to_vec()
        });
        String::from_utf8(bytes.take(inode.size).collect()).ok()
    }

    #[test]
    fn what_a_sync_writes() {
        let check = |more: &[Operation], expected: &[(&str, Option<&str>)]| {
            let mut operations = vec![Operation::MakeDirectory("d".into())];
            operations.extend(create("d/a name that is long.part", "text"));
            operations.extend_from_slice(more);
            let mut disk = after(&operations, 0);
            for (path, text) in expected {
                assert_eq!(
                    contents(&mut disk, path).as_deref(),
                    *text,
                    "{path} after {more:?}"
                );
            }
        };
        let (part, name) = ("d/a name that is long.part", "d/a name that is long");
        let rename = Operation::Rename(part.into(), name.into());
        let sync = |path: &str| Operation::Sync(path.into());
        check(&[], &[(part, None)]);
        // The folder's own name is in another folder.
        check(&[sync(part)], &[(part, None)]);
        check(&[sync(""), sync("d"), sync(part)], &[(part, Some("text"))]);
        check(&[Operation::SyncAll], &[(part, Some("text"))]);
        // A new name says nothing of the file until the file is written.
        let renamed = [Operation::SyncAll, rename.clone(), sync("d")];
        check(&renamed, &[(part, None), (name, Some(""))]);
        let renamed = [Operation::SyncAll, rename.clone(), sync("d"), sync(name)];
        check(&renamed, &[(part, None), (name, Some("text"))]);
        let renamed = [Operation::SyncAll, rename, Operation::SyncAll];
        check(&renamed, &[(part, None), (name, Some("text"))]);
        check(
            &[
                Operation::SyncAll,
                Operation::Remove(part.into()),
                sync("d"),
            ],
            &[(part, None)],
        );
    }

    #[test]
    fn only_an_fsync_empties_the_disks_cache() {
        let flushes = |operations: &[Operation]| {
            let mut vfat = Vfat::new(empty(), 1, 0).expect("a vfat");
            operations
                .iter()
                .for_each(|o| vfat.run(o).expect("it can be done"));
            vfat.finish().expect("a recording").flushes()
        };
        assert_eq!(flushes(&[Operation::SyncAll]), 0);
        assert_eq!(
            flushes(&[Operation::SyncAll, Operation::Sync(String::new())]),
            1
        );
    }

    #[test]
    fn a_directory_grows_and_clusters_are_used_again() {
        let mut operations = Vec::new();
        for number in 0..60 {
            operations.extend(create(&format!("a name that is long {number}"), "x"));
        }
        for number in 0..60 {
            operations.push(Operation::Remove(format!("a name that is long {number}")));
        }
        for number in 0..60 {
            operations.extend(create(&format!("another name that is long {number}"), "y"));
        }
        operations.push(Operation::SyncAll);
        for eager in [0, 4, 8] {
            let mut disk = after(&operations, eager);
            for number in 0..60 {
                let path = format!("another name that is long {number}");
                assert_eq!(contents(&mut disk, &path).as_deref(), Some("y"), "{path}");
            }
            assert_eq!(disk.entries(disk.root).len(), 60, "{eager}");
            // The root has two, and 60 the files.
            let used = (2..disk.last_cluster()).filter(|c| disk.table(*c) != 0);
            assert_eq!(used.count(), 62, "{eager}");
        }
    }
}
