//! Documents that are merged into each other, or put in each other's place, and trees of local files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pleach_customization::{
    Customization, Format, Input, LocalFiles, ParseOptions, TreeEntry, TreeKind, parse,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::laws::meaning;
use crate::support::{butane, parse_text, said};

/// A document from its sections.
fn whole(mut body: Value, merge: &[Value]) -> Value {
    let ignition = body["ignition"].as_object_mut().map(std::mem::take);
    let mut ignition = Value::Object(ignition.unwrap_or_default());
    ignition["version"] = json!("3.5.0");
    if !merge.is_empty() {
        let url = |document: &Value| {
            let mut url = String::from("data:,");
            for byte in document.to_string().bytes() {
                write!(url, "%{byte:02x}").unwrap();
            }
            json!({ "source": url })
        };
        ignition["config"] = json!({ "merge": merge.iter().map(url).collect::<Vec<_>>() });
    }
    body["ignition"] = ignition;
    body
}

fn read(document: &Value) -> Result<Customization, String> {
    parse_text(&document.to_string(), Format::Ignition).map(|parsed| parsed.customization)
}

fn merged(document: &Value) -> Result<Value, String> {
    let merged = read(document)?
        .merged()
        .map_err(|errors| errors.to_string())?;
    let mut said = meaning(&merged.customization);
    said["ignition"].as_object_mut().unwrap().remove("version");
    if said["ignition"] == json!({}) {
        said.as_object_mut().unwrap().remove("ignition");
    }
    Ok(said)
}

#[track_caller]
fn check(parent: Value, child: Value, expect: Value) {
    let document = whole(parent, &[whole(child, &[])]);
    assert_eq!(merged(&document), Ok(expect), "{document}");
}

#[test]
fn what_the_child_says_overrides() {
    let files = |list: Value| json!({ "storage": { "files": list } });
    check(
        files(
            json!([{"path": "/a", "mode": 384, "overwrite": true, "contents": {"source": "data:,p"}, "user": {"id": 7}}, {"path": "/b"}]),
        ),
        files(
            json!([{"path": "/c"}, {"path": "/a", "mode": 420, "overwrite": false, "contents": {"source": "data:,c"}}]),
        ),
        files(
            json!([{"path": "/a", "mode": 420, "overwrite": false, "contents": {"source": "data:,c"}, "user": {"id": 7}}, {"path": "/b"}, {"path": "/c"}]),
        ),
    );
    // Fragments are put after each other; an ID counts before a name.
    check(
        files(
            json!([{"path": "/a", "append": [{"source": "data:,1"}], "user": {"id": 7}, "group": {"name": "g"}}]),
        ),
        files(
            json!([{"path": "/a", "append": [{"source": "data:,2"}], "user": {"name": "u"}, "group": {"id": 8}}]),
        ),
        files(
            json!([{"path": "/a", "append": [{"source": "data:,1"}, {"source": "data:,2"}], "user": {"id": 7}, "group": {"id": 8}}]),
        ),
    );
    // Headers by name; one without a value takes one away.
    let fetched = |url: &str, headers: Value| {
        files(json!([{"path": "/a", "contents": {"source": url, "httpHeaders": headers}}]))
    };
    check(
        fetched(
            "https://a/b",
            json!([{"name": "x", "value": "1"}, {"name": "y", "value": "2"}, {"name": "z", "value": "3"}]),
        ),
        fetched(
            "https://a/c",
            json!([{"name": "y"}, {"name": "z", "value": "4"}, {"name": "w", "value": "5"}]),
        ),
        fetched(
            "https://a/c",
            json!([{"name": "x", "value": "1"}, {"name": "z", "value": "4"}, {"name": "w", "value": "5"}]),
        ),
    );
}

