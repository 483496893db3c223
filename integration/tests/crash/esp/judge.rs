//! What an ESP has to hold after a cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Files by path, with their contents.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<String, Vec<u8>>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes = self.0.iter().map(|(path, contents)| (path, contents.len()));
        f.debug_map().entries(sizes).finish()
    }
}

const ENTRIES: &str = "loader/entries/";

impl Tree {
    /// That of a directory.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let mut tree = Self(BTreeMap::new());
        tree.add(directory, "")?;
        Ok(tree)
    }

    fn add(&mut self, directory: &Path, below: &str) -> Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => self.add(&entry.path(), &format!("{name}/"))?,
                false => drop(self.0.insert(name, std::fs::read(entry.path())?)),
            }
        }
        Ok(())
    }

    /// That of a file system, as mtools see it, and the names of files that cannot be read.
    pub(super) fn of_image(image: &Path) -> Result<(Self, BTreeSet<String>)> {
        let (mut tree, mut unreadable) = (Self(BTreeMap::new()), BTreeSet::new());
        // Each directory by itself: mdir -s ends at the first one that it cannot read.
        let mut directories = vec!["::/".to_owned()];
        while let Some(directory) = directories.pop() {
            let listed = mtools(image, "mdir", &["-b", "-a", &directory])?.0;
            for line in String::from_utf8_lossy(&listed).lines() {
                let path = line.trim();
                if path.ends_with('/') {
                    directories.push(path.to_owned());
                    continue;
                }
                let (contents, read) = mtools(image, "mtype", &[path])?;
                let Some(path) = path.strip_prefix("::/") else {
                    continue;
                };
                match read {
                    true => drop(tree.0.insert(path.to_owned(), contents)),
                    false => drop(unreadable.insert(path.to_owned())),
                }
            }
        }
        Ok((tree, unreadable))
    }

    /// Writes it to a directory.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        for (path, contents) in &self.0 {
            let path = directory.join(path);
            std::fs::create_dir_all(path.parent().context("it is below")?)?;
            std::fs::write(path, contents)?;
        }
        Ok(())
    }

    /// Entries that a boot loader reads, by their texts.
    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.0.iter().filter_map(|(path, text)| {
            let name = path.strip_prefix(ENTRIES)?;
            Some((name, std::str::from_utf8(text).unwrap_or("no text")))
        });
        // One without a word is passed over.
        entries.filter(|(name, text)| name.ends_with(".conf") && !text.is_empty())
    }
}

fn named(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (key, path) = line.split_once(' ')?;
        ["linux", "initrd"]
            .contains(&key)
            .then(|| path.trim().trim_start_matches('/'))
    })
}

/// What is right.
pub(super) struct Judge {
    start: Tree,
    pub(super) end: Tree,
}

impl Judge {
    pub(super) fn new(start: Tree, end: Tree) -> Self {
        Self { start, end }
    }

    /// The contents that a kernel has to have.
    fn known(&self, path: &str) -> Option<&Vec<u8>> {
        self.end.0.get(path).or_else(|| self.start.0.get(path))
    }

    /// What is wrong with a disk; `done` says that the writer has said that all is done.
    pub(super) fn problems(&self, image: &Path, done: bool) -> Result<Vec<String>> {
        let (tree, unreadable) = Tree::of_image(image)?;
        let mut problems = self.problems_of(&tree);
        // A name that leads to clusters that are free is there too: Linux gives up a vfat when it is removed.
        if done && (tree != self.end || !unreadable.is_empty()) {
            problems.push("all is done, and it is not what it should be".to_owned());
        }
        problems.extend(shared(image, &tree)?);
        Ok(problems)
    }

