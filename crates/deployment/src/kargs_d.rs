//! The kernel arguments that an image brings: `/usr/lib/bootc/kargs.d/*.toml`
//! (bootc, "Kernel arguments").

use std::io::Read;
use std::path::PathBuf;

use cap_std::fs::Dir;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use crate::error::{Error, Result, io};
use crate::kernel_arguments::KernelArguments;
use crate::walk::open_dir;

/// Where the files are, below the root of a tree.
pub const DIRECTORY: &str = "usr/lib/bootc/kargs.d";

/// How to read the directory.
#[derive(Debug, Clone)]
pub struct Options {
    /// Machine to select for, as in `match-architectures`: `x86_64`, `aarch64`, …
    pub architecture: String,
    /// Most bytes of a file.
    pub max_file_bytes: u64,
    /// Most files.
    pub max_files: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            architecture: std::env::consts::ARCH.into(),
            max_file_bytes: 1 << 20,
            max_files: 1000,
        }
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Path below the root of the tree.
    pub path: PathBuf,
    /// What it asks for.
    pub kernel_arguments: KernelArguments,
    /// Whether its `match-architectures` admits the machine.
    pub applies: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    kargs: Vec<toml::Spanned<String>>,
    match_architectures: Option<Vec<String>>,
}

/// The files of a tree by name, as bytes; none if there is no such directory.
///
/// Names that do not end in `.toml` are not read. A file that is not a regular file, is not TOML, has a
/// key that is not known or an argument that is none is an error with its path and line.
pub fn read(tree: &Dir, options: &Options) -> Result<Vec<Fragment>> {
    let dir = match open_dir(tree, DIRECTORY) {
        Ok(dir) => dir,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in dir.entries().map_err(io("read directory", DIRECTORY))? {
        let name = entry.map_err(io("read directory", DIRECTORY))?.file_name();
        if std::path::Path::new(&name)
            .extension()
            .is_some_and(|e| e == "toml")
        {
            names.push(name);
        }
    }
    names.sort();
    if names.len() as u64 > options.max_files {
        return Err(Error::Limit {
            limit: "max_files",
            value: options.max_files,
            path: DIRECTORY.into(),
        });
    }
    let fragment = |name: std::ffi::OsString| {
        let path = PathBuf::from(DIRECTORY).join(&name);
        let text = read_text(&dir, &name, &path, options)?;
        parse(&text, path, options)
    };
    names.into_iter().map(fragment).collect()
}

/// The arguments of those files that apply, in order.
pub fn kernel_arguments(fragments: &[Fragment]) -> KernelArguments {
    let mut all = KernelArguments::new();
    for fragment in fragments.iter().filter(|f| f.applies) {
        all.extend(&fragment.kernel_arguments);
    }
    all
}

fn read_text(
    dir: &Dir,
    name: &std::ffi::OsStr,
    path: &PathBuf,
    options: &Options,
) -> Result<String> {
    // NONBLOCK: a fifo must not stop us here, it is refused below.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(io("open", path))?;
    let stat = rustix::fs::fstat(&file).map_err(io("stat", path))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(Error::FileName {
            path: path.clone(),
            reason: "is not a regular file",
        });
    }
    let mut text = String::new();
    let file = cap_std::fs::File::from_std(file.into());
    file.take(options.max_file_bytes + 1)
        .read_to_string(&mut text)
        .map_err(io("read", path))?;
    if text.len() as u64 > options.max_file_bytes {
        return Err(Error::Limit {
            limit: "max_file_bytes",
            value: options.max_file_bytes,
            path: path.clone(),
        });
    }
    Ok(text)
}

fn parse(text: &str, path: PathBuf, options: &Options) -> Result<Fragment> {
    let syntax = |at: usize, message: String| Error::Syntax {
        path: path.clone(),
        line: 1 + text[..at].matches('\n').count(),
        message,
    };
    let file: File = toml::from_str(text)
        .map_err(|e| syntax(e.span().map_or(0, |s| s.start), e.message().into()))?;
    let mut kernel_arguments = KernelArguments::new();
    for item in &file.kargs {
        let parsed: KernelArguments = item
            .get_ref()
            .parse()
            .map_err(|e: crate::KernelArgumentError| syntax(item.span().start, e.to_string()))?;
        if parsed.is_empty() {
            return Err(syntax(item.span().start, "empty kernel argument".into()));
        }
        kernel_arguments.extend(&parsed);
    }
    let applies = file
        .match_architectures
        .is_none_or(|all| all.contains(&options.architecture));
    Ok(Fragment {
        path,
        kernel_arguments,
        applies,
    })
}
