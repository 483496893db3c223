//! What is on disk after a merge is what the plan says in memory, whatever the trees, and the
//! inputs stay as they are: P13, P14, P18 and P20, and P7 once more; and P19.
//!
//! `PROPTEST_CASES` raises how many triples there are: one for each forty.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use pleach_etc_merge::{
    Action, ApplyOptions, ContentOptions, Labels, Policies, Rule, Sides, apply, plan, plan_dirs,
    prepare,
};
use pleach_fs_tree::{Inode, Kind, Metadata, Name, TreePath};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

use crate::disk::{contents, is_root, open};
use crate::hostile::Outside;
use crate::on_disk::{Machine, ONE, THREE, TWO, options, shown};
use crate::random::triple_with_specials;
use crate::real_ostree::plain;
use crate::{Etc, itself, show, tree};

/// What this user can have on disk; links lead to where they should not.
fn storable(tree: Etc, links: &[String]) -> Etc {
    let mut tree = plain(tree);
    let all: Vec<_> = tree.walk().collect();
    for (path, id) in all {
        if !is_root() {
            let metadata = tree.metadata_mut(id);
            (metadata.uid, metadata.gid) = (0, 0);
            metadata.mode |= 0o700;
        }
        let Kind::Symlink(target) = &tree.inode(id).kind else {
            continue;
        };
        let to = &links[usize::from(target[0]) % links.len()];
        let metadata = tree.inode(id).metadata.clone();
        tree.remove(&path);
        tree.put(&path, Inode::symlink(metadata, to.as_bytes()))
            .expect("it was there");
    }
    tree
}

#[test]
fn p13_p14_p18_apply_makes_what_the_plan_says() {
    let cases = std::env::var("PROPTEST_CASES").map_or(2_000, |n| n.parse().expect("a number"));
    let outside = Outside::new();
    let (links, before) = (outside.links(), outside.shot());
    let mut runner = TestRunner::deterministic();
    let mut triples = Vec::new();
    for i in 0..cases / 40 {
        let triple = triple_with_specials().new_tree(&mut runner);
        let triple = triple.expect("a triple").current();
        let links = &links[i % links.len()..];
        triples.push(triple.map(|tree| storable(tree, links)));
    }
    let mut pairs = 0;
    for batch in triples.chunks(50) {
        let machines: Vec<_> = batch
            .iter()
            .map(|sides| Machine::new(sides).unwrap_or_else(|e| panic!("{e:?}")))
            .collect();
        // What is younger is not known.
        std::thread::sleep(Duration::from_millis(2_200));
        for (i, (sides, machine)) in batch.iter().zip(&machines).enumerate() {
            pairs += as_in_memory(sides, machine, i);
        }
    }
    assert_eq!(outside.shot(), before, "a link was followed");
    eprintln!("{} triples, {pairs} known pairs", triples.len());
    assert!(pairs > 0, "nothing was known of any");
}

/// `i` says in which way it is done: nothing may depend on it.
fn as_in_memory(sides: &Sides<Etc>, machine: &Machine, i: usize) -> usize {
    let what = || {
        let Sides {
            pristine,
            current,
            new,
        } = sides.as_ref().map(show);
        format!("way {i}\npristine\n{pristine}current\n{current}new\n{new}")
    };
    let mut options = ApplyOptions {
        sync: false,
        threads: [1, 2, 4][i % 3],
        ..options()
    };
    let policies = Policies::default();
    let names = ["pristine", "current", "new"];
    let inputs = || names.map(|name| show(&contents(&machine.keep.path().join(name))));
    let before = inputs();

    let expected = plan(&sides.pristine, &sides.current, &sides.new, &policies).expect("a plan");
    let planned = plan_dirs(machine.sides(), &policies, &options);
    let planned = planned.unwrap_or_else(|e| panic!("{e:?}\n{}", what()));
    if is_root() {
        assert_eq!(planned.plan.entries(), expected.entries(), "{}", what());
    }
    assert_eq!(planned.plan.to_string(), expected.to_string(), "{}", what());
    assert_eq!(planned.plan.paths(), expected.paths(), "{}", what());
    let pairs = planned.known.len();
    if i & 1 != 0 {
        options.known = planned.known;
    }
    if i & 2 != 0 {
        prepare(&machine.new, &machine.deployment, &options).expect("prepared");
    }
    let preview = (i & 4 != 0).then_some(&planned.plan);
    let applied = apply(
        machine.sides(),
        &policies,
        preview,
        &machine.deployment,
        &options,
    );
    let applied = applied.unwrap_or_else(|e| panic!("{e:?}\n{}", what()));
    assert_eq!(applied.plan, planned.plan, "{}", what());
    assert!(applied.replanned.is_empty(), "{}", what());
    let result = expected.result(&sides.current, &sides.new);
    let result = show(&result.expect("a result"));
    assert_eq!(shown(&machine.etc()), result, "{}", what());
    assert_eq!(inputs(), before, "an input was changed\n{}", what());
    pairs
}

