//! The ownership ledger on a machine.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{at, etc, json, machine, shown, write};
use crate::scratch;

const DEFAULT: &str = "
    /d directory 0755 0:0 1.0
    /d/x file 0644 0:0 1.0 x
    /link symlink 0777 0:0 1.0 d/x
    /motd file 0640 0:0 1.0 hello";
const ROOT: [&str; 2] = ["--root", "root"];
const LEDGER: &str = "root/etc/pleach/ownership.json";

#[test]
fn a_pinned_file_that_equals_the_default_is_kept() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    write(&folder.path().join("new"), &DEFAULT.replace("hello", "bye"));
    let plan = ["plan", "--root", "root", "--new", "new"];
    let motd = || {
        let report = json(folder.path(), &plan, 0);
        at(&report["plan"]["entries"], "/motd")["resolution"].clone()
    };
    assert_eq!(motd(), "image");
    let pin = |more: &[&str]| {
        json(
            folder.path(),
            &[&["pin", "/etc/motd"], &ROOT, more].concat(),
            0,
        )
    };
    let dry = pin(&["--dry-run"]);
    assert_eq!(motd(), "image");
    assert!(!folder.path().join("root/etc/pleach").exists());
    let done = pin(&[]);
    assert_eq!(dry["recorded"], done["recorded"]);
    assert_eq!(motd(), "local");
    let why = json(folder.path(), &[&["why", "motd"], &ROOT[..]].concat(), 0);
    assert_eq!(why["paths"][0]["record"]["pinned"], true);
    assert_eq!(why["paths"][0]["policy"]["action"], "pin");
    assert_eq!(pin(&["--remove"])["forgotten"], json!(["/motd"]));
    assert_eq!(motd(), "image");
    let (_, error) = etc(
        folder.path(),
        &[&["pin", "motd", "--remove"], &ROOT[..]].concat(),
        3,
    );
    assert!(error.contains("no record of /motd"), "{error}");
}

#[test]
fn adopting_again_keeps_a_pin() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    etc(folder.path(), &[&["pin", "d/x"], &ROOT[..]].concat(), 0);
    etc(folder.path(), &[&["adopt", "d"], &ROOT[..]].concat(), 0);
    let why = [&["why", "d", "d/x"], &ROOT[..]].concat();
    let report = json(folder.path(), &why, 0);
    let pinned = |i: usize| report["paths"][i]["record"]["pinned"].clone();
    assert_eq!((pinned(0), pinned(1)), (json!(false), json!(true)));
}

#[test]
fn words_and_paths_that_fit_nothing() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    for route in ["pin", "By Hand", "two words", ""] {
        let adopt = ["adopt", "motd", "--route", route];
        etc(folder.path(), &[&adopt, &ROOT[..]].concat(), 2);
    }
    let (_, error) = etc(folder.path(), &[&["why", "no"], &ROOT[..]].concat(), 3);
    assert!(error.contains("/no: there is no such path"), "{error}");
    etc(folder.path(), &[&["adopt", "d"], &ROOT[..]].concat(), 0);
    let release = [&["release", "d", "d/x"], &ROOT[..]].concat();
    let report = json(folder.path(), &release, 0);
    assert_eq!(report["returned"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["forgotten"], json!(["/d", "/d/x"]));
}

#[test]
fn a_withdrawn_document_leaves_the_default() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    let file = |path: &str| folder.path().join("root/etc").join(path);
    let write = |path: &str, text: &str| std::fs::write(file(path), text).expect("written");
    std::fs::write(folder.path().join("site.bu"), "variant: fcos\n").expect("written");
    write("motd", "mine");
    write("new", "mine");
    write("changed", "mine");
    std::fs::remove_file(file("link")).expect("removed");
    std::fs::create_dir(file("link")).expect("made");
    write("link/y", "mine");
    let adopt = [
        "adopt",
        "motd",
        "new",
        "changed",
        "link",
        "--document",
        "site.bu",
        "--route",
        "etc",
    ];
    let report = json(folder.path(), &[&adopt, &ROOT[..]].concat(), 0);
    let recorded = ["/motd", "/new", "/changed", "/link", "/link/y"];
    assert_eq!(report["recorded"], json!(recorded));
    let mode = std::fs::metadata(folder.path().join(LEDGER))
        .expect("there")
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    let report = json(folder.path(), &[&["diff"], &ROOT[..]].concat(), 0);
    assert_eq!(at(&report["entries"], "/motd")["owner"], "etc, site.bu");

    write("changed", "since");
    let release = [&["release", "--document", "site.bu"], &ROOT[..]].concat();
    let before = shown(&folder.path().join("root/etc"));
    let dry = json(folder.path(), &[&release, &["--dry-run"][..]].concat(), 1);
    assert_eq!(shown(&folder.path().join("root/etc")), before);
    let report = json(folder.path(), &release, 1);
    assert_eq!(dry["steps"], report["steps"]);
    let outcome = |path: &str| at(&report["returned"], path)["outcome"].clone();
    assert_eq!(outcome("/motd"), "restored");
    assert_eq!(outcome("/new"), "removed");
    assert_eq!(outcome("/link"), "restored");
    assert_eq!(outcome("/changed"), "kept");
    let why = &at(&report["returned"], "/changed")["why"];
    assert_eq!(*why, "the machine changed it since");
    let (forced, _) = etc(folder.path(), &[&release, &["--force"][..]].concat(), 0);
    assert_eq!(
        forced,
        "remove /changed\nremoved /changed\nledger: forgot /changed\n"
    );
    std::fs::remove_dir_all(file("pleach")).expect("removed");
    let etc_is = shown(&folder.path().join("root/etc"));
    assert_eq!(etc_is, shown(&folder.path().join("root/usr/etc")));
    let (_, error) = etc(folder.path(), &release, 3);
    assert!(
        error.contains("no record of the document sha256:"),
        "{error}"
    );
}

