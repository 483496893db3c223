//! Drift against the default, and what of it is noise.

use insta::assert_snapshot;
use pleach_etc_merge::{
    Because, Before, Drift, Ledger, Machine, NoiseModel, Owner, Record, drift, what_was_put,
};
use pleach_fs_tree::TreePath;

use crate::tree;

fn of(pristine: &str, current: &str) -> Drift {
    let (pristine, current) = (tree(pristine), tree(current));
    let machine = Machine {
        pristine: &pristine,
        current: &current,
    };
    drift(machine, &NoiseModel::shipped(), &Ledger::default())
}

/// The class of a file that only the machine has.
#[track_caller]
fn check(path: &str, expect: Option<&str>) {
    let path = TreePath::new(path).expect("a path");
    let model = NoiseModel::shipped();
    let class = model.class_of(&path).map(|class| &*class.id);
    assert_eq!(class, expect, "{path}");
}

#[test]
fn classes() {
    check("machine-id", Some("machine-identity"));
    check("hostname", Some("machine-identity"));
    check("ssh/ssh_host_ed25519_key.pub", Some("machine-secrets"));
    check("ssh/sshd_config", None);
    check("passwd", Some("accounts"));
    check("passwd-", Some("locks-and-backups"));
    check("pam.d/passwd", None);
    check("nginx/nginx.conf.dpkg-old", Some("locks-and-backups"));
    check("nginx/.nginx.conf.swp", Some("locks-and-backups"));
    check("nginx/nginx.conf", None);
    check("alternatives/editor", Some("generated"));
    check("ssl/certs/2ae6433e.0", Some("generated"));
    check("ssl/certs/our-own-ca.pem", None);
    check(
        "pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        Some("generated"),
    );
    check("pki/ca-trust/source/anchors/our-own-ca.pem", None);
    check("dconf/db/local", Some("generated"));
    check("dconf/db/local.d/00-site", None);
    check(".updated", Some("stamps"));
    check("pleach/ownership.json", Some("ledger"));
    check("pleach/etc-merge.d/site.toml", None);
}

#[test]
fn the_text_of_a_drift() {
    let found = of(
        "/gone file 0644 0:0 0.0 x
         /motd file 0644 0:0 0.0 hello
         /passwd file 0644 0:0 0.0 root
         /same file 0644 0:0 0.0 x",
        "/machine-id file 0444 0:0 0.0 1
         /motd file 0600 0:7 1.0 mine user.n=v
         /passwd file 0644 0:0 0.0 root,me
         /passwd- file 0644 0:0 0.0 root
         /same file 0644 0:0 5.0 x trusted.overlay.origin=y",
    );
    assert_snapshot!(found, @"
    removed /gone: file 0644 0:0
    changed /motd: content mode gid xattr:user.n
    1 machine-identity (noise): each machine has its own [machine-id(5), hostname(5), iscsi-iname(8), nvme-gen-hostnqn(1)]
    1 locks-and-backups (noise): tools that edit a file leave them beside it [lckpwdf(3), useradd(8), vipw(8), dpkg(1), rpm(8), ucf(1)]
    1 accounts (noise): services and people get accounts on the machine [systemd-sysusers(8), useradd(8), passwd(1), subuid(5)]
    ");
    assert_snapshot!(found.entries()[1], @"added /machine-id: file 0444 0:0; machine-identity");
    assert_eq!(found.unexplained().count(), 2);
    assert_eq!(found.entries().len(), 5);
}

#[test]
fn a_class_never_explains_a_mode_or_an_owner() {
    let shadow = |mode: &str, content: &str| format!("/shadow file {mode} 0:0 0.0 {content}");
    let explained = |current: &str| of(&shadow("0000", "a"), current).unexplained().count() == 0;
    assert!(explained(&shadow("0000", "b")));
    assert!(!explained(&shadow("0644", "b")));
    assert!(!explained("/shadow file 0000 0:5 0.0 b"));
    assert!(!explained(
        "/shadow file 0000 0:0 0.0 b system.posix_acl_access=x"
    ));
    // A link has no mode of its own.
    let link = "/resolv.conf symlink 0777 0:0 0.0 ../run/resolv.conf";
    let found = of("/resolv.conf file 0644 0:0 0.0 x", link);
    assert_eq!(found.unexplained().count(), 0, "{found}");
}

#[test]
fn an_added_directory_is_explained_by_what_is_in_it() {
    let d = "/pleach directory 0755 0:0 0.0";
    let ledger = format!("{d}\n/pleach/ownership.json file 0600 0:0 0.0 x");
    assert_eq!(of("", &ledger).unexplained().count(), 0);
    assert_eq!(of("", d).unexplained().count(), 1, "it is empty");
    let more = format!("{ledger}\n/pleach/site.toml file 0644 0:0 0.0 x");
    let found = of("", &more);
    let paths: Vec<_> = found.unexplained().map(|e| e.path.to_string()).collect();
    assert_eq!(paths, ["/pleach", "/pleach/site.toml"]);
}

#[test]
fn what_somebody_put_is_explained_while_it_is_as_it_was_put() {
    let (pristine, put) = (tree(""), tree("/a file 0644 0:0 0.0 a"));
    let path = TreePath::new("a").expect("a path");
    let mut ledger = Ledger::default();
    let record = Record {
        owner: Owner {
            route: "hand".to_owned(),
            document: None,
            place: None,
        },
        before: Before::Absent,
        put: put.get(&path).map(what_was_put),
        pinned: false,
    };
    ledger.insert(path, record);
    let because = |current: &str| {
        let current = tree(current);
        let machine = Machine {
            pristine: &pristine,
            current: &current,
        };
        let found = drift(machine, &NoiseModel::none(), &ledger);
        (found.entries()[0].because.clone(), found.to_string())
    };
    let (owned, text) = because("/a file 0644 0:0 0.0 a");
    assert_eq!(owned, Some(Because::Owned("hand".to_owned())));
    assert_snapshot!(text, @"1 owned: hand");
    let (changed, text) = because("/a file 0644 0:0 0.0 b");
    assert_eq!(changed, None);
    assert_snapshot!(text, @"added /a: file 0644 0:0");
}
