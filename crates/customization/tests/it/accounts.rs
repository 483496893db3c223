//! Account files, held to what shadow-utils left (see `tests/fixtures/accounts/README.md`).

use pleach_customization::accounts::{
    BaseAccounts, Disposition, EditedAccounts, Password, edit_account_files, plan, sysusers_d,
    sysusers_remainder,
};

use crate::support::{accepted, account_plan, base_accounts, fixture};

const TODAY: u32 = 20779;

const CREATE: &str = "
passwd:
  groups:
    - { name: sysg, system: true }
    - { name: wheel }
    - { name: two, gid: 2000, password_hash: $6$g }
  users:
    - { name: alice }
    - { name: svc, system: true }
    - { name: bob, uid: 1005, groups: [adm, wheel], shell: /bin/bash }
    - { name: carol, no_user_group: true, uid: 500, gecos: X Y }
    - { name: dave, home_dir: /srv/dave, no_create_home: true, password_hash: $6$u, primary_group: users }
    - { name: big, uid: 70000 }
    - { name: next }
    - { name: high, system: true, no_log_init: true, uid: 998000 }
";

const MODIFY: &str = "
passwd:
  groups:
    - { name: adm, gid: 3000, password_hash: $6$g }
    - { name: core, gid: 1500 }
  users:
    - { name: core, password_hash: $6$c, gecos: New Core, groups: [audio, users], shell: /bin/bash }
    - { name: root, password_hash: '' }
";

const REMOVE: &str = "
passwd:
  groups:
    - { name: audio, should_exist: false }
    - { name: nobody-has-it, should_exist: false }
  users:
    - { name: core, should_exist: false }
    - { name: nobody-is-it, should_exist: false }
";

const BARE: &str = "
passwd:
  groups:
    - { name: two, password_hash: $6$g }
    - { name: three }
  users:
    - { name: alice, groups: [adm] }
    - { name: core, password_hash: $6$c }
";

fn files(edited: &EditedAccounts) -> String {
    let all = [
        ("passwd", Some(&edited.passwd)),
        ("group", Some(&edited.group)),
        ("shadow", edited.shadow.as_ref()),
        ("gshadow", edited.gshadow.as_ref()),
        ("subuid", edited.subuid.as_ref()),
        ("subgid", edited.subgid.as_ref()),
    ];
    let given = all
        .into_iter()
        .filter_map(|(name, bytes)| Some((name, bytes?)));
    given
        .map(|(name, bytes)| format!("== {name}\n{}", String::from_utf8_lossy(bytes)))
        .collect()
}

#[test]
fn files_are_those_of_shadow_utils() {
    let check = |case: &str, body: &str, base: BaseAccounts| {
        let c = accepted(body);
        let plan =
            plan(&c.users, &c.groups, &base).unwrap_or_else(|errors| panic!("{case}: {errors}"));
        let expect = String::from_utf8(fixture(&format!("{case}.expect"))).unwrap();
        assert_eq!(
            files(&edit_account_files(&plan, &base, TODAY)),
            expect,
            "case {case}"
        );
    };
    check("create", CREATE, base_accounts());
    check("modify", MODIFY, base_accounts());
    check("remove", REMOVE, base_accounts());
    let bare = BaseAccounts {
        gshadow: None,
        subuid: None,
        subgid: None,
        ..base_accounts()
    };
    check("bare", BARE, bare);
}

#[test]
fn a_new_subordinate_range_comes_after_the_sorted_ones() {
    let c = accepted("passwd: { users: [{ name: alice }] }");
    let edited = edit_account_files(&account_plan(&c), &base_accounts(), TODAY);
    let expect = "core:100000:65536\nzed:300000:65536\nalice:165536:65536\n";
    assert_eq!(String::from_utf8(edited.subuid.unwrap()).unwrap(), expect);
    assert_eq!(String::from_utf8(edited.subgid.unwrap()).unwrap(), expect);
}