#[test]
fn a_path_is_one_thing() {
    check(
        json!({"storage": {"files": [{"path": "/a"}, {"path": "/b"}], "directories": [{"path": "/c"}], "links": [{"path": "/d", "target": "x"}]}}),
        json!({"storage": {"links": [{"path": "/a", "target": "y"}, {"path": "/c", "target": "z"}], "directories": [{"path": "/d"}]}}),
        json!({"storage": {"files": [{"path": "/b"}], "directories": [{"path": "/d"}], "links": [{"path": "/a", "target": "y"}, {"path": "/c", "target": "z"}]}}),
    );
    check(
        json!({"kernelArguments": {"shouldExist": ["a", "b"], "shouldNotExist": ["c"]}}),
        json!({"kernelArguments": {"shouldExist": ["c", "d"], "shouldNotExist": ["a"]}}),
        json!({"kernelArguments": {"shouldExist": ["b", "c", "d"], "shouldNotExist": ["a"]}}),
    );
}

#[test]
fn lists_of_names_are_merged_by_name_and_options_are_not() {
    check(
        json!({"systemd": {"units": [{"name": "a.service", "enabled": true, "contents": "[A]\n", "dropins": [{"name": "x.conf", "contents": "[X]\n"}, {"name": "y.conf"}]}]}}),
        json!({"systemd": {"units": [{"name": "a.service", "enabled": false, "dropins": [{"name": "z.conf"}, {"name": "x.conf", "contents": "[Z]\n"}]}, {"name": "b.service", "mask": true}]}}),
        json!({"systemd": {"units": [{"name": "a.service", "enabled": false, "contents": "[A]\n", "dropins": [{"name": "x.conf", "contents": "[Z]\n"}, {"name": "y.conf"}, {"name": "z.conf"}]}, {"name": "b.service", "mask": true}]}}),
    );
    check(
        json!({"passwd": {"users": [{"name": "a", "uid": 7, "system": true, "groups": ["x", "y"], "sshAuthorizedKeys": ["k"]}], "groups": [{"name": "g", "gid": 7}]}}),
        json!({"passwd": {"users": [{"name": "a", "system": false, "groups": ["y", "z"], "sshAuthorizedKeys": ["k", "l"], "passwordHash": "h"}], "groups": [{"name": "g", "shouldExist": false}]}}),
        json!({"passwd": {"users": [{"name": "a", "uid": 7, "system": false, "groups": ["x", "y", "z"], "sshAuthorizedKeys": ["k", "l"], "passwordHash": "h"}], "groups": [{"name": "g", "gid": 7, "shouldExist": false}]}}),
    );
    check(
        json!({"storage": {
            "disks": [{"device": "/dev/a", "wipeTable": true, "partitions": [{"number": 1, "label": "x", "sizeMiB": 5}, {"label": "y"}]}],
            "raid": [{"name": "r", "level": "raid1", "devices": ["/dev/b", "/dev/c"], "options": ["o"]}],
            "filesystems": [{"device": "/dev/d", "format": "ext4", "options": ["o"], "mountOptions": ["m"], "label": "l"}],
            "luks": [{"name": "l", "device": "/dev/e", "options": ["o"], "openOptions": ["p"], "clevis": {"tang": [{"url": "http://t", "thumbprint": "1"}], "tpm2": true}}],
        }}),
        json!({"storage": {
            "disks": [{"device": "/dev/a", "partitions": [{"number": 1, "sizeMiB": 6}, {"label": "y", "resize": true}, {"label": "z"}]}],
            "raid": [{"name": "r", "level": "raid6", "devices": ["/dev/c", "/dev/f"], "options": ["o"]}],
            "filesystems": [{"device": "/dev/d", "format": "xfs", "options": ["o"], "mountOptions": ["m"]}],
            "luks": [{"name": "l", "device": "/dev/g", "options": ["o"], "openOptions": ["p", "q"], "clevis": {"tang": [{"url": "http://u", "thumbprint": "2"}, {"url": "http://t", "thumbprint": "3"}], "threshold": 2}}],
        }}),
        json!({"storage": {
            "disks": [{"device": "/dev/a", "wipeTable": true, "partitions": [{"number": 1, "label": "x", "sizeMiB": 6}, {"label": "y", "resize": true}, {"label": "z"}]}],
            "raid": [{"name": "r", "level": "raid6", "devices": ["/dev/b", "/dev/c", "/dev/f"], "options": ["o", "o"]}],
            "filesystems": [{"device": "/dev/d", "format": "xfs", "options": ["o", "o"], "mountOptions": ["m", "m"], "label": "l"}],
            "luks": [{"name": "l", "device": "/dev/g", "options": ["o", "o"], "openOptions": ["p", "q"], "clevis": {"tang": [{"url": "http://t", "thumbprint": "3"}, {"url": "http://u", "thumbprint": "2"}], "tpm2": true, "threshold": 2}}],
        }}),
    );
    check(
        json!({"ignition": {"timeouts": {"httpTotal": 5}, "proxy": {"httpProxy": "http://a", "noProxy": ["x"]}}}),
        json!({"ignition": {"timeouts": {"httpResponseHeaders": 6}, "proxy": {"httpProxy": "http://b", "noProxy": ["x", "y"]}}}),
        json!({"ignition": {"timeouts": {"httpTotal": 5, "httpResponseHeaders": 6}, "proxy": {"httpProxy": "http://b", "noProxy": ["x", "y"]}}}),
    );
}

