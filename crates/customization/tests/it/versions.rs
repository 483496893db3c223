//! Which field is there since which version, in both spellings.

use pleach_customization::Format;

use crate::support::{parse_text, said};

/// Since which minor versions of Butane's fcos and of Ignition a document with the field is accepted.
/// `None`: never.
type Since = Option<u32>;

/// JSON of a document's body, its version put in.
fn ignition(body: &str, minor: u32) -> String {
    let rest = body.strip_prefix('{').unwrap();
    let comma = if rest == "}" { "" } else { "," };
    format!(r#"{{"ignition":{{"version":"3.{minor}.0"}}{comma}{rest}"#)
}

/// `body` in flow style is YAML with Butane's names; camel case makes it JSON for Ignition.
fn check(field: &str, butane: &str, butane_since: Since, json: &str, ignition_since: Since) {
    for minor in 0..=6 {
        let text = format!("variant: fcos\nversion: 1.{minor}.0\n{butane}");
        verdict(field, &text, Format::Butane, minor, butane_since);
    }
    for minor in 0..=5 {
        verdict(
            field,
            &ignition(json, minor),
            Format::Ignition,
            minor,
            ignition_since,
        );
    }
}

fn verdict(field: &str, text: &str, format: Format, minor: u32, since: Since) {
    let result = parse_text(text, format).map(|_| ());
    match since {
        Some(since) if minor >= since => assert_eq!(result, Ok(()), "{text}"),
        Some(since) => {
            let major = if format == Format::Butane { 1 } else { 3 };
            let errors = result.expect_err(text);
            let expect = format!(
                "'{field}' is there since version {major}.{since}.0, and this document says {major}.{minor}.0"
            );
            assert!(errors.contains(&expect), "{text}\n{errors}");
            assert!(
                errors.contains(&format!(
                    "help: raise the document's version to {major}.{since}.0"
                )),
                "{errors}"
            );
        }
        None => assert!(
            result.expect_err(text).contains("unknown field '"),
            "{text}"
        ),
    }
}

#[test]
fn every_field_in_every_version() {
    let always = |butane: &str, json: &str| check("", butane, Some(0), json, Some(0));
    always(
        "storage: {files: [{path: /a, overwrite: true, contents: {source: 'data:,x', compression: '', verification: {hash: sha512-a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983e88585179d50551afe62}}, append: [{source: 'data:,x'}], mode: 420, user: {id: 1}, group: {name: root}}]}",
        r#"{"storage":{"files":[{"path":"/a","overwrite":true,"contents":{"source":"data:,x","compression":"","verification":{"hash":"sha512-a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983e88585179d50551afe62"}},"append":[{"source":"data:,x"}],"mode":420,"user":{"id":1},"group":{"name":"root"}}]}}"#,
    );
    always(
        "storage: {directories: [{path: /a, overwrite: true, mode: 493, user: {name: a}, group: {id: 1}}], links: [{path: /b, target: c, hard: false, overwrite: true, user: {id: 1}, group: {id: 1}}]}",
        r#"{"storage":{"directories":[{"path":"/a","overwrite":true,"mode":493,"user":{"name":"a"},"group":{"id":1}}],"links":[{"path":"/b","target":"c","hard":false,"overwrite":true,"user":{"id":1},"group":{"id":1}}]}}"#,
    );
    always(
        "systemd: {units: [{name: a.service, enabled: true, mask: false, contents: '[Install]', dropins: [{name: a.conf, contents: '[Unit]'}]}]}",
        r#"{"systemd":{"units":[{"name":"a.service","enabled":true,"mask":false,"contents":"[Install]","dropins":[{"name":"a.conf","contents":"[Unit]"}]}]}}"#,
    );
    always(
        "passwd: {users: [{name: a, uid: 1, gecos: g, home_dir: /h, no_create_home: true, primary_group: p, groups: [g], shell: /s, system: true, no_user_group: true, no_log_init: true, password_hash: x, ssh_authorized_keys: [k]}], groups: [{name: g, gid: 1, system: true, password_hash: x}]}",
        r#"{"passwd":{"users":[{"name":"a","uid":1,"gecos":"g","homeDir":"/h","noCreateHome":true,"primaryGroup":"p","groups":["g"],"shell":"/s","system":true,"noUserGroup":true,"noLogInit":true,"passwordHash":"x","sshAuthorizedKeys":["k"]}],"groups":[{"name":"g","gid":1,"system":true,"passwordHash":"x"}]}}"#,
    );
    check(
        "kernel_arguments",
        "kernel_arguments: {should_exist: [a], should_not_exist: [b]}",
        Some(4),
        "{}",
        Some(0),
    );
    check(
        "kernelArguments",
        "",
        Some(0),
        r#"{"kernelArguments":{"shouldExist":["a"],"shouldNotExist":["b"]}}"#,
        Some(3),
    );
    check(
        "should_exist",
        "passwd: {users: [{name: a, should_exist: false}]}",
        Some(2),
        "{}",
        Some(0),
    );
    check(
        "shouldExist",
        "",
        Some(0),
        r#"{"passwd":{"users":[{"name":"a","shouldExist":false}]}}"#,
        Some(2),
    );
    check(
        "should_exist",
        "passwd: {groups: [{name: a, should_exist: false}]}",
        Some(2),
        "{}",
        Some(0),
    );
    check(
        "shouldExist",
        "",
        Some(0),
        r#"{"passwd":{"groups":[{"name":"a","shouldExist":false}]}}"#,
        Some(2),
    );
    check(
        "contents_local",
        "systemd: {units: [{name: a.service, contents_local:}]}",
        Some(5),
        r#"{"systemd":{"units":[{"name":"a.service","contentsLocal":"x"}]}}"#,
        None,
    );
    check(
        "contents_local",
        "systemd: {units: [{name: a.service, dropins: [{name: a.conf, contents_local:}]}]}",
        Some(5),
        "{}",
        Some(0),
    );
    check(
        "ssh_authorized_keys_local",
        "passwd: {users: [{name: a, ssh_authorized_keys_local: []}]}",
        Some(5),
        r#"{"passwd":{"users":[{"name":"a","sshAuthorizedKeysLocal":[]}]}}"#,
        None,
    );
    check(
        "local",
        "storage: {files: [{path: /a, contents: {local:}}]}",
        Some(1),
        r#"{"storage":{"files":[{"path":"/a","contents":{"local":null}}]}}"#,
        None,
    );
    check(
        "inline",
        "storage: {files: [{path: /a, contents: {inline: x}}]}",
        Some(0),
        r#"{"storage":{"files":[{"path":"/a","contents":{"inline":"x"}}]}}"#,
        None,
    );
    check(
        "httpHeaders",
        "storage: {files: [{path: /a}]}",
        Some(0),
        r#"{"storage":{"files":[{"path":"/a","contents":{"httpHeaders":[]}}]}}"#,
        Some(1),
    );
    check(
        "trees",
        "storage: {trees: []}",
        Some(1),
        r#"{"storage":{"trees":[]}}"#,
        None,
    );
    check(
        "luks",
        "storage: {luks: []}",
        Some(2),
        r#"{"storage":{"luks":[]}}"#,
        Some(2),
    );
    check(
        "boot_device",
        "boot_device: {}",
        Some(3),
        r#"{"bootDevice":{}}"#,
        None,
    );
    check("grub", "grub: {}", Some(5), r#"{"grub":{}}"#, None);
}

#[test]
pub(crate) fn spellings_are_not_mixed() {
    let check = |text: &str, format, expect: &str| {
        let errors = parse_text(text, format).map(|_| ()).expect_err(text);
        assert_eq!(errors, expect);
        said(expect);
    };
    check(
        "variant: fcos\nversion: 1.0.0\npasswd: {users: [{name: a, homeDir: /x}]}",
        Format::Butane,
        "t.bu:3:28: error: unknown field 'homeDir' ($.passwd.users.0.homeDir)\n  help: did you mean 'home_dir'?",
    );
    check(
        r#"{"ignition":{"version":"3.0.0"},"passwd":{"users":[{"name":"a","home_dir":"/x"}]}}"#,
        Format::Ignition,
        "t.ign:1:64: error: unknown field 'home_dir' ($.passwd.users.0.home_dir)\n  help: did you mean 'homeDir'?",
    );
}
