//! P7: links that lead outside, in the trees and beside the target; and somebody who exchanges
//! directories, links and pipes while a merge runs.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use pleach_etc_merge::{
    ApplyOptions, Error, Policies, Sides, apply, known, plan, prepare, release, undo,
};
use pleach_fs_tree::{Inode, Kind, Metadata, TreePath};
use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps};

use crate::disk::{open, write};
use crate::on_disk::{MERGED, Machine, ONE, THREE, TWO, options, shown};
use crate::{Etc, itself, show, tree};

/// What must not be touched.
pub(crate) struct Outside(tempfile::TempDir);

impl Outside {
    const ALL: [&str; 4] = ["", "d", "d/x", "f"];

    pub(crate) fn new() -> Self {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let canary = "
            /d directory 0751 0:0 0.0
            /d/x file 0640 0:0 0.0 victim user.n=1
            /f file 0604 0:0 0.0 victim";
        write(&tree(canary), &open(keep.path())).expect("written");
        // Read once, a file that was not read since it was written has another time.
        let long_ago = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: long_ago,
            last_modification: long_ago,
        };
        for path in Self::ALL.iter().rev() {
            let path = keep.path().join(path);
            rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::empty())
                .expect("its time is set");
        }
        Self(keep)
    }

    pub(crate) fn path(&self, below: &str) -> String {
        let path = self.0.path().join(below);
        path.to_str().expect("a plain path").to_owned()
    }

    /// All that stat(2) says. Contents and attributes are in it: who changes them, changes the
    /// change time.
    pub(crate) fn shot(&self) -> String {
        self.each(|path, m| {
            let (uid, gid, size, links) = (m.uid(), m.gid(), m.size(), m.nlink());
            let times = [m.atime(), m.mtime(), m.ctime()];
            let parts = [m.atime_nsec(), m.mtime_nsec(), m.ctime_nsec()];
            let mode = m.mode();
            format!("{path} {mode:o} {uid}:{gid} {size} {links} {times:?} {parts:?}\n")
        })
    }

    /// Where a name more leads to it, it may be read, and that name removed.
    fn shot_of_what_is_linked(&self) -> String {
        self.each(|path, m| {
            let (mode, uid, gid, size) = (m.mode(), m.uid(), m.gid(), m.size());
            let mtime = m.mtime();
            format!("{path} {mode:o} {uid}:{gid} {size} {mtime}\n")
        })
    }

    fn each(&self, say: impl Fn(&str, &std::fs::Metadata) -> String) -> String {
        let one = |path: &&str| {
            let found = self.0.path().join(path).symlink_metadata();
            say(path, &found.unwrap_or_else(|e| panic!("{path}: {e}")))
        };
        Self::ALL.iter().map(one).collect()
    }

    /// Where a hostile link may lead.
    pub(crate) fn links(&self) -> Vec<String> {
        vec![
            self.path("d"),
            self.path("f"),
            self.path("none"),
            format!("../../../../../../../../../..{}", self.path("d")),
            format!("/proc/self/root{}", self.path("f")),
            "none".to_owned(),
            "d".to_owned(),
            ".".to_owned(),
            "..".to_owned(),
        ]
    }
}

fn put_link(tree: &mut Etc, at: &str, to: &str) {
    let path = TreePath::new(at).expect("a path");
    tree.remove(&path);
    let link = Inode::symlink(Metadata::with_mode(0o777), to.as_bytes());
    tree.put(&path, link).expect("its parent is there");
}

#[test]
fn p07_no_link_in_a_tree_is_followed() {
    let plain = |content: &str| {
        tree(&format!(
            "/d directory 0755 0:0 0.0
             /d/x file 0644 0:0 0.0 {content}
             /d/y file 0644 0:0 0.0 y
             /f file 0644 0:0 0.0 {content}
             /n directory 0755 0:0 0.0
             /n/d directory 0755 0:0 0.0
             /n/d/x file 0644 0:0 0.0 {content}"
        ))
    };
    let outside = Outside::new();
    let before = outside.shot();
    for to in outside.links() {
        // Which of the three have the links, and which have directories and files there.
        for linked in 1..8_u8 {
            let mut sides = ["one", "two", "three"].map(plain);
            for (i, side) in sides.iter_mut().enumerate() {
                if linked & 1 << i != 0 {
                    ["d", "f", "n/d"]
                        .iter()
                        .for_each(|at| put_link(side, at, &to));
                }
            }
            let [pristine, current, new] = sides;
            let sides = Sides {
                pristine,
                current,
                new,
            };
            let what = format!("links to {to:?} in {linked:03b}");
            let machine = Machine::new(&sides).expect("written");
            let options = ApplyOptions {
                sync: false,
                ..options()
            };
            let policies = Policies::default();
            if linked % 2 == 0 {
                prepare(&machine.new, &machine.deployment, &options).expect("prepared");
            }
            let applied = apply(
                machine.sides(),
                &policies,
                None,
                &machine.deployment,
                &options,
            );
            let applied = applied.unwrap_or_else(|e| panic!("{what}: {e:?}"));
            let expected = applied_in_memory(&sides);
            assert_eq!(shown(&machine.etc()), expected, "{what}\n{}", applied.plan);
            undo(&machine.deployment, &options).expect("undone");
            release(&machine.deployment, &options).expect("released");
            assert_eq!(outside.shot(), before, "{what}");
        }
    }
}

