//! What is made from the command's own definition.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cli::etc::json;
use crate::cli::exit::End;
use crate::cli::plan;
use crate::policy;

/// Print generated documentation.
#[derive(Args)]
pub(crate) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The reference of all verbs and options, as Markdown.
    Reference,
    /// The JSON schema of what `pleach etc` prints.
    EtcSchema,
    /// The JSON schema of what `pleach plan` prints.
    PlanSchema,
    /// The JSON schema of what `pleach lint` prints.
    LintSchema,
    /// The JSON schema of what `pleach diff` prints.
    DiffSchema,
    /// The JSON schema of the report of `pleach parity`.
    ParitySchema,
    /// The JSON schema of the reports of `pleach parity matrix` and `merge`.
    MatrixSchema,
    /// What each route carries, as Markdown.
    Placement,
}

impl Generate {
    pub(crate) fn run(&self, command: &clap::Command) -> Result<End> {
        match self.what {
            What::Reference => print!("{}", reference(command)),
            What::EtcSchema => println!("{}", serde_json::to_string_pretty(&json::schema())?),
            What::PlanSchema => println!("{}", serde_json::to_string_pretty(&plan::schema())?),
            What::LintSchema => print(&schemars::schema_for!(pleach_image_lint::Report))?,
            What::DiffSchema => print(&schemars::schema_for!(pleach_image_lint::Pair))?,
            What::ParitySchema => print(&schemars::schema_for!(pleach_parity::Report))?,
            What::MatrixSchema => print(&schemars::schema_for!(pleach_parity::MatrixReport))?,
            What::Placement => print!("{}", policy::page()),
        }
        Ok(End::Fine)
    }
}

fn print(schema: &schemars::Schema) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(schema)?);
    Ok(())
}

fn reference(command: &clap::Command) -> String {
    let mut out = String::from(
        "# The command line\n\nMade by `cargo xtask codegen` from the command's own definition.\n",
    );
    section(command.clone(), "", &mut out);
    out
}

fn section(mut command: clap::Command, parent: &str, out: &mut String) {
    let name = format!("{parent}{}", command.get_name());
    let help = command
        .clone()
        .bin_name(&name)
        .term_width(100)
        .render_long_help()
        .to_string();
    let help: String = help
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    out.push_str(&format!("\n## {name}\n\n```text\n{help}```\n"));
    for verb in command.get_subcommands_mut() {
        if verb.get_name() != "help" && !verb.is_hide_set() {
            section(verb.clone(), &format!("{name} "), out);
        }
    }
}
