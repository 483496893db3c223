//! Trees and differences become layers.

use std::io::Write as _;
use std::process::{Command, Stdio};

use pleach_fs_tree::Timestamp;
use pleach_layer_merge::{Changes, Compression, LayerOptions, diff, write_layer, write_tree};

use crate::{bytes, show, tree};

fn archive(changes: &Changes<Vec<u8>>, options: &LayerOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let layer = write_layer(changes, &mut bytes(), &mut out, options).unwrap();
    assert_eq!(layer.size, out.len() as u64);
    assert_eq!(layer.digest, pleach_fs_tree::Digest::of(&out));
    if options.compression == Compression::None {
        assert_eq!(
            (layer.diff_id, layer.unpacked_size),
            (layer.digest, layer.size)
        );
    }
    out
}

fn uncompressed() -> LayerOptions {
    LayerOptions {
        compression: Compression::None,
        ..LayerOptions::default()
    }
}

/// What GNU tar reads, one line an entry; times in UTC.
fn listed(archive: &[u8]) -> String {
    let mut child = Command::new("tar")
        .args([
            "--list",
            "--verbose",
            "--numeric-owner",
            "--full-time",
            "--utc",
            "--file=-",
        ])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.join(" ") + "\n"
    });
    lines.collect()
}

#[test]
fn gnu_tar_reads_every_kind_of_entry() {
    let long = "n".repeat(120);
    let tree = tree(&format!(
        "/ directory 0755 0:0 1.0
         /dev directory 0755 0:0 1.0
         /dev/loop0 block-device 0660 0:6 1.0 7:0
         /dev/null char-device 0666 0:0 1.0 1:3
         /etc directory 0755 0:0 1000000000.0
         /etc/passwd file 0644 0:0 -100.500000000 root:x:0:0
         /etc/{long} file 0644 3000000:2 1.25 x user.k=v\\x0a\\x00
         /etc/same hardlink /etc/{long}
         /fifo fifo 1600 1:2 1.0
         /link symlink 0777 0:0 1.0 ../{long}
         /su file 4755 0:0 1.0 -"
    ));
    let found = listed(&archive(&Changes::whole(tree), &uncompressed()));
    insta::assert_snapshot!(found.replace(&long, "LONG"), @r"
    drwxr-xr-x 0/0 0 1970-01-01 00:00:01 ./
    drwxr-xr-x 0/0 0 1970-01-01 00:00:01 dev/
    brw-rw---- 0/6 7,0 1970-01-01 00:00:01 dev/loop0
    crw-rw-rw- 0/0 1,3 1970-01-01 00:00:01 dev/null
    drwxr-xr-x 0/0 0 2001-09-09 01:46:40 etc/
    -rw-r--r-- 3000000/2 1 1970-01-01 00:00:01.000000025 etc/LONG
    -rw-r--r-- 0/0 10 1969-12-31 23:58:21.5 etc/passwd
    hrw-r--r-- 3000000/2 0 1970-01-01 00:00:01.000000025 etc/same link to etc/LONG
    prw------T 1/2 0 1970-01-01 00:00:01 fifo
    lrwxrwxrwx 0/0 0 1970-01-01 00:00:01 link -> ../LONG
    -rwsr-xr-x 0/0 0 1970-01-01 00:00:01 su
    ");
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let tree = tree(
        "/ directory 0755 0:0 1.0
         /a file 0644 0:0 1.5 content user.a=1 user.b=2",
    );
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let options = LayerOptions {
            compression,
            ..LayerOptions::default()
        };
        let mut layers = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            layers.push((
                write_tree(&tree, &mut bytes(), &mut out, &options).unwrap(),
                out,
            ));
        }
        assert_eq!(layers[0], layers[1], "{compression:?}");
        assert_eq!(layers[0].0.entries, 2);
    }
    let gzip = archive(&Changes::whole(tree), &LayerOptions::default());
    assert_eq!(
        gzip[..10],
        *b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
        "no name, no time, no system"
    );
}

