//! Images are judged wherever they are, by whoever may read them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Cursor};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_fs_tree::parse_dump;
use pleach_layer_merge::{History, LayerOptions, Layout, NewImage, diff, write_layer};

use crate::images::{has, is_root};
use crate::{pleach, scratch};

/// A bootable image with a secret, a setuid program and a name.
const LOWER: &str = "\
/ directory 0755 0:0 0.0
/boot directory 0755 0:0 0.0
/dev directory 0755 0:0 0.0
/etc directory 0755 0:0 0.0
/etc/passwd file 0644 0:0 0.0 root:x:0:0::/root:/bin/bash\\n
/etc/tls.key file 0600 0:0 0.0 -----BEGIN\\x20PRIVATE\\x20KEY-----\\nAAAA\\n
/ostree symlink 0777 0:0 0.0 sysroot/ostree
/proc directory 0755 0:0 0.0
/run directory 0755 0:0 0.0
/sys directory 0755 0:0 0.0
/sysroot directory 0755 0:0 0.0
/tmp directory 1777 0:0 0.0
/usr directory 0755 0:0 0.0
/usr/bin directory 0755 0:0 0.0
/usr/bin/su file 4755 0:0 0.0 x
/usr/lib directory 0755 0:0 0.0
/usr/lib/modules directory 0755 0:0 0.0
/usr/lib/modules/6.12 directory 0755 0:0 0.0
/usr/lib/modules/6.12/initramfs.img file 0600 0:0 0.0 i
/usr/lib/modules/6.12/vmlinuz file 0644 0:0 0.0 k
/usr/lib/ostree directory 0755 0:0 0.0
/usr/lib/ostree/prepare-root.conf file 0644 0:0 0.0 [composefs]\\nenabled\\x3dyes\\n
/var directory 0755 0:0 0.0
";

/// The same without the secret, with one setuid program more and a name.
fn upper() -> String {
    let key = LOWER.lines().find(|line| line.starts_with("/etc/tls.key"));
    LOWER
        .replace(&format!("{}\n", key.expect("it is there")), "")
        .replace(
            "/etc/passwd",
            "/etc/hostname file 0644 0:0 0.0 web-7\\n\n/etc/passwd",
        )
        + "\n"
}

/// A layout `image` with the tags `lower`, of one layer, and `upper`, of one more.
fn prepare(folder: &Path) {
    let place = folder.join("image");
    std::fs::create_dir(&place).expect("made");
    let dir = Dir::open_ambient_dir(place, ambient_authority()).expect("opened");
    let layout = Layout::create(&dir).expect("a layout");
    let empty = parse_dump("/ directory 0700 0:0 0.0\n", Some).expect("a dump");
    let lower = parse_dump(LOWER, Some).expect("a dump");
    let text = upper();
    let upper = text.trim_end().replace(
        "/usr/lib directory",
        "/usr/bin/sudo file 4755 0:0 0.0 x\n/usr/lib directory",
    );
    let upper = parse_dump(&upper, Some).expect("a dump");
    let mut stack = Vec::new();
    for (tag, from, to) in [("lower", &empty, &lower), ("upper", &lower, &upper)] {
        let mut blob = layout.write_blob().expect("a blob");
        let mut source = |bytes: &Vec<u8>| Ok(Cursor::new(bytes.clone()));
        let changes = diff(from, to, |a, b| a == b);
        let layer = write_layer(&changes, &mut source, &mut blob, &LayerOptions::default());
        stack.push((layer.expect("a layer"), History::default()));
        blob.finish().expect("finished");
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Labels": { "containers.bootc": "1" } },
        });
        let image = NewImage::scratch(config, &stack, &BTreeMap::new()).expect("an image");
        layout.put_image(&image, Some(tag)).expect("tagged");
    }
}