fn applied_in_memory(sides: &Sides<Etc>) -> String {
    let Sides {
        pristine,
        current,
        new,
    } = sides;
    let plan = plan(pristine, current, new, &Policies::default()).expect("a plan");
    show(&plan.result(current, new).expect("a result"))
}

/// Something that nobody expects there: how it is made.
type Trap = fn(&Path, &Outside);

const TRAPS: [(&str, Trap); 9] = [
    ("a link to a directory", |at, outside| {
        symlink(outside.path("d"), at).expect("a link");
    }),
    ("a link to a file", |at, outside| {
        symlink(outside.path("f"), at).expect("a link");
    }),
    ("a link to where nothing is", |at, outside| {
        symlink(outside.path("none"), at).expect("a link");
    }),
    ("a link by way of the parent", |at, outside| {
        let up = format!("../../../../../../../../../..{}", outside.path("d"));
        symlink(up, at).expect("a link");
    }),
    ("a link to itself", |at, _| {
        symlink(at.file_name().expect("a name"), at).expect("a link");
    }),
    ("a second name of a file", |at, outside| {
        std::fs::hard_link(outside.path("f"), at).expect("a link");
    }),
    ("a pipe", |at, _| {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(CWD, at, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    }),
    ("a directory of links", |at, outside| {
        std::fs::create_dir(at).expect("a directory");
        symlink(outside.path("d"), at.join("d")).expect("a link");
        symlink(outside.path("f"), at.join("f")).expect("a link");
        std::fs::hard_link(outside.path("f"), at.join("h")).expect("a link");
    }),
    ("a file of garbage", |at, _| {
        std::fs::write(at, b"\xff\0garbage\n").expect("written");
    }),
];

#[test]
fn p07_nothing_beside_the_target_is_followed() {
    let names = [
        "etc",
        "etc.new",
        "etc.prev",
        "etc.gone",
        "etc.saved",
        "etc.saved.new",
        "etc.journal",
        "etc.journal.new",
        "etc.known",
        "etc.known.new",
    ];
    for name in names {
        for (what, trap) in TRAPS {
            for prepared in [false, true] {
                let outside = Outside::new();
                let what = format!("{what} at {name}, prepared: {prepared}");
                let machine = Machine::of([ONE, TWO, THREE]);
                let deployment = &machine.deployment;
                let options = ApplyOptions {
                    sync: false,
                    ..options()
                };
                let merge = || {
                    let (sides, policies) = (machine.sides(), Policies::default());
                    apply(sides, &policies, None, deployment, &options).map(drop)
                };
                let at = machine.keep.path().join("deployment").join(name);
                if prepared {
                    prepare(&machine.new, deployment, &options).expect("prepared");
                }
                if at.is_dir() {
                    std::fs::remove_dir_all(&at).expect("removed");
                } else if at.exists() {
                    std::fs::remove_file(&at).expect("removed");
                }
                let before = outside.shot();
                let before_linked = outside.shot_of_what_is_linked();
                trap(&at, &outside);
                let links = outside.shot() != before;

                let fine = |done: Result<(), Error>, verb: &str| {
                    done.unwrap_or_else(|e| panic!("{what}: {verb}: {e:?}"));
                };
                fine(known(deployment, &options).map(drop), "known");
                fine(merge(), "apply");
                assert_eq!(shown(&machine.etc()), show(&tree(MERGED)), "{what}");
                fine(merge(), "again");
                fine(known(deployment, &options).map(drop), "known");
                fine(undo(deployment, &options), "undo");
                fine(undo(deployment, &options), "undo the undo");
                assert_eq!(shown(&machine.etc()), show(&tree(MERGED)), "{what}");
                fine(release(deployment, &options), "release");
                assert_eq!(
                    machine.names(),
                    ["etc", "etc.journal", "etc.known", "etc.saved"],
                    "{what}"
                );

                let after = outside.shot_of_what_is_linked();
                assert_eq!(after, before_linked, "{what}");
                assert!(links || outside.shot() == before, "{what}");
                assert!(!Path::new(&outside.path("none")).exists(), "{what}");
            }
        }
    }
}

const MERGES: usize = 60;
const SWAPPER: &str = "PLEACH_ETC_MERGE_TEST_SWAPPER";

/// What is exchanged for what is in the tree.
fn pool(outside: &Outside) -> Etc {
    let mut pool = tree(
        "/0 directory 0700 0:0 0.0
         /0/d directory 0755 0:0 0.0
         /0/d/x file 0600 0:0 0.0 swapped
         /0/x file 0644 0:0 0.0 swapped
         /1 file 0644 0:0 0.0 swapped
         /2 fifo 0644 0:0 0.0",
    );
    put_link(&mut pool, "3", &outside.path("d"));
    put_link(&mut pool, "4", &outside.path("f"));
    put_link(&mut pool, "5", "5");
    pool
}

/// Exchanges things until it is stopped.
#[test]
#[ignore = "run by hostile::p07_…"]
fn swapper() {
    let Some(at) = std::env::var_os(SWAPPER) else {
        return;
    };
    let at = PathBuf::from(at);
    let slots = std::fs::read_to_string(at.join("slots")).expect("what is to be exchanged");
    let slots: Vec<_> = slots.lines().map(|slot| at.join(slot)).collect();
    let (begun, mut count, mut random) = (Instant::now(), 0_u32, 0x9e37_79b9_u32);
    while !at.join("stop").exists() && begun.elapsed() < Duration::from_secs(300) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let slot = &slots[random as usize % slots.len()];
        let spare = at
            .join("pool")
            .join((random >> 8).rem_euclid(6).to_string());
        if spare.symlink_metadata().is_err() {
            let _ = symlink(at.join("outside-link"), &spare);
        }
        let swapped =
            rustix::fs::renameat_with(CWD, slot, CWD, &spare, RenameFlags::EXCHANGE).is_ok();
        count += u32::from(swapped);
        if (random >> 16) % 4 == 0 {
            std::thread::sleep(Duration::from_micros(u64::from(random % 500)));
        }
    }
    std::fs::write(at.join("swapped"), count.to_string()).expect("written");
}