#[test]
fn what_is_inherited_must_fit() {
    let files = |contents: Value| json!({ "storage": { "files": [{ "path": "/a", "contents": contents }] } });
    let refused = |parent: Value, child: Value, expect: &str| {
        let document = whole(files(parent), &[whole(files(child), &[])]);
        let errors = merged(&document).unwrap_err();
        assert!(errors.contains(expect), "{errors}");
    };
    let hash = "sha256-2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    refused(
        json!({"source": "data:,x", "verification": {"hash": hash}}),
        json!({"source": "data:,y"}),
        "these contents inherit the hash from t.ign:1:",
    );
    refused(
        json!({"source": "data:;base64,H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==", "compression": "gzip"}),
        json!({"source": "data:,y"}),
        "these contents inherit the compression from t.ign:1:",
    );
    refused(
        json!({"source": "data:,x", "verification": {"hash": hash}}),
        json!({"source": "data:,y"}),
        "\n  help: say the verification here too",
    );
    // A gzip that was not said to be one is one by inheritance.
    let packed = "data:;base64,H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==";
    check(
        files(json!({"source": "https://a/b", "compression": "gzip"})),
        files(json!({"source": packed})),
        files(json!({"source": "data:,hello", "compression": ""})),
    );
}

#[test]
fn order_and_depth() {
    let mask = |name: &str, on: bool| json!({"systemd": {"units": [{"name": name, "mask": on}]}});
    // The last one wins, and a document's own children come before its siblings.
    let document = whole(
        mask("a.service", true),
        &[
            whole(
                mask("a.service", false),
                &[whole(mask("b.service", true), &[])],
            ),
            whole(mask("b.service", false), &[]),
        ],
    );
    assert_eq!(
        merged(&document),
        Ok(
            json!({"systemd": {"units": [{"name": "a.service", "mask": false}, {"name": "b.service", "mask": false}]}})
        )
    );
    // What is not here could override what comes before it, so what comes after it waits too.
    let mut document = whole(
        mask("a.service", true),
        &[
            whole(mask("b.service", true), &[]),
            whole(mask("c.service", true), &[]),
        ],
    );
    let references = document["ignition"]["config"]["merge"]
        .as_array_mut()
        .unwrap();
    references.insert(1, json!({"source": "https://a/b"}));
    let result = merged(&document).unwrap();
    assert_eq!(result["systemd"]["units"].as_array().unwrap().len(), 2);
    assert_eq!(
        result["ignition"]["config"]["merge"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let mut nested = whole(json!({}), &[]);
    for _ in 0..9 {
        nested = whole(json!({}), &[nested]);
    }
    let errors = read(&nested).unwrap_err();
    assert!(
        errors.contains("documents are merged into each other too deeply"),
        "{errors}"
    );
}

#[test]
fn a_replacement_is_all_that_counts() {
    let text = r#"variant: fcos
version: 1.6.0
ignition:
  config:
    replace:
      inline: '{"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/b"}]}}'
storage:
  files:
    - path: /a
"#;
    let parsed = parse_text(text, Format::Butane).unwrap();
    assert_eq!(parsed.warnings.len(), 1, "{:?}", parsed.warnings);
    let merged = parsed.customization.merged().unwrap().customization;
    let paths: Vec<&str> = merged.files.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["/b"]);
    assert_eq!(merged.digest, parsed.customization.digest);
    let fetched = text.replace("inline: '{\"ignition\": {\"version\": \"3.0.0\"}, \"storage\": {\"files\": [{\"path\": \"/b\"}]}}'", "source: https://a/b");
    let parsed = parse_text(&fetched, Format::Butane).unwrap();
    let merged = parsed.customization.merged().unwrap().customization;
    assert!(merged.ignition.replace.is_some());
}

#[test]
fn items_of_two_documents_can_be_in_each_others_way() {
    let document = whole(
        json!({"storage": {"files": [{"path": "/a/b"}]}}),
        &[whole(json!({"storage": {"files": [{"path": "/a"}]}}), &[])],
    );
    let errors = merged(&document).unwrap_err();
    assert!(
        errors.contains(
            "'/a/b' lies below '/a', which is a file in line 1 of t.ign[$.ignition.config.merge.0]"
        ),
        "{errors}"
    );
}

#[test]
pub(crate) fn in_exact_words() {
    let check = |found: String, expect: &str| {
        assert_eq!(found, expect);
        said(expect);
    };
    let files = |contents: &str| {
        format!(
            r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/a","contents":{contents}}}]}}}}"#
        )
    };
    let hash = "sha256-2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let merged = |parent: &str, child: &str| {
        let text = butane(&format!(
            "ignition: {{config: {{merge: [{{inline: '{}'}}]}}}}\nstorage: {{files: [{{path: /a, contents: {{{parent}}}}}]}}",
            files(child)
        ));
        let parsed = parse_text(&text, Format::Butane).unwrap();
        parsed.customization.merged().unwrap_err().to_string()
    };
    check(
        merged(
            &format!("inline: x, verification: {{hash: {hash}}}"),
            r#"{"source":"data:,y"}"#,
        ),
        "t.bu[$.ignition.config.merge.0]:1:87: error: these contents inherit the hash from t.bu:4:49 ($.storage.files.0.contents.inline), which does not fit them ($.storage.files.0.contents.source)\n  help: say the verification here too",
    );
    check(
        merged(
            "source: 'data:;base64,H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==', compression: gzip",
            r#"{"source":"data:,y"}"#,
        ),
        "t.bu[$.ignition.config.merge.0]:1:87: error: these contents inherit the compression from t.bu:4:49 ($.storage.files.0.contents.source), which does not fit them ($.storage.files.0.contents.source)\n  help: say `compression: ''` here too",
    );
    let inner = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a"}]}}"#;
    let text = butane(&format!(
        "ignition: {{config: {{merge: [{{inline: '{inner}'}}]}}}}\nstorage: {{files: [{{path: /a/b}}]}}"
    ));
    let parsed = parse_text(&text, Format::Butane).unwrap();
    check(
        parsed.customization.merged().unwrap_err().to_string(),
        "t.bu:4:19: error: '/a/b' lies below '/a', which is a file in line 1 of t.bu[$.ignition.config.merge.0] ($.storage.files.0)",
    );
    let options = ParseOptions {
        max_documents_deep: 0,
        ..ParseOptions::default()
    };
    let text = butane(&format!(
        "ignition: {{config: {{merge: [{{inline: '{inner}'}}]}}}}"
    ));
    let input = Input {
        name: "t.bu",
        text: &text,
        format: Format::Butane,
    };
    let nothing = |_: &str| Err("no such file".to_owned());
    let errors = parse(&input, &nothing, &options).unwrap_err();
    check(
        errors.to_string(),
        "t.bu:3:29: error: documents are merged into each other too deeply ($.ignition.config.merge.0)",
    );
    let text = butane("storage: {trees: [{local: t}]}");
    let input = Input {
        text: &text,
        ..input
    };
    let errors = parse(&input, &nothing, &options).unwrap_err();
    check(
        errors.to_string(),
        "t.bu:3:19: error: local tree 't': no directories of local files can be had here ($.storage.trees.0)",
    );
}

