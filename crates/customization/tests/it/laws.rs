//! Laws that hold for every document.

use proptest::prelude::*;

use pleach_customization::lower::{LowerOptions, lower};
use pleach_customization::{
    Customization, Format, Input, NoLocalFiles, ParseOptions, Route, parse, placement,
};

use crate::support::{Memory, account_plan, base_accounts, parse_text};

/// All that a document means, without where it says it.
pub(crate) fn meaning(c: &Customization) -> serde_json::Value {
    serde_json::from_str(&emit(c)).unwrap()
}

fn emit(c: &Customization) -> String {
    pleach_inject::to_ignition(c).as_str().to_owned()
}

/// Text made of what documents are made of, so that it gets past the first character.
fn fragments() -> impl Strategy<Value = String> {
    let words = [
        "variant: fcos\n",
        "version: 1.5.0\n",
        "storage:\n",
        "  files:\n",
        "    - path: /etc/a\n",
        "      mode: 0644\n",
        "      contents: {inline: x}\n",
        "systemd: {units: [",
        "{name: a.service, ",
        "enabled: true}",
        "]}",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        ": ",
        "- ",
        "&a ",
        "*a",
        "<<: ",
        "|\n",
        ">\n",
        "'",
        "\"",
        "\\u",
        "\\ud800",
        "!!int ",
        "!x ",
        "# c\n",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\t",
        "{\"ignition\":{\"version\":\"3.5.0\"},",
        "\"storage\":{\"files\":[",
        "{\"path\":\"/a\",\"mode\":",
        "420",
        "1e9",
        "null",
        "?",
        "é",
        "\0",
    ];
    let word = prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,4}"];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z.é ]{1,3}", 1..4)
        .prop_map(|parts| {
            parts
                .iter()
                .map(|part| format!("/{part}"))
                .collect::<String>()
        })
        .prop_filter("clean", |path| {
            !path.split('/').any(|part| part == "." || part == "..")
        })
}

/// Ignition documents; most are accepted.
fn document() -> impl Strategy<Value = String> {
    use serde_json::json;
    let file = (path(), prop::option::of(0u32..0o7777), prop::collection::vec(any::<u8>(), 0..8), any::<bool>()).prop_map(|(path, mode, data, overwrite)| {
        let source: String = data.iter().map(|byte| format!("%{byte:02X}")).collect();
        json!({ "path": format!("/etc{path}"), "mode": mode, "overwrite": overwrite, "contents": { "source": format!("data:,{source}") } })
    });
    let link = (path(), "[a-z/.]{1,6}")
        .prop_map(|(path, target)| json!({ "path": format!("/var{path}"), "target": target }));
    let unit = ("[a-z]{1,3}", prop::option::of(any::<bool>()))
        .prop_map(|(name, mask)| json!({ "name": format!("{name}.service"), "mask": mask }));
    let user = ("[a-z]{2,5}", prop::option::of(2000u32..3000), any::<bool>(), ".{0,5}").prop_map(|(name, uid, system, gecos)| {
        json!({ "name": format!("u{name}"), "uid": uid, "system": system, "gecos": gecos.replace([':', '\n', '\0'], "") })
    });
    (
        prop::collection::vec(file, 0..4),
        prop::collection::vec(link, 0..3),
        prop::collection::vec(unit, 0..3),
        prop::collection::vec(user, 0..3),
    )
        .prop_map(|(files, links, units, users)| {
            json!({
                "ignition": { "version": "3.3.0" },
                "storage": { "files": files, "links": links },
                "systemd": { "units": units },
                "passwd": { "users": users },
            })
            .to_string()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![fragments(), any::<String>()]) {
        for format in [Format::Butane, Format::Ignition] {
            let input = Input { name: "t", text: &text, format };
            if let Err(errors) = parse(&input, &NoLocalFiles, &ParseOptions::default()) {
                prop_assert!(errors.errors().next().is_some(), "refused without an error");
                let last = text.lines().count() + 2;
                prop_assert!(errors.iter().all(|e| (1..=last).contains(&e.line) && e.column >= 1), "{errors}");
            }
        }
    }

    #[test]
    fn what_is_written_out_is_read_back(text in document()) {
        if let Ok(parsed) = parse_text(&text, Format::Ignition) {
            let written = emit(&parsed.customization);
            let again = parse_text(&written, Format::Ignition).map_err(TestCaseError::fail)?;
            prop_assert_eq!(meaning(&parsed.customization), meaning(&again.customization));
            // The published schema takes it too.
            prop_assert!(ignition_config::Config::parse_str(&written).is_ok());
            // JSON is YAML: under Butane's names both readers see the same.
            prop_assert_eq!(placement(&parsed.customization, Route::Derive).len(), placement(&again.customization, Route::Derive).len());
        }
    }

    #[test]
    fn lowering_is_deterministic_and_makes_parents_first(text in document()) {
        if let Ok(parsed) = parse_text(&text, Format::Ignition) {
            let c = parsed.customization;
            let tree = Memory::new("d /etc 755\nd /var 755");
            let options = LowerOptions::default();
            let plan = account_plan(&c);
            if let Ok(changes) = lower(&c, &plan, &tree, &options) {
                prop_assert_eq!(&changes, &lower(&c, &plan, &tree, &options).unwrap());
                let mut there: Vec<&[u8]> = vec![b"/", b"/etc", b"/var"];
                for change in &changes {
                    let slash = change.path.iter().rposition(|byte| *byte == b'/').unwrap();
                    let parent: &[u8] = if slash == 0 { b"/" } else { &change.path[..slash] };
                    prop_assert!(there.contains(&parent), "{:?} comes before its parent", change);
                    there.push(&change.path);
                }
            }
        }
    }

    #[test]
    fn new_ids_are_free_and_in_their_range(count in 1usize..20, system in any::<bool>()) {
        let users: Vec<String> = (0..count).map(|n| format!("{{name: u{n}, system: {system}}}")).collect();
        let c = crate::support::accepted(&format!("passwd: {{users: [{}]}}", users.join(", ")));
        let plan = account_plan(&c);
        let mut ids: Vec<u32> = plan.users.iter().map(|user| user.uid).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), count);
        let range = if system { 101..=999 } else { 1000..=60000 };
        let passwd = String::from_utf8(base_accounts().passwd).unwrap();
        for id in ids {
            prop_assert!(range.contains(&id) && !passwd.contains(&format!(":x:{id}:")), "{id}");
        }
    }
}
