//! Tables, and what the figures mean.

use std::fmt;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::super::figures::Spread;
use super::{APPLY, PLAN, PLAN_ONE, UNSYNCED, WALK};

/// What something took, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) wall: f64,
    /// Of the processor, in the process and in the kernel for it.
    pub(super) cpu: f64,
}

/// One way to look at a cost.
type Clock = fn(&Cost) -> f64;

const CLOCKS: [(&str, Clock); 2] = [("wall", |cost| cost.wall), ("CPU", |cost| cost.cpu)];

/// A line of the example `measure`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) cost: Cost,
    /// Bytes.
    peak: u64,
    /// `None` where it did not look.
    pub(super) seen: Option<Seen>,
}

/// What all steps must agree on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    /// Of all sides together.
    paths: u64,
    /// Those of them that are not the same on all sides.
    entries: u64,
}

impl Measured {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line)?;
        let seconds = |key: &str| value[key].as_f64().with_context(|| format!("no {key}"));
        let count = |key: &str| value[key].as_u64().with_context(|| format!("no {key}"));
        Ok(Self {
            cost: Cost {
                wall: seconds("wall_s")?,
                cpu: seconds("cpu_s")?,
            },
            peak: count("peak_rss_kib")? * 1024,
            seen: match value["paths"].is_null() {
                true => None,
                false => Some(Seen {
                    paths: count("paths")?,
                    entries: count("entries")?,
                }),
            },
        })
    }
}

/// All that was measured at one size.
pub(super) struct Size {
    files: usize,
    what: &'static str,
    pub(super) deploy: Vec<Cost>,
    pub(super) no_merge: Vec<Cost>,
    steps: Vec<(&'static str, Vec<Measured>)>,
}

impl Size {
    /// With a row for each step, in this order.
    pub(super) fn new(
        files: usize,
        what: &'static str,
        steps: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        Self {
            files,
            what,
            deploy: Vec::new(),
            no_merge: Vec::new(),
            steps: steps.into_iter().map(|name| (name, Vec::new())).collect(),
        }
    }

    pub(super) fn add(&mut self, step: &str, measured: Measured) {
        let found = self.steps.iter_mut().find(|(name, _)| *name == step);
        found.expect("each step has a row").1.push(measured);
    }

    fn step(&self, name: &str) -> &[Measured] {
        let found = self.steps.iter().find(|(step, _)| *step == name);
        found.map_or(&[], |(_, measured)| measured)
    }

    fn spread(&self, step: &str, clock: Clock) -> Spread {
        Spread::of(self.step(step).iter().map(|m| clock(&m.cost)))
    }

    /// What ostree's merge takes: the difference of the two medians, each of which is steadier than
    /// the difference of two runs.
    fn merge(&self, clock: Clock) -> f64 {
        let median = |costs: &[Cost]| Spread::of(costs.iter().map(clock)).median;
        median(&self.deploy) - median(&self.no_merge)
    }

    /// The medians' ratio.
    fn ratio(&self, step: &str, clock: Clock) -> f64 {
        self.merge(clock) / self.spread(step, clock).median
    }

    /// The ratio of each pair of runs.
    fn ratios(&self, step: &str, clock: Clock) -> Spread {
        let merges = self.deploy.iter().zip(&self.no_merge);
        let pairs = merges.zip(self.step(step));
        Spread::of(
            pairs.map(|((with, without), ours)| (clock(with) - clock(without)) / clock(&ours.cost)),
        )
    }

    fn to_walk(&self, step: &str, clock: Clock) -> Spread {
        let pairs = self.step(step).iter().zip(self.step(WALK));
        Spread::of(pairs.map(|(it, walk)| clock(&it.cost) / clock(&walk.cost)))
    }

