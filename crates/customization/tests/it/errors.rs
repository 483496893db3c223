//! Every class of error, with its exact message and place.

use pleach_customization::{Format, Input, NoLocalFiles, ParseOptions, parse};

use crate::support::{butane, parse_text, said};

#[track_caller]
fn check(body: &str, expect: &str) {
    let got = match parse_text(&butane(body), Format::Butane) {
        Ok(parsed) => format!("accepted: {:?}", parsed.customization),
        Err(errors) => errors,
    };
    assert_eq!(got, expect, "\n--- document\n{body}");
    said(&got);
}

#[track_caller]
fn check_text(text: &str, format: Format, expect: &str) {
    let got = parse_text(text, format).map_or_else(|errors| errors, |_| "accepted".into());
    assert_eq!(got, expect, "\n--- document\n{text}");
    said(&got);
}

#[test]
pub(crate) fn paths() {
    let file = |path: &str, problem: &str| {
        check(
            &format!("storage:\n  files:\n    - path: {path}"),
            &format!("t.bu:5:13: error: {problem} ($.storage.files.0.path)"),
        );
    };
    file("etc/x", "path 'etc/x' is not absolute");
    file("/etc/../x", "path '/etc/../x' has the component '..'");
    file("/etc/./x", "path '/etc/./x' has the component '.'");
    file("/etc//x", "path '/etc//x' has an empty component ('//')");
    file("/etc/x/", "path '/etc/x/' ends with '/'");
    file("/", "path '/' is the root directory itself");
    file("\"/a\\0b\"", "path '/a\\0b' holds a NUL");
    file("''", "'path' is required");
    file("[x]", "a string is expected here, not a list");
    let long = format!("/{}", "x".repeat(256));
    file(
        &long,
        &format!("path '{long}' has a component longer than 255 bytes"),
    );
    let deep = "/abc".repeat(1024);
    file(&deep, &format!("path '{deep}' is longer than 4095 bytes"));
    check(
        "storage:\n  files:\n    - mode: 0644",
        "t.bu:5:7: error: 'path' is required ($.storage.files.0)",
    );
}

#[test]
pub(crate) fn places_in_each_others_way() {
    check(
        "storage:\n  files:\n    - path: /etc/a\n    - path: /etc/a",
        "t.bu:6:7: error: path '/etc/a' is given twice: a file has it in line 5 ($.storage.files.1)",
    );
    check(
        "storage:\n  directories:\n    - path: /etc/a\n  links:\n    - {path: /etc/a, target: b}",
        "t.bu:7:7: error: path '/etc/a' is given twice: a directory has it in line 5 ($.storage.links.0)",
    );
    check(
        "storage:\n  files:\n    - path: /etc/a/b\n    - path: /etc/a",
        "t.bu:5:7: error: '/etc/a/b' lies below '/etc/a', which is a file in line 6 ($.storage.files.0)",
    );
    check(
        "storage:\n  directories:\n    - path: /srv/x/y/z\n  links:\n    - {path: /srv/x, target: /var/x}",
        "t.bu:5:7: error: '/srv/x/y/z' lies below '/srv/x', which is a link in line 7 ($.storage.directories.0)",
    );
    check(
        "storage:\n  files:\n    - path: /etc/systemd/system/a.service\nsystemd:\n  units:\n    - {name: a.service, contents: '[Unit]'}",
        "t.bu:8:7: error: path '/etc/systemd/system/a.service' is given twice: a file has it in line 5 ($.systemd.units.0)",
    );
    check(
        "storage:\n  files:\n    - path: /etc/systemd/system/a.service.d/b.conf\nsystemd:\n  units:\n    - name: a.service\n      dropins: [{name: b.conf, contents: '[Unit]'}]",
        "t.bu:9:17: error: path '/etc/systemd/system/a.service.d/b.conf' is given twice: a file has it in line 5 ($.systemd.units.0.dropins.0)",
    );
    check(
        "storage:\n  files:\n    - path: /etc/systemd/system/a.service/b\nsystemd:\n  units:\n    - {name: a.service, contents: '[Unit]'}",
        "t.bu:5:7: error: '/etc/systemd/system/a.service/b' lies below '/etc/systemd/system/a.service', which is a unit or drop-in in line 8 ($.storage.files.0)",
    );
    check(
        "storage:\n  directories:\n    - path: /etc/d\n  links:\n    - {path: /etc/l, target: /etc/d, hard: true}",
        "t.bu:7:7: error: the target '/etc/d' of a hard link is a directory ($.storage.links.0)",
    );
}