/// Local files by name; those whose names end in `*` may be executed, `@` begins a link's target.
struct Local(BTreeMap<&'static str, &'static str>);

impl LocalFiles for Local {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let executable = format!("{name}*");
        let text = self.0.get(name).or_else(|| self.0.get(&*executable));
        text.map(|text| text.as_bytes().to_vec())
            .ok_or_else(|| "no such file".into())
    }

    fn tree(&self, name: &str) -> Result<Vec<TreeEntry>, String> {
        let below = if name.is_empty() {
            String::new()
        } else {
            format!("{name}/")
        };
        let mut out = Vec::new();
        for (path, text) in &self.0 {
            let Some(path) = path.strip_prefix(&*below) else {
                continue;
            };
            let kind = match (text.strip_prefix('@'), path.strip_suffix('/')) {
                (_, Some(_)) => TreeKind::Directory,
                (Some("socket"), _) => TreeKind::Other,
                (Some(target), _) => TreeKind::Symlink {
                    target: target.into(),
                },
                (None, _) => TreeKind::File {
                    executable: path.ends_with('*'),
                },
            };
            let path = path.trim_end_matches(['*', '/']).to_owned();
            out.push(TreeEntry { path, kind });
        }
        if out.is_empty() {
            Err("no such directory".into())
        } else {
            Ok(out)
        }
    }
}

