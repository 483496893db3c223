//! The table of an image and a row, and whether what is asked is met.

use std::fmt;

use super::super::figures::Spread;
use super::tools::{Row, Tool};

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(in crate::bench) struct Cost {
    /// Seconds.
    pub(in crate::bench) wall: f64,
    /// Seconds of processors, in the kernel too.
    pub(in crate::bench) cpu: f64,
    /// Megabytes of memory, of the largest process.
    pub(in crate::bench) peak: f64,
    /// Of all processes together, if that was looked at.
    pub(in crate::bench) together: Option<f64>,
}

/// One way to look at a cost.
type Clock = fn(&Cost) -> f64;

/// The second stays what it is when others use the machine, too.
const CLOCKS: [(&str, Clock); 2] = [("wall", |cost| cost.wall), ("CPU", |cost| cost.cpu)];

/// How many times as fast as a peer we must be.
const FASTER: [(Row, Tool, f64); 7] = [
    (Row::Directory, Tool::Umoci, 6.0),
    (Row::Directory, Tool::PodmanOverlay, 5.0),
    (Row::Ostree, Tool::OstreeExt, 4.0),
    (Row::Ostree, Tool::Composefs, 2.5),
    (Row::Registry, Tool::PodmanOverlay, 5.0),
    (Row::Registry, Tool::OstreeExt, 5.0),
    (Row::Upgrade, Tool::OstreeExt, 10.0),
];
/// Our time to the floor's.
const TO_FLOOR: f64 = 1.25;
/// System calls for each path.
const CALLS: f64 = 5.0;
/// Megabytes, for each of our two modes.
const PEAKS: [(Tool, f64); 2] = [(Tool::Pleach, 80.0), (Tool::LowMemory, 16.0)];

