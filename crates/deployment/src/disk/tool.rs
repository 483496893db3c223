//! Running a program on an image that it gets as a descriptor, not by name.

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cap_std::fs::Dir;
use cap_std_ext::cmdext::{CapStdExtCommandExt, CmdFds};

use crate::error::{Error, Result, io};

const FD: i32 = 3;
const E2FSPROGS: &str = "e2fsprogs";

/// How the program sees the image.
pub(super) const IMAGE: &str = "/proc/self/fd/3";

/// How programs of e2fsprogs see a filesystem that does not start at the image's first byte.
pub(super) fn image_at(offset: u64) -> String {
    match offset {
        0 => IMAGE.to_owned(),
        offset => format!("{IMAGE}?offset={offset}"),
    }
}

pub(super) struct Tool {
    command: Command,
    name: PathBuf,
    package: &'static str,
}

impl Tool {
    /// A program of e2fsprogs.
    pub(super) fn new(program: &Path, timestamp: u64) -> Self {
        let mut command = Command::new(program);
        command
            .env("LC_ALL", "C")
            .env("MKE2FS_CONFIG", "/dev/null")
            .env("E2FSPROGS_FAKE_TIME", timestamp.to_string())
            .env("SOURCE_DATE_EPOCH", timestamp.to_string())
            .env("DEBUGFS_PAGER", "__none__")
            .env("MTOOLSRC", "/dev/null")
            .env("MTOOLS_SKIP_CHECK", "1")
            .env("TZ", "UTC");
        Self {
            command,
            name: program.to_owned(),
            package: E2FSPROGS,
        }
    }

    /// One of another package of Debian.
    pub(super) fn package(mut self, package: &'static str) -> Self {
        self.package = package;
        self
    }

    pub(super) fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    pub(super) fn cwd(mut self, dir: &Dir) -> Result<Self> {
        let dir = dir.try_clone().map_err(io("open directory", "."))?;
        self.command.cwd_dir(dir);
        Ok(self)
    }

    /// Run with the image as descriptor 3 and `input` on standard input; returns standard output.
    ///
    /// debugfs ends with 0 whatever happens, so what [`complaint`] finds on standard error is a failure too.
    pub(super) fn run(mut self, image: BorrowedFd<'_>, input: &[u8]) -> Result<Vec<u8>> {
        let tool = self.name.display().to_string();
        let image = image.try_clone_to_owned().map_err(io("open", IMAGE))?;
        let mut descriptors = CmdFds::new();
        descriptors.take_fd_n(Arc::new(image), FD);
        self.command
            .take_fds(descriptors)
            .stdin(stdin(input)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = self.command.output().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::ToolMissing {
                tool: tool.clone(),
                package: self.package,
            },
            _ => io("run", &self.name)(e),
        })?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint(&self.name, &stderr);
        // Others say by their status alone that they failed.
        let quiet = complaint.is_empty() || self.package != E2FSPROGS;
        if output.status.success() && quiet {
            return Ok(output.stdout);
        }
        Err(Error::ToolFailed {
            tool,
            status: output.status.to_string(),
            stderr: complaint,
        })
    }
}

/// A file, so that neither side can block on a pipe that the other does not read.
fn stdin(input: &[u8]) -> Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let failed = || io("write", "standard input");
    let fd = rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(io("create", "standard input"))?;
    let mut file = cap_std::fs::File::from_std(fd.into());
    file.write_all(input).map_err(failed())?;
    file.rewind().map_err(failed())?;
    Ok(Stdio::from(file.into_std()))
}

/// Standard error without the line with the version, and without what mkfs says of a configuration file
/// that is empty on purpose.
fn complaint(tool: &Path, stderr: &str) -> String {
    let name = tool.file_name().unwrap_or_default().to_string_lossy();
    let noise = |line: &&str| {
        line.is_empty()
            || line.starts_with(&format!("{name} 1."))
            || line.contains("not defined in mke2fs.conf")
            || line.starts_with("Your mke2fs.conf file does not define the ext4")
            || line.starts_with("You probably need to install an updated mke2fs.conf")
    };
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|l| !noise(l))
        .collect();
    lines.join("\n")
}

/// As one word of a debugfs command; there is no way to write a line break.
pub(super) fn quote(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|t| !t.contains('\n'));
    let text = text.ok_or_else(|| Error::FileName {
        path: path.to_owned(),
        reason: "cannot be said to debugfs: not UTF-8, or a line break in it",
    })?;
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}

/// Bytes of an image.
pub(super) fn read_at(
    image: &cap_std::fs::File,
    offset: u64,
    head: &mut [u8],
) -> std::io::Result<()> {
    let mut image = image.try_clone()?;
    image.seek(SeekFrom::Start(offset))?;
    image.read_exact(head)
}
