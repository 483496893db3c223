//! Judges a finished run of `pleach parity --boot` again, by the rules as they are now:
//! `cargo run -p pleach-parity --example judge -- FOLDER`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program opens the folder that it is told"
)]

use std::error::Error;
use std::path::PathBuf;

use pleach_booted_state::Snapshot;
use pleach_parity::{Capture, Control, FORMAT_VERSION, Report, Route, judge, rules};

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("which folder? it is --output of pleach parity")?
        .into();
    let read = |boot: &str| -> Result<Snapshot, Box<dyn Error>> {
        let path = folder.join("boots").join(boot).join("snapshot.json");
        Ok(Snapshot::from_json(&std::fs::read(path)?)?)
    };
    let facts = serde_json::from_slice(&std::fs::read(folder.join("facts.json"))?)?;
    let rules = rules::all();
    let base = read("base-1")?;
    let control = Control::new(&base, &read("base-2")?, &rules);
    let taken = |route: &Route| folder.join("boots").join(route.as_str()).exists();
    let routes = Route::CUSTOMIZED.into_iter().filter(taken);
    let snapshots = routes
        .map(|route| Ok((route, read(route.as_str())?)))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut verdicts = Vec::new();
    for (index, (left, snapshot)) in snapshots.iter().enumerate() {
        let left = Capture {
            route: *left,
            snapshot,
        };
        for (right, snapshot) in &snapshots[index + 1..] {
            let right = Capture {
                route: *right,
                snapshot,
            };
            verdicts.push(judge(left, right, &base, &facts, &rules, &control));
        }
    }
    let report = Report {
        format_version: FORMAT_VERSION,
        subject: Default::default(),
        control: Some(control),
        verdicts,
        not_compared: Default::default(),
    };
    print!("{report}");
    Ok(())
}
