//! The script that cloud-init and a kickstart run, run for real below `/var/tmp`, beside what the
//! route `etc` makes of the same document.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pleach_customization::{Customization, Format, Input, NoLocalFiles, ParseOptions, parse};
use pleach_fs_tree::{FileContent, Kind, ScanOptions, Tree, TreePath, dump, scan};
use pleach_inject::{CloudInitOptions, apply, plan, to_cloud_init, to_kickstart};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The script of a kickstart.
fn post(c: &Customization) -> String {
    let made = to_kickstart(c).unwrap_or_else(|e| panic!("{e}"));
    let text = String::from_utf8(made.text.expose().to_vec()).expect("text");
    let (_, rest) = text
        .split_once("%post --erroronfail --interpreter=/bin/sh\n")
        .expect("a %post");
    let script = rest.strip_suffix("%end\n").expect("an end");
    assert!(
        !script
            .lines()
            .any(|line| line.trim_start().starts_with('%')),
        "Anaconda takes a line for its own:\n{script}"
    );
    script.to_owned()
}

/// The script of cloud-init, as a YAML parser reads it.
fn bootcmd(c: &Customization) -> String {
    let made = to_cloud_init(c, &CloudInitOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let text = String::from_utf8(made.user_data.expose().to_vec()).expect("text");
    let mut scalars = Vec::new();
    for event in saphyr_parser::Parser::new_from_str(&text) {
        if let Ok((saphyr_parser::Event::Scalar(text, ..), _)) = event {
            scalars.push(text.into_owned());
        }
    }
    scalars.pop().expect("a scalar")
}

fn run(script: &str) -> (bool, String) {
    let mut child = Command::new("sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut input = child.stdin.take().expect("piped");
    std::io::Write::write_all(&mut input, script.as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn open(path: &Path) -> Dir {
    Dir::open_ambient_dir(path, ambient_authority()).expect("a directory")
}

/// What is there, without times.
fn state(path: &Path) -> String {
    let tree: Tree<FileContent> = scan(&open(path), &ScanOptions::default()).expect("readable");
    let text = dump(&tree, |content| {
        content.digest.expect("asked for").0.to_vec()
    });
    let line = |line: &str| {
        let mut words: Vec<_> = line.split(' ').collect();
        if words.len() > 4 && words[1] != "hardlink" {
            words[4] = "t";
        }
        words.join(" ") + "\n"
    };
    text.lines().map(line).collect()
}

/// What is there before: a file, a directory with a file in it, and a link to the file.
fn furnish(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("set");
    };
    mode(path, 0o755);
    std::fs::write(path.join("old"), "before\n").expect("written");
    mode(&path.join("old"), 0o640);
    std::fs::create_dir(path.join("dir")).expect("made");
    mode(&path.join("dir"), 0o2750);
    std::fs::write(path.join("dir/old"), "before\n").expect("written");
    mode(&path.join("dir/old"), 0o644);
    symlink("old", path.join("link")).expect("made");
}

/// A deployment in which there is nothing but a furnished directory below `/var/tmp`.
fn deployment(var: &Path) -> Tree<Vec<u8>> {
    let text = "/ directory 0755 0:0 0.0\n/etc directory 0755 0:0 0.0\n/etc/group file 0644 0:0 0.0 root:x:0:\\n\n/etc/passwd file 0644 0:0 0.0 root:x:0:0::/root:/bin/sh\\n\n/var directory 0755 0:0 0.0\n";
    let mut whole = pleach_fs_tree::parse_dump(text, Some).expect("a dump");
    let part: Tree<FileContent> = scan(&open(var), &ScanOptions::default()).expect("readable");
    let top = TreePath::new("var").expect("a path");
    for (path, id) in part.walk() {
        let inode = part.inode(id);
        let kind = match &inode.kind {
            Kind::File(_) => {
                use std::os::unix::ffi::OsStrExt as _;
                let below = Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()));
                Kind::File(std::fs::read(var.join(below)).expect("readable"))
            }
            Kind::Directory(_) => Kind::Directory(Default::default()),
            Kind::Symlink(target) => Kind::Symlink(target.clone()),
            _ => unreachable!("nothing else was made"),
        };
        let metadata = inode.metadata.clone();
        let inode = pleach_fs_tree::Inode { metadata, kind };
        whole.put(&top.concat(&path), inode).expect("put");
    }
    whole
}

fn ignition(document: &Value) -> Option<Customization> {
    let text = document.to_string();
    let input = Input {
        name: "site.ign",
        text: &text,
        format: Format::Ignition,
    };
    let parsed = parse(&input, &NoLocalFiles, &ParseOptions::default());
    parsed.ok().map(|parsed| parsed.customization)
}

const NAMES: &[&str] = &[
    "old",
    "dir",
    "link",
    "new",
    "it's",
    "a $b",
    "ü",
    "nl\n",
    "x\u{2028}%y",
];
const CONTENTS: &[&str] = &[
    "",
    "a\n",
    "no end",
    "%end\n",
    "PLEACH\n",
    "tab\t$x `y` \\\n",
    "a\r\n",
];

fn path(root: &str) -> impl Strategy<Value = String> + use<> {
    let root = root.to_owned();
    proptest::collection::vec(proptest::sample::select(NAMES), 1..3)
        .prop_map(move |names| format!("{root}/{}", names.join("/")))
}

fn source() -> impl Strategy<Value = Value> {
    use base64::Engine as _;
    let text = proptest::sample::select(CONTENTS).prop_map(|text| text.as_bytes().to_vec());
    let bytes = proptest::collection::vec(any::<u8>(), 0..99);
    prop_oneof![text, bytes].prop_map(|bytes| {
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        json!({ "source": format!("data:;base64,{data}") })
    })
}

fn owner() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        Value::Null,
        json!({ "id": 0 }),
        json!({ "id": 1234 }),
        json!({ "name": "root" }),
    ])
}

