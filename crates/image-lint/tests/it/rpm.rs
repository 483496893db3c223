//! rpm's database, made by rpm, and what a hostile one does.

use std::path::Path;
use std::process::Command;

use pleach_fs_tree::{Inode, Metadata, Tree, TreePath};
use pleach_image_lint::Policy;
use proptest::prelude::*;
use rusqlite::Connection;

use crate::pair::compare_trees;
use crate::support::{SOUND, judge, shown, tree};

const DATABASE: &str = "/usr/share/rpm/rpmdb.sqlite";

/// Whether a program is there; where `CI=true` it must be.
fn has(test: &str, program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(found || !ci, "{program} is missing");
    if !found {
        eprintln!("SKIP {test}: {program} is missing");
    }
    found
}

fn run(command: &mut Command) {
    let output = command.output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

mod files {
    use super::{Command, Path, run};

    /// The database of packages: name, version with epoch and release, and files.
    pub(super) fn database(packages: &[(&str, &str, &[&str])]) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("db")).expect("made");
        for (n, (name, version, files)) in packages.iter().enumerate() {
            let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
            let (version, release) = rest.split_once('-').expect("a release");
            let epoch = match epoch {
                "" => String::new(),
                epoch => format!("Epoch: {epoch}\n"),
            };
            let make = files.iter().map(|file| {
                let parent = Path::new(file).parent().expect("a folder").display();
                format!("mkdir -p %{{buildroot}}{parent}\necho x > %{{buildroot}}{file}\n")
            });
            let (make, files) = (make.collect::<String>(), files.join("\n"));
            let spec = format!(
                "Name: {name}\n{epoch}Version: {version}\nRelease: {release}\nSummary: x\nLicense: MIT\n\
                 BuildArch: noarch\n%description\nx\n%install\n{make}\n%files\n{files}\n"
            );
            std::fs::write(at("x.spec"), spec).expect("written");
            let top = at(&format!("top{n}"));
            let mut build = Command::new("rpmbuild");
            build.arg("-bb").arg(at("x.spec"));
            for (name, value) in [("_topdir", &top), ("_dbpath", &at("none"))] {
                build.args(["--define", &format!("{name} {}", value.display())]);
            }
            run(&mut build);
            let made = top.join(format!("RPMS/noarch/{name}-{version}-{release}.noarch.rpm"));
            let mut install = Command::new("rpm");
            install.args(["--justdb", "--nodeps", "-i", "--dbpath"]);
            run(install.arg(at("db")).arg(made));
        }
        std::fs::read(at("db/rpmdb.sqlite")).expect("rpm wrote SQLite")
    }

    /// Does something to a database.
    pub(super) fn change(database: &[u8], what: impl FnOnce(&super::Connection)) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, database).expect("written");
        let connection = super::Connection::open(&path).expect("opened");
        what(&connection);
        connection.close().expect("closed");
        std::fs::read(path).expect("read")
    }
}

/// Puts files into an image.
fn with(mut image: Tree<Vec<u8>>, files: &[(&str, &[u8])]) -> Tree<Vec<u8>> {
    for (path, bytes) in files {
        let path = TreePath::new(path).expect("a path");
        let inode = Inode::file(Metadata::with_mode(0o644), bytes.to_vec());
        let parents = Metadata::with_mode(0o755);
        image.put_with_parents(&path, inode, &parents).expect("put");
    }
    image
}

const WEB: &[&str] = &["/lib/systemd/system/a.service", "/usr/bin/web"];

#[test]
fn units_of_a_package_are_no_applications() {
    if !has("units_of_a_package_are_no_applications", "rpmbuild") {
        return;
    }
    let application = "which belongs to no package";
    let check = |owned: &[&str], more: &[(&str, &[u8])], is_application: bool, notes: &[&str]| {
        let database = files::database(&[("web", "1:2.0-3", owned)]);
        let image = with(tree(SOUND, &[]), &[(DATABASE, &database)]);
        let report = judge(&with(image, more), &[], &Policy::default());
        let shown = shown(&report);
        assert_eq!(shown.contains(application), is_application, "{shown}");
        let told = report.notes.iter().filter(|note| note.contains("rpm"));
        assert_eq!(told.collect::<Vec<_>>(), notes);
    };
    check(WEB, &[], false, &[]);
    check(&["/usr/lib/systemd/system/a.service"], &[], false, &[]);
    check(&["/usr/bin/web"], &[], true, &[]);
    let log = "/usr/share/rpm/rpmdb.sqlite-wal";
    check(WEB, &[(log, b"")], false, &[]);
    check(
        WEB,
        &[(log, b"x")],
        false,
        &[
            "/usr/share/rpm/rpmdb.sqlite-wal is not read: what was changed last is not in /usr/share/rpm/rpmdb.sqlite yet",
        ],
    );
    check(
        WEB,
        &[("/var/lib/rpm/rpmdb.sqlite", b"x")],
        false,
        &["/var/lib/rpm/rpmdb.sqlite is a second database of rpm, which is not read"],
    );
}