#[test]
fn an_image_is_judged_with_its_layers() {
    let folder = scratch();
    prepare(folder.path());
    let check = |arguments: &[&str], code: i32, expect: &[&str], absent: &[&str]| {
        let (found, stdout, stderr) = pleach(folder.path(), arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {stdout}{stderr}");
        for line in expect {
            let both = format!("{stdout}{stderr}");
            assert!(both.contains(line), "{arguments:?} has no {line:?}: {both}");
        }
        for line in absent {
            assert!(
                !stdout.contains(line),
                "{arguments:?} has {line:?}: {stdout}"
            );
        }
    };
    check(
        &["lint", "oci:image:lower"],
        1,
        &[
            "final (hint), generic (likely)",
            "error private-key: /etc/tls.key (layer 0): a private key",
        ],
        &["hidden-secret"],
    );
    // What the upper layer deletes is still there.
    let hidden = "error hidden-secret: /etc/tls.key (layer 0): a private key, which layer 1 hides";
    check(
        &["lint", "oci:image:upper"],
        1,
        &[
            "specific, likely: /etc/hostname:1 (layer 1): the name web-7",
            hidden,
            "no image was given that this one is made from",
        ],
        &["private-key", "setuid-change"],
    );
    check(
        &["lint", "oci:image:upper", "--base", "oci:image:lower"],
        1,
        &["warning setuid-change: /usr/bin/sudo (layer 1): 4755 0:0; the base does not have it"],
        &["/usr/bin/su ", "no image was given"],
    );
    let allow = ["--allow", "hidden-secret:/etc/*.key=it was revoked"];
    check(
        &[&["lint", "oci:image:upper"][..], &allow].concat(),
        0,
        &["1 accepted", "accepted by the command line: it was revoked"],
        &[],
    );
    check(
        &[
            &["lint", "oci:image:upper", "--require", "generic,final"][..],
            &allow,
        ]
        .concat(),
        1,
        &["error require: /etc/hostname:1 (layer 1): the name web-7 speaks for specific"],
        &[],
    );
    check(
        &[
            &[
                "lint",
                "oci:image:upper",
                "--require=specific,final",
                "--format=json",
            ][..],
            &allow,
        ]
        .concat(),
        0,
        &["\"scope\": \"specific\"", "\"reason\": \"it was revoked\""],
        &[],
    );
    check(
        &["lint", "--list"],
        0,
        &["error    kernel: exactly one kernel"],
        &[],
    );
    for (arguments, expect) in [
        (&["lint"][..], "required"),
        (
            &["lint", "oci:image:upper", "--require", "both"],
            "an image is base or final",
        ),
        (
            &["lint", "oci:image:upper", "--allow", "kernel"],
            "the reason is not left out",
        ),
        (
            &["lint", "oci:image:upper", "--allow", "kernell=x"],
            "there is no rule kernell",
        ),
    ] {
        check(arguments, 2, &[expect], &[]);
    }
}

#[test]
fn rules_of_a_folder_are_read_in_their_order() {
    let folder = scratch();
    prepare(folder.path());
    std::fs::create_dir(folder.path().join("rules")).expect("made");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join("rules").join(name), text).expect("written");
    };
    write(
        "20.toml",
        "[[allow]]\nrule = 'site-su'\nreason = 'we need it'\n",
    );
    write(
        "10.toml",
        "[[rule]]\nid = 'site-su'\nwhy = 'w'\nfix = 'f'\ndeny-content = [{ path = '/usr/bin/su', line = 'x' }]\n",
    );
    write("README", "no rules");
    let arguments = [
        "lint",
        "oci:image:lower",
        "--rules",
        "rules",
        "--cache",
        "cache",
    ];
    for _ in 0..2 {
        let (code, stdout, stderr) = pleach(folder.path(), &arguments);
        assert_eq!(code, Some(1), "{stderr}");
        let accepted = "warning site-su: /usr/bin/su:1 (layer 0): has a line that must not be\n    accepted by rules/20.toml: we need it";
        assert!(stdout.contains(accepted), "{stdout}");
    }
    write("30.toml", "[[rule]]\nid = 'x'\n");
    let (code, _, stderr) = pleach(folder.path(), &arguments);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("rules/30.toml"), "{stderr}");
}