#[track_caller]
fn tree(files: &[(&'static str, &'static str)], storage: &str, expect: &str) {
    let text = butane(&format!("storage: {{{storage}}}"));
    let input = Input {
        name: "t.bu",
        text: &text,
        format: Format::Butane,
    };
    let local = Local(files.iter().copied().collect());
    let options = ParseOptions {
        max_tree_entries: 4,
        ..ParseOptions::default()
    };
    let got = match parse(&input, &local, &options) {
        Err(errors) => errors.to_string(),
        Ok(parsed) => {
            let mut out = String::new();
            for warning in &parsed.warnings {
                writeln!(out, "{warning}").unwrap();
            }
            let c = parsed.customization;
            for file in &c.files {
                let text = file
                    .contents
                    .as_ref()
                    .and_then(|c| c.bytes())
                    .unwrap_or(b"?");
                let text = String::from_utf8_lossy(text);
                writeln!(
                    out,
                    "{} {:04o} {text}",
                    file.path,
                    file.mode.unwrap_or_default()
                )
                .unwrap();
            }
            for link in &c.links {
                writeln!(out, "{} -> {}", link.path, link.target).unwrap();
            }
            out
        }
    };
    assert_eq!(got.trim_end(), expect, "{text}");
    said(expect);
}

#[test]
pub(crate) fn trees() {
    let files = [
        ("t/a", "A"),
        ("t/bin/", ""),
        ("t/bin/x*", "X"),
        ("t/l", "@../a"),
    ];
    tree(
        &files,
        "trees: [{local: t}]",
        "/a 0644 A\n/bin/x 0755 X\n/l -> ../a",
    );
    tree(
        &files,
        "trees: [{local: ./t/, path: /opt}]",
        "/opt/a 0644 A\n/opt/bin/x 0755 X\n/opt/l -> ../a",
    );
    tree(
        &files,
        "trees: [{local: ., path: /}]",
        "/t/a 0644 A\n/t/bin/x 0755 X\n/t/l -> ../a",
    );
    // Attributes are the document's, and an `overwrite` or a link may wait for the tree's contents.
    tree(
        &files,
        "trees: [{local: t}], files: [{path: /a, mode: 0600, overwrite: true}], links: [{path: /l}], directories: [{path: /bin, mode: 0700}]",
        "/a 0600 A\n/bin/x 0755 X\n/l -> ../a",
    );
    let way = |path: &str| {
        format!(
            "t.bu:3:19: error: '{path}' of the tree is in the document already, with contents or as something else ($.storage.trees.0)"
        )
    };
    tree(
        &files,
        "trees: [{local: t}], files: [{path: /a, contents: {inline: b}}]",
        &way("/a"),
    );
    tree(
        &files,
        "trees: [{local: t}], links: [{path: /l, target: b}]",
        &way("/l"),
    );
    tree(
        &files,
        "trees: [{local: t}], directories: [{path: /a}]",
        &way("/a"),
    );
    tree(
        &files,
        "trees: [{local: t}], files: [{path: /l}]",
        &way("/l"),
    );
    tree(
        &files,
        "trees: [{local: t}, {local: t}]",
        &format!(
            "{}\n{}\n{}",
            way("/a")
                .replace(":19", ":31")
                .replace("trees.0", "trees.1"),
            way("/bin/x")
                .replace(":19", ":31")
                .replace("trees.0", "trees.1"),
            way("/l")
                .replace(":19", ":31")
                .replace("trees.0", "trees.1")
        ),
    );
    tree(
        &files,
        "trees: [{local: t}], links: [{path: /k}]",
        "t.bu:3:40: error: 'target' is required ($.storage.links.0)",
    );
    tree(
        &[],
        "trees: [{local: t}]",
        "t.bu:3:19: error: local tree 't': no such directory ($.storage.trees.0)",
    );
    tree(
        &files,
        "trees: [{path: /a}]",
        "t.bu:3:19: error: 'local' is required ($.storage.trees.0)",
    );
    tree(
        &files,
        "trees: [{local: ../t}]",
        "t.bu:3:27: error: local file '../t': the name is relative, and has no '..' ($.storage.trees.0.local)",
    );
    tree(
        &files,
        "trees: [{local: t, path: opt}]",
        "t.bu:3:36: error: path 'opt' is not absolute ($.storage.trees.0.path)",
    );
    tree(
        &[("t/d/", ""), ("t/s", "@socket")],
        "trees: [{local: t}]",
        "t.bu:3:19: warning: 'd' is an empty directory and is left out: name it in storage.directories ($.storage.trees.0)\nt.bu:3:19: error: 's' is neither file nor directory nor symbolic link ($.storage.trees.0)",
    );
    tree(
        &[
            ("t/1", ""),
            ("t/2", ""),
            ("t/3", ""),
            ("t/4", ""),
            ("t/5", ""),
        ],
        "trees: [{local: t}]",
        "t.bu:3:19: error: local tree 't' has more than 4 entries ($.storage.trees.0)",
    );
}