#[test]
fn packages_are_compared() {
    if !has("packages_are_compared", "rpmbuild") {
        return;
    }
    let image = |packages: &[(&str, &str, &[&str])], web: &[u8]| {
        let database = files::database(packages);
        let key = files::change(&database, |c| {
            // A header of a name alone, that of a key.
            let key = header(&[(1000, 6, 0, 1)], b"gpg-pubkey\0");
            c.execute("INSERT INTO Packages (blob) VALUES (?1)", [key])
                .expect("inserted");
        });
        let below = tree(SOUND, &[]);
        with(below, &[(DATABASE, &key), ("/usr/bin/web", web)])
    };
    let old = image(
        &[("web", "1:2.0-3", WEB), ("old", "1-1", &["/usr/bin/old"])],
        b"one",
    );
    let new = image(
        &[("web", "1:2.1-1", WEB), ("new", "5-2", &["/usr/bin/new"])],
        b"two",
    );
    let found = compare_trees(&old, &new);
    let packages: Vec<_> = found
        .packages
        .iter()
        .map(|p| (&*p.database, &*p.name, p.old.as_deref(), p.new.as_deref()))
        .collect();
    assert_eq!(
        packages,
        [
            ("rpm", "new", None, Some("5-2")),
            ("rpm", "old", Some("1-1"), None),
            ("rpm", "web", Some("1:2.0-3"), Some("1:2.1-1")),
        ]
    );
    assert_eq!(found.notes, Vec::<String>::new());
    let web = found.files.iter().find(|file| file.path == "/usr/bin/web");
    let package = web.and_then(|file| file.package.as_deref());
    assert_eq!(package, Some("web"));
}

/// A header: entries of tag, type, offset and count, and its data.
fn header(entries: &[(u32, u32, u32, u32)], data: &[u8]) -> Vec<u8> {
    let numbers = entries.iter().flat_map(|&(a, b, c, d)| [a, b, c, d]);
    let head = [entries.len() as u32, data.len() as u32];
    let numbers = head.into_iter().chain(numbers);
    let bytes = numbers.flat_map(u32::to_be_bytes);
    bytes.chain(data.iter().copied()).collect()
}

/// A small database with one header, as SQL makes it.
fn small(sql: &str, blob: Option<&[u8]>) -> Vec<u8> {
    let connection = Connection::open_in_memory().expect("opened");
    connection.execute_batch(sql).expect(sql);
    if let Some(blob) = blob {
        let insert = "INSERT INTO Packages (blob) VALUES (?1)";
        connection.execute(insert, [blob]).expect("inserted");
    }
    connection.serialize("main").expect("bytes").to_vec()
}

const TABLE: &str = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)";

/// What `pair` notes of an image with a file.
fn note(name: &str, bytes: &[u8]) -> String {
    let image = with(tree(SOUND, &[]), &[(name, bytes)]);
    let found = compare_trees(&image, &image);
    assert_eq!(found.packages, []);
    let notes = found.notes.iter().filter(|note| note.starts_with("new: "));
    notes.cloned().collect::<Vec<_>>().join("\n")
}

/// Name, version and release, and other entries.
fn named(more: &[(u32, u32, u32, u32)], data: &[u8]) -> Vec<u8> {
    let own = [(1000, 6, 0, 1), (1001, 6, 2, 1), (1002, 6, 4, 1)];
    header(&[&own, more].concat(), &[b"a\x001\x002\0", data].concat())
}

