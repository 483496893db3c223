//! What a run took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::report::Cost;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Runs a program, and gives its standard output too. With `sampled` the memory of all its processes
/// together is looked at meanwhile, which takes time from it.
pub(in crate::bench) fn run(
    arguments: &[String],
    usage: &Path,
    sampled: bool,
) -> Result<(Cost, String)> {
    let begin = Instant::now();
    let child = Command::new("time")
        .args(["--format", "%U+%S+%M", "--output"])
        .arg(usage)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running time")?;
    // Who says more than a pipe holds waits for a reader.
    let process = child.id();
    let waiting = std::thread::spawn(move || child.wait_with_output());
    let together = sampled.then(|| sample(process, || waiting.is_finished()));
    let output = waiting.join().expect("no panic")?;
    let wall = begin.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}:\n{said}",
            arguments.join(" "),
            output.status
        );
    }
    let text = std::fs::read_to_string(usage)?;
    std::fs::remove_file(usage)?;
    let numbers: Option<Vec<f64>> = text.trim().split('+').map(|n| n.parse().ok()).collect();
    let Some([user, system, peak]) = numbers.as_deref() else {
        bail!("time said {text:?}");
    };
    let cost = Cost {
        wall,
        cpu: user + system,
        peak: peak * 1024.0 / 1e6,
        together,
    };
    Ok((cost, String::from_utf8(output.stdout)?))
}

/// The most memory, in megabytes, that a process and its descendants had at one time. Pages that
/// they share count for each.
fn sample(process: u32, has_ended: impl Fn() -> bool) -> f64 {
    let mut most = 0;
    while !has_ended() {
        let pages = with_descendants(process).into_iter().map(resident);
        most = most.max(pages.sum());
        std::thread::sleep(INTERVAL);
    }
    most as f64 * 4096.0 / 1e6
}

fn with_descendants(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(process) = all.get(next) {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"));
        // One that has ended has no children.
        for task in tasks.into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                text.split_whitespace()
                    .filter_map(|id| id.parse::<u32>().ok()),
            );
        }
        next += 1;
    }
    all
}

/// Pages in memory; one that has ended has none.
fn resident(process: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = statm.split_whitespace().nth(1);
    pages.and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_while_they_run() -> Result<()> {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn()?;
        let (id, all) = (child.id(), with_descendants(std::process::id()));
        let pages = resident(id);
        drop(child.stdin.take());
        child.wait()?;
        assert!(all.contains(&id), "{id} is not in {all:?}");
        assert!(pages > 0, "{pages}");
        assert!(!with_descendants(std::process::id()).contains(&id));
        Ok(())
    }
}
