use std::cell::RefCell;
use std::collections::BTreeMap;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::{Digest, Kind, ScanOptions, Tree, dump, parse_dump, scan};
use pleach_inject::{EtcPlan, PlanError, apply, plan};

use crate::{EVERYTHING, site};

/// The least deployment that has all that the document speaks of.
const DEPLOYMENT: &str = "\
/ directory 0755 0:0 0.0
/etc directory 0755 0:0 0.0
/etc/group file 0644 0:0 0.0 root:x:0:\\nsudo:x:27:\\n
/etc/gshadow file 0640 0:42 0.0 root:*::\\nsudo:*::\\n
/etc/login.defs file 0644 0:0 0.0 HOME_MODE\\x200700\\nUSERGROUPS_ENAB\\x20yes\\n
/etc/motd file 0644 0:0 0.0 default
/etc/passwd file 0644 0:0 0.0 root:x:0:0:root:/root:/bin/bash\\n
/etc/shadow file 0640 0:42 0.0 root:*:20000:0:99999:7:::\\n
/etc/skel directory 0755 0:0 0.0
/etc/skel/.profile file 0644 0:0 0.0 x
/etc/subuid file 0644 0:0 0.0 \\x2d
/etc/systemd directory 0755 0:0 0.0
/etc/systemd/system directory 0755 0:0 0.0
/etc/systemd/system/timers.target.wants directory 0755 0:0 0.0
/etc/systemd/system/timers.target.wants/old.timer symlink 0777 0:0 0.0 /usr/lib/systemd/system/old.timer
/home symlink 0777 0:0 0.0 var/home
/usr directory 0755 0:0 0.0
/usr/lib directory 0755 0:0 0.0
/usr/lib/systemd directory 0755 0:0 0.0
/usr/lib/systemd/system directory 0755 0:0 0.0
/usr/lib/systemd/system/old.timer file 0644 0:0 0.0 [Install]\\nWantedBy\\x3dtimers.target\\n
/usr/local symlink 0777 0:0 0.0 ../var/usrlocal
/var directory 0755 0:0 0.0
";

fn deployment() -> Tree<Vec<u8>> {
    // An empty file is `-` in a dump; subuid exists and is empty.
    parse_dump(&DEPLOYMENT.replace("0:0 0.0 \\x2d", "0:0 0.0 -"), Some).expect("a dump")
}

fn planned(body: &str) -> Result<EtcPlan, PlanError> {
    plan(
        &site(body),
        &deployment(),
        &|bytes| Some(bytes.clone()),
        20_100,
    )
}

fn scratch() -> (tempfile::TempDir, Dir, Dir) {
    let keep = tempfile::tempdir().expect("a temporary directory");
    let dir = Dir::open_ambient_dir(keep.path(), ambient_authority()).expect("just made");
    let mut source = |bytes: &Vec<u8>| Ok(std::io::Cursor::new(bytes.clone()));
    let options = pleach_fs_tree::MaterializeOptions::default();
    pleach_fs_tree::materialize(&deployment(), &dir, &mut source, &options).expect("written");
    let open = |name| dir.open_dir(name).expect("in the deployment");
    let (etc, var) = (open("etc"), open("var"));
    (keep, etc, var)
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP: needs root, to set owners");
    }
    root
}

/// What is there, with contents instead of digests and without times.
fn state(dir: &Dir) -> String {
    let tree = scan(dir, &ScanOptions::default()).expect("readable");
    let names: BTreeMap<_, _> = tree
        .walk()
        .filter_map(|(path, id)| match &tree.inode(id).kind {
            Kind::File(content) => Some((content.digest?, path)),
            _ => None,
        })
        .collect();
    let names = RefCell::new(names);
    let text = dump(&tree, |content| {
        let path = names.borrow()[&content.digest.expect("asked for")].clone();
        let bytes = dir
            .read(std::str::from_utf8(path.as_bytes()).expect("ASCII"))
            .expect("readable");
        assert_eq!(Some(Digest::of(&bytes)), content.digest);
        bytes
    });
    text.lines()
        .map(|line| {
            let mut words: Vec<_> = line.split(' ').collect();
            if words.len() > 4 && words[1] != "hardlink" {
                words[4] = "t";
            }
            words.join(" ") + "\n"
        })
        .collect()
}

