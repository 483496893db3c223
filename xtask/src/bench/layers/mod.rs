//! An image's layers become a directory, or a commit of an ostree repository, out of a layout or a
//! registry: us and the peers, and the floor: what nobody who verifies can leave out. All in the
//! same run, each time on a file system that is new, since one on which much was deleted lately is
//! slow.

mod registry;
pub(super) mod report;
mod runs;
pub(super) mod subject;
mod tools;
pub(super) mod usage;

use std::path::PathBuf;

use anyhow::Result;
use xshell::cmd;

use crate::base;
use crate::workspace::Workspace;
use report::Report;
use runs::Machine;
use subject::{IMAGE, Subject, UPGRADE};

pub(super) use tools::{Compression, Row};

/// The most paths of an image with which peers are traced too: strace makes a larger one take a
/// quarter of an hour, and calls a path differ little by size.
const TRACED: usize = 12_000;

pub(super) fn run(
    workspace: &Workspace,
    pairs: usize,
    images: &[String],
    rows: &[Row],
    compressions: &[Compression],
) -> Result<()> {
    let images = match images {
        [] => vec![workspace.base_image()?, base::large(workspace)?],
        images => images.to_vec(),
    };
    let rows = match rows {
        [] => &[Row::Directory, Row::Ostree, Row::Registry, Row::Upgrade],
        rows => rows,
    };
    let compressions = match compressions {
        [] => &[Compression::Gzip, Compression::Zstd],
        compressions => compressions,
    };
    let machine = Machine::new(workspace, rows.contains(&Row::Registry))?;
    let commit = ostree_base(workspace)?;
    let mut acceptance = Vec::new();
    for image in images {
        let gzip = Subject::gzip(workspace, &image)?;
        // One after the other: they take the same place.
        for compression in compressions {
            let made = match compression {
                Compression::Gzip => None,
                Compression::Zstd => Some(gzip.zstd(workspace, &image)?),
            };
            let subject = made.as_ref().unwrap_or(&gzip);
            subject.make_upgrade()?;
            let [old, new] = UPGRADE;
            subject.make_for_ostree_ext(&commit, &[IMAGE, old, new])?;
            for &row in rows {
                if row == Row::Registry {
                    machine.push(subject)?;
                }
                let report = measured(&machine, row, subject, pairs)?;
                print!("\n{report}");
                acceptance.extend(report.acceptance());
            }
        }
    }
    println!("\nacceptance");
    for line in acceptance {
        println!("  {line}");
    }
    Ok(())
}

/// The layout of the commit that ostree-ext wants below all else.
pub(super) fn ostree_base(workspace: &Workspace) -> Result<PathBuf> {
    let sh = &workspace.sh;
    let folder = workspace.artifacts().join("bench-ostree-base");
    sh.remove_path(&folder)?;
    sh.create_dir(&folder)?;
    let (peer, layout) = (
        workspace.release().join("peer-ostree-ext"),
        folder.join("layout"),
    );
    cmd!(sh, "{peer} base {layout}").quiet().run()?;
    Ok(layout)
}

fn measured(machine: &Machine<'_>, row: Row, subject: &Subject, pairs: usize) -> Result<Report> {
    let mut report = Report::new(row, subject.what(), subject.paths, machine.what()?);
    let mut tools = Vec::new();
    for &tool in row.tools() {
        match machine.missing(tool, subject) {
            Some(why) => report.missing(tool, why),
            None => tools.push(tool),
        }
    }
    let what = format!("{}, {}", subject.what(), row.name());
    eprintln!("bench: {what}, warming up");
    for &tool in &tools {
        report.together(tool, machine.run(row, tool, subject, true)?);
    }
    for pair in 1..=pairs {
        eprintln!("bench: {what}, pair {pair} of {pairs}");
        // Who begins alternates.
        tools.reverse();
        for &tool in &tools {
            report.add(tool, machine.run(row, tool, subject, false)?);
        }
    }
    eprintln!("bench: {what}, counting system calls");
    for &tool in &tools {
        if subject.paths <= TRACED || tool.is_ours() {
            report.calls(tool, machine.calls(row, tool, subject)?);
        }
    }
    Ok(report)
}