/// Runs `each` again and again while another process exchanges what `slots` names, and says how
/// often that did.
fn while_swapped(machine: Machine, slots: &str, each: fn(&Machine, usize)) -> (Machine, u32) {
    let at = machine.keep.path().to_owned();
    std::fs::write(at.join("slots"), slots).expect("written");
    let mut swapper = itself::command(&[], &itself::binary(), "hostile::swapper");
    swapper.env(SWAPPER, &at);
    swapper.stdout(std::process::Stdio::null());
    let mut swapper = swapper.spawn().expect("this binary runs");
    let (done, wait) = mpsc::channel();
    let work = std::thread::spawn(move || {
        (0..MERGES).for_each(|i| each(&machine, i));
        let _ = done.send(());
        machine
    });
    let hung = wait.recv_timeout(Duration::from_secs(240)) == Err(mpsc::RecvTimeoutError::Timeout);
    std::fs::write(at.join("stop"), "").expect("written");
    swapper.wait().expect("it ends");
    assert!(!hung, "a merge hangs");
    let machine = work.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
    let count = std::fs::read_to_string(at.join("swapped")).expect("it says how often");
    (machine, count.parse().expect("a number"))
}

const SWAPPED: &str = "
    /d directory 0755 0:0 0.0
    /d/x file 0644 0:0 0.0 one
    /f file 0644 0:0 0.0 one
    /n directory 0755 0:0 0.0
    /n/d directory 0755 0:0 0.0
    /n/d/x file 0644 0:0 0.0 one";

fn swapped_machine(outside: &Outside) -> Machine {
    let new = SWAPPED.replace("one", "three");
    let machine = Machine::of([SWAPPED, SWAPPED, &new]);
    let at = machine.keep.path();
    std::fs::create_dir(at.join("pool")).expect("a directory");
    write(&pool(outside), &open(&at.join("pool"))).expect("written");
    symlink(outside.path("d"), at.join("outside-link")).expect("a link");
    machine
}

fn racing() -> ApplyOptions {
    ApplyOptions {
        sync: false,
        again: true,
        attempts: 20,
        threads: 2,
        ..options()
    }
}

