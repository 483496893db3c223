//! `pleach deploy status`.

use anyhow::Result;
use clap::Args;
use pleach_deployment::Deployment;
use serde_json::{Value, json};

use super::{Machine, Where, image, staged};
use crate::cli::exit::End;
use crate::cli::output::{self, Format};

/// Print the deployments, the one that the machine boots next first.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    machine: Where,
    /// Print what was planned for each path of /etc, too.
    #[arg(long)]
    etc: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const FORMAT_VERSION: u32 = 1;

impl Status {
    pub(crate) fn run(&self) -> Result<End> {
        let machine = self.machine.open()?;
        let all = machine.sysroot.deployments()?;
        let mut deployments = Vec::new();
        for (index, deployment) in all.iter().enumerate() {
            deployments.push(described(&machine, deployment, index)?);
        }
        let staged = staged::told(&machine, &all);
        let value = json!({
            "format_version": FORMAT_VERSION,
            "staged": staged,
            "deployments": deployments,
        });
        match self.format {
            Format::Json => output::print(&(serde_json::to_string_pretty(&value)? + "\n"))?,
            Format::Human => output::print(&human(&value, self.etc))?,
        }
        Ok(End::Fine)
    }
}

fn described(machine: &Machine, deployment: &Deployment, index: usize) -> Result<Value> {
    let record = machine.sysroot.record(deployment)?;
    let arguments = machine.arguments(deployment)?;
    Ok(json!({
        "default": index == 0,
        "booted": machine.booted.as_ref() == Some(&deployment.path),
        "pinned": deployment.pinned,
        "stateroot": deployment.stateroot,
        "checksum": deployment.checksum.as_str(),
        "serial": deployment.serial,
        "path": deployment.path.display().to_string(),
        "image": record.as_ref().and_then(|record| record.image.clone()),
        "origin": deployment.origin.as_ref().and_then(image::reference),
        "kernel_arguments": arguments,
        "tries_left": machine.tries_left(deployment)?,
        "etc": record.and_then(|record| record.etc),
    }))
}

fn human(value: &Value, etc: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> String {
        let words = value.as_array().into_iter().flatten().map(text);
        words.collect::<Vec<_>>().join(" ")
    };
    let mut out = String::new();
    let staged = &value["staged"];
    if !staged.is_null() {
        let image = &staged["image"];
        let name = match image.is_null() {
            true => text(&staged["path"]),
            false => format!("{}@{}", text(&image["reference"]), text(&image["digest"])),
        };
        let name = if name.is_empty() { "unknown" } else { &name };
        out.push_str(&format!("staged {name}\n"));
        match staged["failed"].as_str() {
            Some(why) => out.push_str(&format!("  NOT DEPLOYED at the last shutdown: {why}\n")),
            None if staged["deployed"] == true => {
                out.push_str("  deployed: `pleach deploy finalize` cleans up\n");
            }
            None => out.push_str("  deployed when the machine shuts down\n"),
        }
        out.push_str(&plan(&staged["etc"], etc));
    }
    for (index, one) in value["deployments"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let marks = ["default", "booted", "pinned"];
        let marks: Vec<_> = marks.into_iter().filter(|mark| one[mark] == true).collect();
        let image = &one["image"];
        let name = match image.is_null() {
            true => text(&one["origin"]),
            false => format!("{}@{}", text(&image["reference"]), text(&image["digest"])),
        };
        out.push_str(&format!("{index} {name}"));
        if !marks.is_empty() {
            out.push_str(&format!(" ({})", marks.join(", ")));
        }
        out.push_str(&format!(
            "\n  deployment  {} {}.{}\n",
            text(&one["stateroot"]),
            text(&one["checksum"]),
            one["serial"]
        ));
        if let Some(version) = image["version"].as_str() {
            out.push_str(&format!("  version     {version}\n"));
        }
        if let Some(verified) = image["verified"].as_str() {
            out.push_str(&format!("  verified    {verified}\n"));
        }
        if one["tries_left"] == 0 {
            out.push_str(
                "  boot        FAILED as often as it may be tried; another one is booted\n",
            );
        }
        for owner in ["image", "customization", "machine", "removed"] {
            let arguments = list(&one["kernel_arguments"][owner]);
            if !arguments.is_empty() {
                out.push_str(&format!("  kargs       {owner}: {arguments}\n"));
            }
        }
        out.push_str(&plan(&one["etc"], etc));
    }
    if out.is_empty() {
        out.push_str("no deployments\n");
    }
    out
}

fn plan(etc: &Value, all: bool) -> String {
    let Some(entries) = etc["entries"].as_array() else {
        return String::new();
    };
    let conflict = |entry: &&Value| entry["conflicts"].as_array().is_some_and(|c| !c.is_empty());
    let mut out = format!(
        "  /etc        {} paths were not the image's, {} conflicts\n",
        entries.len(),
        entries.iter().filter(conflict).count()
    );
    for entry in entries.iter().filter(|entry| all || conflict(entry)) {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        out.push_str(&format!(
            "    {} {} -> {}\n",
            text("path"),
            text("state"),
            text("resolution")
        ));
    }
    out
}
