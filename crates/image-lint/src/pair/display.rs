//! What differs, for people.

use std::collections::BTreeMap;
use std::fmt;

use super::{Change, EtcMerge, FileChange, Pair, UnitState};

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Enabled => "enabled",
            Self::Wanted => "wanted",
            Self::Disabled => "disabled",
            Self::Static => "static",
            Self::Alias => "alias",
            Self::Masked => "masked",
        })
    }
}

/// One section after the other, each only if there is something in it; files of packages that changed
/// are counted, all others listed.
impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}\nnew {}", self.old, self.new)?;
        self.packages(f)?;
        head(f, "units", self.units.len())?;
        for unit in &self.units {
            let side = |state: Option<UnitState>| state.map_or("-".to_owned(), |s| s.to_string());
            write!(
                f,
                "  {}: {} -> {}",
                unit.unit,
                side(unit.old),
                side(unit.new)
            )?;
            match &unit.preset {
                Some(preset) => writeln!(f, " (preset: {preset})")?,
                None => writeln!(f)?,
            }
        }
        head(f, "accounts", self.accounts.len())?;
        for account in &self.accounts {
            let kind = match account.kind {
                super::AccountKind::User => "user",
                super::AccountKind::Group => "group",
            };
            let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let (old, new) = (side(&account.old), side(&account.new));
            writeln!(f, "  {kind} {}: {old} -> {new}", account.name)?;
            if let Some(drift) = &account.drift {
                writeln!(f, "      DRIFT {drift}")?;
            }
        }
        head(f, "kernel arguments", self.kargs.len())?;
        for karg in &self.kargs {
            write!(f, "  {:7} {} ({}", karg.change, karg.argument, karg.file)?;
            match karg.architectures.is_empty() {
                true => writeln!(f, ")")?,
                false => writeln!(f, ", {})", karg.architectures.join(", "))?,
            }
        }
        files(f, "files", &self.files)?;
        files(f, "defaults of /etc", &self.etc)?;
        let does_not = self.var.iter().filter(|var| var.declared.is_none()).count();
        head(f, "content of /var", self.var.len())?;
        if does_not > 0 {
            writeln!(
                f,
                "  {does_not} of it will not arrive on a machine that is there already:"
            )?;
        }
        for var in &self.var {
            write!(f, "  {:7} {}", var.change, var.path)?;
            match &var.declared {
                Some(place) => writeln!(f, " (made at boot: {place})")?,
                None => writeln!(f)?,
            }
        }
        if let Some(merge) = &self.etc_merge {
            etc_merge(f, merge)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match self.is_empty() {
            true => writeln!(f, "the images are the same"),
            false => Ok(()),
        }
    }
}

impl Pair {
    fn packages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, "packages", self.packages.len())?;
        for package in &self.packages {
            let (database, name) = (&package.database, &package.name);
            match (&package.old, &package.new) {
                (Some(old), Some(new)) => writeln!(f, "  {name} {old} -> {new} ({database})")?,
                (None, Some(new)) => writeln!(f, "  added   {name} {new} ({database})")?,
                (Some(old), None) => writeln!(f, "  removed {name} {old} ({database})")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

fn head(f: &mut fmt::Formatter<'_>, what: &str, count: usize) -> fmt::Result {
    match count {
        0 => Ok(()),
        n => writeln!(f, "\n{what}: {n}"),
    }
}

fn files(f: &mut fmt::Formatter<'_>, what: &str, files: &[FileChange]) -> fmt::Result {
    head(f, what, files.len())?;
    let mut of_packages = BTreeMap::<&str, usize>::new();
    for file in files {
        match &file.package {
            Some(package) => *of_packages.entry(package).or_default() += 1,
            None => {
                let what = match file.what.is_empty() {
                    true => String::new(),
                    false => format!(": {}", file.what.join(", ")),
                };
                writeln!(f, "  {:7} {}{what}", file.change, file.path)?;
            }
        }
    }
    for (package, count) in of_packages {
        writeln!(f, "  {count:>7} of the package {package}")?;
    }
    Ok(())
}

fn etc_merge(f: &mut fmt::Formatter<'_>, merge: &EtcMerge) -> fmt::Result {
    let (machine, conflicts) = (&merge.machine, merge.conflicts);
    writeln!(f, "\nthe merge of /etc on {machine}: {conflicts} conflicts")?;
    for entry in &merge.entries {
        write!(
            f,
            "  {} {} -> {}",
            entry.state, entry.path, entry.resolution
        )?;
        for finding in &entry.findings {
            write!(f, "; {finding}")?;
        }
        writeln!(f)?;
    }
    merge
        .notes
        .iter()
        .try_for_each(|note| writeln!(f, "  note: {note}"))
}
