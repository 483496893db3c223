//! `cargo xtask test`: everything, in tiers, with counts that hide nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::libtest::{Case, Outcome, Reader, junit};
use crate::watch::watch;
use crate::workspace::Workspace;
use crate::{setup, tidy};

/// How long a tier may say nothing: longer than any one test takes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Run the tests.
#[derive(Args)]
pub(crate) struct Test {
    /// Only these tiers; all of them by default.
    #[arg(long, value_enum)]
    tier: Vec<Tier>,
    /// List the tests instead of running them.
    #[arg(long)]
    list: bool,
    /// In the tier vm, boot each case by every route that carries it, and compare them, on images of
    /// its own. It takes more than an hour.
    #[arg(long)]
    all: bool,
    /// Write down in docs/cases.json what came of the cases; `cargo xtask codegen` makes docs/cases.md
    /// of it.
    #[arg(long, requires = "all")]
    record: bool,
    /// Write a JUnit report here.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// How much of the world a test needs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Crates that need no C library and no tool.
    Unit,
    /// Real skopeo, registry, ostree and QEMU, nothing booted.
    Integration,
    /// Real systems, booted.
    Vm,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Unit, Self::Integration, Self::Vm];

    const fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Integration => "integration",
            Self::Vm => "vm",
        }
    }

    /// What is tested together: cargo builds what they have in common once.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Unit => &[
                "xtask",
                "pleach-fs-tree",
                "pleach-layer-merge",
                "pleach-etc-merge",
                "pleach-customization",
                "pleach-derive",
                "pleach-inject",
                "pleach-image-lint",
                "pleach-booted-state",
                "pleach-parity",
            ],
            Self::Integration => &[
                "pleach-image-fetch",
                "pleach-deployment",
                "pleach-vm",
                "pleach",
            ],
            Self::Vm => &["pleach-integration"],
        }
    }

    /// `-p PACKAGE` for each.
    pub(crate) fn selection(self) -> impl Iterator<Item = &'static str> {
        self.packages().iter().flat_map(|package| ["-p", package])
    }

    /// Builds its tests. Those that do not build say so when they are run.
    fn build(self, workspace: &Workspace, quiet: bool) -> Result<BTreeMap<String, String>> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(workspace.root()).stdin(Stdio::null());
        cargo.args(["test", "--no-run"]);
        cargo.args(quiet.then_some("--quiet"));
        cargo.arg("--message-format=json-render-diagnostics");
        cargo.args(self.selection()).stderr(Stdio::inherit());
        let output = cargo.output().context("running cargo")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let programs = said.lines().filter_map(|line| {
            let artifact: Value = serde_json::from_str(line).ok()?;
            let path = |key: &str| artifact[key].as_str().map(Path::new);
            let folder = path("manifest_path")?.parent()?;
            let folder = folder.strip_prefix(workspace.root()).ok()?;
            let file = path("executable")?.file_name()?;
            Some((file.to_str()?.to_owned(), folder.to_str()?.to_owned()))
        });
        Ok(programs.collect())
    }

    /// All of it that takes time and is no test; `quiet` where tests print meanwhile.
    fn prepare(self, test: &Test, quiet: bool) -> Result<Prepared> {
        // Its shell is for one thread alone.
        let workspace = Workspace::find()?;
        let mut prepared = Prepared {
            folders: self.build(&workspace, quiet)?,
            ..Prepared::default()
        };
        if self == Self::Vm {
            prepared.environment = workspace.vm_environment(test.all)?;
        } else if test.filter.is_none() {
            let crates = self.packages().iter().filter(|name| **name != "xtask");
            prepared.alone = crates
                .map(|name| alone(&workspace, name))
                .collect::<Result<_>>()?;
        }
        Ok(prepared)
    }
}

/// What is tested together could lean on a feature that another package turns on.
fn alone(workspace: &Workspace, package: &str) -> Result<Case> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace.root()).stdin(Stdio::null());
    cargo.args(["check", "--quiet", "--lib", "--bins", "-p", package]);
    Ok(Case {
        suite: "cargo check".to_owned(),
        name: format!("{package} alone"),
        outcome: match cargo.status().context("running cargo")?.success() {
            true => Outcome::Passed,
            false => Outcome::Failed,
        },
        detail: String::new(),
    })
}

/// What is there before a tier's tests are run.
#[derive(Default)]
struct Prepared {
    /// What they are told by their environment.
    environment: Vec<(String, String)>,
    /// The folders of their packages, by the names of their binaries.
    folders: BTreeMap<String, String>,
    /// Whether each package can be built alone.
    alone: Vec<Case>,
}

