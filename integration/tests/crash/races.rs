//! Two at once, and no room.

use anyhow::{Context as _, Result, ensure};
use pleach_integration::crash::campaign::{Outcome, by_ostree};
use pleach_integration::crash::mount::{FileSystem, Mounted};
use pleach_integration::crash::oracle::Expected;
use pleach_integration::crash::view::View;

use crate::ours::{Pleach, doing};
use crate::{Room, all, with};

#[test]
fn of_two_upgrades_at_once_one_waits_or_is_refused() {
    with("two", true, |room| {
        let pleach = Pleach::new(room)?;
        let base = doing("upgrade").disk(room, &pleach, FileSystem::Ext4)?;
        let mut ends = std::collections::BTreeMap::<_, usize>::new();
        for round in 0..if all() { 200 } else { 10 } {
            let disk = room.folder.join("two.img");
            std::fs::copy(&base, &disk)?;
            let mounted = Mounted::new(&disk, &room.folder.join("two"), FileSystem::Ext4)?;
            let at = mounted.path();
            let run = |image: &str| {
                Outcome::of(&mut pleach.command(at, &["switch", "--sysroot", "AT", image]))
            };
            let (one, two) = std::thread::scope(|scope| {
                let one = scope.spawn(|| run("v2"));
                // The later one begins at all moments of the first.
                std::thread::sleep(std::time::Duration::from_millis(round % 10 * 40));
                let two = scope.spawn(|| run("v3"));
                (one.join().expect("no panic"), two.join().expect("no panic"))
            });
            let (one, two) = (one?, two?);
            let said = format!("{}{}", one.said, two.said);
            for outcome in [&one, &two] {
                ensure!([Some(0), Some(3)].contains(&outcome.code), "{said}");
            }
            ensure!(one.done || two.done, "neither: {said}");
            let view = View::read(at)?;
            let problems = by_ostree(at, &view)?;
            ensure!(problems.is_empty(), "{problems:#?}\n{said}");
            let whole = |view: &View| {
                Expected {
                    start: view.clone(),
                    end: view.clone(),
                }
                .problems_again(view, view.chosen())
            };
            ensure!(whole(&view).is_empty(), "{:#?}\n{said}", whole(&view));
            // Each that is done is there, the later one as the default.
            let tree = |image: &str| -> Result<_> {
                let again = Outcome::of(&mut pleach.command(
                    at,
                    &["switch", "--sysroot", "AT", image, "--allow-downgrade"],
                ))?;
                ensure!(again.done, "{}", again.said);
                Ok(View::read(at)?.chosen().context("a default")?.tree)
            };
            let default = view.chosen().context("a default")?.tree;
            let (v2, v3) = (tree("v2")?, tree("v3")?);
            let expected = [(one.done, v2), (two.done, v3)];
            ensure!(
                expected
                    .iter()
                    .any(|(done, tree)| *done && *tree == default),
                "the default is none of them: {said}"
            );
            *ends.entry((one.code, two.code)).or_default() += 1;
            mounted.unmount()?;
        }
        room.say(&format!("ends {ends:?}"));
        Ok(())
    });
}

#[test]
fn a_full_disk_is_no_harm() {
    with("full", true, |room| {
        let pleach = Pleach::new(room)?;
        let base = doing("upgrade").disk(room, &pleach, FileSystem::Ext4)?;
        let (mut refused, mut done) = (0, 0);
        // From nothing to more than is needed.
        let steps = if all() { 60 } else { 15 };
        for step in 0..steps {
            match full(room, &pleach, &base, step * (48 << 20) / steps)? {
                true => done += 1,
                false => refused += 1,
            }
        }
        room.say(&format!("{refused} refused, {done} done"));
        ensure!(refused > 0 && done > 0, "{refused} refused, {done} done");
        Ok(())
    });
}

/// An upgrade with so many bytes free; whether it was done.
fn full(room: &Room, pleach: &Pleach, base: &std::path::Path, free: u64) -> Result<bool> {
    let disk = room.folder.join("full.img");
    std::fs::copy(base, &disk)?;
    let mounted = Mounted::new(&disk, &room.folder.join("full"), FileSystem::Ext4)?;
    let at = mounted.path();
    let start = View::read(at)?;
    let filler = at.join("filler");
    fill(&filler, free)?;
    let outcome = Outcome::of(&mut pleach.command(at, doing("upgrade").what))?;
    let view = View::read(at)?;
    let same = view.chosen() == start.chosen();
    match outcome.code {
        Some(0) => ensure!(!same, "{free}: {}", outcome.said),
        Some(3) => ensure!(
            view == start,
            "{free}: something has changed: {}",
            outcome.said
        ),
        _ => anyhow::bail!("{free}: {}", outcome.said),
    }
    let problems = by_ostree(at, &view)?;
    ensure!(problems.is_empty(), "{free}: {problems:#?}");
    std::fs::remove_file(&filler)?;
    let again = Outcome::of(&mut pleach.command(at, doing("upgrade").what))?;
    ensure!(again.done, "{free}: again: {}", again.said);
    ensure!(
        View::read(at)?.chosen() != start.chosen(),
        "{free}: again: {}",
        again.said
    );
    mounted.unmount()?;
    Ok(outcome.done)
}

/// Takes all room of the file system but so many bytes, in one file.
fn fill(path: &std::path::Path, free: u64) -> Result<()> {
    use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
    let file = std::fs::File::create(path)?;
    let mut length = 0;
    // What a file needs besides its blocks is not known before.
    let mut step = 1 << 20;
    while step >= 4096 {
        let left = fstatvfs(&file)?;
        let taken = left.f_bfree * left.f_bsize >= free + step
            && fallocate(&file, FallocateFlags::empty(), length, step).is_ok();
        match taken {
            true => length += step,
            false => step /= 2,
        }
    }
    Ok(())
}