#[test]
fn nothing_asked_changes_nothing() {
    let base = BaseAccounts {
        // No line end, a comment and a line for NIS: all stay as they are.
        passwd: b"root:x:0:0::/root:/bin/sh\n# note\n+::::::".to_vec(),
        ..base_accounts()
    };
    let edited = edit_account_files(&Default::default(), &base, TODAY);
    assert_eq!(edited.passwd, base.passwd);
    assert_eq!(Some(edited.shadow), Some(base.shadow.clone()));
    let c = accepted("passwd: { users: [{ name: a }] }");
    let plan = plan(&c.users, &c.groups, &base).unwrap();
    let passwd = edit_account_files(&plan, &base, TODAY).passwd;
    let expect = "root:x:0:0::/root:/bin/sh\n# note\na:x:1000:1001::/home/a:/bin/sh\n+::::::\n";
    assert_eq!(String::from_utf8(passwd).unwrap(), expect);
}

#[test]
fn plan_says_what_becomes_of_each() {
    let c = accepted(MODIFY);
    let plan = account_plan(&c);
    let core = &plan.users[0];
    assert_eq!(
        (core.disposition, core.uid, core.gid),
        (Disposition::Modified, 1000, 1500)
    );
    assert_eq!(
        core.changed,
        ["its comment", "its shell", "groups that it leaves"]
    );
    assert_eq!(plan.users[1].password, Password::Locked);
    assert!(plan.groups[0].renumbered);
    assert_eq!(plan.gids["adm"], 3000);
    let alice = &account_plan(&accepted("passwd: { users: [{ name: alice }] }")).users[0];
    assert_eq!(
        (alice.home.as_str(), alice.home_mode),
        ("/home/alice", 0o700)
    );
    assert!(alice.create_home && alice.user_group && alice.subuid.is_some());
}

#[test]
fn refusals() {
    let check = |body: &str, expect: &str| {
        let c = accepted(&format!("passwd:\n{body}"));
        let errors = plan(&c.users, &c.groups, &base_accounts()).unwrap_err();
        assert_eq!(errors.to_string(), expect, "{body}");
    };
    check(
        "  users: [{ name: a, uid: 1000 }]",
        "t.bu:4:11 ($.passwd.users.0): user ID 1000 of 'a' belongs to 'core'",
    );
    check(
        "  groups: [{ name: g, gid: 4 }]",
        "t.bu:4:12 ($.passwd.groups.0): group ID 4 of 'g' belongs to 'adm'",
    );
    check(
        "  users: [{ name: a, groups: [nope] }]",
        "t.bu:4:11 ($.passwd.users.0): user 'a' is to be in group 'nope', which neither the image nor the document has",
    );
    check(
        "  users: [{ name: a, primary_group: '77' }]",
        "t.bu:4:11 ($.passwd.users.0): user 'a' is to be in group '77', which neither the image nor the document has",
    );
    check(
        "  users: [{ name: audio }]",
        "t.bu:4:11 ($.passwd.users.0): group 'audio' exists, so user 'audio' cannot get a group of its own: name it as primary_group",
    );
    check(
        "  groups: [{ name: root, should_exist: false }]",
        "t.bu:4:12 ($.passwd.groups.0): group 'root' cannot be removed: it is the primary group of 'root'",
    );
    check(
        "  users: [{ name: core, uid: 7 }]",
        "t.bu:4:11 ($.passwd.users.0): user 'core' exists with uid 1000, which is not changed to 7: its files would not follow",
    );
    check(
        "  users: [{ name: core, home_dir: /x }]",
        "t.bu:4:11 ($.passwd.users.0): user 'core' exists with home_dir /home/core, which is not changed to /x: its files would not follow",
    );
    // All of them, not the first alone.
    check(
        "  users: [{ name: a, uid: 0 }, { name: b, uid: 1 }]",
        "t.bu:4:11 ($.passwd.users.0): user ID 0 of 'a' belongs to 'root'\nt.bu:4:32 ($.passwd.users.1): user ID 1 of 'b' belongs to 'daemon'",
    );
}