impl Test {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        setup::setup(workspace)?;
        if !self.list && self.filter.is_none() {
            tidy::tidy(workspace)?;
        }
        let tiers = if self.tier.is_empty() {
            Tier::ALL.to_vec()
        } else {
            self.tier.clone()
        };
        let started = Instant::now();
        let mut reader = Reader::default();
        let (mut failed, mut times) = (Vec::new(), Vec::new());
        let mut prepared = None;
        for (index, &tier) in tiers.iter().enumerate() {
            let began = Instant::now();
            let ready = match prepared.take() {
                Some(prepared) => prepared,
                None if self.list => Ok(Prepared::default()),
                None => tier.prepare(self, false),
            };
            let Prepared {
                environment,
                folders,
                alone,
            } = match ready {
                Ok(ready) => ready,
                // What the tiers before it came to is told all the same.
                Err(error) => {
                    println!("the tier {} could not be prepared: {error:#}", tier.name());
                    reader.ended(tier.name(), &format!("{error:#}"));
                    failed.push(tier.name());
                    continue;
                }
            };
            let mut passed = alone.iter().all(|case| case.outcome == Outcome::Passed);
            reader.cases.extend(alone);
            reader.folders.extend(folders);
            let next = tiers.get(index + 1).copied().filter(|_| !self.list);
            let environment = self.environment(workspace, environment);
            let (ended_well, following) =
                self.cargo_test(workspace, (tier, next), &environment, &mut reader)?;
            passed &= ended_well;
            prepared = following;
            if !passed {
                failed.push(tier.name());
            }
            times.push((tier.name(), began.elapsed().as_secs()));
        }
        if self.list {
            return Ok(());
        }
        if let Some(path) = &self.junit {
            workspace
                .sh
                .write_file(path, junit(&reader.cases, &reader.properties))?;
        }
        summary(&reader, &failed, &times, started)
    }

    /// What a tier's tests are told, with what the user asked for.
    fn environment(
        &self,
        workspace: &Workspace,
        mut environment: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        if self.all {
            environment.push(("PLEACH_CASES".to_owned(), "all".to_owned()));
        }
        if self.record {
            let path = workspace.root().join("docs/cases.json");
            environment.push(("PLEACH_RECORD".to_owned(), path.display().to_string()));
        }
        environment
    }

    /// Runs the tests of a tier. The next one is prepared meanwhile: many tests wait for something else
    /// than the processor.
    fn cargo_test(
        &self,
        workspace: &Workspace,
        (tier, next): (Tier, Option<Tier>),
        environment: &[(String, String)],
        reader: &mut Reader,
    ) -> Result<(bool, Option<Result<Prepared>>)> {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(workspace.root())
            .args(["test", "--no-fail-fast"])
            .args(tier.selection());
        cargo.args(self.filter.as_deref());
        cargo.args(["--", if self.list { "--list" } else { "--show-output" }]);
        cargo.envs(environment.iter().map(|(k, v)| (k, v)));
        // Cargo says on standard error which binary runs next; both go down one pipe, in order.
        let (output, input) = std::io::pipe()?;
        let mut child = cargo
            .stdin(Stdio::null())
            .stdout(input.try_clone()?)
            .stderr(input)
            .spawn()
            .context("running cargo")?;
        drop(cargo);
        std::thread::scope(|scope| {
            let mut preparing = None;
            let silent = watch(child.id(), output, PATIENCE, |line| {
                // Not before: cargo holds its lock while it builds.
                if preparing.is_none() && line.trim_start().starts_with("Running ") {
                    preparing = next.map(|next| scope.spawn(move || next.prepare(self, true)));
                }
                if reader.line(line) {
                    println!("{line}");
                }
                Ok(())
            })?;
            if let Some(silent) = &silent {
                println!("{} {silent}", tier.name());
                reader.ended(tier.name(), &silent.to_string());
            }
            let passed = child.wait()?.success() && silent.is_none();
            let prepared = preparing.map(|preparing| match preparing.join() {
                Ok(prepared) => prepared,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            Ok((passed, prepared))
        })
    }
}

fn summary(
    reader: &Reader,
    failed: &[&str],
    times: &[(&str, u64)],
    started: Instant,
) -> Result<()> {
    let of = |outcome| reader.cases.iter().filter(move |c| c.outcome == outcome);
    let count = |outcome| of(outcome).count();
    println!("\nSummary, {} s", started.elapsed().as_secs());
    for (name, value) in &reader.properties {
        println!("  {name}: {value}");
    }
    for (tier, seconds) in times {
        println!("  {tier}: {seconds} s");
    }
    let line = |word: &str,
                Case {
                    suite,
                    name,
                    detail,
                    ..
                }: &Case| {
        println!(
            "  {word} {suite} {name}{}{detail}",
            if detail.is_empty() { "" } else { ": " }
        );
    };
    of(Outcome::Skipped).for_each(|case| line("skipped", case));
    of(Outcome::Failed).for_each(|case| println!("  failed {} {}", case.suite, case.name));
    println!(
        "{} passed, {} failed, {} skipped",
        count(Outcome::Passed),
        count(Outcome::Failed),
        count(Outcome::Skipped)
    );
    if !failed.is_empty() {
        bail!("tests failed in {}", failed.join(", "));
    }
    let ci = std::env::var_os("CI").is_some_and(|v| v == "true");
    if ci && count(Outcome::Skipped) > 0 {
        bail!("a skipped test is an error where CI=true");
    }
    if reader.cases.is_empty() {
        bail!("no test ran");
    }
    Ok(())
}
