use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pleach_deployment::esp::{
    self, BootFile, BootState, EntryName, Esp, EspEntry, Plan, PlanOptions, RootEntry, Step,
};
use pleach_deployment::{BootEntry, Error};
use proptest::prelude::*;

use crate::support::{Scratch, can_run, deployed};

const MIB: u64 = 1 << 20;

#[test]
fn names_of_entries() {
    let check = |file_name: &str, id: &str, left: Option<u32>, done: u32, state: BootState| {
        let name = EntryName::parse(file_name).unwrap_or_else(|| panic!("{file_name}"));
        assert_eq!(
            (name.id.as_str(), name.left, name.done),
            (id, left, done),
            "{file_name}"
        );
        assert_eq!(name.state(), state, "{file_name}");
    };
    let trying = |left, done| BootState::Trying { left, done };
    check("ostree-1-os.conf", "ostree-1-os", None, 0, BootState::Good);
    check(
        "ostree-2-os+3.conf",
        "ostree-2-os",
        Some(3),
        0,
        trying(3, 0),
    );
    check(
        "ostree-2-os+2-1.conf",
        "ostree-2-os",
        Some(2),
        1,
        trying(2, 1),
    );
    check(
        "ostree-2-os+0-3.conf",
        "ostree-2-os",
        Some(0),
        3,
        BootState::Failed { done: 3 },
    );
    check("a+1+2-3.conf", "a+1", Some(2), 3, trying(2, 3));
    // systemd-boot writes numbers with leading zeros too.
    check("a+02-01.conf", "a", Some(2), 1, trying(2, 1));
    // What is no counter is part of the name.
    for file_name in [
        "a+.conf",
        "a+x.conf",
        "a+1-.conf",
        "a+-1.conf",
        "a+1-2-3.conf",
        "a+99999999999.conf",
        "a.conf",
    ] {
        let id = file_name.strip_suffix(".conf").unwrap();
        check(file_name, id, None, 0, BootState::Good);
    }
    for file_name in ["a", "a.conf.part", "a+1"] {
        assert_eq!(EntryName::parse(file_name), None, "{file_name}");
    }
}

proptest! {
    #[test]
    fn names_come_back(id in "[a-z0-9.-]{1,12}", left in proptest::option::of(0..9_u32), done in 0..9_u32) {
        let done = if left.is_some() { done } else { 0 };
        let name = EntryName { id, left, done };
        prop_assert_eq!(EntryName::parse(&name.to_string()), Some(name));
    }
}

fn kernel(number: u8) -> [BootFile; 2] {
    ["vmlinuz", "initrd"].map(|name| BootFile {
        path: format!("ostree/os-{number}/{name}").into(),
        source: format!("ostree/os-{number}/{name}").into(),
        bytes: u64::from(number) * MIB,
    })
}

fn entry_text(id: &str, number: u8) -> String {
    format!("title {id}\nlinux /ostree/os-{number}/vmlinuz\ninitrd /ostree/os-{number}/initrd\n")
}

fn root_entry(id: &str, number: u8) -> RootEntry {
    RootEntry {
        id: id.into(),
        text: entry_text(id, number),
        files: kernel(number).to_vec(),
    }
}

fn esp_entry(file_name: &str, number: u8) -> EspEntry {
    let name = EntryName::parse(file_name).unwrap();
    EspEntry {
        text: entry_text(&name.id, number),
        name,
        files: kernel(number).map(|file| file.path).to_vec(),
    }
}

/// An ESP with these entries, their kernels, and others.
fn esp_with(entries: &[(&str, u8)], more: &[u8]) -> Esp {
    let mut esp = Esp {
        free: 100 * MIB,
        ..Esp::default()
    };
    for (name, number) in entries {
        esp.entries.push(esp_entry(name, *number));
    }
    let numbers = entries.iter().map(|(_, number)| number).chain(more);
    for file in numbers.flat_map(|number| kernel(*number)) {
        esp.files.insert(file.path, file.bytes);
    }
    esp
}

