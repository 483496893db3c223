//! `rpmdb.sqlite`: a table of headers. It comes with an image, and is believed nothing.

use pleach_fs_tree::escape;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use thiserror::Error;

use super::Package;
use super::header::{
    ARCH, BASENAMES, DIRINDEXES, DIRNAMES, EPOCH, Header, HeaderError, NAME, RELEASE, VERSION,
};

/// A path may have so many bytes, as in the kernel.
pub(super) const MAX_PATH: usize = 4096;
/// The paths of all packages together may have so many bytes: a few names of directories and files make
/// far more of them than the database is large.
const MAX_PATHS: usize = 256 << 20;

/// Why a database is not read.
#[derive(Debug, Error)]
pub(super) enum DatabaseError {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("it has no table Packages")]
    NoTable,
    #[error("row {0} of its table Packages is no header")]
    NoBytes(usize),
    #[error("its table Packages has more in it than the file")]
    Overlap,
    #[error("the header of its package {row}: {error}")]
    Header { row: usize, error: HeaderError },
    #[error("the paths of its packages have more than {MAX_PATHS} bytes")]
    Paths,
}

/// The packages of a database.
pub(super) fn packages(mut bytes: Vec<u8>) -> Result<Vec<Package>, DatabaseError> {
    // In memory there is no write-ahead log: a database that had one says so in these two bytes, and is
    // opened as one that has none (<https://www.sqlite.org/fileformat.html>, 1.3.3).
    if let Some(versions @ [2, 2]) = bytes.get_mut(18..20) {
        versions.copy_from_slice(&[1, 1]);
    }
    let size = bytes.len();
    let mut connection = Connection::open_in_memory()?;
    // What <https://www.sqlite.org/security.html> says of files that are not trusted.
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    // No value can be longer than the file; the texts of our own need some.
    let longest = i32::try_from(size).unwrap_or(i32::MAX).max(1 << 16);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest)?;
    connection.deserialize_read_exact("main", &*bytes, size, true)?;
    drop(bytes);
    connection.execute_batch("PRAGMA cell_size_check = ON")?;
    // Neither a view nor a virtual table, which run what the file says.
    let is_table = "SELECT count(*) FROM sqlite_schema \
                    WHERE name = 'Packages' AND type = 'table' AND rootpage > 0";
    if connection.query_row(is_table, [], |row| row.get::<_, i64>(0))? != 1 {
        return Err(DatabaseError::NoTable);
    }
    let mut statement = connection.prepare("SELECT blob FROM Packages")?;
    let mut rows = statement.query([])?;
    let (mut out, mut read, mut room) = (Vec::new(), 0, MAX_PATHS);
    for number in 1.. {
        let Some(row) = rows.next()? else {
            break;
        };
        let blob = row.get_ref(0)?.as_blob();
        let blob = blob.map_err(|_| DatabaseError::NoBytes(number))?;
        // Pages that are there more than once make rows without end.
        read += blob.len() + 1;
        if read > size {
            return Err(DatabaseError::Overlap);
        }
        let package = package(blob, &mut room).map_err(|error| match error {
            Fault::Header(error) => DatabaseError::Header { row: number, error },
            Fault::Paths => DatabaseError::Paths,
        })?;
        out.extend(package);
    }
    Ok(out)
}

enum Fault {
    Header(HeaderError),
    Paths,
}

impl From<HeaderError> for Fault {
    fn from(error: HeaderError) -> Self {
        Self::Header(error)
    }
}

/// The package of a header; a key that signatures are checked with is none. Its paths take from `room`.
fn package(blob: &[u8], room: &mut usize) -> Result<Option<Package>, Fault> {
    let header = Header::parse(blob)?;
    let name = header.string(NAME)?;
    if name == b"gpg-pubkey" {
        return Ok(None);
    }
    let mut version = match header.numbers(EPOCH)?.first() {
        Some(epoch) => format!("{epoch}:"),
        None => String::new(),
    };
    version += &escape(header.string(VERSION)?);
    version.push('-');
    version += &escape(header.string(RELEASE)?);
    let folders = header.strings(DIRNAMES)?;
    let names = header.strings(BASENAMES)?;
    let indexes = header.numbers(DIRINDEXES)?;
    if names.len() != indexes.len() {
        return Err(HeaderError::Directory.into());
    }
    let mut paths = Vec::new();
    for (name, index) in names.into_iter().zip(indexes) {
        let folder = folders.get(index as usize).ok_or(HeaderError::Directory)?;
        let length = folder.len() + name.len();
        if length > MAX_PATH {
            return Err(HeaderError::Path.into());
        }
        *room = room.checked_sub(length).ok_or(Fault::Paths)?;
        paths.push(escape(&[folder, name].concat()));
    }
    Ok(Some(Package {
        name: escape(name),
        version,
        architecture: match header.string(ARCH) {
            Ok(architecture) => escape(architecture),
            Err(HeaderError::Missing(_)) => String::new(),
            Err(error) => return Err(error.into()),
        },
        paths,
    }))
}