/// P20: what is large, deep or strangely named is merged like anything else.
#[test]
fn p20_names_depth_and_size_do_not_matter() {
    let file = |content: &[u8]| Inode::file(Metadata::with_mode(0o644), content.to_vec());
    let empty = || Etc::new(Metadata::with_mode(0o755));
    let directory = || Inode::directory(Metadata::with_mode(0o755));
    let top = |name: &[u8]| TreePath::from(Name::new(name).expect("a name"));
    let strange = |content: &[u8]| {
        let mut tree = empty();
        let all: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
        for name in [
            &all[..],
            b" ",
            b"\n",
            b"...",
            b"-rf",
            b"\xff\xfe",
            &[b'x'; 255],
        ] {
            tree.put(&top(name), file(content)).expect("put");
        }
        tree
    };
    let deep = |content: &[u8]| {
        let (mut tree, mut at) = (empty(), TreePath::root());
        for _ in 0..150 {
            at = at.concat(&top(&[b'd'; 120]));
            tree.put(&at, directory()).expect("put");
        }
        tree.put(&at.concat(&top(b"f")), file(content))
            .expect("put");
        tree
    };
    let wide = |content: &[u8]| {
        let mut tree = empty();
        for i in 0..700 {
            let name = format!("a-name-that-fills-the-buffer-{i}");
            tree.put(&top(name.as_bytes()), file(content)).expect("put");
        }
        tree
    };
    let attributes = |content: &[u8]| {
        let mut inode = file(content);
        for i in 0..12 {
            let name = format!("user.attribute-with-a-long-name-{i:0100}");
            let value = content.repeat(20).into_boxed_slice();
            inode.metadata.xattrs.insert(name.as_bytes().into(), value);
        }
        let mut tree = empty();
        tree.put(&top(b"f"), inode).expect("put");
        tree
    };
    // Longer than one piece of the comparison, and different in the last byte alone.
    let large = |content: &[u8]| {
        let mut tree = empty();
        let bytes = [&vec![b'x'; 3 * 64 * 1024][..], &content[..1]].concat();
        tree.put(&top(b"f"), file(&bytes)).expect("put");
        tree
    };
    type Make<'a> = &'a dyn Fn(&[u8]) -> Etc;
    let rows: [(&str, Make<'_>); 5] = [
        ("strange names", &strange),
        ("deep directories", &deep),
        ("many names", &wide),
        ("many attributes", &attributes),
        ("large files", &large),
    ];
    for (what, make) in rows {
        for [pristine, current, new] in [
            ["one", "two", "three"],
            ["one", "one", "three"],
            ["one", "two", "one"],
        ] {
            let [pristine, current, new] = [pristine, current, new].map(|c| make(c.as_bytes()));
            let sides = Sides {
                pristine,
                current,
                new,
            };
            let machine = Machine::new(&sides).unwrap_or_else(|e| panic!("{what}: {e:?}"));
            as_in_memory(&sides, &machine, 1);
            assert!(machine.names().contains(&"etc.prev".to_owned()), "{what}");
        }
    }
}

/// P13: the digest of a plan changes with anything that it was made from.
#[test]
fn p13_the_digest_is_of_all_inputs() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 9] = [
        ("content, with size and time kept", |at| {
            let m = at.join("a").metadata().expect("stat");
            std::fs::write(at.join("a"), "x".repeat(m.len() as usize)).expect("written");
            let mtime = Timespec {
                tv_sec: m.mtime(),
                tv_nsec: m.mtime_nsec(),
            };
            let times = Timestamps {
                last_access: mtime,
                last_modification: mtime,
            };
            rustix::fs::utimensat(CWD, at.join("a"), &times, AtFlags::empty()).expect("its time");
        }),
        ("mode", |at| {
            let mode = std::fs::Permissions::from_mode(0o640);
            std::fs::set_permissions(at.join("a"), mode).expect("its mode");
        }),
        ("mode of the root", |at| {
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o750)).expect("its mode");
        }),
        ("owner", |at| {
            let owner = if is_root() { Some(1) } else { None };
            std::os::unix::fs::lchown(at.join("a"), owner, owner).expect("its owner");
        }),
        ("attribute", |at| {
            rustix::fs::setxattr(at.join("a"), "user.n", b"1", XattrFlags::empty()).expect("set");
        }),
        ("name", |at| {
            std::fs::rename(at.join("a"), at.join("c")).expect("renamed");
        }),
        ("one less", |at| {
            std::fs::remove_file(at.join("a")).expect("removed");
        }),
        ("one more", |at| {
            std::fs::create_dir(at.join("d")).expect("made");
        }),
        ("another link", |at| {
            std::fs::remove_file(at.join("l")).expect("removed");
            std::os::unix::fs::symlink("other", at.join("l")).expect("made");
        }),
    ];
    let with_link = |text: &str| format!("{text}\n/l symlink 0777 0:0 0.0 target");
    let policies = Policies::default();
    for side in ["pristine", "current", "new"] {
        for (what, change) in changes {
            let texts = [ONE, TWO, THREE].map(with_link);
            let machine = Machine::of(texts.each_ref().map(String::as_str));
            let at = machine.keep.path().join(side);
            let digest = |threads| {
                let options = ApplyOptions {
                    threads,
                    ..options()
                };
                let planned = plan_dirs(machine.sides(), &policies, &options);
                planned.expect("a plan").plan.inputs()
            };
            let before = digest(1);
            // Reading changes only when it was read last.
            contents(&at);
            assert_eq!(digest(4), before, "{side}: nothing was changed");
            // The clock of change times goes in ticks.
            std::thread::sleep(Duration::from_millis(12));
            change(&at);
            assert_ne!(digest(1), before, "{side}: {what}");
            assert_eq!(digest(1), digest(4), "{side}: {what}: threads");
        }
    }
}