/// Sections of a document that has something in common with others.
fn sections() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let flag = || prop::option::of(any::<bool>());
    let said = |members: Vec<(&'static str, Value)>| {
        let said = members.into_iter().filter(|(_, value)| !value.is_null());
        Value::Object(said.map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let unit = (name(), flag(), flag()).prop_map(move |(name, enabled, mask)| {
        said(vec![
            ("name", json!(format!("{name}.service"))),
            ("enabled", json!(enabled)),
            ("mask", json!(mask)),
        ])
    });
    let user = (
        name(),
        flag(),
        prop::collection::btree_set(name(), 0..3),
        flag(),
    )
        .prop_map(move |(name, system, groups, exist)| {
            said(vec![
                ("name", json!(name)),
                ("system", json!(system)),
                ("groups", json!(groups)),
                ("shouldExist", json!(exist)),
            ])
        });
    let disk = (
        name(),
        flag(),
        prop::collection::btree_map(1u8..4, 0u32..9, 0..3),
    )
        .prop_map(move |(name, wipe, partitions)| {
            let partitions: Vec<Value> = partitions
                .into_iter()
                .map(|(number, size)| json!({"number": number, "sizeMiB": size}))
                .collect();
            said(vec![
                ("device", json!(format!("/dev/{name}"))),
                ("wipeTable", json!(wipe)),
                ("partitions", json!(partitions)),
            ])
        });
    // A path is always of one kind: what a file says is lost when a directory comes between it and
    // another file, but not when those two are merged first.
    let node =
        (0..3usize, flag(), prop::option::of(0..8u32)).prop_map(move |(kind, overwrite, id)| {
            let name = ["a", "b", "c"][kind];
            let id = id.map(|id| json!({ "id": id }));
            let target = (kind == 2).then_some("x");
            let contents = (kind == 0).then(|| json!({ "source": "data:,x" }));
            let node = said(vec![
                ("path", json!(format!("/{name}"))),
                ("overwrite", json!(overwrite)),
                ("user", json!(id)),
                ("target", json!(target)),
                ("contents", json!(contents)),
            ]);
            (["files", "directories", "links"][kind], node)
        });
    let by = |key: &'static str, list: Vec<Value>| -> Vec<Value> {
        let named: BTreeMap<String, Value> = list
            .into_iter()
            .map(|item| (item[key].to_string(), item))
            .collect();
        named.into_values().collect()
    };
    (
        prop::collection::vec(unit, 0..3),
        prop::collection::vec(user, 0..3),
        prop::collection::vec(disk, 0..3),
        prop::collection::vec(node, 0..3),
    )
        .prop_map(move |(units, users, disks, nodes)| {
            let mut storage = json!({ "disks": by("device", disks) });
            let mut seen = Vec::new();
            for (list, node) in nodes {
                if !seen.contains(&node["path"]) {
                    seen.push(node["path"].clone());
                    let there = storage.as_object_mut().unwrap().entry(list).or_insert(json!([]));
                    there.as_array_mut().unwrap().push(node);
                }
            }
            json!({ "systemd": { "units": by("name", units) }, "passwd": { "users": by("name", users) }, "storage": storage })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_associative(a in sections(), b in sections(), c in sections()) {
        let side_by_side = whole(a.clone(), &[whole(b.clone(), &[]), whole(c.clone(), &[])]);
        let nested = whole(a, &[whole(b, &[whole(c, &[])])]);
        let (left, right) = (merged(&side_by_side), merged(&nested));
        prop_assert!(left.is_ok(), "{left:?}");
        // The same items in the same state; a list's order may follow who said it first.
        prop_assert_eq!(sorted(left.unwrap()), sorted(right.unwrap()));
    }

    #[test]
    fn what_is_said_is_read_again(a in sections(), b in sections()) {
        let read = |text: &str| parse_text(text, Format::Ignition).map_err(TestCaseError::fail);
        let first = read(&whole(a, &[whole(b, &[])]).to_string())?.customization;
        let said = pleach_inject::to_ignition(&first);
        let again = read(said.as_str())?.customization;
        let twice = pleach_inject::to_ignition(&again);
        prop_assert_eq!(twice.as_str(), said.as_str());
        // References stay, and lead to the same.
        prop_assert_eq!(
            meaning(&first.merged().unwrap().customization),
            meaning(&again.merged().unwrap().customization)
        );
    }

    #[test]
    fn nothing_merged_into_a_document_or_it_into_nothing_changes_it(a in sections()) {
        let alone = merged(&whole(a.clone(), &[])).map_err(TestCaseError::fail)?;
        let into = merged(&whole(a.clone(), &[whole(json!({}), &[])])).map_err(TestCaseError::fail)?;
        let under = merged(&whole(json!({}), &[whole(a.clone(), &[])])).map_err(TestCaseError::fail)?;
        let twice = merged(&whole(a.clone(), &[whole(a, &[])])).map_err(TestCaseError::fail)?;
        prop_assert_eq!(&alone, &into);
        prop_assert_eq!(&alone, &under);
        prop_assert_eq!(&alone, &twice);
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(sorted).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect(),
        ),
        other => other,
    }
}
