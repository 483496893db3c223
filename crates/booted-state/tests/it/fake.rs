//! A root directory and tools that are made up.

use std::cell::RefCell;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_booted_state::{CaptureOptions, CommandOutput, CommandRunner, Snapshot, capture};
use tempfile::TempDir;

/// A root directory.
pub(crate) struct Root(TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        let root = Self(tempfile::tempdir().expect("a temporary directory"));
        root.mode("", 0o755);
        root
    }

    /// With what the kernel always has, and a home in `/var`.
    pub(crate) fn with_kernel() -> Self {
        let root = Self::new();
        let header = "  sl  local_address rem_address st ...\n";
        root.file("proc/cmdline", "quiet root=/dev/vda rw\n", 0o444);
        root.file("proc/modules", "ext4 1 2 - Live 0x0\n", 0o444);
        root.file(
            "proc/1/mountinfo",
            "1 0 8:1 / / rw shared:1 - ext4 /dev/vda rw\n",
            0o444,
        );
        for protocol in ["tcp", "tcp6", "udp", "udp6"] {
            root.file(&format!("proc/1/net/{protocol}"), header, 0o444);
        }
        root.file("proc/sys/kernel/hostname", "one\n", 0o644);
        root
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn dir(&self, path: &str) -> Dir {
        Dir::open_ambient_dir(self.path(path), ambient_authority()).expect("a directory")
    }

    pub(crate) fn directory(&self, path: &str, mode: u32) {
        std::fs::create_dir_all(self.path(path)).expect("a directory");
        self.mode(path, mode);
    }

    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let full = self.path(path);
        std::fs::create_dir_all(full.parent().expect("a parent")).expect("directories");
        std::fs::write(&full, content).expect("a file");
        self.mode(path, mode);
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(path), permissions).expect("a mode");
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let full = self.path(path);
        std::fs::create_dir_all(full.parent().expect("a parent")).expect("directories");
        symlink(target, full).expect("a link");
    }

    /// Who owns what these tests make.
    pub(crate) fn uid(&self) -> u32 {
        std::fs::metadata(self.0.path()).expect("metadata").uid()
    }

    pub(crate) fn gid(&self) -> u32 {
        std::fs::metadata(self.0.path()).expect("metadata").gid()
    }

    pub(crate) fn capture(&self, runner: &dyn CommandRunner) -> Snapshot {
        capture(&self.dir("."), runner, &CaptureOptions::default()).expect("a snapshot")
    }
}

/// Tools whose answers are known by how the command line begins.
#[derive(Default)]
pub(crate) struct Tools {
    answers: Vec<(String, io::Result<CommandOutput>)>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Tools {
    pub(crate) fn answer(mut self, command: &str, stdout: &str) -> Self {
        let output = CommandOutput {
            code: Some(0),
            stdout: stdout.into(),
            stderr: Vec::new(),
        };
        self.answers.push((command.to_owned(), Ok(output)));
        self
    }

    pub(crate) fn fail(mut self, command: &str, code: i32, stderr: &str) -> Self {
        let output = CommandOutput {
            code: Some(code),
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        self.answers.push((command.to_owned(), Ok(output)));
        self
    }

    pub(crate) fn error(mut self, command: &str, kind: io::ErrorKind) -> Self {
        self.answers.push((command.to_owned(), Err(kind.into())));
        self
    }
}

impl Tools {
    /// The answers of `other` to what these do not know.
    pub(crate) fn append(&mut self, other: Self) {
        self.answers.extend(other.answers);
    }
}

impl CommandRunner for Tools {
    fn run(&self, program: &str, arguments: &[&str], _: Duration) -> io::Result<CommandOutput> {
        let command = format!("{program} {}", arguments.join(" "));
        self.asked.borrow_mut().push(command.clone());
        match self
            .answers
            .iter()
            .find(|(begin, _)| command.starts_with(begin))
        {
            Some((_, Ok(output))) => Ok(output.clone()),
            Some((_, Err(error))) => Err(error.kind().into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