    fn problems_of(&self, tree: &Tree) -> Vec<String> {
        let mut problems = Vec::new();
        let texts: BTreeSet<_> = self.start.entries().chain(self.end.entries()).collect();
        let mut boots = false;
        for (name, text) in tree.entries() {
            let lacks = |path: &&str| {
                tree.0
                    .get(*path)
                    .is_none_or(|is| Some(is) != self.known(path))
            };
            match named(text).find(lacks) {
                _ if !texts.contains(&(name, text)) => {
                    problems.push("an entry is neither old nor new".to_owned());
                }
                Some(path) => {
                    let what = path.rsplit('/').next().unwrap_or_default();
                    let what = what.split('-').next().unwrap_or_default();
                    problems.push(format!("an entry without its {what}"));
                }
                None => boots = true,
            }
        }
        if !boots {
            problems.push("no entry boots".to_owned());
        }
        // What has its name and its size is not copied again.
        let half = tree.0.iter().find(|(path, is)| {
            let right = self.end.0.get(*path);
            right.is_some_and(|right| right.len() == is.len() && right != *is)
        });
        if half.is_some() {
            problems.push("the next run takes for whole what is not".to_owned());
        }
        problems
    }

    /// What is wrong after a second run: all that is wanted is there, and what else a boot loader reads is
    /// whole. (Of a file with two names both stay.)
    pub(super) fn problems_again(&self, tree: &Tree) -> Vec<String> {
        let mut problems = self.problems_of(tree);
        let lacks = |(path, contents): &(&String, &Vec<u8>)| tree.0.get(*path) != Some(*contents);
        problems.extend(
            self.end
                .0
                .iter()
                .filter(lacks)
                .map(|(path, _)| format!("{path} is not right")),
        );
        let second = |path: &str| {
            let other = [".part", ".old"]
                .iter()
                .find_map(|end| path.strip_suffix(end));
            other.is_some_and(|other| tree.0.get(other) == tree.0.get(path))
        };
        let more = tree.0.keys().filter(|path| !self.end.0.contains_key(*path));
        let twins: Vec<&String> = tree.0.keys().filter(|path| second(path)).collect();
        let kept = |path: &str| twins.iter().any(|twin| twin.starts_with(path)) || second(path);
        let needed: BTreeSet<&str> = tree.entries().flat_map(|(_, text)| named(text)).collect();
        let more = more.filter(|path| !kept(path) && !needed.contains(path.as_str()));
        problems.extend(more.map(|path| format!("{path} is left")));
        problems
    }
}

/// Names that share clusters: whoever removes one takes them from the other. Two names of a file that was
/// renamed read the same, and so nobody removes one of them.
fn shared(image: &Path, tree: &Tree) -> Result<Vec<String>> {
    let paths: Vec<String> = tree.0.keys().map(|path| format!("::/{path}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let shown = mtools(image, "mshowfat", &paths)?.0;
    let mut owners: BTreeMap<u32, &str> = BTreeMap::new();
    let mut problems = BTreeSet::new();
    for line in String::from_utf8_lossy(&shown).lines() {
        let Some((path, clusters)) = line.split_once(" <") else {
            continue;
        };
        let path = path.trim_start_matches("::/");
        let Some((path, _)) = tree.0.get_key_value(path) else {
            continue;
        };
        for range in clusters
            .split(['<', '>', ' '])
            .filter(|range| !range.is_empty())
        {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse()) else {
                continue;
            };
            for cluster in first..=last {
                let other = *owners.entry(cluster).or_insert(path);
                let longer = path
                    .strip_prefix(other)
                    .or(other.strip_prefix(path.as_str()));
                let renamed = longer.is_some_and(|end| ["", ".part", ".old"].contains(&end));
                if !renamed || tree.0.get(other) != tree.0.get(path) {
                    problems.insert("two files share a cluster".to_owned());
                }
            }
        }
    }
    Ok(problems.into_iter().collect())
}

/// What a tool of mtools prints, and whether it succeeded.
fn mtools(image: &Path, tool: &str, arguments: &[&str]) -> Result<(Vec<u8>, bool)> {
    let output = Command::new(tool)
        .env("MTOOLSRC", "/dev/null")
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-i")
        .arg(image)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {tool}"))?;
    Ok((output.stdout, output.status.success()))
}
