//! The workspace's task runner: `cargo xtask --help`.
//!
//! It needs no C library, so that it builds on a bare machine and installs there what the rest
//! needs.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner works on the checkout that it was started in, and talks to a person"
)]

mod base;
mod bench;
mod cache;
mod codegen;
mod demo;
mod fuzz;
mod libtest;
mod setup;
mod test;
mod tidy;
mod tools;
mod watch;
mod workspace;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Tasks of the Pleach workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the host packages that are missing (as root), or print the line that does.
    Setup,
    /// The main job: one customization through three routes, booted and compared.
    Demo(demo::Demo),
    /// Run the tests: tidy, then the tiers unit, integration and vm.
    Test(test::Test),
    /// Check what no compiler checks: edges between crates, file sizes, names that must not appear.
    Tidy,
    /// Measure us and a peer side by side and print ratios.
    Bench(bench::Bench),
    /// Feed the merging of layers with bytes that are made up.
    Fuzz(fuzz::Fuzz),
    /// Build what the tests work on, or take it from the cache.
    #[command(subcommand)]
    Fixtures(Fixtures),
    /// Write the generated files, or check that they are current.
    Codegen(codegen::Codegen),
}

#[derive(Subcommand)]
enum Fixtures {
    /// The base image, or a variant of it: an OCI image layout with the tags v1 and v2.
    Base(base::Options),
    /// A larger image, for benches.
    Large,
}

fn main() -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match Cli::parse().task {
        Task::Setup => setup::setup(&workspace),
        Task::Demo(demo) => demo.run(&workspace),
        Task::Test(test) => test.run(&workspace),
        Task::Tidy => tidy::tidy(&workspace),
        Task::Bench(bench) => bench.run(&workspace),
        Task::Fuzz(fuzz) => fuzz.run(&workspace),
        Task::Fixtures(Fixtures::Base(options)) => {
            let image = base::build(&workspace, &options)?;
            println!("{}", image.reference("v1"));
            println!("{}", image.reference("v2"));
            Ok(())
        }
        Task::Fixtures(Fixtures::Large) => {
            println!("{}", base::large(&workspace)?);
            Ok(())
        }
        Task::Codegen(codegen) => codegen.run(&workspace),
    }
}