    /// The step that took the most memory.
    fn worst(&self) -> Option<(&str, f64)> {
        let steps = self.steps.iter().map(|(step, _)| (*step, self.peak(step)));
        steps.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Megabytes, at the worst.
    fn peak(&self, step: &str) -> f64 {
        let peak = self.step(step).iter().map(|m| m.peak).max();
        peak.unwrap_or_default() as f64 / 1e6
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.step(WALK).first().and_then(|m| m.seen);
        let entries = seen.map_or(0, |seen| seen.entries);
        writeln!(
            f,
            "{} files, {} paths not the same on all sides; {}; {} pairs, after one to warm up",
            grouped(self.files),
            grouped(entries as usize),
            self.what,
            self.deploy.len()
        )?;
        writeln!(
            f,
            "{:26}{:28}{:28}{:30}{:30}{:>8}",
            "", "wall, s", "CPU, s", "ostree's merge / it, wall", "the same, CPU", "peak MB"
        )?;
        for (name, costs) in [
            ("ostree deploy", &self.deploy),
            ("ostree deploy --no-merge", &self.no_merge),
        ] {
            let [wall, cpu] =
                CLOCKS.map(|(_, clock)| format!("{:.2}", Spread::of(costs.iter().map(clock))));
            writeln!(f, "{name:26}{wall:28}{cpu:28}")?;
        }
        let [wall, cpu] = CLOCKS.map(|(_, clock)| format!("{:.2}", self.merge(clock)));
        writeln!(f, "{:26}{wall:28}{cpu:28}", "ostree's merge")?;
        for (name, _) in &self.steps {
            let [wall, cpu] = CLOCKS.map(|(_, clock)| format!("{:.3}", self.spread(name, clock)));
            let [by_wall, by_cpu] =
                CLOCKS.map(|(_, clock)| format!("{:.1}", self.ratios(name, clock)));
            let peak = self.peak(name);
            writeln!(
                f,
                "{name:26}{wall:28}{cpu:28}{by_wall:30}{by_cpu:30}{peak:>8.1}"
            )?;
        }
        for step in [PLAN, PLAN_ONE] {
            let [wall, cpu] = CLOCKS.map(|(_, clock)| self.to_walk(step, clock));
            writeln!(f, "{step} / {WALK}: wall {wall:.2}, CPU {cpu:.2}")?;
        }
        Ok(())
    }
}

/// How many times as fast as ostree's merge, at this many files.
const FASTER: (f64, usize) = (8.0, 50_000);
/// A plan to a bare walk.
const OVERHEAD: f64 = 1.3;
/// Megabytes, at this many files.
const PEAK: (f64, usize) = (32.0, 250_000);
/// Growth is linear if a file takes no longer than this many times what it took at the size before.
const GROWTH: f64 = 1.25;

/// What is asked, what came out, and whether that is met.
pub(super) fn acceptance(sizes: &[Size]) -> Vec<String> {
    let at = |files: usize| sizes.iter().find(|size| size.files == files);
    let verdict = |met: bool| if met { "met" } else { "not met" };
    let mut lines = Vec::new();
    let (times, files) = FASTER;
    for step in [PLAN, UNSYNCED, APPLY] {
        let asked = format!(
            "{step} at {} files ≥ {times} × ostree's merge",
            grouped(files)
        );
        match at(files) {
            None => lines.push(format!("{asked}: not measured")),
            Some(size) => lines.extend(CLOCKS.map(|(name, clock)| {
                let ratio = size.ratio(step, clock);
                let pairs = size.ratios(step, clock);
                let met = verdict(ratio >= times);
                format!(
                    "{asked}, {name}: {ratio:.2} of the medians, {pairs:.2} of the pairs: {met}"
                )
            })),
        }
    }
    for size in sizes {
        for step in [PLAN, PLAN_ONE] {
            lines.extend(CLOCKS.map(|(name, clock)| {
                let ratio = size.to_walk(step, clock);
                let met = verdict(ratio.median <= OVERHEAD);
                let files = grouped(size.files);
                format!("{step} at {files} files ≤ {OVERHEAD} × {WALK}, {name}: {ratio:.2}: {met}")
            }));
        }
    }
    let (megabytes, files) = PEAK;
    let asked = format!("peak memory at {} files < {megabytes} MB", grouped(files));
    lines.push(match at(files).and_then(Size::worst) {
        None => format!("{asked}: not measured"),
        Some((step, peak)) => {
            let met = verdict(peak < megabytes);
            format!("{asked}: at worst {peak:.1}, {step}: {met}")
        }
    });
    for step in [PLAN, APPLY] {
        lines.extend(CLOCKS.map(|(name, clock)| {
            let mut all: Vec<(usize, f64)> = sizes
                .iter()
                .map(|size| (size.files, size.spread(step, clock).median))
                .collect();
            all.sort_by_key(|(files, _)| *files);
            format!("{step} grows linearly, {name}: {}", growth(&all))
        }));
    }
    lines
}

/// Microseconds for a file at each size, and whether they stay.
fn growth(medians: &[(usize, f64)]) -> String {
    let each = medians
        .iter()
        .map(|(files, seconds)| (*files, seconds * 1e6 / *files as f64));
    let each: Vec<(usize, f64)> = each.collect();
    let shown: Vec<_> = each
        .iter()
        .map(|(files, micros)| format!("{micros:.1} µs a file at {}", grouped(*files)))
        .collect();
    let steps = each.windows(2).map(|pair| pair[1].1 / pair[0].1);
    let verdict = match steps.max_by(f64::total_cmp) {
        None => "not measured at two sizes".to_owned(),
        Some(worst) => {
            let met = if worst <= GROWTH { "met" } else { "not met" };
            format!("at worst {worst:.2} × the size before, asked ≤ {GROWTH}: {met}")
        }
    };
    format!("{}; {verdict}", shown.join(", "))
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(files: usize, merge: f64, plan: f64, apply: f64, peak: u64) -> Size {
        let cost = |seconds| Cost {
            wall: seconds,
            cpu: seconds,
        };
        let mut size = Size::new(files, "nowhere", [WALK, PLAN, PLAN_ONE, UNSYNCED, APPLY]);
        for wobble in [0.9, 1.0, 1.2] {
            let measured = |seconds: f64| Measured {
                cost: cost(seconds * wobble),
                peak,
                seen: None,
            };
            size.deploy.push(cost(3.0 + merge));
            size.no_merge.push(cost(3.0));
            size.add(WALK, measured(1.0));
            size.add(PLAN, measured(plan));
            size.add(PLAN_ONE, measured(plan * 2.0));
            size.add(UNSYNCED, measured(apply * 0.5));
            size.add(APPLY, measured(apply));
        }
        size
    }

    #[test]
    fn what_is_met_is_computed() {
        let check = |sizes: &[Size], expected: &[&str]| {
            let lines = acceptance(sizes);
            let wall: Vec<_> = lines.iter().filter(|line| !line.contains("CPU")).collect();
            assert_eq!(wall, expected);
        };
        check(
            &[
                size(50_000, 16.0, 1.2, 2.0, 1),
                size(250_000, 99.0, 7.0, 10.0, 31_000_000),
            ],
            &[
                "plan at 50,000 files ≥ 8 × ostree's merge, wall: 13.33 of the medians, 13.33 (11.11 … 14.81) of the pairs: met",
                "apply, caller syncs at 50,000 files ≥ 8 × ostree's merge, wall: 16.00 of the medians, 16.00 (13.33 … 17.78) of the pairs: met",
                "apply, prepared at 50,000 files ≥ 8 × ostree's merge, wall: 8.00 of the medians, 8.00 (6.67 … 8.89) of the pairs: met",
                "plan at 50,000 files ≤ 1.3 × bare walk, wall: 1.20 (1.20 … 1.20): met",
                "plan, one thread at 50,000 files ≤ 1.3 × bare walk, wall: 2.40 (2.40 … 2.40): not met",
                "plan at 250,000 files ≤ 1.3 × bare walk, wall: 7.00 (7.00 … 7.00): not met",
                "plan, one thread at 250,000 files ≤ 1.3 × bare walk, wall: 14.00 (14.00 … 14.00): not met",
                "peak memory at 250,000 files < 32 MB: at worst 31.0, apply, prepared: met",
                "plan grows linearly, wall: 24.0 µs a file at 50,000, 28.0 µs a file at 250,000; at worst 1.17 × the size before, asked ≤ 1.25: met",
                "apply, prepared grows linearly, wall: 40.0 µs a file at 50,000, 40.0 µs a file at 250,000; at worst 1.00 × the size before, asked ≤ 1.25: met",
            ],
        );
        check(
            &[
                size(250_000, 99.0, 1.0, 1.0, 33_000_000),
                size(2_000, 9.0, 1.0, 0.001, 1),
            ],
            &[
                "plan at 50,000 files ≥ 8 × ostree's merge: not measured",
                "apply, caller syncs at 50,000 files ≥ 8 × ostree's merge: not measured",
                "apply, prepared at 50,000 files ≥ 8 × ostree's merge: not measured",
                "plan at 250,000 files ≤ 1.3 × bare walk, wall: 1.00 (1.00 … 1.00): met",
                "plan, one thread at 250,000 files ≤ 1.3 × bare walk, wall: 2.00 (2.00 … 2.00): not met",
                "plan at 2,000 files ≤ 1.3 × bare walk, wall: 1.00 (1.00 … 1.00): met",
                "plan, one thread at 2,000 files ≤ 1.3 × bare walk, wall: 2.00 (2.00 … 2.00): not met",
                "peak memory at 250,000 files < 32 MB: at worst 33.0, apply, prepared: not met",
                "plan grows linearly, wall: 500.0 µs a file at 2,000, 4.0 µs a file at 250,000; at worst 0.01 × the size before, asked ≤ 1.25: met",
                "apply, prepared grows linearly, wall: 0.5 µs a file at 2,000, 4.0 µs a file at 250,000; at worst 8.00 × the size before, asked ≤ 1.25: not met",
            ],
        );
    }

    #[test]
    fn numbers_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(2_000, "2,000");
        check(1_234_567, "1,234,567");
    }
}