fn mode() -> impl Strategy<Value = Value> {
    proptest::sample::select(vec![
        Value::Null,
        json!(0o600),
        json!(0o644),
        json!(0o2750),
        json!(0o4755),
    ])
}

fn without_nulls(mut item: Value) -> Value {
    let object = item.as_object_mut().expect("an object");
    object.retain(|_, value| !value.is_null());
    item
}

fn item(root: &str) -> impl Strategy<Value = (&'static str, Value)> + use<> {
    let common = (path(root), any::<bool>(), mode(), owner(), owner());
    let file = (
        common,
        proptest::option::of(source()),
        proptest::collection::vec(source(), 0..2),
    )
        .prop_map(|((path, overwrite, mode, user, group), contents, append)| {
            let overwrite = overwrite && contents.is_some();
            let file = json!({ "path": path, "overwrite": overwrite, "mode": mode, "user": user,
                "group": group, "contents": contents, "append": append });
            ("files", without_nulls(file))
        });
    let common = (path(root), any::<bool>(), mode(), owner(), owner());
    let directory = common.prop_map(|(path, overwrite, mode, user, group)| {
        let directory = json!({ "path": path, "overwrite": overwrite, "mode": mode, "user": user,
            "group": group });
        ("directories", without_nulls(directory))
    });
    let link = (
        path(root),
        any::<bool>(),
        any::<bool>(),
        path(root),
        owner(),
    )
        .prop_map(|(path, overwrite, hard, target, user)| {
            let user = if hard { Value::Null } else { user };
            let link = json!({ "path": path, "overwrite": overwrite, "hard": hard,
                "target": target, "user": user });
            ("links", without_nulls(link))
        });
    prop_oneof![3 => file, 1 => directory, 1 => link]
}

fn document(items: Vec<(&'static str, Value)>) -> Value {
    let mut storage = json!({ "files": [], "directories": [], "links": [] });
    for (list, item) in items {
        storage[list].as_array_mut().expect("a list").push(item);
    }
    json!({ "ignition": { "version": "3.4.0" }, "storage": storage })
}

/// The root of what documents speak of; the runs themselves have folders of their own.
const ROOT: &str = "/var/tmp/pleach-script";

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever the document says, the script leaves what the route `etc` leaves, or both refuse.
    #[test]
    fn the_script_does_what_the_route_etc_does(items in proptest::collection::vec(item(ROOT), 1..6)) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP the_script_does_what_the_route_etc_does: needs root, to set owners");
            return Ok(());
        }
        let real = tempfile::Builder::new().prefix("pleach-script-").tempdir_in("/var/tmp")
            .expect("a temporary directory");
        let shown = real.path().display().to_string();
        let moved = document(items).to_string().replace(ROOT, &shown);
        let moved: Value = serde_json::from_str(&moved).expect("JSON");
        let Some(customization) = ignition(&moved) else { return Ok(()) };
        furnish(real.path());
        let var = tempfile::tempdir().expect("a temporary directory");
        let name = real.path().file_name().expect("a name");
        let twin = var.path().join("tmp").join(name);
        std::fs::create_dir_all(&twin).expect("made");
        furnish(&twin);

        let planned = plan(&customization, &deployment(var.path()), &|b| Some(b.clone()), 20_000);
        let script = post(&customization);
        let (done, said) = run(&script);
        match planned {
            Ok(plan) => {
                prop_assert!(done, "{said}\n{moved}");
                let etc = tempfile::tempdir().expect("a temporary directory");
                apply(&plan, &open(etc.path()), &open(var.path())).expect("applied");
                prop_assert_eq!(state(real.path()), state(&twin), "{}", moved);
            }
            Err(error) => {
                // The plan is stricter in one place: as Ignition does, it follows the image's own links
                // before anything is made, also one that leads to what the document replaces, or that
                // it replaces itself.
                let lists = ["files", "directories", "links"].map(|list| &moved["storage"][list]);
                let mut items = lists.into_iter().filter_map(Value::as_array).flatten();
                let replaces = ["old", "link"].map(|name| json!(format!("{shown}/{name}")));
                let stricter = error.to_string().ends_with("/old is not a directory")
                    && items.any(|item| replaces.contains(&item["path"]));
                prop_assert!(!done || stricter, "the route etc says: {error}\n{moved}");
            }
        }
    }

    /// Both carriers give the shell the same text, byte for byte.
    #[test]
    fn what_carries_the_script_leaves_it_as_it_is(items in proptest::collection::vec(item(ROOT), 1..6)) {
        let Some(customization) = ignition(&document(items)) else { return Ok(()) };
        let carried = bootcmd(&customization);
        let script = post(&customization);
        prop_assert_eq!(carried.strip_prefix(&script), Some("\n: >/run/pleach.done\n"));
    }
}