#[test]
fn a_wrong_database_is_told() {
    let check = |bytes: &[u8], why: &str| {
        let expect = match why {
            "" => String::new(),
            why => format!(
                "new: {DATABASE} is not read as a database of rpm is: {why}: its packages are not compared"
            ),
        };
        assert_eq!(note(DATABASE, bytes), expect);
    };
    let blob = |blob: &[u8], why: &str| {
        let why = match why {
            "" => String::new(),
            why => format!("the header of its package 1: {why}"),
        };
        check(&small(TABLE, Some(blob)), &why);
    };
    check(b"x", "file is not a database");
    check(
        &small("CREATE TABLE x (a)", None),
        "it has no table Packages",
    );
    check(
        &small("CREATE VIEW Packages AS SELECT x'00' AS blob", None),
        "it has no table Packages",
    );
    let generated = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, \
                     blob AS (zeroblob(900000000))); INSERT INTO Packages VALUES (1)";
    check(&small(generated, None), "string or blob too big");
    let nothing = format!("{TABLE}; INSERT INTO Packages VALUES (1, NULL)");
    check(
        &small(&nothing, None),
        "row 1 of its table Packages is no header",
    );
    let mut cut = small(TABLE, Some(&named(&[], &[7; 20_000])));
    cut.truncate(8192);
    check(&cut, "database disk image is malformed");
    blob(&named(&[], b""), "");
    blob(b"", "it is 0 bytes long, and says 8");
    let huge = [[0xff; 8].as_slice(), &named(&[], b"")].concat();
    blob(
        &huge,
        &format!("it is {} bytes long, and says 73014444023", huge.len()),
    );
    blob(&header(&[], b""), "tag 1000 is not there");
    blob(
        &header(&[(1000, 4, 0, 1)], &[0; 4]),
        "tag 1000 has the type 4",
    );
    blob(
        &header(&[(1000, 6, 9, 1)], b"a\0"),
        "tag 1000 does not end within the data",
    );
    blob(
        &header(&[(1000, 6, 0, 1)], b"a"),
        "tag 1000 does not end within the data",
    );
    blob(
        &named(&[(1117, 8, 0, u32::MAX)], b""),
        "tag 1117 has 4294967295 values, more than 1048576",
    );
    blob(
        &named(&[(1117, 8, 0, 1 << 20)], b""),
        "tag 1117 does not end within the data",
    );
    blob(
        &named(&[(1116, 4, 0, 1 << 20)], b""),
        "tag 1116 does not end within the data",
    );
    let files = [(1118, 8, 6, 1), (1117, 8, 9, 1), (1116, 4, 11, 1)];
    blob(&named(&files, b"/d\0f\0\0\0\0\0"), "");
    let outside = "a file of it is in a directory that it has not";
    blob(&named(&files, b"/d\0f\0\0\0\0\x01"), outside);
    blob(&named(&files[..2], b"/d\0f\0\0\0\0\0"), outside);
    // A long directory, and many files in it.
    let long = [vec![b'd'; 5000], vec![0; 10]].concat();
    let many = [(1118, 8, 6, 1), (1117, 8, 5007, 1), (1116, 4, 5008, 1)];
    blob(
        &named(&many, &long),
        "a path of it has more than 4096 bytes",
    );
    let count = 100_000;
    let data = [vec![b'd'; 4000], vec![0; 1 + 5 * count]].concat();
    let count = count as u32;
    let many = [
        (1118, 8, 6, 1),
        (1117, 8, 4007, count),
        (1116, 4, 4007, count),
    ];
    check(
        &small(TABLE, Some(&named(&many, &data))),
        "the paths of its packages have more than 268435456 bytes",
    );
}

#[test]
fn an_older_database_is_told() {
    for (name, what) in [("Packages", "Berkeley DB"), ("Packages.db", "ndb")] {
        let path = format!("/var/lib/rpm/{name}");
        assert_eq!(
            note(&path, b"x"),
            format!(
                "new: {path} is a database of rpm of an older kind ({what}), which is not read: its packages are not compared"
            )
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes that are wrong end in packages or in a note.
    #[test]
    fn wrong_bytes_of_a_header_do_no_harm(
        changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..6),
        cut in 0..200_usize,
    ) {
        let files = [(1118, 8, 6, 1), (1117, 8, 9, 1), (1116, 4, 11, 1), (1003, 4, 11, 1)];
        let mut blob = named(&files, b"/d\0f\0\0\0\0\0");
        for (at, byte) in changes {
            let at = at % blob.len();
            blob[at] = byte;
        }
        if cut < blob.len() / 2 {
            blob.truncate(blob.len() - cut);
        }
        let image = with(Tree::new(Metadata::with_mode(0o755)), &[(DATABASE, &small(TABLE, Some(&blob)))]);
        let empty = Tree::new(Metadata::with_mode(0o755));
        let found = compare_trees(&empty, &image);
        let told = found.notes.iter().any(|note| note.contains("rpmdb.sqlite"));
        prop_assert!(told || found.packages.len() <= 1);
        prop_assert!(told != (found.packages.len() == 1) || found.packages.is_empty());
    }

    /// So do those of the file.
    #[test]
    fn wrong_bytes_of_a_database_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = small(TABLE, Some(&named(&[], &[7; 9000])));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let image = with(Tree::new(Metadata::with_mode(0o755)), &[(DATABASE, &bytes)]);
        let empty = Tree::new(Metadata::with_mode(0o755));
        let found = compare_trees(&empty, &image);
        prop_assert!(found.packages.len() <= 1);
    }
}