fn show(plan: &Plan) -> String {
    let line = |step: &Step| match step {
        Step::Remove { path } => format!("remove {}\n", path.display()),
        Step::RemoveDirectory { path } => format!("remove directory {}\n", path.display()),
        Step::Copy { path, bytes, .. } => {
            format!("copy {} ({} MiB)\n", path.display(), bytes / MIB)
        }
        Step::WriteEntry { name, .. } => format!("write {name}\n"),
        Step::Name { path } => format!("name {}\n", path.display()),
        Step::HideEntry { name } => format!("hide {name}\n"),
        Step::Settle => "settle\n".to_owned(),
    };
    plan.steps.iter().map(line).collect()
}

fn tries(number: u32) -> PlanOptions {
    let mut options = PlanOptions::default();
    options.tries = Some(number);
    options
}

#[test]
fn steps_are_in_a_safe_order() {
    let plan = |root: &[RootEntry], esp: &Esp, options: &PlanOptions| {
        show(&esp::plan(root, esp, options).unwrap())
    };
    let one = [root_entry("ostree-1-os", 1)];
    let two = [root_entry("ostree-2-os", 2), root_entry("ostree-1-os", 1)];
    let three = [root_entry("ostree-3-os", 3), root_entry("ostree-2-os", 2)];

    // The first install: nothing to fall back to, so nobody counts.
    insta::assert_snapshot!(plan(&one, &esp_with(&[], &[]), &tries(3)), @"
    copy ostree/os-1/initrd (1 MiB)
    copy ostree/os-1/vmlinuz (1 MiB)
    settle
    name ostree/os-1/initrd
    name ostree/os-1/vmlinuz
    write ostree-1-os.conf
    settle
    name loader/entries/ostree-1-os.conf
    settle
    ");
    // Two at once: the default is written last, and it alone counts.
    insta::assert_snapshot!(plan(&two, &esp_with(&[], &[]), &tries(3)), @"
    copy ostree/os-1/initrd (1 MiB)
    copy ostree/os-1/vmlinuz (1 MiB)
    copy ostree/os-2/initrd (2 MiB)
    copy ostree/os-2/vmlinuz (2 MiB)
    settle
    name ostree/os-1/initrd
    name ostree/os-1/vmlinuz
    name ostree/os-2/initrd
    name ostree/os-2/vmlinuz
    write ostree-1-os.conf
    write ostree-2-os+3.conf
    settle
    name loader/entries/ostree-1-os.conf
    name loader/entries/ostree-2-os+3.conf
    settle
    ");
    // An upgrade drops the oldest, after the new one is there.
    let before = esp_with(&[("ostree-1-os.conf", 1), ("ostree-2-os.conf", 2)], &[]);
    insta::assert_snapshot!(plan(&three, &before, &PlanOptions::default()), @"
    copy ostree/os-3/initrd (3 MiB)
    copy ostree/os-3/vmlinuz (3 MiB)
    settle
    name ostree/os-3/initrd
    name ostree/os-3/vmlinuz
    write ostree-3-os.conf
    settle
    name loader/entries/ostree-3-os.conf
    settle
    hide ostree-1-os.conf
    settle
    remove loader/entries/ostree-1-os.conf.old
    remove ostree/os-1/initrd
    remove ostree/os-1/vmlinuz
    remove directory ostree/os-1
    settle
    ");
    // Counters are the boot loader's and are left alone.
    let counted = esp_with(&[("ostree-2-os+0-3.conf", 2), ("ostree-1-os.conf", 1)], &[]);
    insta::assert_snapshot!(plan(&two, &counted, &tries(3)), @"");
    // What an earlier run did not finish goes first: it may be in the way of what is to come.
    let mut leftover = esp_with(&[("ostree-1-os.conf", 1)], &[7]);
    leftover.files.insert("ostree/os-2/vmlinuz.part".into(), 5);
    leftover
        .unfinished
        .push("loader/entries/ostree-2-os.conf.part".into());
    insta::assert_snapshot!(plan(&two, &leftover, &tries(1)), @"
    remove loader/entries/ostree-2-os.conf.part
    remove ostree/os-2/vmlinuz.part
    remove ostree/os-7/initrd
    remove ostree/os-7/vmlinuz
    settle
    copy ostree/os-2/initrd (2 MiB)
    copy ostree/os-2/vmlinuz (2 MiB)
    settle
    name ostree/os-2/initrd
    name ostree/os-2/vmlinuz
    write ostree-2-os+1.conf
    settle
    name loader/entries/ostree-2-os+1.conf
    settle
    remove directory ostree/os-7
    settle
    ");
    // A tool that numbers anew gives known names other contents.
    let renumbered = [root_entry("ostree-2-os", 3), root_entry("ostree-1-os", 2)];
    let before = esp_with(&[("ostree-1-os.conf", 1), ("ostree-2-os+2-1.conf", 2)], &[]);
    insta::assert_snapshot!(plan(&renumbered, &before, &PlanOptions::default()), @"
    copy ostree/os-3/initrd (3 MiB)
    copy ostree/os-3/vmlinuz (3 MiB)
    settle
    name ostree/os-3/initrd
    name ostree/os-3/vmlinuz
    write ostree-1-os.conf
    write ostree-2-os.conf
    settle
    name loader/entries/ostree-1-os.conf
    name loader/entries/ostree-2-os.conf
    settle
    hide ostree-2-os+2-1.conf
    settle
    remove loader/entries/ostree-2-os+2-1.conf.old
    remove ostree/os-1/initrd
    remove ostree/os-1/vmlinuz
    remove directory ostree/os-1
    settle
    ");
}

#[test]
fn an_esp_that_is_too_small_is_not_touched() {
    let root = [root_entry("ostree-2-os", 9), root_entry("ostree-1-os", 1)];
    let check = |free: u64, more: &[u8], fits: bool| {
        let mut esp = esp_with(&[("ostree-1-os.conf", 1)], more);
        esp.free = free;
        let found = esp::plan(&root, &esp, &PlanOptions::default());
        match found {
            Ok(_) => assert!(fits, "{free} {more:?}"),
            Err(Error::NoSpace { needed, .. }) => {
                assert!(!fits && needed >= 18 * MIB, "{free} {more:?}: {needed}");
            }
            Err(other) => panic!("{other}"),
        }
    };
    check(20 * MIB, &[], true);
    check(17 * MIB, &[], false);
    check(0, &[], false);
    // What no entry names is room.
    check(10 * MIB, &[5], true);
}

/// The ESP after a step.
fn step(esp: &mut Esp, root: &[RootEntry], step: &Step) {
    let with = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let place = |name: &EntryName| Path::new("loader/entries").join(name.to_string());
    match step {
        Step::Remove { path } => {
            esp.files.remove(path);
            esp.unfinished.retain(|other| other != path);
        }
        Step::RemoveDirectory { path } => {
            assert!(
                !esp.files.keys().any(|file| file.starts_with(path)),
                "{} is not empty",
                path.display()
            );
        }
        Step::Copy { path, bytes, .. } => drop(esp.files.insert(with(path, ".part"), *bytes)),
        Step::WriteEntry { name, .. } => esp.unfinished.push(with(&place(name), ".part")),
        Step::Name { path } if path.starts_with("loader/entries") => {
            let part = with(path, ".part");
            assert!(esp.unfinished.contains(&part), "{}", part.display());
            esp.unfinished.retain(|other| *other != part);
            let name = EntryName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
            esp.entries.retain(|entry| entry.name != name);
            let entry = root.iter().find(|entry| entry.id == name.id).unwrap();
            let files = entry.files.iter().map(|file| file.path.clone()).collect();
            let text = entry.text.clone();
            esp.entries.push(EspEntry { name, text, files });
        }
        Step::Name { path } => {
            let bytes = esp.files.remove(&with(path, ".part")).expect("copied");
            esp.files.insert(path.clone(), bytes);
        }
        Step::HideEntry { name } => {
            esp.entries.retain(|entry| entry.name != *name);
            esp.unfinished.push(with(&place(name), ".old"));
        }
        Step::Settle => {}
    }
}

fn boots(esp: &Esp) -> bool {
    esp.entries
        .iter()
        .any(|entry| esp.missing(entry).is_empty())
}

fn roots() -> impl Strategy<Value = Vec<RootEntry>> {
    let entry = (1..5_u8, 1..5_u8);
    proptest::collection::vec(entry, 1..4).prop_map(|all| {
        let unique: BTreeMap<_, _> = all.into_iter().collect();
        let entries = unique.into_iter().rev();
        entries
            .map(|(id, number)| root_entry(&format!("ostree-{id}-os"), number))
            .collect()
    })
}

fn esps() -> impl Strategy<Value = Esp> {
    let counter = prop_oneof![
        Just(String::new()),
        (0..3_u8, 0..3_u8).prop_map(|(l, d)| format!("+{l}-{d}"))
    ];
    let entries = proptest::collection::vec((1..5_u8, counter, 1..5_u8), 0..5);
    let files = proptest::collection::vec((1..6_u8, 0..2_usize, 0..3_u64), 0..12);
    (entries, files).prop_map(|(entries, files)| {
        let mut esp = Esp {
            free: 1 << 40,
            ..Esp::default()
        };
        for (id, counter, number) in entries {
            let entry = esp_entry(&format!("ostree-{id}-os{counter}.conf"), number);
            esp.entries.retain(|other| other.name != entry.name);
            esp.entries.push(entry);
        }
        for (number, which, short) in files {
            let file = &kernel(number)[which];
            esp.files.insert(file.path.clone(), file.bytes - short);
        }
        esp
    })
}

proptest! {
    /// Of the steps between two moments at which all is on the disk, any part may be there, in any order:
    /// something boots, if something did. And after all of them, what is wanted does and nothing is left.
    #[test]
    fn every_part_boots_and_the_end_is_the_mirror(
        root in roots(), before in esps(), count in 1..4_u32, chance in any::<u64>()
    ) {
        let options = tries(count);
        let plan = esp::plan(&root, &before, &options).unwrap();
        prop_assert!(plan.steps.last().is_none_or(|last| *last == Step::Settle), "{}", show(&plan));
        let mut esp = before.clone();
        for (number, steps) in plan.steps.split(|step| *step == Step::Settle).enumerate() {
            let mut part = esp.clone();
            for (index, one) in steps.iter().enumerate() {
                let taken = chance.rotate_left(7 * number as u32 + index as u32) & 1 == 1;
                if taken && !matches!(one, Step::RemoveDirectory { .. }) {
                    step(&mut part, &root, one);
                }
            }
            prop_assert!(boots(&part) || !boots(&before), "in part {number} of\n{}", show(&plan));
            // Cut there, the next run completes it.
            for one in &esp::plan(&root, &part, &options).unwrap().steps {
                step(&mut part, &root, one);
            }
            prop_assert_eq!(ids(&part), wanted(&root), "cut in part {}", number);
            for one in steps {
                step(&mut esp, &root, one);
            }
        }
        prop_assert_eq!(ids(&esp), wanted(&root));
        let again = esp::plan(&root, &esp, &options).unwrap();
        prop_assert!(again.steps.is_empty(), "{}", show(&again));
    }
}

/// What boots: id and text.
fn ids(esp: &Esp) -> Vec<(String, String)> {
    let entries = esp
        .entries
        .iter()
        .filter(|entry| esp.missing(entry).is_empty());
    let mut ids: Vec<_> = entries
        .map(|entry| (entry.name.id.clone(), entry.text.clone()))
        .collect();
    ids.sort();
    ids
}

fn wanted(root: &[RootEntry]) -> Vec<(String, String)> {
    let mut ids: Vec<_> = root
        .iter()
        .map(|entry| (entry.id.clone(), entry.text.clone()))
        .collect();
    ids.sort();
    ids
}

/// What a real sysroot has comes to a directory, whole, and again to the same.
#[test]
fn a_sysroot_is_mirrored() {
    if !can_run(&[]) {
        return;
    }
    let scratch = Scratch::new();
    let (sysroot, _) = deployed(&scratch, "root=LABEL=root");
    let (root, esp) = (scratch.dir("sysroot"), scratch.dir("esp"));
    let entries = esp::read_root(&root).unwrap();
    let plan = esp::plan(&entries, &esp::read(&esp).unwrap(), &tries(3)).unwrap();
    // In two parts, as if the first run had been cut short.
    for cut in 0..plan.steps.len() {
        let part = Plan {
            steps: plan.steps[..cut].to_vec(),
        };
        let scratch = Scratch::new();
        let esp = scratch.dir("esp");
        esp::apply(&root, &esp, &part).unwrap();
        let rest = esp::plan(&entries, &esp::read(&esp).unwrap(), &tries(3)).unwrap();
        esp::apply(&root, &esp, &rest).unwrap();
        let found = esp::read(&esp).unwrap();
        assert_eq!(ids(&found), wanted(&entries), "cut after {cut}");
    }
    esp::apply(&root, &esp, &plan).unwrap();
    let found = esp::read(&esp).unwrap();
    let [entry] = &found.entries[..] else {
        panic!("{found:?}")
    };
    let own = &sysroot.boot_entries().unwrap()[0];
    let parsed = BootEntry::parse(Path::new("x"), &entry.text).unwrap();
    assert_eq!(
        (&parsed.options, &parsed.version),
        (&own.options, &own.version)
    );
    for (path, content) in [
        (parsed.linux.as_deref(), "kernel"),
        (parsed.initrd.first().map(String::as_str), "initramfs"),
    ] {
        let path = scratch
            .path("esp")
            .join(path.unwrap().trim_start_matches('/'));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            content,
            "{}",
            path.display()
        );
    }
    let again = esp::plan(&entries, &found, &tries(3)).unwrap();
    assert_eq!(show(&again), "");

    // The kernel is there by another of its names, which it keeps.
    let mut other = found.clone();
    let old = other.files.keys().next().unwrap().parent().unwrap();
    let old = old.to_str().unwrap().to_owned();
    let new = format!("{}ab", &old[..old.len() - 2]);
    let rename = |path: &Path| path.to_str().unwrap().replace(&old, &new).into();
    other.entries[0].text = other.entries[0].text.replace(&old, &new);
    other.entries[0].files = other.entries[0].files.iter().map(|p| rename(p)).collect();
    other.files = other.files.iter().map(|(p, n)| (rename(p), *n)).collect();
    let kept = esp::plan(&entries, &other, &tries(3)).unwrap();
    assert_eq!(show(&kept), "");

    // One entry more, by hand, and the kernel of the first is gone: an entry that does not boot.
    let name = entry.name.to_string();
    let text = fs::read_to_string(scratch.path("esp/loader/entries").join(&name)).unwrap();
    fs::write(
        scratch.path("esp/loader/entries/ostree-9-os+0-3.conf"),
        text,
    )
    .unwrap();
    fs::write(
        scratch.path("esp/loader/entries/other.conf"),
        "linux /other\n",
    )
    .unwrap();
    let kernel = scratch.path("esp").join(&entry.files[0]);
    fs::remove_file(kernel).unwrap();
    let found = esp::read(&esp).unwrap();
    let states: Vec<_> = found
        .entries
        .iter()
        .map(|entry| (entry.name.state().to_string(), found.missing(entry).len()))
        .collect();
    assert_eq!(
        states,
        [
            ("good".to_owned(), 1),
            ("failed: booted 3 times, never found good".to_owned(), 1)
        ]
    );
    let plan = esp::plan(&entries, &found, &tries(3)).unwrap();
    esp::apply(&root, &esp, &plan).unwrap();
    assert_eq!(ids(&esp::read(&esp).unwrap()), wanted(&entries));
    assert!(
        scratch.path("esp/loader/entries/other.conf").exists(),
        "it is not ours"
    );
}

/// A directory as an ESP, with files by path.
fn esp_of(scratch: &Scratch, files: &[(&str, &str)]) -> cap_std::fs::Dir {
    let dir = scratch.dir("esp");
    for (path, text) in files {
        let path = scratch.path("esp").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn of_two_names_for_one_file_none_is_removed() {
    let (old, new) = (entry_text("ostree-1-os", 1), entry_text("ostree-2-os", 2));
    let first = "loader/entries/ostree-1-os.conf";
    let (kernel, initrd) = ("ostree/os-1/vmlinuz", "ostree/os-1/initrd");
    let machine = [
        (first, old.as_str()),
        (kernel, "kernel"),
        (initrd, "initrd"),
    ];
    let check = |leftover: (&str, &str), gone: &[&str]| {
        let scratch = Scratch::new();
        let mut files = machine.to_vec();
        files.push(leftover);
        let dir = esp_of(&scratch, &files);
        let root = [RootEntry {
            id: "ostree-2-os".into(),
            text: new.clone(),
            files: Vec::new(),
        }];
        let found = esp::read(&dir).unwrap();
        let plan = esp::plan(&root, &found, &PlanOptions::default()).unwrap();
        esp::apply(&dir, &dir, &plan).unwrap();
        let there = |path: &&str| scratch.path("esp").join(path).exists();
        let lost: Vec<_> = files
            .iter()
            .map(|(path, _)| *path)
            .filter(|path| !there(path))
            .collect();
        assert_eq!(lost, gone, "{leftover:?}\n{}", show(&plan));
        assert!(there(&"loader/entries/ostree-2-os.conf"), "{leftover:?}");
    };
    let hidden = "loader/entries/ostree-1-os.conf.old";
    let part = "ostree/os-1/vmlinuz.part";
    // An entry that was being hidden, and an entry and a kernel that were being given their names: what
    // an entry that stays has need of stays too.
    check((hidden, &old), &[]);
    check(("loader/entries/ostree-1-os.conf.part", &old), &[]);
    check((part, "kernel"), &[first, initrd]);
    // A file of its own is no second name.
    check((hidden, ""), &[first, kernel, initrd, hidden]);
    check((part, "kerne"), &[first, kernel, initrd, part]);
    check((part, "kernem"), &[first, kernel, initrd, part]);
}

#[test]
fn what_has_two_names_is_not_written_anew() {
    let scratch = Scratch::new();
    let dir = esp_of(
        &scratch,
        &[
            ("loader/entries/ostree-2-os.conf", "title other\n"),
            ("loader/entries/ostree-2-os.conf.part", "title other\n"),
        ],
    );
    let found = esp::read(&dir).unwrap();
    let root = [root_entry("ostree-2-os", 2)];
    match esp::plan(&root, &found, &PlanOptions::default()) {
        Err(Error::Invalid { value, reason, .. }) => {
            assert_eq!(value, "loader/entries/ostree-2-os.conf");
            assert!(reason.contains("two names"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kernel_that_the_root_lacks_is_an_error() {
    if !can_run(&[]) {
        return;
    }
    let scratch = Scratch::new();
    deployed(&scratch, "root=LABEL=root");
    let root = scratch.dir("sysroot");
    let path: PathBuf = esp::read_root(&root).unwrap()[0].files[0].path.clone();
    fs::remove_file(scratch.path("sysroot/boot").join(&path)).unwrap();
    match esp::read_root(&root) {
        Err(Error::Io {
            operation: "stat",
            path: found,
            ..
        }) => assert_eq!(found, path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn systemd_boot_comes_out_of_the_image() {
    let scratch = Scratch::new();
    let (image, esp) = (scratch.dir("image"), scratch.dir("esp"));
    let top = scratch.path("image");
    let source = "usr/lib/systemd/boot/efi";
    let expect = |what: &str| match esp::install_systemd_boot(&image, &esp) {
        Err(Error::NoBootLoader { path }) => assert_eq!(path, Path::new(source), "{what}"),
        other => panic!("{what}: {other:?}"),
    };
    expect("no directory");
    let file = |path: &str, text: &str| {
        let path = top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file(&format!("{source}/linuxx64.efi.stub"), "stub");
    expect("only a stub");
    file(&format!("{source}/systemd-bootx64.efi"), "x64");
    file(&format!("{source}/systemd-bootaa64.efi"), "aa64");
    esp::install_systemd_boot(&image, &esp).unwrap();
    let read = |path: &str| fs::read_to_string(scratch.path("esp").join(path)).unwrap();
    for (path, text) in [
        ("EFI/BOOT/BOOTX64.EFI", "x64"),
        ("EFI/BOOT/BOOTAA64.EFI", "aa64"),
        ("EFI/systemd/systemd-bootx64.efi", "x64"),
        ("loader/loader.conf", "timeout 0\n"),
        ("loader/entries.srel", "type1\n"),
    ] {
        assert_eq!(read(path), text, "{path}");
    }
    // A newer one replaces it; a configuration stays.
    file(&format!("{source}/systemd-bootx64.efi"), "newer");
    fs::write(scratch.path("esp/loader/loader.conf"), "timeout 5\n").unwrap();
    esp::install_systemd_boot(&image, &esp).unwrap();
    assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), "newer");
    assert_eq!(read("loader/loader.conf"), "timeout 5\n");
}