/// The second look reads no layer.
#[test]
fn an_index_that_is_kept_says_the_same() {
    let folder = scratch();
    prepare(folder.path());
    let look = |verb: &str| {
        let (code, stdout, stderr) = pleach(
            folder.path(),
            &[verb, "oci:image:upper", "--cache", "cache"],
        );
        assert!(matches!(code, Some(0 | 1)), "{stderr}");
        stdout
    };
    let first = [look("lint"), look("inspect")];
    assert!(first[1].contains("the name web-7"), "{}", first[1]);
    let text = std::fs::read_to_string(folder.path().join("image/index.json")).expect("read");
    let index: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let blobs = folder.path().join("image/blobs/sha256");
    let read = |digest: &serde_json::Value| -> serde_json::Value {
        let hex = digest.as_str().expect("a digest").replace("sha256:", "");
        let text = std::fs::read_to_string(blobs.join(hex)).expect("a blob");
        serde_json::from_str(&text).expect("JSON")
    };
    for manifest in index["manifests"].as_array().expect("manifests") {
        for layer in read(&manifest["digest"])["layers"]
            .as_array()
            .expect("layers")
        {
            let hex = layer["digest"]
                .as_str()
                .expect("a digest")
                .replace("sha256:", "");
            let _ = std::fs::remove_file(blobs.join(hex));
        }
    }
    assert_eq!([look("lint"), look("inspect")], first);
    let (code, ..) = pleach(folder.path(), &["lint", "oci:image:upper"]);
    assert_eq!(code, Some(3), "the layers are gone");
}

/// What `rootfs:` finds in the unpacked image is what is found in the image, but for its layers.
#[test]
fn a_directory_says_what_its_image_says() {
    if !is_root("a_directory_says_what_its_image_says") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    let (code, _, stderr) = pleach(folder.path(), &["unpack", "oci:image:lower", "root"]);
    assert_eq!(code, Some(0), "{stderr}");
    let report = |of: &str| -> serde_json::Value {
        let (code, stdout, stderr) = pleach(folder.path(), &["lint", of, "--format=json"]);
        assert_eq!(code, Some(1), "{stderr}");
        serde_json::from_str(&stdout).expect("JSON")
    };
    let (mut image, mut root) = (report("oci:image:lower"), report("rootfs:root"));
    for value in [&mut image, &mut root] {
        value["layers"] = serde_json::Value::Null;
        value["declared"] = serde_json::Value::Null;
        for list in ["findings", "evidence"] {
            for item in value[list].as_array_mut().expect("a list") {
                item["layer"] = serde_json::Value::Null;
            }
        }
    }
    assert_eq!(image, root);

    // Somebody else is told what they may not read.
    let open = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("changed");
    };
    open(folder.path(), 0o755);
    let private = folder.path().join("root/var/private");
    std::fs::create_dir(&private).expect("made");
    open(&private, 0o700);
    let ran = Command::new(env!("CARGO_BIN_EXE_pleach"))
        .args(["lint", "rootfs:root"])
        .current_dir(folder.path())
        .uid(65534)
        .gid(65534)
        .output();
    match ran {
        Err(error) => {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "nobody may not run the binary: {error}");
            eprintln!("SKIP a_directory_says_what_its_image_says, as nobody: {error}");
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(
                text.contains("not read: 2 files, the first /etc/tls.key"),
                "{text}"
            );
        }
    }
}

/// Fetched, from an archive or from a registry, an image is the same one.
#[test]
fn an_image_is_judged_alike_wherever_it_is() {
    const NAME: &str = "an_image_is_judged_alike_wherever_it_is";
    if !has(NAME, "skopeo") || !has(NAME, "docker-registry") {
        return;
    }
    let folder = scratch();
    prepare(folder.path());
    let registry = Registry::start(folder.path());
    let pulled = format!("docker://{}/site:upper", registry.address);
    let look = |of: &str| {
        let mut arguments = vec!["lint", "--format=json", of];
        if !of.starts_with("oci:") {
            arguments.extend(["--store", "store", "--insecure-policy"]);
            arguments.push("--tls-verify=false");
        }
        let (code, stdout, stderr) = pleach(folder.path(), &arguments);
        assert_eq!(code, Some(1), "{of}: {stderr}");
        stdout
    };
    let expect = look("oci:image:upper");
    assert!(expect.contains("the name web-7"), "{expect}");
    for reference in ["oci-archive:upper.tar", &pulled] {
        let copied = Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy"])
            .args(["--dest-tls-verify=false", "oci:image:upper", reference])
            .current_dir(folder.path())
            .output()
            .expect("skopeo runs");
        assert!(copied.status.success(), "{copied:?}");
        assert_eq!(look(reference), expect, "{reference}");
    }
}

/// A docker-registry on the loopback interface.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: test}}\n",
            folder.join("registry")
        );
        let path = folder.join("registry.yml");
        std::fs::write(&path, config).expect("written");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // It says which port it got; whatever it says later must be read too, or it would block.
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = log.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split('"').next()?.trim().to_owned())
        });
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        let address = address.expect("docker-registry ended before it listened");
        Self { child, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