#[test]
fn everything_arrives_and_a_second_run_changes_nothing() {
    if !root() {
        return;
    }
    let plan = planned(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(plan.kernel_arguments, ["site=one"]);
    assert_eq!(plan.removed_kernel_arguments, ["quiet"]);
    let (_keep, etc, var) = scratch();
    apply(&plan, &etc, &var).unwrap_or_else(|e| panic!("{e:?}"));
    let (first_etc, first_var) = (state(&etc), state(&var));
    insta::assert_snapshot!(first_etc, @r###"
    / directory 0755 0:0 t
    /group file 0644 0:0 t root:x:0:\nsudo:x:27:\nops:x:2000:alice\nalice:x:1001:\n
    /gshadow file 0640 0:42 t root:*::\nsudo:*::\nops:!::alice\nalice:!::\n
    /login.defs file 0644 0:0 t HOME_MODE\x200700\nUSERGROUPS_ENAB\x20yes\n
    /motd file 0644 0:0 t hello
    /passwd file 0644 0:0 t root:x:0:0:root:/root:/bin/bash\nalice:x:1001:1001:Alice:/home/alice:/bin/bash\n
    /shadow file 0640 0:42 t root:*:20000:0:99999:7:::\nalice:*:20100::::::\n
    /site directory 0750 0:2000 t
    /site/conf file 0640 0:0 t a\x20\x3d\x201\nb\x20\x3d\x202\n
    /site/current symlink 0777 0:0 t conf
    /skel directory 0755 0:0 t
    /skel/.profile file 0644 0:0 t x
    /subuid file 0644 0:0 t alice:100000:65536\n
    /systemd directory 0755 0:0 t
    /systemd/system directory 0755 0:0 t
    /systemd/system/loud.service symlink 0777 0:0 t /dev/null
    /systemd/system/multi-user.target.wants directory 0755 0:0 t
    /systemd/system/multi-user.target.wants/site.service symlink 0777 0:0 t /etc/systemd/system/site.service
    /systemd/system/site.service file 0644 0:0 t [Service]\nExecStart\x3d/bin/true\n[Install]\nWantedBy\x3dmulti\x2duser.target\n
    /systemd/system/ssh.service.d directory 0755 0:0 t
    /systemd/system/ssh.service.d/10-site.conf file 0644 0:0 t [Service]\nNice\x3d5\n
    /systemd/system/timers.target.wants directory 0755 0:0 t
    /systemd/system-preset directory 0755 0:0 t
    /systemd/system-preset/20-pleach.preset file 0644 0:0 t disable\x20old.timer\nenable\x20site.service\n
    "###);
    insta::assert_snapshot!(first_var, @r###"
    / directory 0755 0:0 t
    /home directory 0755 0:0 t
    /home/alice directory 0700 1001:1001 t
    /home/alice/.profile file 0644 1001:1001 t x
    /home/alice/.ssh directory 0700 1001:1001 t
    /home/alice/.ssh/authorized_keys file 0600 1001:1001 t ssh\x2ded25519\x20AAAAC3NzaC1lZDI1NTE5AAAAIGFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleWZha2Vr\x20a\n
    /usrlocal directory 0755 0:0 t
    /usrlocal/bin directory 0755 0:0 t
    /usrlocal/bin/x file 0755 0:0 t #!/bin/sh\n
    "###);
    apply(&plan, &etc, &var).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(state(&etc), first_etc);
    assert_eq!(state(&var), first_var);
}

#[test]
fn what_this_route_cannot_carry_is_refused_with_its_place() {
    let check = |body: &str, expect: &str| {
        let error = planned(body).expect_err(body).to_string();
        assert!(
            error.starts_with(expect),
            "{body}\n gave {error}\n not  {expect}…"
        );
    };
    let at = "site.bu:4:20 ($.storage.files.0)";
    check(
        "\nstorage: { files: [{ path: /usr/bin/x }] }",
        &format!("{at}: file /usr/bin/x: "),
    );
    check(
        "\nstorage: { files: [{ path: /run/x }] }",
        &format!("{at}: file /run/x: "),
    );
    check(
        "\nstorage: { files: [{ path: /etc/motd, contents: { inline: a } }] }",
        at,
    );
}

#[test]
fn a_link_in_place_of_a_directory_is_not_followed() {
    if !root() {
        return;
    }
    let plan = planned(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    let (keep, etc, var) = scratch();
    let outside = tempfile::tempdir().expect("a temporary directory");
    etc.remove_dir_all("systemd/system").expect("removed");
    std::os::unix::fs::symlink(outside.path(), keep.path().join("etc/systemd/system"))
        .expect("link");
    let error = apply(&plan, &etc, &var).expect_err("must not follow");
    assert!(error.to_string().contains("/etc/systemd/system"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).expect("there").count(), 0);
}
