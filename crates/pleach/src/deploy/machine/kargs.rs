//! `pleach deploy kargs`.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pleach_deployment::{DeployOptions, KernelArgument, OwnedArguments};

use super::{Machine, Next, Where, staged};
use crate::cli::exit::End;
use crate::cli::output;

/// Print the kernel arguments with their owners, or change those of the machine.
///
/// A change is a new deployment of the same image, so that rolling back takes it back. An argument of the
/// image that is deleted stays deleted for as long as images bring it.
#[derive(Args)]
pub(crate) struct Kargs {
    #[command(flatten)]
    machine: Where,
    /// Add an argument at the end; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    append: Vec<String>,
    /// Remove an argument, KEY or KEY=VALUE as it stands there; may be given again.
    #[arg(long, value_name = "ARGUMENT")]
    delete: Vec<String>,
}

impl Kargs {
    pub(crate) fn run(&self) -> Result<End> {
        if self.append.is_empty() && self.delete.is_empty() {
            let machine = self.machine.open()?;
            let now = machine.arguments(&machine.current()?)?;
            output::print(&shown(&now))?;
            return Ok(End::Fine);
        }
        let machine = self.machine.open_to_write("deploy kargs")?;
        let writer = machine.writer()?;
        let current = machine.current()?;
        let now = machine.arguments(&current)?;
        let wanted = self.change(&now)?;
        if wanted == now {
            output::print("nothing to change\n")?;
            return Ok(End::Fine);
        }
        if staged::is_waiting(&machine) {
            bail!(
                "an upgrade is staged, which this would remove: `pleach deploy finalize` carries it out now, `pleach deploy cleanup --staged` drops it"
            );
        }
        let done = machine.again(&writer, &current, &|_, _| wanted.clone())?;
        Ok(done.then(output::print(&shown(&wanted))).end())
    }

    fn change(&self, now: &OwnedArguments) -> Result<OwnedArguments> {
        let parse = |text: &String| {
            let argument: KernelArgument = text.parse()?;
            if argument.has_key("ostree") {
                bail!("ostree= says which deployment boots; `pleach deploy rollback` changes that");
            }
            Ok(argument)
        };
        let mut wanted = now.clone();
        for text in &self.delete {
            if !wanted.delete(&parse(text)?) {
                bail!("{text} is not one of the kernel arguments: {}", now.line());
            }
        }
        for text in &self.append {
            let argument = parse(text)?;
            if !wanted.line().contains(&argument) {
                wanted.append(argument);
            }
        }
        Ok(wanted)
    }
}

impl Machine {
    /// The same image once more, with other kernel arguments.
    pub(super) fn again(
        &self,
        writer: &pleach_deployment::Writer<'_>,
        current: &pleach_deployment::Deployment,
        arguments: &dyn Fn(&OwnedArguments, &OwnedArguments) -> OwnedArguments,
    ) -> Result<super::Committed> {
        let origin = current
            .origin
            .clone()
            .context("the deployment does not say which image it is of")?;
        let options = DeployOptions::new(&current.stateroot, current.checksum.clone(), origin);
        let record = self.sysroot.record(current)?.unwrap_or_default();
        let next = Next {
            options,
            arguments,
            record,
        };
        self.advance(writer, Some(current), next)
    }
}

fn shown(arguments: &OwnedArguments) -> String {
    let mut out = String::new();
    let mut list = |owner: &str, of: &pleach_deployment::KernelArguments| {
        for argument in of.iter() {
            out.push_str(&format!("{owner:<14} {argument}\n"));
        }
    };
    let mut image = arguments.image.clone();
    for removed in arguments.removed.iter() {
        image.remove_first(removed);
    }
    list("image", &image);
    list("customization", &arguments.customization);
    list("machine", &arguments.machine);
    list("image, removed", &arguments.removed);
    out
}
