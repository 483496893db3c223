//! A document in two parts.

use std::collections::BTreeMap;

use pleach_customization::accounts::{self, BaseAccounts};
use pleach_customization::lower::{LowerOptions, PRESET_PATH, lower};
use pleach_customization::{
    BONDS, Bond, Customization, Format, Route, placement, split, split_without,
};
use proptest::prelude::*;

use crate::laws::meaning;
use crate::support::{Memory, accepted, base_accounts, parse_text};

fn names(c: &Customization) -> Vec<String> {
    let placements = placement(c, Route::Derive);
    placements
        .into_iter()
        .map(|placement| placement.item)
        .collect()
}

/// What is left, and what Ignition cannot do of it either.
#[track_caller]
fn check(body: &str, route: Route, left: &[&str], lost: &[&str]) {
    let c = accepted(body);
    let parts = split(&c, route);
    assert_eq!(names(&parts.remainder), left, "left by {route}");
    assert_eq!(parts.is_whole(), left.is_empty());
    let rest = split(&parts.remainder, Route::Ignition);
    assert_eq!(names(&rest.remainder), lost, "lost");
    let all: Vec<String> = parts.refusals().map(|refusal| refusal.item).collect();
    assert_eq!(all, left, "what is refused is what is left");
    let mut both = [names(&parts.carried), names(&parts.remainder)].concat();
    let mut whole = names(&c);
    both.sort();
    whole.sort();
    assert_eq!(both, whole, "each item is in one part");
}

#[test]
fn accounts_stay_together_with_what_is_theirs() {
    let body = "
passwd:
  users: [{name: alice, password_hash: x}, {name: bob}]
  groups: [{name: ops}]
storage:
  directories: [{path: /etc/ops, group: {name: ops}}]
  files:
    - {path: /etc/motd, contents: {inline: x}}
    - {path: /etc/ops/a, contents: {inline: x}}
    - {path: /etc/b, contents: {inline: x}, user: {name: bob}}
    - {path: /etc/c, contents: {inline: x}, user: {name: daemon}}
    - {path: /home/alice/d, contents: {inline: x}}
    - {path: /home/alice2/d, contents: {inline: x}}
    - {path: /var/home/bob/e, contents: {inline: x}}
    - {path: /usr/bin/f, contents: {inline: x}, user: {name: bob}}
";
    let accounts = [
        "group ops",
        "user alice",
        "password of user alice",
        "user bob",
    ];
    let left = [
        "directory /etc/ops",
        "file /etc/ops/a",
        "file /etc/b",
        "file /home/alice/d",
        "file /var/home/bob/e",
        "file /usr/bin/f",
    ];
    check(
        body,
        Route::Derive,
        &[&left[..], &accounts].concat(),
        &["file /usr/bin/f"],
    );
    // Nobody's password: all of it derives.
    check(
        &body.replace(", password_hash: x", ""),
        Route::Derive,
        &[],
        &[],
    );
    check(body, Route::Etc, &["file /usr/bin/f"], &["file /usr/bin/f"]);
}

#[test]
fn a_hard_link_stays_with_its_file() {
    let body = "
storage:
  files:
    - {path: /var/a, contents: {inline: x}}
    - {path: /var/b, contents: {inline: x}}
    - {path: /etc/a, contents: {inline: x}}
  links:
    - {path: /var/c, target: /var/a, hard: true}
    - {path: /var/d, target: /var/b}
    - {path: /etc/c, target: /etc/a, hard: true}
";
    check(
        body,
        Route::Derive,
        &["file /var/a", "hard link /var/c"],
        &[],
    );
    check(
        body,
        Route::Credentials,
        &[
            "file /var/a",
            "file /etc/a",
            "hard link /var/c",
            "hard link /etc/c",
        ],
        &[],
    );
    check(body, Route::Etc, &[], &[]);
}

#[test]
fn a_unit_stays_whole() {
    let body = "systemd: {units: [{name: a.service, enabled: false, contents: '[Unit]', dropins: [{name: b.conf, contents: '[Unit]'}, {name: c.conf}]}, {name: d.service}, {name: e.service, mask: false, enabled: true}, {name: f.service, contents: ''}, {name: g.service, mask: true}]}";
    let left = [
        "unit a.service",
        "drop-in b.conf of a.service",
        "disabling of a.service",
        "enabling of e.service",
        "unmasking of e.service",
    ];
    check(body, Route::Confext, &left, &[]);
    check(body, Route::Derive, &[], &[]);
    let parts = split(&accepted(body), Route::Confext);
    let units = |c: &Customization| -> Vec<String> {
        c.units.iter().map(|unit| unit.name.clone()).collect()
    };
    assert_eq!(
        units(&parts.carried),
        ["d.service", "f.service", "g.service"]
    );
    assert_eq!(units(&parts.remainder), ["a.service", "e.service"]);
}

