//! Files and folders by name, never through a symbolic link.

use std::io::{self, Read};

use cap_std::fs::{Dir, File};
use rustix::fs::{FileType, Mode, OFlags};

use crate::Error;

pub(crate) fn failed(
    operation: &'static str,
    path: impl Into<String>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Store {
        operation,
        path,
        source,
    }
}

pub(crate) fn not_found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens the directory `name`, made first if it is missing. A symbolic link there is an error.
pub(crate) fn ensure_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    open_dir(parent, name)
}

pub(crate) fn open_dir(parent: &Dir, name: &str) -> io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(Dir::from(fd))
}

/// Opens the regular file `name`. A symbolic link, a pipe or a device there is an error.
pub(crate) fn open_file(parent: &Dir, name: &str) -> io::Result<Option<File>> {
    // NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Some(fd) = not_found(rustix::fs::openat(parent, name, flags, Mode::empty()))? else {
        return Ok(None);
    };
    let mode = rustix::fs::fstat(&fd)?.st_mode;
    if !FileType::from_raw_mode(mode).is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(Some(File::from_std(fd.into())))
}

/// Removes all that is in `dir`; says how much that was.
pub(crate) fn sweep(dir: &Dir) -> io::Result<u64> {
    let mut removed = 0;
    for entry in dir.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let is_dir = entry.file_type()?.is_dir();
        let gone = if is_dir {
            dir.remove_dir_all(name)
        } else {
            dir.remove_file(name)
        };
        match gone {
            Ok(()) => removed += 1,
            // A skopeo that is just ending removes its files itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

pub(crate) fn read_file(parent: &Dir, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    open_file(parent, name)?
        .map(|file| read_to(file, max))
        .transpose()
}

pub(crate) fn read_to(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let what = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}
