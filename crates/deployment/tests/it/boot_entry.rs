use std::path::Path;

use pleach_deployment::{BootEntry, Error, Tries};

fn parse(text: &str) -> Result<BootEntry, Error> {
    BootEntry::parse(Path::new("x.conf"), text)
}

/// As libostree 2022.7 writes it.
#[test]
fn ostree_2022() {
    let entry = parse(
        "title Debian GNU/Linux 13 (trixie) (ostree:0)\nversion 1\n\
         options root=LABEL=root rw ostree=/ostree/boot.1/debian/abc/0\n\
         linux /ostree/debian-abc/vmlinuz-6.12\ninitrd /ostree/debian-abc/initramfs-6.12.img\n",
    )
    .unwrap();
    assert_eq!(
        entry.title.as_deref(),
        Some("Debian GNU/Linux 13 (trixie) (ostree:0)")
    );
    assert_eq!(entry.version.as_deref(), Some("1"));
    assert_eq!(
        entry.linux.as_deref(),
        Some("/ostree/debian-abc/vmlinuz-6.12")
    );
    assert_eq!(entry.initrd, ["/ostree/debian-abc/initramfs-6.12.img"]);
    assert_eq!(
        entry.options.to_string(),
        "root=LABEL=root rw ostree=/ostree/boot.1/debian/abc/0"
    );
    assert_eq!(entry.ostree(), Some("/ostree/boot.1/debian/abc/0"));
    assert_eq!(entry.other, []);
}

/// As libostree 2025.2 writes it: keys of Android's boot loader.
#[test]
fn ostree_2025() {
    let entry = parse("title T\nversion 2\nlinux /a\naboot /b\nabootcfg /c\noptions ro\n").unwrap();
    let other = [
        ("aboot".into(), "/b".into()),
        ("abootcfg".into(), "/c".into()),
    ];
    assert_eq!(entry.other, other);
}

#[test]
fn the_format() {
    #[track_caller]
    fn check(text: &str, expect: BootEntry) {
        let expect = BootEntry {
            file_name: "x.conf".into(),
            ..expect
        };
        assert_eq!(parse(text).unwrap(), expect, "{text:?}");
    }
    let empty = BootEntry::default;
    check("", empty());
    check("\n# title no\n  \n", empty());
    check(
        "title\tA  B ",
        BootEntry {
            title: Some("A  B".into()),
            ..empty()
        },
    );
    check(
        "  title A\r\nversion 2",
        BootEntry {
            title: Some("A".into()),
            version: Some("2".into()),
            ..empty()
        },
    );
    check(
        "initrd /a\ninitrd /b",
        BootEntry {
            initrd: vec!["/a".into(), "/b".into()],
            ..empty()
        },
    );
    check(
        "options a=\"b c\"\noptions d",
        BootEntry {
            options: "a=\"b c\" d".parse().unwrap(),
            ..empty()
        },
    );
    check("options", empty());
    check(
        "sort-key x\nsort-key y",
        BootEntry {
            other: vec![
                ("sort-key".into(), "x".into()),
                ("sort-key".into(), "y".into()),
            ],
            ..empty()
        },
    );
}

#[test]
fn bad_entries_name_the_line() {
    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), expect);
    }
    check(
        "title a\n\ntitle b",
        "\"x.conf\" line 3: `title` a second time",
    );
    check(
        "version 1\noptions a=\"b",
        "\"x.conf\" line 2: kernel argument \"a=\\\"b\": a double quote is not closed",
    );
}

/// UAPI.1, "Boot counting": `+LEFT` or `+LEFT-DONE` before the suffix.
#[test]
fn counters() {
    #[track_caller]
    fn check(name: &str, expect: Option<(u32, u32)>) {
        let entry = BootEntry::parse(Path::new(name), "").unwrap();
        let expect = expect.map(|(left, done)| Tries { left, done });
        assert_eq!(entry.tries(), expect, "{name}");
        assert_eq!(
            entry.is_bad(),
            expect.is_some_and(|t| t.left == 0),
            "{name}"
        );
    }
    check("ostree-1-default.conf", None);
    check("ostree-1-default+3.conf", Some((3, 0)));
    check("ostree-1-default+2-1.conf", Some((2, 1)));
    check("ostree-1-default+0-3.conf", Some((0, 3)));
    check("ostree-1-default+.conf", None);
    check("ostree-1-default+x.conf", None);
    check("ostree-1-default+1-.conf", None);
    check("a+b+3.conf", Some((3, 0)));
    assert_eq!(Tries::split("a+b+3").0, "a+b");
    assert_eq!(Tries::split("a+b").0, "a+b");
}

#[test]
fn what_is_written_is_read_back() {
    let text = "title T\nversion 2\nsort-key s\noptions a=\"b c\" ostree=/x\nlinux /l\ninitrd /i\ninitrd /j\n";
    let entry = parse(text).unwrap();
    assert_eq!(entry.to_string(), text);
    assert_eq!(parse(&entry.to_string()).unwrap(), entry);
}
