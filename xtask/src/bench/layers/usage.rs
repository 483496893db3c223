//! What a run took.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::report::Cost;

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Runs a program, and gives its standard output too. With `sampled` the memory of all its processes
/// together is looked at meanwhile, which takes time from it.
pub(super) fn run(arguments: &[String], usage: &Path, sampled: bool) -> Result<(Cost, String)> {
    let begin = Instant::now();
    let mut child = Command::new("time")
        .args(["--format", "%U+%S+%M", "--output"])
        .arg(usage)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running time")?;
    let mut together = None;
    if sampled {
        together = Some(sample(&mut child)?);
    }
    let output = child.wait_with_output()?;
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
fn sample(child: &mut Child) -> Result<f64> {
    let mut most = 0;
    while child.try_wait()?.is_none() {
        most = most.max(resident(child.id()));
        std::thread::sleep(INTERVAL);
    }
    Ok(most as f64 * 4096.0 / 1e6)
}

/// Pages of a process and of all below it; one that has ended has none.
fn resident(process: u32) -> u64 {
    let folder = Path::new("/proc").join(process.to_string());
    let statm = std::fs::read_to_string(folder.join("statm")).unwrap_or_default();
    let own = statm.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    let tasks = std::fs::read_dir(folder.join("task")).into_iter().flatten();
    let children = tasks.flatten().flat_map(|task| {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let ids = text.split_whitespace().filter_map(|id| id.parse().ok());
        ids.map(resident).collect::<Vec<u64>>()
    });
    own.unwrap_or(0) + children.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_children_counts() -> Result<()> {
        let script = "sleep 0.3 & exec sleep 0.3";
        let alone = resident(std::process::id());
        let mut child = Command::new("sh").args(["-c", script]).spawn()?;
        std::thread::sleep(Duration::from_millis(100));
        let (with, of_child) = (resident(std::process::id()), resident(child.id()));
        child.wait()?;
        assert!(of_child > 0 && with > of_child, "{alone} {with} {of_child}");
        assert_eq!(resident(u32::MAX), 0);
        Ok(())
    }
}
