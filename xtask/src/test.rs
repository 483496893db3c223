//! `cargo xtask test`: everything, in tiers, with counts that hide nothing.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::libtest::{Case, Outcome, Reader, junit};
use crate::watch::watch;
use crate::workspace::Workspace;
use crate::{setup, tidy};

/// How long a package may say nothing: longer than any one test takes.
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
enum Tier {
    /// Crates that need no C library and no tool.
    Unit,
    /// Real skopeo, registry, ostree and QEMU, nothing booted.
    Integration,
    /// Real systems, booted.
    Vm,
}

impl Tier {
    const ALL: [Self; 3] = [Self::Unit, Self::Integration, Self::Vm];

    /// Each package is tested alone, so that none leans on a feature that another turned on.
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
        let mut failed = Vec::new();
        let mut times = Vec::new();
        let packages = tiers.iter().flat_map(|tier| tier.packages());
        let mut following = packages.skip(1);
        for tier in &tiers {
            let mut environment = match tier {
                Tier::Vm if !self.list => workspace.vm_environment(self.all)?,
                _ => Vec::new(),
            };
            if self.all {
                environment.push(("PLEACH_CASES".to_owned(), "all".to_owned()));
            }
            if self.record {
                let path = workspace.root().join("docs/cases.json");
                environment.push(("PLEACH_RECORD".to_owned(), path.display().to_string()));
            }
            for package in tier.packages() {
                let next = following.next();
                let began = Instant::now();
                if !self.cargo_test(workspace, package, next, &environment, &mut reader)? {
                    failed.push(*package);
                }
                times.push((*package, began.elapsed().as_secs()));
                if !self.list {
                    println!("{package}: {} s", began.elapsed().as_secs());
                }
            }
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

    /// Tests one package. The next one is built meanwhile: many tests wait for something else than
    /// the processor.
    fn cargo_test(
        &self,
        workspace: &Workspace,
        package: &str,
        next: Option<&&str>,
        environment: &[(String, String)],
        reader: &mut Reader,
    ) -> Result<bool> {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(workspace.root())
            .args(["test", "--no-fail-fast", "-p", package]);
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
        let mut building = None;
        let silent = watch(child.id(), output, PATIENCE, |line| {
            // Not before: cargo holds its lock while it builds.
            if building.is_none() && line.trim_start().starts_with("Running ") {
                building = next.map(|next| build(workspace, next)).transpose()?;
            }
            if reader.line(line) {
                println!("{line}");
            }
            Ok(())
        })?;
        if let Some(silent) = &silent {
            println!("{package} {silent}");
            reader.ended(package, &silent.to_string());
        }
        let passed = child.wait()?.success() && silent.is_none();
        if let Some(mut building) = building {
            // What it has to say is said when that package is tested.
            building.wait()?;
        }
        Ok(passed)
    }
}

/// Begins to build the tests of a package.
fn build(workspace: &Workspace, package: &str) -> Result<Child> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace.root());
    cargo.args(["test", "--no-run", "--quiet", "-p", package]);
    cargo.stdin(Stdio::null()).stdout(Stdio::null());
    cargo.stderr(Stdio::null()).spawn().context("running cargo")
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
    for (package, seconds) in times {
        println!("  {package}: {seconds} s");
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