/// All that was measured with one image in one row.
pub(super) struct Report {
    row: Row,
    image: String,
    paths: usize,
    volume: &'static str,
    runs: Vec<Runs>,
    missing: Vec<(Tool, &'static str)>,
}

struct Runs {
    tool: Tool,
    costs: Vec<Cost>,
    /// Megabytes.
    together: Option<f64>,
    calls: Option<u64>,
}

impl Report {
    pub(super) fn new(row: Row, image: String, paths: usize, volume: &'static str) -> Self {
        Self {
            row,
            image,
            paths,
            volume,
            runs: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// A tool that does not run, and why.
    pub(super) fn missing(&mut self, tool: Tool, why: &'static str) {
        self.missing.push((tool, why));
    }

    fn runs(&mut self, tool: Tool) -> &mut Runs {
        if let Some(index) = self.runs.iter().position(|runs| runs.tool == tool) {
            return &mut self.runs[index];
        }
        self.runs.push(Runs {
            tool,
            costs: Vec::new(),
            together: None,
            calls: None,
        });
        self.runs.last_mut().expect("it was pushed")
    }

    pub(super) fn add(&mut self, tool: Tool, cost: Cost) {
        self.runs(tool).costs.push(cost);
    }

    pub(super) fn together(&mut self, tool: Tool, cost: Cost) {
        self.runs(tool).together = cost.together;
    }

    pub(super) fn calls(&mut self, tool: Tool, calls: u64) {
        self.runs(tool).calls = Some(calls);
    }

    fn of(&self, tool: Tool) -> Option<&Runs> {
        self.runs.iter().find(|runs| runs.tool == tool)
    }

    /// What `a` takes to what `b` takes, pair by pair; nothing if one of them did not run.
    fn ratios(&self, a: Tool, b: Tool, clock: Clock) -> Option<Spread> {
        let pairs = self.of(a)?.costs.iter().zip(&self.of(b)?.costs);
        Some(Spread::of(pairs.map(|(a, b)| clock(a) / clock(b))))
    }

    fn calls_per_path(&self, tool: Tool) -> Option<f64> {
        Some(self.of(tool)?.calls? as f64 / self.paths as f64)
    }

    /// What is asked, what came out, and whether that is met.
    pub(super) fn acceptance(&self) -> Vec<String> {
        let verdict = |met: bool| if met { "met" } else { "not met" };
        let mut lines = Vec::new();
        let mut say = |what: String| {
            lines.push(format!("{}, {}: {what}", self.image, self.row.name()));
        };
        for (_, peer, least) in FASTER.into_iter().filter(|(row, ..)| *row == self.row) {
            let name = peer.name();
            for (clock, of) in CLOCKS {
                match self.ratios(peer, peer.ours(), of) {
                    Some(ratio) => say(format!(
                        "≥ {least} × {name}, {clock}: {ratio:.2}: {}",
                        verdict(ratio.median >= least)
                    )),
                    None => say(format!("≥ {least} × {name}, {clock}: not measured")),
                }
            }
        }
        if self.row != Row::Directory {
            return lines;
        }
        for (clock, of) in CLOCKS {
            if let Some(ratio) = self.ratios(Tool::Pleach, Tool::Floor, of) {
                say(format!(
                    "≤ {TO_FLOOR} × the floor, {clock}: {ratio:.2}: {}",
                    verdict(ratio.median <= TO_FLOOR)
                ));
            }
        }
        if let Some(calls) = self.calls_per_path(Tool::Pleach) {
            let met = verdict(calls <= CALLS);
            say(format!("≤ {CALLS} system calls a path: {calls:.2}: {met}"));
        }
        for (tool, most) in PEAKS {
            if let Some(runs) = self.of(tool) {
                let peak = Spread::of(runs.costs.iter().map(|cost| cost.peak)).max;
                let (name, met) = (tool.name(), verdict(peak <= most));
                say(format!("{name} ≤ {most} MB: {peak:.1}: {met}"));
            }
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.runs.iter().map(|runs| runs.costs.len()).max();
        let (image, row, volume) = (&self.image, self.row.name(), self.volume);
        writeln!(
            f,
            "{image}: {row}; {volume}, new for each run; {} pairs, after one to warm up",
            pairs.unwrap_or(0)
        )?;
        writeln!(
            f,
            "{:22}{:24}{:24}{:>8}{:>8}  {:24}{:24}{:>12}",
            "",
            "wall, s",
            "CPU, s",
            "peak MB",
            "all MB",
            "it / ours, wall",
            "the same, CPU",
            "calls a path"
        )?;
        for runs in &self.runs {
            let tool = runs.tool;
            let spread = |of: Clock| Spread::of(runs.costs.iter().map(of));
            let [wall, cpu] = CLOCKS.map(|(_, clock)| format!("{:.2}", spread(clock)));
            let [by_wall, by_cpu] = CLOCKS.map(|(_, clock)| {
                let ratio = self.ratios(tool, tool.ours(), clock);
                ratio.map(|r| format!("{r:.2}")).unwrap_or_default()
            });
            let calls = self.calls_per_path(tool);
            let calls = calls.map(|calls| format!("{calls:.2}")).unwrap_or_default();
            let megabytes = |figure: Option<f64>| match (tool, figure) {
                // The floor's is that of finding out what to write.
                (Tool::Floor, _) | (_, None) => String::new(),
                (_, Some(figure)) => format!("{figure:.1}"),
            };
            let peak = megabytes(Some(spread(|cost| cost.peak).max));
            let together = megabytes(runs.together);
            writeln!(
                f,
                "{:22}{wall:24}{cpu:24}{peak:>8}{together:>8}  {by_wall:24}{by_cpu:24}{calls:>12}",
                tool.name()
            )?;
        }
        for (tool, why) in &self.missing {
            writeln!(f, "{:22}not there: {why}", tool.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(row: Row, walls: &[(Tool, f64)], peak: f64) -> Report {
        let mut report = Report::new(row, "i".to_owned(), 100, "nowhere");
        for wobble in [0.9, 1.0, 1.1] {
            for &(tool, wall) in walls {
                let wall = wall * wobble;
                let cost = Cost {
                    wall,
                    cpu: 2.0 * wall,
                    peak,
                    together: None,
                };
                report.add(tool, cost);
            }
        }
        report
    }

    #[test]
    fn a_directory_is_judged_by_time_calls_and_memory() {
        let check = |us: f64, peak: f64, calls: u64, expected: [&str; 9]| {
            let tools = [
                (Tool::Pleach, us),
                (Tool::LowMemory, us),
                (Tool::Umoci, 12.0),
                (Tool::Floor, 2.0),
            ];
            let mut report = report(Row::Directory, &tools, peak);
            report.calls(Tool::Pleach, calls);
            let expected = expected.map(|line| format!("i, directory: {line}"));
            assert_eq!(report.acceptance(), expected, "{report}");
        };
        check(
            2.0,
            16.0,
            500,
            [
                "≥ 6 × umoci, wall: 6.00 (6.00 … 6.00): met",
                "≥ 6 × umoci, CPU: 6.00 (6.00 … 6.00): met",
                "≥ 5 × podman, overlay, wall: not measured",
                "≥ 5 × podman, overlay, CPU: not measured",
                "≤ 1.25 × the floor, wall: 1.00 (1.00 … 1.00): met",
                "≤ 1.25 × the floor, CPU: 1.00 (1.00 … 1.00): met",
                "≤ 5 system calls a path: 5.00: met",
                "pleach ≤ 80 MB: 16.0: met",
                "pleach --low-memory ≤ 16 MB: 16.0: met",
            ],
        );
        check(
            4.0,
            81.0,
            501,
            [
                "≥ 6 × umoci, wall: 3.00 (3.00 … 3.00): not met",
                "≥ 6 × umoci, CPU: 3.00 (3.00 … 3.00): not met",
                "≥ 5 × podman, overlay, wall: not measured",
                "≥ 5 × podman, overlay, CPU: not measured",
                "≤ 1.25 × the floor, wall: 2.00 (2.00 … 2.00): not met",
                "≤ 1.25 × the floor, CPU: 2.00 (2.00 … 2.00): not met",
                "≤ 5 system calls a path: 5.01: not met",
                "pleach ≤ 80 MB: 81.0: not met",
                "pleach --low-memory ≤ 16 MB: 81.0: not met",
            ],
        );
    }

    #[test]
    fn a_repository_is_judged_by_the_peers_that_have_one() {
        let check = |row, walls: &[(Tool, f64)], expected: &[&str]| {
            let report = report(row, walls, 1.0);
            let expected: Vec<_> = expected
                .iter()
                .map(|line| format!("i, {}: {line}", row.name()))
                .collect();
            assert_eq!(report.acceptance(), expected, "{report}");
        };
        let walls = [
            (Tool::Pleach, 100.0),
            (Tool::PleachOstree, 2.0),
            (Tool::OstreeExt, 8.0),
            (Tool::Composefs, 4.0),
        ];
        check(
            Row::Ostree,
            &walls,
            &[
                "≥ 4 × ostree-ext 0.15.3, wall: 4.00 (4.00 … 4.00): met",
                "≥ 4 × ostree-ext 0.15.3, CPU: 4.00 (4.00 … 4.00): met",
                "≥ 2.5 × composefs 0.9.4, wall: 2.00 (2.00 … 2.00): not met",
                "≥ 2.5 × composefs 0.9.4, CPU: 2.00 (2.00 … 2.00): not met",
            ],
        );
        check(
            Row::Upgrade,
            &walls[2..],
            &[
                "≥ 10 × ostree-ext 0.15.3, wall: not measured",
                "≥ 10 × ostree-ext 0.15.3, CPU: not measured",
            ],
        );
    }
}