/// The lines of a dump at a path and below.
fn at(dump: &str, path: &str) -> String {
    let here = |line: &&str| {
        let rest = line.strip_prefix(path);
        rest.is_some_and(|rest| rest.starts_with([' ', '/']))
    };
    dump.lines().filter(here).collect::<Vec<_>>().join("\n")
}

fn graft(tree: &mut Etc, at: &TreePath, from: &Etc, top: &TreePath) {
    tree.remove(at);
    for (path, id) in from.walk() {
        let Some(below) = path.strip_prefix(top) else {
            continue;
        };
        let mut inode = from.inode(id).clone();
        if let Kind::Directory(entries) = &mut inode.kind {
            entries.clear();
        }
        tree.put(&at.concat(&below), inode)
            .expect("parents come first");
    }
}

/// All that a merge may make of a path when anything of the pool, or of the tree, is there.
fn possible(slot: &str, pool: &Etc) -> BTreeSet<String> {
    let (base, new) = (tree(SWAPPED), tree(&SWAPPED.replace("one", "three")));
    let path = TreePath::new(slot).expect("a path");
    let spare = (0..6).map(|i| (pool, i.to_string()));
    let own = ["d", "f", "n/d"].map(|name| (&base, name.to_owned()));
    let one = |(from, top): (&Etc, String)| {
        let mut current = base.clone();
        graft(
            &mut current,
            &path,
            from,
            &TreePath::new(&top).expect("a path"),
        );
        let sides = Sides {
            pristine: base.clone(),
            current,
            new: new.clone(),
        };
        at(&applied_in_memory(&sides), &format!("/{slot}"))
    };
    spare.chain(own).map(one).collect()
}

#[test]
fn p07_exchanges_in_the_current_tree_are_noticed() {
    let outside = Outside::new();
    let before = outside.shot();
    let machine = swapped_machine(&outside);
    let (machine, count) = while_swapped(machine, "current/d\ncurrent/f\ncurrent/n/d", |m, i| {
        let old = shown(&m.etc());
        let applied = apply(
            m.sides(),
            &Policies::default(),
            None,
            &m.deployment,
            &racing(),
        );
        let (name, etc) = (format!("results/{i}"), shown(&m.etc()));
        match applied {
            Ok(_) => {
                std::fs::create_dir_all(m.keep.path().join("results")).expect("a directory");
                std::fs::write(m.keep.path().join(name), etc).expect("written");
            }
            Err(Error::Unsteady { .. } | Error::Read { .. }) => assert_eq!(etc, old),
            Err(error) => panic!("{error:?}"),
        }
    });
    assert_eq!(outside.shot(), before);
    assert!(count > 50, "only {count} exchanges");
    let possible = ["d", "f", "n/d"].map(|slot| (slot, possible(slot, &pool(&outside))));
    let mut merged = 0;
    for result in std::fs::read_dir(machine.keep.path().join("results")).expect("results") {
        let path = result.expect("an entry").path();
        let etc = std::fs::read_to_string(path).expect("a result");
        for (slot, possible) in &possible {
            let found = at(&etc, &format!("/{slot}"));
            assert!(
                possible.contains(&found),
                "{slot} is a mixture:\n{found}\npossible:\n{possible:#?}"
            );
        }
        merged += 1;
    }
    eprintln!("{merged} of {MERGES} merged, {count} exchanges");
    assert!(merged > 0, "no merge came through");
}

#[test]
fn p07_exchanges_in_the_result_lead_nowhere() {
    let outside = Outside::new();
    let before = outside.shot();
    let machine = swapped_machine(&outside);
    let slots = "deployment/etc.new/d
deployment/etc.new/f
deployment/etc.new/n
deployment/etc.new/n/d
deployment/etc.new";
    let (machine, count) = while_swapped(machine, slots, |m, i| {
        let options = racing();
        if i % 2 == 0 {
            // Whoever does this may destroy the result; but nothing else, and it does not hang.
            let _ = prepare(&m.new, &m.deployment, &options);
        }
        let current = ["two", "four"][i / 2 % 2];
        m.current.write("mine", current).expect("written");
        let policies = Policies::default();
        let _ = apply(m.sides(), &policies, None, &m.deployment, &options);
    });
    assert_eq!(outside.shot(), before);
    assert!(count > 50, "only {count} exchanges");
    machine.apply(&Policies::default()).map_or_else(
        |error| assert!(matches!(error, Error::AlreadyMerged { .. }), "{error:?}"),
        drop,
    );
}
