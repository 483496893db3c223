//! All verdicts of one run, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Control, Defect, Moment, Parting, Verdict};

/// The version of the JSON form.
pub const FORMAT_VERSION: u32 = 1;

/// One run: a customization, a base image, the A/A control and a verdict for each pair of routes.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// What was compared, and on what: image and digest, document and digest, accelerator.
    pub subject: BTreeMap<String, String>,
    /// The A/A control; none where nothing was booted.
    pub control: Option<Control>,
    /// A verdict for each pair.
    pub verdicts: Vec<Verdict>,
    /// Routes that were asked for but could not be compared, each with the reason.
    pub not_compared: BTreeMap<String, String>,
}

impl Report {
    /// Whether something was compared, every pair is equal and the control is sound.
    pub fn is_equal(&self) -> bool {
        !self.verdicts.is_empty()
            && self.verdicts.iter().all(Verdict::is_equal)
            && self.control.as_ref().is_none_or(Control::is_sound)
    }

    /// How many defects there are in all.
    pub fn defects(&self) -> usize {
        self.verdicts.iter().map(|v| v.defects.len()).sum()
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("maps have string keys") + "\n"
    }
}

/// For people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.subject {
            writeln!(f, "{name:<14} {value}")?;
        }
        if let Some(control) = &self.control {
            write_control(f, control)?;
        }
        for verdict in &self.verdicts {
            write_verdict(f, verdict)?;
        }
        for (route, why) in &self.not_compared {
            writeln!(f, "\n{route}: not compared: {why}")?;
        }
        let booted = if self.control.is_some() {
            ""
        } else {
            "; nothing was booted"
        };
        let sound = self.control.as_ref().is_none_or(Control::is_sound);
        match self.defects() {
            _ if self.verdicts.is_empty() => writeln!(f, "\nparity: unknown, nothing was compared"),
            0 if !sound => writeln!(f, "\nparity: unknown, the A/A control is not sound"),
            0 => writeln!(f, "\nparity: equal, 0 defects{booted}"),
            1 => writeln!(f, "\nparity: 1 defect{booted}"),
            n => writeln!(f, "\nparity: {n} defects{booted}"),
        }
    }
}

fn write_control(f: &mut fmt::Formatter<'_>, control: &Control) -> fmt::Result {
    let (noise, machine) = (&control.noise, &control.machine);
    let total: usize = noise.values().chain(machine.values()).sum();
    writeln!(
        f,
        "\nA/A control: the base image booted twice, {total} differences explained"
    )?;
    for (rule, count) in noise {
        writeln!(f, "  {count:>6}  {rule} (noise)")?;
    }
    for (rule, count) in machine {
        writeln!(f, "  {count:>6}  {rule} (machine)")?;
    }
    for difference in &control.unexplained {
        writeln!(f, "  UNEXPLAINED  {difference}")?;
    }
    for rule in &control.unused {
        writeln!(
            f,
            "  UNUSED  {rule}: the control does not need this noise rule"
        )?;
    }
    Ok(())
}

fn write_verdict(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    let equal: usize = verdict.equal.values().sum();
    write!(f, "\n{} and {}", verdict.left, verdict.right)?;
    match verdict.moment {
        Moment::First => writeln!(f)?,
        moment => writeln!(f, ", {moment}: {}", moment.what())?,
    }
    writeln!(
        f,
        "  equal     {equal} entries in {} sections",
        verdict.equal.len()
    )?;
    writeln!(
        f,
        "  expected  {} differences by {} rules",
        verdict.expected.len(),
        verdict.rules.len()
    )?;
    for rule in &verdict.rules {
        writeln!(
            f,
            "  {:>6}  {} ({}): {}",
            rule.count,
            rule.rule,
            rule.class.as_str(),
            rule.reason
        )?;
    }
    writeln!(f, "  defects   {}", verdict.defects.len())?;
    for defect in &verdict.defects {
        writeln!(f, "          {defect}")?;
    }
    for parting in &verdict.partings {
        let Parting {
            path,
            left,
            right,
            mend,
        } = parting;
        writeln!(f, "  parted    {path}")?;
        writeln!(f, "            {}: {left}", verdict.left)?;
        writeln!(f, "            {}: {right}", verdict.right)?;
        if let Some(mend) = mend {
            writeln!(f, "            mended by: {mend}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Difference(difference) => {
                // An entry's whole JSON is for the machine's report.
                let text = difference.to_string();
                match text.char_indices().nth(300) {
                    Some((cut, _)) => write!(f, "{}…", &text[..cut]),
                    None => f.write_str(&text),
                }
            }
            Self::Shape { route, what } => write!(f, "{route}: {what}"),
        }
    }
}
