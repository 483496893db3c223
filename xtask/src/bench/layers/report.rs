//! The table of an image, and whether what is asked is met.

use std::fmt;

use super::super::figures::Spread;
use super::runs::Tool;

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Seconds.
    pub(super) wall: f64,
    /// Seconds of processors, in the kernel too.
    pub(super) cpu: f64,
    /// Megabytes of memory, of the largest process.
    pub(super) peak: f64,
}

/// One way to look at a cost.
type Clock = fn(&Cost) -> f64;

/// The second stays what it is when others use the machine, too.
const CLOCKS: [(&str, Clock); 2] = [("wall", |cost| cost.wall), ("CPU", |cost| cost.cpu)];

/// How many times as fast as umoci.
const FASTER: f64 = 6.0;
/// Wall time to the floor.
const TO_FLOOR: f64 = 1.25;
/// System calls for each path.
const CALLS: f64 = 5.0;
/// Megabytes, for each of our two modes.
const PEAKS: [(Tool, f64); 2] = [(Tool::Pleach, 80.0), (Tool::LowMemory, 16.0)];

/// All that was measured with one image.
pub(super) struct Report {
    image: String,
    paths: usize,
    volume: &'static str,
    runs: Vec<(Tool, Vec<Cost>)>,
    calls: Vec<(Tool, u64)>,
}

