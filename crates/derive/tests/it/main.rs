//! One binary for all integration tests of the crate.

mod parts;
mod secrecy;

use std::io::Cursor;

use pleach_customization::{Customization, Format, Input, NoLocalFiles, ParseOptions, parse};
use pleach_derive::{Derivation, Options, plan, write_layer};
use pleach_fs_tree::{Timestamp, Tree, dump, parse_dump};
use pleach_layer_merge::{Compression, LayerOptions, WrittenLayer};

fn site(body: &str) -> Customization {
    let text = format!("variant: fcos\nversion: 1.5.0\n{body}");
    let input = Input {
        name: "site.bu",
        text: &text,
        format: Format::Butane,
    };
    match parse(&input, &NoLocalFiles, &ParseOptions::default()) {
        Ok(parsed) => parsed.customization,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

const EVERYTHING: &str = "
passwd:
  groups: [{ name: ops, gid: 2000 }]
  users:
    - name: alice
      uid: 1001
      gecos: Alice
      groups: [ops]
      shell: /bin/bash
      ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleWZha2Vr a]
storage:
  directories: [{ path: /etc/site, mode: 0750, group: { name: ops } }]
  files:
    - { path: /etc/site/conf, mode: 0640, contents: { inline: \"a = 1\\n\" } }
    - { path: /etc/motd, overwrite: true, contents: { inline: hello } }
    - { path: /usr/bin/tool, mode: 0755, contents: { inline: \"#!/bin/sh\\n\" } }
    - { path: /usr/local/bin/x, mode: 0755, contents: { inline: \"#!/bin/sh\\n\" } }
  links:
    - { path: /etc/site/current, target: conf }
systemd:
  units:
    - name: site.service
      enabled: true
      contents: \"[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n\"
    - { name: old.timer, enabled: false }
    - { name: loud.service, mask: true }
kernel_arguments: { should_exist: [site=one, \"b=c d\"] }
";

const BASE: &str = "\
/ directory 0755 0:0 7.0
/etc directory 0755 0:0 7.0
/etc/group file 0644 0:0 7.0 root:x:0:\\nsudo:x:27:\\n
/etc/login.defs file 0644 0:0 7.0 USERGROUPS_ENAB\\x20yes\\n
/etc/motd file 0644 0:0 7.0 default
/etc/passwd file 0644 0:0 7.0 root:x:0:0:root:/root:/bin/bash\\n
/etc/subuid file 0644 0:0 7.0 -
/etc/systemd directory 0755 0:0 7.0
/etc/systemd/system directory 0755 0:0 7.0
/etc/systemd/system/timers.target.wants directory 0755 0:0 7.0
/etc/systemd/system/timers.target.wants/old.timer symlink 0777 0:0 7.0 /usr/lib/systemd/system/old.timer
/home symlink 0777 0:0 7.0 var/home
/usr directory 0755 0:0 7.0
/usr/lib directory 0755 0:0 7.0
/usr/lib/systemd directory 0755 0:0 7.0
/usr/lib/systemd/system directory 0755 0:0 7.0
/usr/lib/systemd/system/old.timer file 0644 0:0 7.0 [Install]\\nWantedBy\\x3dtimers.target\\n
/usr/local symlink 0777 0:0 7.0 ../var/usrlocal
/var directory 0755 0:0 7.0
/var/lib directory 0755 0:0 7.0
/var/lib/site directory 0755 0:0 7.0
/var/lib/site/conf file 0644 0:0 7.0 old
/var/lib/site/link symlink 0777 0:0 7.0 conf
";

fn base() -> Tree<Vec<u8>> {
    parse_dump(BASE, Some).expect("a dump")
}

/// The derived tree, the layer and its bytes.
type Derived = (Tree<Vec<u8>>, WrittenLayer, Vec<u8>);

/// The layer of a derivation, not compressed.
fn layer(
    base: &Tree<Vec<u8>>,
    derivation: &Derivation<Vec<u8>>,
) -> Result<(WrittenLayer, Vec<u8>), String> {
    let mut bytes = Vec::new();
    let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
    let options = LayerOptions {
        compression: Compression::None,
        ..LayerOptions::default()
    };
    let written = write_layer(
        base,
        derivation,
        |a, b| a == b,
        &mut source,
        &mut bytes,
        &options,
    );
    Ok((written.map_err(|e| e.to_string())?, bytes))
}

fn derive(body: &str) -> Result<Derived, String> {
    let base = base();
    let read = |bytes: &Vec<u8>| Some(bytes.clone());
    let options = Options {
        mtime: Timestamp::from_seconds(9),
        ..Options::default()
    };
    let derivation = plan(&site(body), &base, &read, &options).map_err(|e| e.to_string())?;
    let (written, bytes) = layer(&base, &derivation)?;
    let tree = derivation.tree.map(|content| match content {
        pleach_derive::Content::Base(bytes) | pleach_derive::Content::New(bytes) => bytes,
    });
    Ok((tree, written, bytes))
}

#[test]
fn everything_is_in_the_layer_or_declared() {
    let (tree, written, bytes) = derive(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    let after = dump(&tree, Clone::clone);
    let changed: String = pleach_fs_tree::diff(&base(), &tree, |a, b| a == b)
        .into_iter()
        .map(|d| match d.kinds {
            pleach_fs_tree::Kinds::OnlyLeft(_) => format!("- {}\n", d.path),
            _ => {
                let path = d.path.to_string();
                let of = |line: &&str| line.split(' ').next() == Some(&path);
                format!("+ {}\n", after.lines().find(of).expect("in the dump"))
            }
        })
        .collect();
    insta::assert_snapshot!(changed, @r###"
    + /etc/motd file 0644 0:0 9.0 hello
    + /etc/site directory 0750 0:2000 9.0
    + /etc/site/conf file 0640 0:0 9.0 a\x20\x3d\x201\n
    + /etc/site/current symlink 0777 0:0 9.0 conf
    + /etc/subuid file 0644 0:0 9.0 alice:100000:65536\n
    + /etc/systemd/system/loud.service symlink 0777 0:0 9.0 /dev/null
    + /etc/systemd/system/multi-user.target.wants directory 0755 0:0 9.0
    + /etc/systemd/system/multi-user.target.wants/site.service symlink 0777 0:0 9.0 /etc/systemd/system/site.service
    + /etc/systemd/system/site.service file 0644 0:0 9.0 [Service]\nExecStart\x3d/bin/true\n[Install]\nWantedBy\x3dmulti\x2duser.target\n
    - /etc/systemd/system/timers.target.wants/old.timer
    + /etc/systemd/system-preset directory 0755 0:0 9.0
    + /etc/systemd/system-preset/20-pleach.preset file 0644 0:0 9.0 disable\x20old.timer\nenable\x20site.service\n
    + /usr/bin directory 0755 0:0 9.0
    + /usr/bin/tool file 0755 0:0 9.0 #!/bin/sh\n
    + /usr/lib/bootc directory 0755 0:0 9.0
    + /usr/lib/bootc/kargs.d directory 0755 0:0 9.0
    + /usr/lib/bootc/kargs.d/50-pleach.toml file 0644 0:0 9.0 kargs\x20\x3d\x20["site\x3done",\x20"b\x3dc\x20d"]\n
    + /usr/lib/sysusers.d directory 0755 0:0 9.0
    + /usr/lib/sysusers.d/50-pleach.conf file 0644 0:0 9.0 g\x20ops\x202000\ng\x20alice\x201001\nu\x20alice\x201001:1001\x20Alice\x20/home/alice\x20/bin/bash\nm\x20alice\x20ops\n
    + /usr/lib/tmpfiles.d directory 0755 0:0 9.0
    + /usr/lib/tmpfiles.d/50-pleach.conf file 0644 0:0 9.0 d\x20/var/home\x200755\x200\x200\x20\x2d\nd\x20/var/home/alice\x200755\x201001\x201001\x20\x2d\nd\x20/var/home/alice/.ssh\x200700\x201001\x201001\x20\x2d\nC\x20/var/home/alice/.ssh/authorized_keys\x200600\x201001\x201001\x20\x2d\nd\x20/var/usrlocal\x200755\x200\x200\x20\x2d\nd\x20/var/usrlocal/bin\x200755\x200\x200\x20\x2d\nC\x20/var/usrlocal/bin/x\x200755\x200\x200\x20\x2d\n
    + /usr/share directory 0755 0:0 9.0
    + /usr/share/factory directory 0755 0:0 9.0
    + /usr/share/factory/var directory 0755 0:0 9.0
    + /usr/share/factory/var/home directory 0755 0:0 9.0
    + /usr/share/factory/var/home/alice directory 0755 0:0 9.0
    + /usr/share/factory/var/home/alice/.ssh directory 0755 0:0 9.0
    + /usr/share/factory/var/home/alice/.ssh/authorized_keys file 0600 0:0 9.0 ssh\x2ded25519\x20AAAAC3NzaC1lZDI1NTE5AAAAIGFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleWZha2Vr\x20a\n
    + /usr/share/factory/var/usrlocal directory 0755 0:0 9.0
    + /usr/share/factory/var/usrlocal/bin directory 0755 0:0 9.0
    + /usr/share/factory/var/usrlocal/bin/x file 0755 0:0 9.0 #!/bin/sh\n
    "###);
    assert_eq!(written.size, bytes.len() as u64);
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    let first = derive(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    let second = derive(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(first.1, second.1);
    assert_eq!(first.2, second.2);
}

#[test]
fn what_a_layer_cannot_carry_is_refused_with_its_place() {
    let check = |body: &str, expect: &str| match derive(body) {
        Err(error) => assert!(
            error.starts_with(expect),
            "{body}\n gave {error}\n not  {expect}…"
        ),
        Ok(_) => panic!("{body} was derived"),
    };
    check(
        "storage: { files: [{ path: /run/x }] }",
        "site.bu:3:20 ($.storage.files.0): file /run/x: ",
    );
    check(
        "passwd: { users: [{ name: a, password_hash: $y$secret }] }",
        "site.bu:3:19 ($.passwd.users.0): password of user a: ",
    );
    check(
        "kernel_arguments: { should_not_exist: [quiet] }",
        "site.bu:3:40 ($.kernel_arguments.should_not_exist.0): ",
    );
    check(
        "passwd: { users: [{ name: root, shell: /bin/sh }] }",
        "site.bu:3:19 ($.passwd.users.0): ",
    );
    // tmpfiles.d would leave each of these as the image has it.
    for (kind, item) in [
        (
            "files",
            "{ path: /var/lib/site/conf, overwrite: true, contents: { inline: new } }",
        ),
        (
            "files",
            "{ path: /var/lib/site/conf, append: [{ inline: new }] }",
        ),
        (
            "files",
            "{ path: /var/lib/site/link, overwrite: true, contents: { inline: new } }",
        ),
        (
            "links",
            "{ path: /var/lib/site/link, overwrite: true, target: new }",
        ),
        (
            "directories",
            "{ path: /var/lib/site/conf, overwrite: true }",
        ),
    ] {
        let name = match item.contains("/link") {
            true => "link",
            false => "conf",
        };
        let place = format!("($.storage.{kind}.0): /var/lib/site/{name}: ");
        let error = derive(&format!("storage: {{ {kind}: [{item}] }}")).expect_err(item);
        assert!(
            error.contains(&place),
            "{item}\n gave {error}\n not  {place}"
        );
        assert!(error.contains("inject it"), "{item}: {error}");
    }
}

#[test]
fn what_the_base_has_in_var_is_changed_where_tmpfiles_can() {
    let check = |body: &str, expect: &str| {
        let (tree, ..) = derive(body).unwrap_or_else(|e| panic!("{body}: {e}"));
        let path = pleach_fs_tree::TreePath::new(pleach_derive::TMPFILES_D).expect("a path");
        match tree.get(&path).map(|inode| &inode.kind) {
            Some(pleach_fs_tree::Kind::File(text)) => {
                assert_eq!(String::from_utf8_lossy(text), expect, "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
    };
    check(
        "storage: { directories: [{ path: /var/lib/site, mode: 0750 }] }",
        "d /var/lib/site 0750 0 0 -\n",
    );
    check(
        "storage: { files: [{ path: /var/lib/site/new, mode: 0640, contents: { inline: x } }] }",
        "C /var/lib/site/new 0640 0 0 -\n",
    );
}

#[test]
fn no_secret_is_in_an_error() {
    let body = "passwd: { users: [{ name: a, password_hash: $y$j9T$canary }] }";
    let error = derive(body).expect_err("refused");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn no_content_is_in_a_debug_print() {
    let content = pleach_derive::Content::<u8>::New(b"canary".to_vec());
    assert_eq!(format!("{content:?}"), "New(6 bytes)");
}