#[test]
fn restoring_a_directory_makes_it_the_images() {
    let folder = scratch();
    let current = "
        /d directory 0700 0:0 1.0
        /d/x file 0600 0:0 1.0 mine user.pleach=1
        /d/more directory 0755 0:0 1.0
        /d/more/y symlink 0777 0:0 1.0 nowhere
        /motd file 0640 0:0 1.0 hello";
    machine(folder.path(), DEFAULT, current);
    etc(folder.path(), &[&["pin", "d"], &ROOT[..]].concat(), 0);
    let restore = [&["restore", "/etc/d", "link", "d/x"], &ROOT[..]].concat();
    let (dry, _) = etc(folder.path(), &[&restore, &["--dry-run"][..]].concat(), 0);
    let (text, _) = etc(folder.path(), &restore, 0);
    assert_eq!(dry, text);
    assert_eq!(
        text,
        "remove /d/more/y\nremove /d/more\nattributes /d\nput /d/x\nput /link\nledger: forgot /d\n"
    );
    std::fs::remove_dir_all(folder.path().join("root/etc/pleach")).expect("removed");
    let etc_is = shown(&folder.path().join("root/etc"));
    assert_eq!(etc_is, shown(&folder.path().join("root/usr/etc")));
    let (_, error) = etc(folder.path(), &[&["restore", "no"], &ROOT[..]].concat(), 3);
    assert!(error.contains("/no: there is no such path"), "{error}");
}

/// A ledger that is refused, with what the error says; it is left as it is.
#[track_caller]
fn check(text: &str, expect: &str) {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    std::fs::create_dir(folder.path().join("root/etc/pleach")).expect("made");
    std::fs::write(folder.path().join(LEDGER), text).expect("written");
    for verb in [&["diff"][..], &["pin", "motd"], &["release", "motd"]] {
        let (_, error) = etc(folder.path(), &[verb, &ROOT[..]].concat(), 3);
        assert!(error.contains(expect), "{error} not {expect}");
        assert!(error.contains("ownership.json"), "{error}");
    }
    let kept = std::fs::read_to_string(folder.path().join(LEDGER)).expect("there");
    assert_eq!(kept, text);
}

#[test]
fn a_ledger_that_cannot_be_read_is_refused_and_left_alone() {
    let record = |record: &str| format!("{{\"format_version\": 1, \"records\": [{record}]}}");
    check("{", "EOF while parsing");
    check(
        "{\"format_version\": 2, \"who\": 1}",
        "its format version is 2, this pleach knows 1",
    );
    check(&record("{\"path\": \"/a\"}"), "missing field `route`");
    check(
        &record("{\"path\": \"/a/../b\", \"route\": \"x\", \"before\": \"absent\"}"),
        "the record of /a/../b",
    );
    let put = "{\"type\": \"file\", \"mode\": \"0644\", \"uid\": 0, \"gid\": 0}";
    check(
        &record(&format!(
            "{{\"path\": \"/a\", \"route\": \"x\", \"before\": \"absent\", \"put\": {put}}}"
        )),
        "a file without a digest",
    );
    let one = "{\"path\": \"/a\", \"route\": \"x\", \"before\": \"absent\"}";
    check(
        &record(&format!("{one}, {one}")),
        "the record of /a: a second one",
    );
}

#[test]
fn a_ledger_is_not_read_through_a_link() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    std::fs::create_dir(folder.path().join("elsewhere")).expect("made");
    let link = folder.path().join("root/etc/pleach");
    std::os::unix::fs::symlink("../../elsewhere", &link).expect("a link");
    for verb in [&["diff"][..], &["pin", "motd"]] {
        let (_, error) = etc(folder.path(), &[verb, &ROOT[..]].concat(), 3);
        assert!(error.contains("etc/pleach"), "{error}");
    }
    let inside = std::fs::read_dir(folder.path().join("elsewhere")).expect("there");
    assert_eq!(inside.count(), 0);
}