#[test]
pub(crate) fn duplicates() {
    check(
        "systemd:\n  units:\n    - name: a.service\n    - name: a.service",
        "t.bu:6:7: error: unit 'a.service' is given twice, first in line 5 ($.systemd.units.1)",
    );
    check(
        "passwd:\n  users:\n    - name: a\n    - name: a",
        "t.bu:6:7: error: user 'a' is given twice, first in line 5 ($.passwd.users.1)",
    );
    check(
        "passwd:\n  groups:\n    - name: a\n    - name: a",
        "t.bu:6:7: error: group 'a' is given twice, first in line 5 ($.passwd.groups.1)",
    );
    check(
        "passwd:\n  users:\n    - {name: a, uid: 7}\n    - {name: b, uid: 0x7}",
        "t.bu:6:7: error: user ID '7' is given twice, first in line 5 ($.passwd.users.1)",
    );
    check(
        "passwd:\n  groups:\n    - {name: a, gid: 7}\n    - {name: b, gid: 7}",
        "t.bu:6:7: error: group ID '7' is given twice, first in line 5 ($.passwd.groups.1)",
    );
    check(
        "passwd:\n  users:\n    - {name: a, groups: [x, x]}",
        "t.bu:5:29: error: group 'x' is given twice ($.passwd.users.0.groups.1)",
    );
    check(
        "passwd:\n  users:\n    - name: a\n      ssh_authorized_keys: [k, k]",
        "t.bu:6:32: error: this SSH key is given twice ($.passwd.users.0.ssh_authorized_keys.1)",
    );
    check(
        "kernel_arguments: {should_exist: [a, a]}",
        "t.bu:3:38: error: kernel argument 'a' is given twice ($.kernel_arguments.should_exist.1)",
    );
    check(
        "kernel_arguments: {should_exist: [a], should_not_exist: [a]}",
        "t.bu:3:58: error: 'a' is both to exist and not to exist ($.kernel_arguments.should_not_exist.0)",
    );
    check(
        "systemd:\n  units:\n    - name: a.service\n      dropins:\n        - name: x.conf\n        - name: x.conf",
        "t.bu:8:17: error: drop-in 'x.conf' is given twice for this unit ($.systemd.units.0.dropins.1.name)",
    );
    check(
        "storage: {}\nstorage: {}",
        "t.bu:4:1: error: 'storage' is given twice in this mapping ($.storage)",
    );
}

