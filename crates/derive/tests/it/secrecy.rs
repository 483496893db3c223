//! What a document keeps secret (password hashes, private files) is in nothing that deriving makes or says, and in
//! nothing that a debug print of any route shows.

use pleach_customization::{
    Customization, Format, Input, NoLocalFiles, ParseOptions, Route, parse, split,
};
use pleach_derive::{Options, plan};
use pleach_fs_tree::Timestamp;
use pleach_inject::{CloudInitOptions, to_cloud_init, to_credentials, to_ignition, to_kickstart};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{base, layer};

fn customization(document: &Value) -> Customization {
    let text = document.to_string();
    let input = Input {
        name: "site.ign",
        text: &text,
        format: Format::Ignition,
    };
    match parse(&input, &NoLocalFiles, &ParseOptions::default()) {
        Ok(parsed) => parsed.customization,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

/// A document with a token as the hash of some accounts' passwords, another one in files that only
/// their owners may read, and other things around them.
fn document() -> impl Strategy<Value = (String, String, Value)> {
    let token = "[A-Za-z0-9./]{24}".prop_map(|text| format!("$6$pleach${text}"));
    let key = "[A-Za-z0-9]{24}";
    let users = proptest::collection::vec((any::<bool>(), any::<bool>()), 1..4);
    let groups = proptest::collection::vec(any::<bool>(), 0..3);
    let files = proptest::collection::vec((0..3usize, "[a-z ]{0,40}", any::<bool>()), 0..4);
    (token, key, users, groups, files, any::<bool>()).prop_map(|(token, key, users, groups, files, argument)| {
        let hash = |is: bool| if is { json!(token) } else { Value::Null };
        let users: Vec<_> = (users.iter().enumerate())
            .map(|(n, (secret, keys))| {
                let keys = if *keys { json!(["ssh-ed25519 AAAA a"]) } else { json!([]) };
                // The first one has the token always.
                json!({ "name": format!("user{n}"), "uid": 2000 + n,
                    "passwordHash": hash(*secret || n == 0), "sshAuthorizedKeys": keys })
            })
            .collect();
        let groups: Vec<_> = (groups.iter().enumerate())
            .map(|(n, secret)| {
                json!({ "name": format!("group{n}"), "gid": 3000 + n, "passwordHash": hash(*secret) })
            })
            .collect();
        let files: Vec<_> = (files.iter().enumerate())
            .map(|(n, (place, text, private))| {
                let place = ["/etc", "/usr/share", "/var/lib"][*place];
                let mode = if *private { 0o600 } else { 0o644 };
                let held = if *private { &key } else { "" };
                let source = format!("data:,{}{held}", text.replace(' ', "%20"));
                json!({ "path": format!("{place}/file{n}"), "mode": mode,
                    "contents": { "source": source } })
            })
            .collect();
        let arguments = if argument { json!(["a=b"]) } else { json!([]) };
        let document = json!({
            "ignition": { "version": "3.4.0" },
            "passwd": { "users": users, "groups": groups },
            "storage": { "files": files },
            "kernelArguments": { "shouldExist": arguments },
        });
        (token, key, document)
    })
}

fn holds(text: &[u8], token: &str) -> bool {
    text.windows(token.len())
        .any(|part| part == token.as_bytes())
}

/// The layer's bytes, not compressed, and what is said about them.
fn derived(c: &Customization) -> (Vec<u8>, String) {
    let base = base();
    let read = |bytes: &Vec<u8>| Some(bytes.clone());
    let options = Options {
        mtime: Timestamp::from_seconds(9),
        ..Options::default()
    };
    let derivation = match plan(c, &base, &read, &options) {
        Ok(derivation) => derivation,
        Err(error) => return (Vec::new(), format!("{error} {error:?}")),
    };
    let (written, bytes) = layer(&base, &derivation).expect("written");
    (bytes, format!("{derivation:?} {written:?}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_secret_is_nowhere_but_where_it_is_asked_for((token, key, document) in document()) {
        let c = customization(&document);
        prop_assert!(!holds(format!("{c:?}").as_bytes(), &token), "Debug of the document");

        // The whole document is refused, without a word of what it keeps.
        let (layer, said) = derived(&c);
        prop_assert!(layer.is_empty(), "a layer was made of a document with a password");
        prop_assert!(!holds(said.as_bytes(), &token), "the refusal: {said}");

        // What derives has nothing of it; the rest has all of it.
        let parts = split(&c, Route::Derive);
        let (layer, said) = derived(&parts.carried);
        prop_assert!(!layer.is_empty(), "nothing was derived: {said}");
        for secret in [&token, &key] {
            prop_assert!(!holds(&layer, secret), "the layer");
            prop_assert!(!holds(said.as_bytes(), secret), "what is said of the layer");
        }
        let rest = to_ignition(&parts.remainder);
        prop_assert!(holds(rest.as_str().as_bytes(), &token), "the remainder has lost it");
        let kept = holds(document.to_string().as_bytes(), &key);
        prop_assert!(holds(rest.as_str().as_bytes(), &key) == kept, "the remainder has lost a file");
        let shown = format!("{parts:?} {rest:?}");
        prop_assert!(!holds(shown.as_bytes(), &token), "Debug of the parts");
        prop_assert!(!holds(shown.as_bytes(), &key), "Debug of the parts");

        // Each injection has it, and shows none of it.
        let site = split(&c, Route::CloudInit).carried;
        let cloud = to_cloud_init(&site, &CloudInitOptions::default()).expect("carried");
        prop_assert!(holds(cloud.user_data.expose(), &token), "cloud-init has lost it");
        let kickstart = to_kickstart(&split(&c, Route::Kickstart).carried).expect("carried");
        prop_assert!(holds(kickstart.text.expose(), &token), "the kickstart has lost it");
        // A group's password takes its accounts with it into the remainder.
        let parts = split(&c, Route::Credentials);
        let credentials = to_credentials(&parts.carried).expect("carried");
        let values = credentials.credentials.iter().map(|c| c.value.expose());
        let has = values.into_iter().any(|value| holds(value, &token));
        let rest = to_ignition(&parts.remainder);
        let has = has || holds(rest.as_str().as_bytes(), &token);
        prop_assert!(has, "credentials and their remainder have lost it");
        let shown = format!("{cloud:?} {kickstart:?} {credentials:?}");
        prop_assert!(!holds(shown.as_bytes(), &token), "Debug of an injection");
    }
}