#[test]
fn a_locked_ledger_is_not_written() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    let path = folder.path().join("root/etc");
    std::fs::create_dir(path.join("pleach")).expect("made");
    let lock = std::fs::File::open(&path).expect("opened");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    let (_, error) = etc(folder.path(), &[&["pin", "motd"], &ROOT[..]].concat(), 3);
    assert!(error.contains("another pleach works on it"), "{error}");
    // Looking needs no lock.
    etc(folder.path(), &[&["diff"], &ROOT[..]].concat(), 1);
    // Not by closing it: a child that another test has just forked may hold it open.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).expect("unlocked");
    etc(folder.path(), &[&["pin", "motd"], &ROOT[..]].concat(), 0);
}

#[test]
fn a_record_keeps_all_that_was_put() {
    let folder = scratch();
    let current = "
        /d directory 2750 0:0 1.0 user.pleach=\\xff
        /d/link symlink 0777 0:0 1.0 to\\xfe
        /d/n\\xff\\x0an file 4711 0:0 1.0 x user.empty= user.pleach=a\\x20b
        /d/pipe fifo 0644 0:0 1.0";
    machine(folder.path(), "", current);
    let adopted = json(
        folder.path(),
        &[&["adopt", "/etc/d"], &ROOT[..]].concat(),
        0,
    );
    assert_eq!(
        adopted["recorded"],
        json!(["/d", "/d/link", "/d/n\\xff\\nn"]),
        "a pipe is not carried by any merge"
    );
    let drift = json(folder.path(), &[&["diff"], &ROOT[..]].concat(), 1);
    for path in ["/d", "/d/link", "/d/n\\xff\\nn"] {
        assert_eq!(at(&drift["entries"], path)["owner"], "hand", "{path}");
    }
    assert!(at(&drift["entries"], "/d/pipe")["owner"].is_null());
}

#[test]
fn what_was_injected_can_be_released() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP what_was_injected_can_be_released: needs root, to set owners");
        return;
    }
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    std::fs::create_dir(folder.path().join("root/var")).expect("made");
    let document = "variant: fcos
version: 1.5.0
storage:
  files:
    - { path: /etc/motd, mode: 0644, overwrite: true, contents: { inline: mine } }
    - { path: /etc/site/conf.d/x, overwrite: true, contents: { inline: x } }
    - { path: /var/lib/y, overwrite: true, contents: { inline: y } }
";
    std::fs::write(folder.path().join("site.bu"), document).expect("written");
    let inject = [
        "inject",
        "etc",
        "--config",
        "site.bu",
        "--deployment",
        "root",
        "--record",
    ];
    // Twice: what was there before the first time stays known.
    for count in [4, 2] {
        let (code, _, said) = crate::pleach(folder.path(), &inject);
        assert_eq!(code, Some(0), "{said}");
        let expect = format!("{count} paths are in the ownership ledger");
        assert!(said.contains(&expect), "{said}");
    }
    let why = json(
        folder.path(),
        &[&["why", "motd", "site"], &ROOT[..]].concat(),
        0,
    );
    let record = &why["paths"][0]["record"];
    let place = json!({"line": 5, "column": 7, "path": "$.storage.files.0"});
    assert_eq!(record["owner"]["place"], place);
    assert_eq!(
        (&record["before"], &record["since"]),
        (&json!("default"), &json!("unchanged"))
    );
    let made = &why["paths"][1]["record"];
    assert_eq!(made["before"], "absent");
    assert_eq!(made["owner"]["place"]["line"], 6);
    etc(folder.path(), &[&["diff"], &ROOT[..]].concat(), 0);
    let release = [&["release", "--document", "site.bu"], &ROOT[..]].concat();
    etc(folder.path(), &release, 0);
    std::fs::remove_dir_all(folder.path().join("root/etc/pleach")).expect("removed");
    let etc_is = shown(&folder.path().join("root/etc"));
    assert_eq!(etc_is, shown(&folder.path().join("root/usr/etc")));
    assert!(
        folder.path().join("root/var/lib/y").exists(),
        "/var is not /etc"
    );
}

#[test]
fn the_ledger_does_not_speak_of_itself() {
    let folder = scratch();
    machine(folder.path(), DEFAULT, DEFAULT);
    etc(folder.path(), &[&["pin", "motd"], &ROOT[..]].concat(), 0);
    for path in ["/etc", "pleach", "pleach/ownership.json"] {
        for verb in ["restore", "adopt", "pin", "release"] {
            let (_, error) = etc(folder.path(), &[&[verb, path], &ROOT[..]].concat(), 3);
            assert!(error.contains("the ownership ledger itself"), "{error}");
        }
    }
    etc(folder.path(), &[&["diff"], &ROOT[..]].concat(), 0);
}