#[test]
fn later_times_are_clamped() {
    let tree = tree(
        "/ directory 0755 0:0 5.0
         /new file 0644 0:0 2000.9 x
         /old file 0644 0:0 3.0 x",
    );
    let options = LayerOptions {
        clamp_mtime: Some(Timestamp::from_seconds(1000)),
        ..uncompressed()
    };
    insta::assert_snapshot!(listed(&archive(&Changes::whole(tree), &options)), @r"
    drwxr-xr-x 0/0 0 1970-01-01 00:00:05 ./
    -rw-r--r-- 0/0 1 1970-01-01 00:16:40 new
    -rw-r--r-- 0/0 1 1970-01-01 00:00:03 old
    ");
}

/// The entries of the layer that makes `upper` out of `lower`.
fn check_diff(lower: &str, upper: &str, expect: &str) {
    let changes = diff(&tree(lower), &tree(upper), |a, b| a == b);
    let names: String = listed(&archive(&changes, &uncompressed()))
        .lines()
        .map(|line| line.splitn(6, ' ').nth(5).unwrap().to_owned() + "\n")
        .collect();
    let expect: String = expect.lines().map(|l| l.trim().to_owned() + "\n").collect();
    assert_eq!(names, expect, "\n{lower}\nto\n{upper}");
}

#[test]
fn a_difference_is_the_least_that_any_reader_gets_right() {
    let root = "/ directory 0755 0:0 1.0\n";
    let check = |lower: &str, upper: &str, expect: &str| {
        let line = |l: &str| {
            let with_type = |rest| format!("{rest}\n");
            l.split(", ")
                .filter(|l| !l.is_empty())
                .map(with_type)
                .collect::<String>()
        };
        check_diff(
            &format!("{root}{}", line(lower)),
            &format!("{root}{}", line(upper)),
            expect,
        );
    };
    let (d, f, g) = (
        "/d directory 0755 0:0 1.0",
        "/d/f file 0644 0:0 1.0 f",
        "/d/g file 0644 0:0 1.0 g",
    );
    let list = |parts: &[&str]| parts.join(", ");
    check(&list(&[d, f]), &list(&[d, f]), "");
    check(&list(&[d, f]), &list(&[d, f, g]), "d/\nd/g");
    check(&list(&[d, f, g]), &list(&[d, f]), "d/\nd/.wh.g");
    check(&list(&[d, f]), "", ".wh.d");
    check(&list(&[d, f]), "/d file 0644 0:0 1.0 x", "d");
    check("/d symlink 0777 0:0 1.0 e", &list(&[d, f]), "d/\nd/f");
    check(
        &list(&[d, f]),
        &list(&["/d directory 0700 0:0 1.0", f]),
        "d/",
    );
    // All names of an inode, also the one that was there.
    let link = "/d/h hardlink /d/f";
    check(
        &list(&[d, f]),
        &list(&[d, f, link]),
        "d/\nd/f\nd/h link to d/f",
    );
    check(&list(&[d, f, link]), &list(&[d, f]), "d/\nd/.wh.h\nd/f");
}

#[test]
fn what_no_layer_can_say_is_refused() {
    let check = |line: &str, expect: &str| {
        let tree = tree(&format!("/ directory 0755 0:0 1.0\n{line}"));
        let result = write_tree(&tree, &mut bytes(), std::io::sink(), &uncompressed());
        match result {
            Err(error) => assert_eq!(error.to_string(), expect),
            Ok(_) => panic!("written:\n{}", show(&tree)),
        }
    };
    check("/s socket 0644 0:0 1.0", "/s: an archive has no sockets");
    check(
        "/.wh.x file 0644 0:0 1.0 x",
        "/.wh.x: a name that begins with .wh. would be a whiteout",
    );
    check(
        "/x file 0644 0:0 1.0 x user.a\\x3db=v",
        "/x: an extended attribute's name is empty or has = or NUL in it",
    );
}