#[test]
fn what_a_route_turns_out_not_to_carry_is_left_too() {
    let c = accepted(
        "storage: {files: [{path: /var/a, contents: {inline: x}}, {path: /var/b, contents: {inline: x}}]}",
    );
    let mut refusal = split(&c, Route::Confext).refusals().next().unwrap();
    refusal.why = "there is one";
    let parts = split_without(&c, Route::Derive, &[refusal]);
    assert_eq!(names(&parts.remainder), ["file /var/a"]);
    assert_eq!(names(&parts.carried), ["file /var/b"]);
    assert_eq!(parts.placements[0].refused().unwrap().0, "there is one");
}

#[test]
fn every_bond_has_one_rule() {
    let all = [
        Bond::Accounts,
        Bond::HardLink,
        Bond::Directory,
        Bond::Unit,
        Bond::Replacement,
    ];
    let said: Vec<Bond> = BONDS.iter().map(|(bond, ..)| *bond).collect();
    assert_eq!(said, all);
}

/// Documents in which much belongs together.
fn document() -> impl Strategy<Value = String> {
    use serde_json::{Value, json};
    let path = || {
        prop::sample::select(vec![
            "/etc/a",
            "/etc/a/b",
            "/etc/a/b/c",
            "/etc/d",
            "/var/a",
            "/var/a/b",
            "/var/lib/x",
            "/home/ann/f",
            "/var/home/bob/g",
            "/usr/bin/t",
            "/opt/o",
            "/etc/machine-id",
        ])
    };
    let owner = || {
        prop::option::weighted(
            0.4,
            prop_oneof![
                prop::sample::select(vec!["root", "ann", "bob", "ops", "daemon"])
                    .prop_map(|name| json!({ "name": name })),
                (0u32..3).prop_map(|id| json!({ "id": id })),
            ],
        )
    };
    let mode = || prop::option::of(prop::sample::select(vec![0o600u32, 0o644, 0o755, 0o4755]));
    let directory = (path(), mode(), owner())
        .prop_map(|(path, mode, user)| json!({ "path": path, "mode": mode, "user": user }));
    let file = (path(), mode(), owner(), any::<bool>()).prop_map(|(path, mode, user, append)| match append {
        true => json!({ "path": path, "mode": mode, "user": user, "append": [{ "source": "data:,x" }] }),
        false => json!({ "path": path, "mode": mode, "user": user, "contents": { "source": "data:,x" } }),
    });
    let link = (path(), path(), any::<bool>())
        .prop_map(|(path, target, hard)| json!({ "path": path, "target": target, "hard": hard }));
    let unit = (
        prop::sample::select(vec!["a.service", "b.service", "c.timer"]),
        prop::option::of(any::<bool>()),
        prop::option::of(any::<bool>()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(name, enabled, mask, contents, dropin)| {
            let text = "[Install]\nWantedBy=multi-user.target\n";
            json!({
                "name": name,
                "enabled": enabled,
                "mask": mask.filter(|mask| !(*mask && contents)),
                "contents": contents.then_some(text),
                "dropins": if dropin { json!([{ "name": "x.conf", "contents": "[Unit]\n" }]) } else { json!([]) },
            })
        });
    let user = (prop::sample::select(vec!["ann", "bob"]), any::<bool>(), prop::option::weighted(0.3, Just("$y$x")))
        .prop_map(|(name, ops, hash)| json!({ "name": name, "groups": if ops { json!(["daemon"]) } else { json!([]) }, "passwordHash": hash }));
    let group = prop::option::of(prop::option::weighted(0.3, Just("!x"))).prop_map(|group| {
        group.map_or(
            json!([]),
            |hash| json!([{ "name": "ops", "passwordHash": hash }]),
        )
    });
    let argument = || prop::collection::vec(prop::sample::select(vec!["quiet", "a=b"]), 0..2);
    // Entries have names of their own.
    fn distinct(list: Vec<Value>, key: &'static str) -> Value {
        let by_name: BTreeMap<String, Value> = list
            .into_iter()
            .map(|entry| (entry[key].to_string(), entry))
            .collect();
        by_name.into_values().collect()
    }
    let paths = (
        prop::collection::vec(directory, 0..3),
        prop::collection::vec(file, 0..5),
        prop::collection::vec(link, 0..3),
    );
    let units = prop::collection::vec(unit, 0..3).prop_map(|units| distinct(units, "name"));
    let users = prop::collection::vec(user, 0..3).prop_map(|users| distinct(users, "name"));
    (
        paths,
        units,
        users,
        group,
        argument(),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |((directories, files, links), units, users, groups, arguments, wipe)| {
                let disks = if wipe {
                    json!([{ "device": "/dev/vdb", "wipeTable": true }])
                } else {
                    json!([])
                };
                let mut removed = arguments.clone();
                removed.retain(|argument| *argument == "never");
                json!({
                    "ignition": { "version": "3.3.0" },
                    "storage": {
                        "disks": disks,
                        "directories": distinct(directories, "path"),
                        "files": distinct(files, "path"),
                        "links": distinct(links, "path"),
                    },
                    "systemd": { "units": units },
                    "passwd": { "users": users, "groups": groups },
                    "kernelArguments": { "shouldExist": arguments, "shouldNotExist": removed },
                })
                .to_string()
            },
        )
}

/// A tree with account files beside it.
struct Machine {
    tree: Memory,
    accounts: BaseAccounts,
}

impl Machine {
    fn new() -> Self {
        let tree = "d /etc 755\nd /var 755\nd /var/home 755\nl /home -> var/home\nd /usr/lib/systemd/system 755\nf /usr/lib/systemd/system/b.service 644 0:0 [Install]\\nWantedBy=multi-user.target\nf /usr/lib/systemd/system/c.timer 644 0:0 [Install]\\nWantedBy=timers.target\nl /etc/systemd/system/timers.target.wants/c.timer -> /usr/lib/systemd/system/c.timer\nl /etc/systemd/system/c.timer -> /dev/null\nf /var/lib/x 600 0:0 old";
        Self {
            tree: Memory::new(tree),
            accounts: base_accounts(),
        }
    }

    /// Writes a document as the direct route does; `false` where the tree does not allow it.
    fn write(&mut self, c: &Customization) -> bool {
        let Ok(plan) = accounts::plan(&c.users, &c.groups, &self.accounts) else {
            return false;
        };
        let Ok(changes) = lower(c, &plan, &self.tree, &LowerOptions::default()) else {
            return false;
        };
        for change in &changes {
            self.tree.change(change);
        }
        let edited = accounts::edit_account_files(&plan, &self.accounts, 1);
        self.accounts = BaseAccounts {
            passwd: edited.passwd,
            group: edited.group,
            shadow: edited.shadow,
            gshadow: edited.gshadow,
            subuid: edited.subuid,
            subgid: edited.subgid,
            ..self.accounts.clone()
        };
        true
    }

    /// All of it, with the lines of presets in order: each part adds its own.
    fn state(&self) -> (Vec<String>, BaseAccounts, Vec<String>) {
        let mut presets: Vec<String> = self
            .tree
            .text(PRESET_PATH)
            .lines()
            .map(str::to_owned)
            .collect();
        presets.sort();
        (
            self.tree.dump(&[PRESET_PATH]),
            self.accounts.clone(),
            presets,
        )
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_item_is_in_one_part(text in document()) {
        let Ok(parsed) = parse_text(&text, Format::Ignition) else { return Ok(()) };
        let c = parsed.customization;
        for route in Route::ALL {
            let parts = split(&c, route);
            let mut both = [names(&parts.carried), names(&parts.remainder)].concat();
            let mut whole = names(&c);
            both.sort();
            whole.sort();
            prop_assert_eq!(both, whole, "{}", route);
            // The route carries all of its part, and dividing again changes nothing.
            let again = split(&parts.carried, route);
            prop_assert!(again.is_whole(), "{route}: {:?}", names(&again.remainder));
            prop_assert_eq!(meaning(&again.carried), meaning(&parts.carried));
            let left: Vec<String> = parts.refusals().map(|refusal| refusal.item).collect();
            prop_assert_eq!(left, names(&parts.remainder));
            // What is lost is what Ignition refuses, or belongs to.
            let lost = split(&parts.remainder, Route::Ignition).remainder;
            let refused = |item: &String| split(&c, Route::Ignition).refusals().any(|r| r.item == *item);
            prop_assert!(names(&lost).iter().all(refused));
        }
    }

    #[test]
    fn the_parts_one_after_the_other_are_the_whole(text in document()) {
        let Ok(parsed) = parse_text(&text, Format::Ignition) else { return Ok(()) };
        let c = parsed.customization;
        let mut whole = Machine::new();
        if whole.write(&c) {
            for route in Route::ALL {
                let parts = split(&c, route);
                if !split(&parts.remainder, Route::Ignition).is_whole() {
                    continue; // It is lost, and nothing has to be the whole.
                }
                // Some routes come before Ignition, some after it.
                for order in [[&parts.carried, &parts.remainder], [&parts.remainder, &parts.carried]] {
                    let mut machine = Machine::new();
                    for part in order {
                        prop_assert!(machine.write(part), "{route}: one part alone is refused");
                    }
                    prop_assert_eq!(machine.state(), whole.state(), "{}", route);
                }
            }
        }
    }
}