impl Report {
    pub(super) fn new(image: String, paths: usize, volume: &'static str, tools: &[Tool]) -> Self {
        Self {
            image,
            paths,
            volume,
            runs: tools.iter().map(|&tool| (tool, Vec::new())).collect(),
            calls: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, tool: Tool, cost: Cost) {
        let found = self.runs.iter_mut().find(|(has, _)| *has == tool);
        found.expect("each tool has a row").1.push(cost);
    }

    pub(super) fn calls(&mut self, tool: Tool, calls: u64) {
        self.calls.push((tool, calls));
    }

    fn costs(&self, tool: Tool) -> &[Cost] {
        let found = self.runs.iter().find(|(has, _)| *has == tool);
        found.map_or(&[], |(_, costs)| costs)
    }

    fn spread(&self, tool: Tool, of: Clock) -> Spread {
        Spread::of(self.costs(tool).iter().map(of))
    }

    /// What `a` takes to what `b` takes, pair by pair.
    fn ratios(&self, a: Tool, b: Tool, clock: Clock) -> Spread {
        let pairs = self.costs(a).iter().zip(self.costs(b));
        Spread::of(pairs.map(|(a, b)| clock(a) / clock(b)))
    }

    fn calls_per_path(&self, tool: Tool) -> Option<f64> {
        let found = self.calls.iter().find(|(has, _)| *has == tool);
        found.map(|(_, calls)| *calls as f64 / self.paths as f64)
    }

    /// What is asked, what came out, and whether that is met.
    pub(super) fn acceptance(&self) -> Vec<String> {
        let verdict = |met: bool| if met { "met" } else { "not met" };
        let image = &self.image;
        let mut lines = Vec::new();
        for (name, clock) in CLOCKS {
            let umoci = self.ratios(Tool::Umoci, Tool::Pleach, clock);
            if !self.costs(Tool::Umoci).is_empty() {
                let met = verdict(umoci.median >= FASTER);
                lines.push(format!(
                    "{image}: ≥ {FASTER} × umoci, {name}: {umoci:.2}: {met}"
                ));
            }
            let floor = self.ratios(Tool::Pleach, Tool::Floor, clock);
            let met = verdict(floor.median <= TO_FLOOR);
            lines.push(format!(
                "{image}: ≤ {TO_FLOOR} × the floor, {name}: {floor:.2}: {met}"
            ));
        }
        if let Some(calls) = self.calls_per_path(Tool::Pleach) {
            let met = verdict(calls <= CALLS);
            lines.push(format!(
                "{image}: ≤ {CALLS} system calls a path: {calls:.2}: {met}"
            ));
        }
        for (tool, megabytes) in PEAKS {
            let peak = self.spread(tool, |cost| cost.peak).max;
            let (name, met) = (tool.name(), verdict(peak <= megabytes));
            lines.push(format!(
                "{image}: {name} ≤ {megabytes} MB: {peak:.1}: {met}"
            ));
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.costs(Tool::Pleach).len();
        let (image, volume) = (&self.image, self.volume);
        writeln!(
            f,
            "{image}; {volume}, new for each run; {pairs} pairs, after one to warm up"
        )?;
        writeln!(
            f,
            "{:22}{:24}{:24}{:>8}  {:24}{:24}{:>12}",
            "",
            "wall, s",
            "CPU, s",
            "peak MB",
            "it / pleach, wall",
            "the same, CPU",
            "calls a path"
        )?;
        for (tool, _) in &self.runs {
            let [wall, cpu] = CLOCKS.map(|(_, clock)| format!("{:.2}", self.spread(*tool, clock)));
            let peak = self.spread(*tool, |cost| cost.peak).max;
            let [by_wall, by_cpu] =
                CLOCKS.map(|(_, clock)| format!("{:.2}", self.ratios(*tool, Tool::Pleach, clock)));
            let calls = self.calls_per_path(*tool);
            let calls = calls.map(|calls| format!("{calls:.2}")).unwrap_or_default();
            // The floor's is that of finding out what to write.
            let peak = match tool {
                Tool::Floor => String::new(),
                _ => format!("{peak:.1}"),
            };
            let name = tool.name();
            writeln!(
                f,
                "{name:22}{wall:24}{cpu:24}{peak:>8}  {by_wall:24}{by_cpu:24}{calls:>12}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_met_or_not() {
        let check = |us: f64, peak: f64, calls: u64, expected: [&str; 7]| {
            let tools = [Tool::Pleach, Tool::LowMemory, Tool::Umoci, Tool::Floor];
            let mut report = Report::new("i".to_owned(), 100, "nowhere", &tools);
            for wobble in [0.9, 1.0, 1.1] {
                for (tool, wall) in tools.into_iter().zip([us, us, 12.0, 2.0]) {
                    let wall = wall * wobble;
                    let cost = Cost {
                        wall,
                        cpu: wall,
                        peak,
                    };
                    report.add(tool, cost);
                }
            }
            report.calls(Tool::Pleach, calls);
            assert_eq!(report.acceptance(), expected, "{report}");
        };
        check(
            2.0,
            16.0,
            500,
            [
                "i: ≥ 6 × umoci, wall: 6.00 (6.00 … 6.00): met",
                "i: ≤ 1.25 × the floor, wall: 1.00 (1.00 … 1.00): met",
                "i: ≥ 6 × umoci, CPU: 6.00 (6.00 … 6.00): met",
                "i: ≤ 1.25 × the floor, CPU: 1.00 (1.00 … 1.00): met",
                "i: ≤ 5 system calls a path: 5.00: met",
                "i: pleach ≤ 80 MB: 16.0: met",
                "i: pleach --low-memory ≤ 16 MB: 16.0: met",
            ],
        );
        check(
            4.0,
            81.0,
            501,
            [
                "i: ≥ 6 × umoci, wall: 3.00 (3.00 … 3.00): not met",
                "i: ≤ 1.25 × the floor, wall: 2.00 (2.00 … 2.00): not met",
                "i: ≥ 6 × umoci, CPU: 3.00 (3.00 … 3.00): not met",
                "i: ≤ 1.25 × the floor, CPU: 2.00 (2.00 … 2.00): not met",
                "i: ≤ 5 system calls a path: 5.01: not met",
                "i: pleach ≤ 80 MB: 81.0: not met",
                "i: pleach --low-memory ≤ 16 MB: 81.0: not met",
            ],
        );
    }
}