#[test]
fn ids_run_out() {
    let defs = |text: &str| BaseAccounts {
        login_defs: Some(text.into()),
        ..base_accounts()
    };
    let check = |body: &str, login_defs: &str, expect: &str| {
        let c = accepted(&format!("passwd:\n{body}"));
        let got = match plan(&c.users, &c.groups, &defs(login_defs)) {
            Ok(plan) => plan
                .users
                .iter()
                .map(|user| format!("{}:{} ", user.uid, user.gid))
                .collect(),
            Err(errors) => errors.0[0].kind.to_string(),
        };
        assert_eq!(got.trim_end(), expect, "{login_defs}");
    };
    let two = "  users: [{ name: a, no_user_group: true }, { name: b, no_user_group: true }]";
    check(two, "UID_MIN 1000\nUID_MAX 1002", "1001:100 1002:100");
    check(
        two,
        "UID_MIN 1000\nUID_MAX 1001",
        "no user ID is free for 'b' between 1000 and 1001",
    );
    // At the top of the range the search begins again at the bottom.
    check(
        two,
        "UID_MIN 998\nUID_MAX 1000",
        "no user ID is free for 'b' between 998 and 1000",
    );
    check(
        "  users: [{ name: a, system: true, no_user_group: true }]",
        "SYS_UID_MIN 990\nSYS_UID_MAX 992",
        "990:100",
    );
    check(
        "  users: [{ name: a, no_user_group: true }]",
        "SUB_UID_MAX 170000",
        "no subordinate user ID is free for 'a' between 100000 and 170000",
    );
    check(
        "  users: [{ name: a, no_user_group: true }]",
        "SUB_UID_COUNT 0\nSUB_GID_COUNT 0\nUID_MIN 0x500",
        "1280:100",
    );
}

#[test]
fn sysusers() {
    let plan = account_plan(&accepted(CREATE));
    insta::assert_snapshot!(sysusers_d(&plan), @r#"
    g sysg 996
    g wheel 1001
    g two 2000
    g alice 2001
    u alice 1001:2001 - /home/alice /bin/sh
    g svc 990
    u svc 990:990 - /home/svc /bin/sh
    g bob 1005
    u bob 1005:1005 - /home/bob /bin/bash
    u carol 500:100 "X Y" /home/carol /bin/sh
    u dave 1006:100 - /srv/dave /bin/sh
    g big 2002
    u big 70000:2002 - /home/big /bin/sh
    g next 1007
    u next 1007:1007 - /home/next /bin/sh
    g high 989
    u high 998000:989 - /home/high /bin/sh
    m bob adm
    m bob wheel
    "#);
    let remainder = |body: &str| -> Vec<String> {
        let rest = sysusers_remainder(&account_plan(&accepted(body)));
        rest.iter()
            .map(|rest| format!("{}: {}", rest.name, rest.what))
            .collect()
    };
    assert_eq!(
        remainder(CREATE),
        ["two: its password", "dave: its password"]
    );
    assert_eq!(
        remainder(MODIFY),
        [
            "adm: its new number",
            "adm: its password",
            "core: its new number",
            "core: its comment",
            "core: its shell",
            "core: groups that it leaves",
            "core: its password",
            "root: its password",
        ]
    );
    assert_eq!(
        remainder(REMOVE),
        ["audio: its removal", "core: its removal"]
    );
    let odd =
        accepted("passwd: { users: [{ name: a, gecos: 'say \"50%\" \\', home_dir: '/srv/a b' }] }");
    assert_eq!(
        sysusers_d(&account_plan(&odd)),
        "g a 1001\nu a 1001:1001 \"say \\\"50%%\\\" \\\\\" \"/srv/a b\" /bin/sh\n"
    );
}
