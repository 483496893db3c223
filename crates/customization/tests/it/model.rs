//! What an accepted document becomes.

use pleach_customization::{Format, Input, Owner, ParseOptions, parse};

use crate::support::{accepted, butane, parse_text, said};

fn contents(given: &str) -> Vec<u8> {
    let c = accepted(&format!(
        "storage: {{files: [{{path: /a, contents: {{{given}}}}}]}}"
    ));
    c.files[0]
        .contents
        .clone()
        .and_then(|contents| contents.bytes().map(<[u8]>::to_vec))
        .unwrap_or_default()
}

#[test]
fn contents_are_decoded() {
    let check = |given: &str, expect: &[u8]| assert_eq!(contents(given), expect, "{given}");
    check("inline: hello", b"hello");
    check("inline: ''", b"");
    check("inline: 42", b"42");
    check("source: ''", b"");
    check("source: 'data:,'", b"");
    check("source: 'data:,a%20b%0A%ff'", b"a b\n\xff");
    check("source: 'data:text/plain;charset=utf-8,x,y'", b"x,y");
    check("source: 'DATA:,x'", b"x");
    check("source: 'data:;base64,aGVsbG8='", b"hello");
    check("source: 'data:text/plain;base64,aGVsbA=='", b"hell");
    check("source: 'data:;base64,aGVsbG8h'", b"hello!");
    check("source: 'data:;base64,aGVsbG8%3D'", b"hello");
    check("source: 'data:text/base64,aGk='", b"aGk=");
    let gzip = "source: 'data:;base64,H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==', compression: gzip";
    check(gzip, b"hello");
    // The checksum is that of the decompressed contents.
    let sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    check(
        &format!("{gzip}, verification: {{hash: sha256-{sum}}}"),
        b"hello",
    );
    check(
        &format!(
            "inline: hello, verification: {{hash: sha256-{}}}",
            sum.to_uppercase()
        ),
        b"hello",
    );
    let sum = "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    check(
        &format!("inline: hello, verification: {{hash: sha512-{sum}}}"),
        b"hello",
    );
}

#[test]
pub(crate) fn a_gzip_bomb_is_refused() {
    let text = butane(
        "storage: {files: [{path: /a, contents: {source: 'data:;base64,H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==', compression: gzip}}]}",
    );
    let options = ParseOptions {
        max_contents: 4,
        ..ParseOptions::default()
    };
    let input = Input {
        name: "t.bu",
        text: &text,
        format: Format::Butane,
    };
    let errors = parse(&input, &pleach_customization::NoLocalFiles, &options).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "t.bu:3:49: error: the contents are more than 4 bytes ($.storage.files.0.contents.source)"
    );
    said(&errors.to_string());
}

#[test]
pub(crate) fn local_files_come_from_the_caller() {
    let files = |name: &str| match name {
        "dir/a" => Ok(b"A\xff".to_vec()),
        "unit" => Ok(b"[Install]\n".to_vec()),
        "keys" => Ok(b"ssh-ed25519 one\n\n ssh-ed25519 two \n".to_vec()),
        _ => Err("no such file".to_owned()),
    };
    let text = butane(
        "storage: {files: [{path: /a, contents: {local: dir/a}, append: [{local: unit}]}]}
systemd: {units: [{name: a.service, contents_local: unit, dropins: [{name: x.conf, contents_local: unit}]}]}
passwd: {users: [{name: a, ssh_authorized_keys: [first], ssh_authorized_keys_local: [keys]}]}",
    );
    let input = Input {
        name: "t.bu",
        text: &text,
        format: Format::Butane,
    };
    let c = parse(&input, &files, &ParseOptions::default())
        .unwrap()
        .customization;
    assert_eq!(
        c.files[0].contents.as_ref().unwrap().bytes().unwrap(),
        b"A\xff"
    );
    assert_eq!(c.files[0].append[0].bytes().unwrap(), b"[Install]\n");
    assert_eq!(c.units[0].contents.as_deref(), Some("[Install]\n"));
    assert_eq!(
        c.units[0].dropins[0].contents.as_deref(),
        Some("[Install]\n")
    );
    assert_eq!(
        c.users[0].ssh_authorized_keys,
        ["first", "ssh-ed25519 one", "ssh-ed25519 two"]
    );
    let text = text
        .replace("dir/a", "other")
        .replace("contents_local: unit,", "contents_local: dir/a,");
    let input = Input {
        text: &text,
        ..input
    };
    let errors = parse(&input, &files, &ParseOptions::default()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "t.bu:3:48: error: local file 'other': no such file ($.storage.files.0.contents.local)
t.bu:4:53: error: local file 'dir/a' is not UTF-8 text ($.systemd.units.0.contents_local)"
    );
    said(&errors.to_string());
}