#[test]
fn p13_the_digest_is_of_all_policies() {
    let rule = |action, origin: &str| Policies {
        rules: vec![Rule::new("a", action, origin).expect("a rule")],
        ..Policies::default()
    };
    let derived = |command: &str| Action::Derived {
        regenerate: command.into(),
    };
    let mut two = rule(Action::Pin, "x");
    two.rules
        .push(Rule::new("b", Action::Pin, "x").expect("a rule"));
    let content = |max_bytes, max_lines| Policies {
        content: ContentOptions {
            max_bytes,
            max_lines,
        },
        ..Policies::default()
    };
    let all = [
        Policies::default(),
        rule(Action::Pin, "x"),
        rule(Action::Pin, "y"),
        rule(Action::Image, "x"),
        rule(derived("one"), "x"),
        rule(derived("two"), "x"),
        two,
        Policies {
            stamps: Vec::new(),
            ..Policies::default()
        },
        Policies {
            labels: Labels::FromImage,
            ..Policies::default()
        },
        content(1, 10_000),
        content(1 << 20, 1),
    ];
    let machine = Machine::of([ONE, TWO, THREE]);
    let [pristine, current, new] = [ONE, TWO, THREE].map(tree);
    let (mut on_disk, mut in_memory) = (Vec::new(), Vec::new());
    for policies in &all {
        let planned = plan_dirs(machine.sides(), policies, &options()).expect("a plan");
        on_disk.push(planned.plan.inputs());
        let plan = plan(&pristine, &current, &new, policies).expect("a plan");
        in_memory.push(plan.inputs());
    }
    for digests in [on_disk, in_memory] {
        for (i, a) in digests.iter().enumerate() {
            for (j, b) in digests.iter().enumerate() {
                assert_eq!(a == b, i == j, "{:?}\n{:?}", all[i], all[j]);
            }
        }
    }
}

/// P19: the memory of a merge does not grow with the size of the files.
#[test]
fn p19_memory_is_not_a_matter_of_size() {
    let peak = |size: u64| {
        let machine = Machine::of([ONE, TWO, THREE]);
        for name in ["pristine", "current", "new"] {
            let file = open(&machine.keep.path().join(name)).create("large");
            file.expect("made").set_len(size).expect("a size");
        }
        let mut write = cap_std::fs::OpenOptions::new();
        let file = machine.current.open_with("large", write.write(true));
        let file = file.expect("open").into_std();
        std::os::unix::fs::FileExt::write_at(&file, b"x", size - 1).expect("one byte");
        let output = itself::work_at(
            &[],
            &itself::binary(),
            machine.keep.path(),
            "plan,apply,peak",
        );
        let told = { output }.output().expect("this binary runs");
        let told = itself::told(&told).expect("a merge");
        let peak = told
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.expect("it says so").parse::<u64>().expect("a number")
    };
    let (small, large) = (peak(1 << 10), peak(1 << 28));
    assert!(large < small + 4096, "{small} kB, {large} kB");
}