#[test]
pub(crate) fn contents() {
    let contents = |given: &str, expect: &str| {
        check(
            &format!("storage:\n  files:\n    - path: /a\n      contents: {{{given}}}"),
            expect,
        );
    };
    let at = |column: usize, message: &str, field: &str| {
        format!("t.bu:6:{column}: error: {message} ($.storage.files.0.contents.{field})")
    };
    contents(
        "inline: a, source: 'data:,b'",
        &at(
            37,
            "'inline' is given already: only one of inline, local and source may be",
            "source",
        ),
    );
    let unknown = |url: &str| {
        let expect = at(26, "this is no URL with a known scheme", "source");
        contents(
            &format!("source: '{url}'"),
            &(expect + "\n  help: known: data, file, http, https, tftp, s3, gs, arn"),
        );
    };
    for url in ["nonsense", "oem:///x", "ftp://x/y", "x", "//host/x"] {
        unknown(url);
    }
    for (url, message) in [
        ("http:x", "this http URL cannot be used: it names no host"),
        (
            "https:///x",
            "this https URL cannot be used: it names no host",
        ),
        ("tftp://", "this tftp URL cannot be used: it names no host"),
        ("s3:x", "this s3 URL cannot be used: it names no host"),
        ("gs:///x", "this gs URL cannot be used: it names no host"),
        (
            "s3://bucket/key?versionId=",
            "this s3 URL cannot be used: its versionId is empty",
        ),
        (
            "arn:aws:s3:::bucket/key?versionId",
            "this arn URL cannot be used: its versionId is empty",
        ),
        (
            "arn:aws:s3:bucket",
            "this arn URL cannot be used: an ARN has six parts with ':' between them",
        ),
        (
            "arn:aws:iam:::bucket/key",
            "this arn URL cannot be used: its service is not s3",
        ),
        (
            "arn:aws:s3:::bucket",
            "this arn URL cannot be used: it names no object",
        ),
        (
            "arn:aws:s3:eu:1:accesspoint/key",
            "this arn URL cannot be used: it names no object",
        ),
        (
            "http://a b/c",
            "a URL has no blanks and no control characters",
        ),
        (
            "file://host/a",
            "a file: URL has an absolute path and no host: file:///a/b is a/b below the directory of local files",
        ),
        (
            "file:a",
            "a file: URL has an absolute path and no host: file:///a/b is a/b below the directory of local files",
        ),
        (
            "file:///%4",
            "a file: URL has an absolute path and no host: file:///a/b is a/b below the directory of local files",
        ),
        (
            "file:///a",
            "local file 'a': no directory of local files was given",
        ),
        (
            "file:///../a",
            "local file '../a': the name is relative, and has no '..'",
        ),
    ] {
        contents(&format!("source: '{url}'"), &at(26, message, "source"));
    }
    for (given, column, message, field) in [
        (
            "inline: a, http_headers: [{name: a, value: b}]",
            43,
            "headers are sent with http: and https: URLs alone",
            "http_headers",
        ),
        (
            "source: 'tftp://x/y', http_headers: [{name: a, value: b}]",
            54,
            "headers are sent with http: and https: URLs alone",
            "http_headers",
        ),
        (
            "source: 'http://x/y', http_headers: [{value: b}]",
            55,
            "'name' is required",
            "http_headers.0",
        ),
        (
            "source: 'http://x/y', http_headers: [{name: 'a b', value: b}]",
            62,
            "'a b' is no name of a header",
            "http_headers.0.name",
        ),
        (
            "source: 'http://x/y', http_headers: [{name: a, value: ''}]",
            72,
            "a header's value is one line of text, and not empty",
            "http_headers.0.value",
        ),
        (
            "source: 'http://x/y', http_headers: [{name: a, value: b}, {name: a, value: c}]",
            83,
            "header 'a' is given twice",
            "http_headers.1.name",
        ),
        (
            "http_headers: [{name: a, value: b}]",
            32,
            "there are no contents that this could be about",
            "http_headers",
        ),
    ] {
        contents(given, &at(column, message, field));
    }
    contents(
        "source: 'data:x'",
        &at(26, "a data: URL has a comma before its data", "source"),
    );
    contents(
        "source: 'data:,%4'",
        &at(
            26,
            "'%' in a URL has two hexadecimal digits after it",
            "source",
        ),
    );
    contents(
        "source: 'data:;base64,YQ'",
        &at(26, "this is not base64 with its padding", "source"),
    );
    contents(
        "source: 'data:;base64,Y=Q='",
        &at(26, "this is not base64 with its padding", "source"),
    );
    contents(
        "local: a",
        &at(
            25,
            "local file 'a': no directory of local files was given",
            "local",
        ),
    );
    for name in ["/a", "../a", "a/../b"] {
        contents(
            &format!("local: {name}"),
            &at(
                25,
                &format!("local file '{name}': the name is relative, and has no '..'"),
                "local",
            ),
        );
    }
    contents(
        "inline: a, compression: xz",
        &at(
            42,
            "compression 'xz' is not supported: 'gzip' is",
            "compression",
        ),
    );
    contents(
        "inline: a, compression: gzip",
        &at(26, "the contents are not gzip data", "inline"),
    );
    contents(
        "compression: gzip",
        &at(
            31,
            "there are no contents that this could be about",
            "compression",
        ),
    );
    let hash = |hash: &str, message: &str| {
        contents(
            &format!("inline: a, verification: {{hash: {hash}}}"),
            &at(50, message, "verification.hash"),
        );
    };
    hash("abc", "a hash is written as sha256-… or sha512-…");
    hash(
        "md5-abc",
        "hash function 'md5' is not supported: sha256 and sha512 are",
    );
    hash("sha256-abc", "sha256 has 64 hexadecimal digits");
    hash(
        &format!("sha256-{}", "z".repeat(64)),
        "sha256 has 64 hexadecimal digits",
    );
    hash(
        &format!("sha256-{}", "0".repeat(64)),
        "the contents have the hash sha256-ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    );
    contents(
        "inline: a, mode: 1",
        &(at(29, "unknown field 'mode'", "mode")
            + "\n  help: known here: compression, http_headers, inline, local, source, verification"),
    );
}

#[test]
pub(crate) fn files_and_links() {
    check(
        "storage:\n  files:\n    - path: /a\n      overwrite: true",
        "t.bu:6:18: error: a file that overwrites needs contents ($.storage.files.0.overwrite)",
    );
    check(
        "storage:\n  files:\n    - path: /a\n      append: [{}]",
        "t.bu:6:16: error: a fragment to append needs contents ($.storage.files.0.append.0)",
    );
    check(
        "storage:\n  files:\n    - path: /a\n      user: {id: 1, name: x}",
        "t.bu:6:13: error: both id and name are given ($.storage.files.0.user)",
    );
    check(
        "storage:\n  files:\n    - path: /a\n      user: {id: -1}",
        "t.bu:6:18: error: -1 is no ID: 0 to 4294967294 are ($.storage.files.0.user.id)",
    );
    check(
        "storage:\n  files:\n    - path: /a\n      user: {id: x}",
        "t.bu:6:18: error: an integer is expected here, not a plain value ($.storage.files.0.user.id)",
    );
    check(
        "storage:\n  links:\n    - path: /a",
        "t.bu:5:7: error: 'target' is required ($.storage.links.0)",
    );
    check(
        "storage:\n  links:\n    - {path: /a, target: b, hard: true}",
        "t.bu:5:26: error: the target of a hard link must be absolute ($.storage.links.0.target)",
    );
    check(
        "storage:\n  links:\n    - {path: /a, target: b, hard: maybe}",
        "t.bu:5:35: error: true or false is expected here, not a plain value ($.storage.links.0.hard)",
    );
}

#[test]
pub(crate) fn units() {
    let name = |name: &str, problem: &str| {
        check(
            &format!("systemd:\n  units:\n    - name: {name}"),
            &format!("t.bu:5:13: error: {problem} ($.systemd.units.0.name)"),
        );
    };
    name("a", "unit name 'a' has no suffix such as '.service'");
    name(
        "a.servce",
        "unit name 'a.servce' has a suffix that is no unit type",
    );
    name(
        ".service",
        "unit name '.service' has nothing before its suffix",
    );
    name(
        "'a b.service'",
        "unit name 'a b.service' has characters other than letters, digits and ':-_.\\'",
    );
    name(
        "../a.service",
        "unit name '../a.service' has characters other than letters, digits and ':-_.\\'",
    );
    name(
        "'@a.service'",
        "unit name '@a.service' has nothing before its suffix",
    );
    let dropin = |given: &str, expect: &str| {
        check(
            &format!("systemd:\n  units:\n    - name: a.service\n      dropins: [{{{given}}}]"),
            expect,
        );
    };
    dropin(
        "name: x",
        "t.bu:6:24: error: drop-in name 'x' is no file name that ends in '.conf' ($.systemd.units.0.dropins.0.name)",
    );
    dropin(
        "name: ../x.conf",
        "t.bu:6:24: error: drop-in name '../x.conf' is no file name that ends in '.conf' ($.systemd.units.0.dropins.0.name)",
    );
    dropin(
        "name: x.conf, contents: '[a'",
        "t.bu:6:42: error: not a unit file: line 1: a section header ends with ']' ($.systemd.units.0.dropins.0.contents)",
    );
    let unit = |given: &str, expect: &str| {
        check(
            &format!("systemd:\n  units:\n    - name: a.service\n      {given}"),
            expect,
        );
    };
    unit(
        "contents: A=b",
        "t.bu:6:17: error: not a unit file: line 1: a setting before the first section ($.systemd.units.0.contents)",
    );
    unit(
        "contents: \"[A]\\nb\"",
        "t.bu:6:17: error: not a unit file: line 2: neither a section nor a setting ($.systemd.units.0.contents)",
    );
    unit(
        "{contents: '[A]', contents_local: a}"
            .trim_matches(['{', '}'])
            .replace(", contents_local", "\n      contents_local")
            .as_str(),
        "t.bu:7:23: error: 'contents' is given already ($.systemd.units.0.contents_local)",
    );
    unit(
        "contents: '[A]'\n      mask: true",
        "t.bu:7:13: error: a masked unit is a link to /dev/null in place of its file, so its contents would be lost ($.systemd.units.0.mask)\n  help: drop the contents, or the mask",
    );
    unit(
        "enable: true",
        "t.bu:6:7: error: unknown field 'enable' ($.systemd.units.0.enable)\n  help: did you mean 'enabled'?",
    );
}

#[test]
pub(crate) fn accounts() {
    let user = |given: &str, column: usize, message: &str, path: &str| {
        check(
            &format!("passwd:\n  users:\n    - {{{given}}}"),
            &format!("t.bu:5:{column}: error: {message} ($.passwd.users.0{path})"),
        );
    };
    user("uid: 1", 7, "'name' is required", "");
    user("name: '1'", 14, "account name '1' is a number", ".name");
    user(
        "name: -a",
        14,
        "account name '-a' does not begin with a letter, a digit, '_' or '.'",
        ".name",
    );
    user(
        "name: 'a:b'",
        14,
        "account name 'a:b' has characters other than letters, digits, '_', '.' and '-'",
        ".name",
    );
    user(
        &format!("name: {}", "a".repeat(33)),
        14,
        &format!(
            "account name '{}' is longer than 32 characters",
            "a".repeat(33)
        ),
        ".name",
    );
    user(
        "name: a, gecos: 'x:y'",
        24,
        "':' and line breaks cannot be in an account file",
        ".gecos",
    );
    user(
        "name: a, home_dir: x",
        27,
        "a home directory is an absolute path",
        ".home_dir",
    );
    user(
        "name: a, shell: x",
        24,
        "a login shell is an absolute path",
        ".shell",
    );
    user(
        "name: a, uid: 4294967295",
        22,
        "4294967295 is no ID: 0 to 4294967294 are",
        ".uid",
    );
    user(
        "name: a, groups: [a b]",
        26,
        "group name 'a b' has characters other than letters, digits, '_', '.' and '-'",
        ".groups.0",
    );
    user(
        "name: a, ssh_authorized_keys: ['']",
        39,
        "an SSH key is a line of text, and not empty",
        ".ssh_authorized_keys.0",
    );
    user(
        "name: a, password_hash: \"$6$secret\\n\"",
        32,
        "':' and line breaks cannot be in an account file",
        ".password_hash",
    );
    user(
        "name: a, ssh_authorized_keys_local: [k]",
        45,
        "local file 'k': no directory of local files was given",
        ".ssh_authorized_keys_local.0",
    );
}

#[test]
pub(crate) fn heads() {
    let versions = "1.0.0, 1.1.0, 1.2.0, 1.3.0, 1.4.0, 1.5.0, 1.6.0";
    let check = |text: &str, expect: &str| check_text(text, Format::Butane, expect);
    check("", "t.bu:1:1: error: the document is empty ($)");
    check(
        "# only a comment",
        "t.bu:1:1: error: the document is empty ($)",
    );
    check(
        "- a",
        "t.bu:1:1: error: a mapping is expected here, not a list ($)",
    );
    check(
        "version: 1.0.0",
        "t.bu:1:1: error: 'variant' is required ($.variant)\n  help: begin the document with `variant: fcos`",
    );
    check(
        "variant: flatcar\nversion: 1.0.0",
        "t.bu:1:10: error: the variant 'flatcar' is not supported: 'fcos' is ($.variant)",
    );
    check(
        "variant: fcos",
        &format!("t.bu:1:1: error: 'version' is required ($.version)\n  help: known: {versions}"),
    );
    check(
        "variant: fcos\nversion: 1.7.0",
        &format!(
            "t.bu:2:10: error: version '1.7.0' is not supported ($.version)\n  help: known: {versions}"
        ),
    );
    check(
        "variant: fcos\nversion: [1]",
        &format!(
            "t.bu:2:10: error: a string is expected here, not a list ($.version)\n  help: known: {versions}"
        ),
    );
    let check = |text: &str, expect: &str| check_text(text, Format::Ignition, expect);
    let versions = "3.0.0, 3.1.0, 3.2.0, 3.3.0, 3.4.0, 3.5.0";
    check(
        "{}",
        &format!(
            "t.ign:1:1: error: 'version' is required ($.ignition.version)\n  help: known: {versions}"
        ),
    );
    check(
        r#"{"ignition":{"version":"2.2.0"}}"#,
        &format!(
            "t.ign:1:24: error: version '2.2.0' is not supported ($.ignition.version)\n  help: known: {versions}"
        ),
    );
    check(
        r#"{"ignition":{"version":3}}"#,
        &format!(
            "t.ign:1:24: error: a string is expected here, not a number ($.ignition.version)\n  help: known: {versions}"
        ),
    );
    check(
        r#"{"ignition":{"version":"3.5.0"},"variant":"fcos"}"#,
        "t.ign:1:33: error: unknown field 'variant' ($.variant)\n  help: known here: ignition, kernelArguments, passwd, storage, systemd",
    );
}

#[test]
pub(crate) fn yaml() {
    check(
        "storage: {}\n---\nstorage: {}",
        "t.bu:4:1: error: a second YAML document begins here, and only one is taken ($)\n  help: remove the `---` or give each document a file of its own",
    );
    check(
        "x: &a {}\nstorage: {<<: *a}",
        "t.bu:4:11: error: merge keys (`<<`) are not supported ($.storage)\n  help: write the fields out",
    );
    check(
        "storage: !custom {}",
        "t.bu:3:10: error: the tag '!custom' is not supported here ($)",
    );
    check(
        "storage: {[a]: b}",
        "t.bu:3:11: error: a key must be a name ($.storage)",
    );
    check(
        "storage: 3",
        "t.bu:3:10: error: a mapping is expected here, not a plain value ($.storage)",
    );
    check(
        "storage: {files: {}}",
        "t.bu:3:18: error: a list is expected here, not a mapping ($.storage.files)",
    );
    let broken = parse_text(&butane("storage: {"), Format::Butane).unwrap_err();
    assert!(
        broken.starts_with("t.bu:") && broken.contains("not YAML: "),
        "{broken}"
    );
    let unknown = parse_text(&butane("storage: *nope"), Format::Butane).unwrap_err();
    assert!(unknown.contains("anchor"), "{unknown}");
}

/// A value that has slipped into the place of a key may be a secret.
#[test]
pub(crate) fn keys_that_are_no_names() {
    let unknown = |key: &str, shown: &str| {
        check(
            &format!("passwd: {{{key}: 1}}"),
            &format!(
                "t.bu:3:10: error: unknown field '{shown}' ($.passwd.{shown})\n  help: known here: groups, users"
            ),
        );
    };
    unknown("fnord", "fnord");
    unknown("tpm2", "tpm2");
    unknown("'Bearer abc'", "…");
    unknown("'$6$salt$hash'", "…");
    unknown("0a1b2c3d4e", "…");
    unknown(&"x".repeat(41), "…");
    check(
        "'$6$a': 1\n'$6$a': 2",
        "t.bu:3:1: error: unknown field '…' ($.…)\n  help: known here: boot_device, grub, ignition, kernel_arguments, passwd, storage, systemd, variant, version\nt.bu:4:1: error: '…' is given twice in this mapping ($.…)",
    );
    check_text(
        r#"{"ignition":{"version":"3.5.0"},"$6$a":1,"$6$a":2}"#,
        Format::Ignition,
        "t.ign:1:33: error: unknown field '…' ($.…)\n  help: known here: ignition, kernelArguments, passwd, storage, systemd\nt.ign:1:42: error: '…' is given twice in this mapping ($.…)",
    );
}

#[test]
pub(crate) fn json() {
    let check =
        |text: &str, expect: &str| check_text(text, Format::Ignition, &format!("t.ign:{expect}"));
    check("", "1:1: error: the document is empty ($)");
    check(
        "{\n  \"a\" 1}",
        "2:7: error: not JSON: ':' is expected here ($)",
    );
    check(
        "{} x",
        "1:4: error: not JSON: text after the JSON value ($)",
    );
    check(
        "{\"a\": 01}",
        "1:7: error: not JSON: a number does not begin with 0 ($)\n  help: JSON has no octal numbers: 0644 is written as 420",
    );
    check(
        "{\"a\": \"\\x\"}",
        "1:9: error: not JSON: this escape is not known ($)",
    );
    check(
        "{\"a\": \"\\ud800\"}",
        "1:9: error: not JSON: this escape is not known ($)",
    );
    check(
        "{\"a\": \"b",
        "1:7: error: not JSON: this string has no end ($)",
    );
    check(
        "{\"a\": \"\n\"}",
        "1:8: error: not JSON: a control character must be escaped ($)",
    );
    check(
        "{\"a\": tru}",
        "1:7: error: not JSON: a value is expected here ($)",
    );
    check(
        "{a: 1}",
        "1:2: error: not JSON: a key in quotes is expected here ($)",
    );
    check(
        "[1 2]",
        "1:5: error: not JSON: ',' or ']' is expected here ($)",
    );
    check(
        "{\"a\": 1,}",
        "1:9: error: not JSON: a key in quotes is expected here ($)",
    );
    check(
        "// hi\n{}",
        "1:1: error: not JSON: a value is expected here ($)",
    );
    let twice = r#"{"ignition":{"version":"3.0.0","version":"3.1.0"}}"#;
    check(
        twice,
        "1:32: error: 'version' is given twice in this mapping ($.ignition.version)",
    );
    let plain =
        r#"{"ignition":{"version":"3.0.0"},"systemd":{"units":[{"name":1,"enabled":"true"}]}}"#;
    check(
        plain,
        "1:61: error: a string is expected here, not a number ($.systemd.units.0.name)\nt.ign:1:73: error: true or false is expected here, not a string ($.systemd.units.0.enabled)",
    );
}

#[test]
pub(crate) fn all_errors_are_collected_in_text_order() {
    check(
        "storage:\n  files:\n    - path: x\n      mode: 0999\n      fnord: 1\n  disks: [a]\nsystemd: 1",
        "t.bu:5:13: error: path 'x' is not absolute ($.storage.files.0.path)
t.bu:6:13: error: a number that begins with 0 is octal, and has no digit 8 or 9 ($.storage.files.0.mode)
t.bu:7:7: error: unknown field 'fnord' ($.storage.files.0.fnord)
  help: known here: append, contents, group, mode, overwrite, path, user
t.bu:8:11: error: a mapping is expected here, not a plain value ($.storage.disks.0)
t.bu:9:10: error: a mapping is expected here, not a plain value ($.systemd)",
    );
}

#[test]
pub(crate) fn limits() {
    let check = |text: &str, options: ParseOptions, expect: &str| {
        let input = Input {
            name: "t",
            text,
            format: Format::Butane,
        };
        let errors = parse(&input, &NoLocalFiles, &options).unwrap_err();
        assert_eq!(errors.to_string(), format!("t:{expect} ($)"));
        said(expect);
    };
    let default = ParseOptions::default;
    check(
        &butane("storage: {}"),
        ParseOptions {
            max_bytes: 10,
            ..default()
        },
        "1:1: error: the document has more than 10 bytes",
    );
    check(
        &butane("storage: {files: []}"),
        ParseOptions {
            max_nodes: 6,
            ..default()
        },
        "3:10: error: more than 6 values",
    );
    check(
        &butane("storage: {files: [[[]]]}"),
        ParseOptions {
            max_depth: 4,
            ..default()
        },
        "3:20: error: nested more than 4 deep",
    );
    // Each line ten times the one before: more than the limit long before it is built.
    let bomb: String = (1..12)
        .map(|n| {
            format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 10].join(", ")
            )
        })
        .collect();
    check(
        &butane(&format!("a0: &a0 x\n{bomb}")),
        default(),
        "9:10: error: more than 200000 values",
    );
    let scalar = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(1000),
        vec!["*a"; 100].join(", ")
    );
    check(
        &butane(&scalar),
        ParseOptions {
            max_bytes: 5000,
            ..default()
        },
        "4:17: error: values of more than 5000 bytes in all",
    );
    let json = "[".repeat(100_000);
    check_text(
        &json,
        Format::Ignition,
        "t.ign:1:33: error: nested more than 32 deep ($)",
    );
    check_text(
        &json,
        Format::Butane,
        "t.bu:1:256: error: not YAML: recursion limit exceeded ($)",
    );
}
