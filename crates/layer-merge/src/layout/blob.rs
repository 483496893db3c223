//! Blobs: files named by their digest.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use cap_std::fs::{Dir, File};
use pleach_fs_tree::Digest;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use super::{blob_path, open_regular};
use crate::digest::Hashing;
use crate::{BUFFER, Error, Fault};

/// A blob that is read, and hashed meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    expected: Digest,
    size: u64,
    hasher: Sha256,
    read: u64,
}

impl BlobReader {
    pub(super) fn open(blobs: &Dir, digest: &Digest, size: Option<u64>) -> Result<Self, Error> {
        let name = blob_path(digest);
        let (fd, found) =
            open_regular(blobs, &name).map_err(Error::io("open", digest.to_string()))?;
        if let Some(expected) = size.filter(|&size| size != found) {
            return Err(Error::Document {
                what: digest.to_string(),
                fault: size_mismatch(expected, found),
            });
        }
        Ok(Self {
            file: File::from_std(fd.into()),
            expected: *digest,
            size: found,
            hasher: Sha256::new(),
            read: 0,
        })
    }

    /// The file, for somebody who hashes it anyway.
    pub(super) fn into_file(self) -> File {
        self.file
    }

    /// Bytes of the blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads what is left and compares digest and size.
    ///
    /// # Errors
    /// When they differ or the file cannot be read.
    pub fn verify(mut self) -> Result<(), Fault> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        if self.read != self.size {
            return Err(size_mismatch(self.size, self.read));
        }
        let found = Digest(self.hasher.finalize().into());
        if found == self.expected {
            return Ok(());
        }
        Err(Fault::DigestMismatch {
            what: "the digest of the blob",
            expected: self.expected.to_string(),
            found: found.to_string(),
        })
    }
}

fn size_mismatch(expected: u64, found: u64) -> Fault {
    Fault::DigestMismatch {
        what: "the size of the blob",
        expected: format!("{expected} bytes"),
        found: format!("{found} bytes"),
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.read += n as u64;
        Ok(n)
    }
}

/// A blob that is written; dropped before [`finish`](Self::finish), it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    blobs: &'a Dir,
    temporary: Temporary<'a>,
    out: Option<Hashing<File>>,
}

impl<'a> BlobWriter<'a> {
    pub(super) fn new(blobs: &'a Dir) -> Result<Self, Error> {
        let (temporary, file) = Temporary::new(blobs).map_err(Error::io("create", "a blob"))?;
        Ok(Self {
            blobs,
            temporary,
            out: Some(Hashing::new(file)),
        })
    }

    /// Makes the blob durable and names it by its digest.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(mut self) -> Result<(Digest, u64), Error> {
        let (digest, size, file) = self.out.take().expect("finished once").finish();
        let mut publish = || -> io::Result<()> {
            rustix::fs::fsync(&file)?;
            self.temporary.rename(&blob_path(&digest))?;
            let dir = rustix::fs::openat(self.blobs, ".", super::DIRECTORY, Mode::empty())?;
            Ok(rustix::fs::fsync(dir)?)
        };
        publish().map_err(Error::io("write", digest.to_string()))?;
        Ok((digest, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().expect("not finished").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How the names of files begin that are not whole.
const TEMPORARY: &str = ".tmp-";

/// A file with a name of its own, which is removed unless it gets another. It is locked as long as
/// somebody writes it, so that [`sweep`] knows one that was left.
#[derive(Debug)]
pub(crate) struct Temporary<'a> {
    dir: &'a Dir,
    name: Option<String>,
}

impl<'a> Temporary<'a> {
    pub(crate) fn new(dir: &'a Dir) -> io::Result<(Self, File)> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        for number in 0_u32.. {
            // A dead process's file is never reused, and none of another process's is hit.
            let id = rustix::process::getpid().as_raw_nonzero();
            let name = format!("{TEMPORARY}{id}-{number}");
            match rustix::fs::openat(dir, &*name, flags, Mode::from_raw_mode(0o644)) {
                Ok(fd) => {
                    // Where files cannot be locked, nobody takes one for left either.
                    let _ = rustix::fs::flock(&fd, FlockOperation::LockExclusive);
                    if rustix::fs::fstat(&fd)?.st_nlink == 0 {
                        continue; // swept before it was locked
                    }
                    let file = File::from_std(OwnedFd::into(fd));
                    let name = Some(name);
                    return Ok((Self { dir, name }, file));
                }
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(crate) fn rename(&mut self, name: &str) -> io::Result<()> {
        let from = self.name.as_deref().expect("renamed once");
        rustix::fs::renameat(self.dir, from, self.dir, name)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The only place that could tell anybody is already reporting an error.
            let _ = rustix::fs::unlinkat(self.dir, &**name, AtFlags::empty());
        }
    }
}

/// Removes what writers left that were killed.
pub(crate) fn sweep(dir: &Dir) -> io::Result<()> {
    for entry in dir.entries()? {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::openat(dir, &name, flags, Mode::empty()) else {
            continue; // it is gone, or none of ours
        };
        if rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue; // it is being written
        }
        // Its writer may have finished meanwhile, and begun another of that name.
        let named = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW);
        let same = named.is_ok_and(|named| {
            rustix::fs::fstat(&fd)
                .is_ok_and(|open| (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino))
        });
        if same {
            rustix::fs::unlinkat(dir, &name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Replaces a file at once and durably.
pub(crate) fn replace(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let (mut temporary, mut file) = Temporary::new(dir)?;
        file.write_all(bytes)?;
        rustix::fs::fsync(&file)?;
        temporary.rename(name)?;
        let dir = rustix::fs::openat(dir, ".", super::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::fsync(dir)?)
    };
    write().map_err(Error::io("write", name))
}