#[test]
fn both_spellings_are_one_model() {
    let yaml = "variant: fcos
version: 1.4.0
storage:
  directories: [{path: /d, mode: 0750, user: {name: alice}}]
  files:
    - {path: /f, overwrite: true, contents: {inline: \"a\\tb\"}, append: [{inline: c}], mode: 0600, group: {id: 7}}
  links: [{path: /l, target: ../x}, {path: /h, target: /f, hard: true}]
systemd:
  units: [{name: a@b.service, enabled: yes, dropins: [{name: c.conf, contents: \"[A]\\n\"}]}, {name: m.timer, mask: true}]
passwd:
  users: [{name: alice, uid: 1001, password_hash: \u{24}6$x, ssh_authorized_keys: [k]}]
  groups: [{name: g, gid: 70, system: true}]
kernel_arguments: {should_exist: [quiet], should_not_exist: [rhgb]}
";
    let json = r#"{
	"ignition": {"version": "3.3.0"},
	"storage": {
		"directories": [{"path": "/d", "mode": 488, "user": {"name": "alice"}}],
		"files": [{"path": "\/f", "overwrite": true, "contents": {"source": "data:,a%09b"}, "append": [{"source": "data:;base64,Yw=="}], "mode": 384, "group": {"id": 7}}],
		"links": [{"path": "/l", "target": "../x"}, {"path": "/h", "target": "/f", "hard": true}]
	},
	"systemd": {"units": [{"name": "a@b.service", "enabled": true, "dropins": [{"name": "c.conf", "contents": "[A]\n"}]}, {"name": "m.timer", "mask": true}]},
	"passwd": {
		"users": [{"name": "alice", "uid": 1001, "passwordHash": "\u00246$x", "sshAuthorizedKeys": ["k"]}],
		"groups": [{"name": "g", "gid": 70, "system": true}]
	},
	"kernelArguments": {"shouldExist": ["quiet"], "shouldNotExist": ["rhgb"]}
}"#;
    let yaml = parse_text(yaml, Format::Butane).unwrap().customization;
    let json = parse_text(json, Format::Ignition).unwrap().customization;
    assert_eq!(crate::laws::meaning(&yaml), crate::laws::meaning(&json));
    assert_eq!(yaml.directories[0].user, Some(Owner::Name("alice".into())));
    assert_eq!(yaml.files[0].mode, Some(0o600));
    assert_eq!(json.digest.len(), "sha256:".len() + 64);
    assert_ne!(yaml.digest, json.digest);
}

#[test]
fn names_promise_a_spelling() {
    let check =
        |name: &str, expect: Option<Format>| assert_eq!(Format::of_name(name), expect, "{name}");
    check("dir.x/site.bu", Some(Format::Butane));
    check("a.yaml", Some(Format::Butane));
    check("a.yml", Some(Format::Butane));
    check("a.ign", Some(Format::Ignition));
    check("a.json", Some(Format::Ignition));
    check("a.toml", None);
    check("bu", None);
}

#[test]
fn json_strings() {
    let check = |json: &str, expect: &str| {
        let text = format!(
            r#"{{"ignition":{{"version":"3.0.0"}},"passwd":{{"users":[{{"name":"a","gecos":{json}}}]}}}}"#
        );
        let c = parse_text(&text, Format::Ignition).unwrap().customization;
        assert_eq!(c.users[0].gecos.as_deref(), Some(expect), "{json}");
    };
    check(r#""\ud83d\ude00 \u00e9 \/ \\ \"""#, "😀 é / \\ \"");
    check("\"😀\"", "😀");
    check(r#""""#, "");
}

#[test]
fn origins_point_at_the_item() {
    let c = accepted(
        "# é counts as one column\nstorage: {links: [{path: /é, target: b}, {path: /c, target: d}]}",
    );
    assert_eq!(
        c.links[1].origin.to_string(),
        "t.bu:4:42 ($.storage.links.1)"
    );
    let json = "{\"ignition\":{\"version\":\"3.0.0\"},\n \"storage\":{\"links\":[{\"path\":\"/é\",\"target\":\"b\"},{\"path\":\"/c\",\"target\":\"d\"}]}}";
    let c = parse_text(json, Format::Ignition).unwrap().customization;
    assert_eq!(
        c.links[1].origin.to_string(),
        "t.ign:2:49 ($.storage.links.1)"
    );
}

#[test]
fn yaml_of_all_kinds() {
    let check = |body: &str, expect: &[&str]| {
        let c = accepted(body);
        let keys: Vec<&str> = c.users[0]
            .ssh_authorized_keys
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(keys, expect, "{body}");
    };
    check(
        "passwd:\n  users:\n  - name: a\n    ssh_authorized_keys:\n    - |\n      one line\n    - >-\n      two\n      words\n",
        &["one line", "two words"],
    );
    check(
        "passwd: {users: [{name: a, ssh_authorized_keys: &k [x]}, {name: b, ssh_authorized_keys: *k}]}",
        &["x"],
    );
    check(
        "passwd: {users: [{name: !!str a, ssh_authorized_keys: [!!str 1, \"\\u00e9\"]}]}",
        &["1", "é"],
    );
    let bom = format!("\u{feff}{}", butane("storage: {}"));
    assert!(parse_text(&bom, Format::Butane).is_ok());
    assert!(
        parse_text(
            &format!("---\n{}...\n", butane("storage: {}\n")),
            Format::Butane
        )
        .is_ok()
    );
}

#[test]
pub(crate) fn warnings() {
    let check = |body: &str, expect: &str| {
        let parsed = parse_text(&butane(body), Format::Butane).unwrap();
        let got: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(got.join("\n"), expect, "{body}");
        said(expect);
    };
    check(
        "systemd: {units: [{name: a.service, enabled: true, mask: true}]}",
        "t.bu:3:46: warning: a masked unit cannot be started, so enabling it has no effect ($.systemd.units.0.enabled)",
    );
    check(
        "systemd: {units: [{name: a.service, enabled: true, contents: '[Unit]'}]}",
        "t.bu:3:46: warning: unit 'a.service' is enabled, but has no [Install] section, so nothing will start it ($.systemd.units.0.enabled)",
    );
    check(
        "systemd: {units: [{name: a.service, enabled: true, contents: '[Install]'}]}",
        "",
    );
    check("systemd: {units: [{name: a.service, enabled: true}]}", "");
}

#[test]
fn secrets_are_not_shown() {
    let c = accepted(
        "passwd: {users: [{name: a, password_hash: $6$planted}], groups: [{name: g, password_hash: $6$planted}]}\nstorage: {files: [{path: /a, contents: {inline: $6$planted}}]}",
    );
    let plan = crate::support::account_plan(&c);
    let edited = pleach_customization::accounts::edit_account_files(
        &plan,
        &crate::support::base_accounts(),
        1,
    );
    let shown = format!(
        "{c:?} {plan:?} {edited:?} {:?}",
        crate::support::base_accounts()
    );
    assert!(!shown.contains("planted"), "{shown}");
    assert!(
        String::from_utf8(edited.shadow.unwrap())
            .unwrap()
            .contains("a:$6$planted:")
    );
    let fetched = accepted(
        "ignition: {proxy: {http_proxy: 'http://planted@p', https_proxy: 'https://planted@p'}}
storage: {files: [{path: /a, contents: {source: 'https://planted:planted@h/a?planted', http_headers: [{name: t, value: planted}]}}], luks: [{name: l, device: /dev/a, key_file: {inline: planted}}]}",
    );
    let items: Vec<String> = fetched
        .inject_only()
        .into_iter()
        .map(|item| item.item)
        .collect();
    let shown = format!("{fetched:?} {items:?}");
    assert!(!shown.contains("planted"), "{shown}");
    assert!(shown.contains("https://h/a?…"), "{shown}");
    let errors = parse_text(
        &butane("passwd: {users: [{name: a, password_hash: \"$6$planted:x\"}]}"),
        Format::Butane,
    )
    .unwrap_err();
    assert!(!errors.contains("planted"), "{errors}");
}
