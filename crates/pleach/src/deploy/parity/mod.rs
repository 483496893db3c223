//! `pleach parity`: one customization by several routes, and whether it comes to the same.

mod checks;
mod earlier;
mod facts;
mod first;
mod format;
mod halves;
mod matrix;
mod merge;
mod moments;
mod routes;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use pleach_parity::{FORMAT_VERSION, Moment, Report, Route};

use self::format::{ParityFormat, print_report};
use self::moments::Timeline;
use self::routes::Work;
use crate::boot::BootOptions;
use crate::cli::config::Document;
use crate::cli::derive::Placing;
use crate::cli::exit::End;
use crate::cli::fetch::Source;
use crate::cli::image;
use crate::cli::output;
use crate::files;

/// `pleach parity` with options, or one of the verbs below it. By hand, since clap cannot derive
/// options that are required only where no verb is.
pub(crate) enum Parity {
    Once(Box<Once>),
    More(More),
}

#[derive(Subcommand)]
pub(crate) enum More {
    Matrix(Box<matrix::MatrixVerb>),
    Merge(merge::Merge),
}

impl Parity {
    pub(crate) fn run(&self) -> Result<End> {
        match self {
            Self::Once(once) => once.run(),
            Self::More(More::Matrix(verb)) => verb.run(),
            Self::More(More::Merge(verb)) => verb.run(),
        }
    }
}

impl FromArgMatches for Parity {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(match matches.subcommand_name() {
            Some(_) => Self::More(More::from_arg_matches(matches)?),
            None => Self::Once(Box::new(Once::from_arg_matches(matches)?)),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Parity {
    fn augment_args(command: Command) -> Command {
        More::augment_subcommands(Once::augment_args(command))
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Bring one customization onto a base image by several routes and compare what comes of it.
///
/// Without --boot the composed deployments are compared, which takes seconds and needs no machine.
/// With it every route is booted and the booted state compared; the base image is booted twice
/// besides, to learn what is noise (the A/A control) and what fails without any customization. A
/// --check has to pass on every route, and to fail on the base image.
#[derive(Args)]
pub(crate) struct Once {
    /// The base image.
    #[arg(long, value_name = "IMAGE")]
    base: String,
    #[command(flatten)]
    document: Document,
    /// The routes to compare: derive, etc, split, ignition, cloud-init, credentials. `split` derives
    /// what a layer can hold and injects the rest into /etc and /var; it publishes nothing.
    #[arg(long, value_delimiter = ',', default_value = "derive,etc,ignition")]
    routes: Vec<Route>,
    /// When to compare: t0 first boot, t1 after an upgrade, t2 after a rollback from it, t3 after the
    /// customization was withdrawn. Later than t0 needs --upgrade.
    #[arg(long, value_delimiter = ',', default_value = "t0")]
    at: Vec<Moment>,
    /// The base image that an upgrade brings; of derived images, that one with the document derived into
    /// it.
    #[arg(long, value_name = "IMAGE")]
    upgrade: Option<String>,
    /// Boot them.
    #[arg(long)]
    boot: bool,
    /// The output of an earlier run with the same base image on the same machine: its two boots of the
    /// base image are the control, and the base image is not booted again.
    #[arg(long, value_name = "DIR", requires = "boot")]
    control: Option<PathBuf>,
    #[command(flatten)]
    placing: Placing,
    #[command(flatten)]
    booting: BootOptions,
    #[command(flatten)]
    source: Source,
    /// Where the routes' disks, consoles, journals, captures and the report are kept; replaced if it is
    /// there.
    #[arg(long, value_name = "DIR", default_value = "pleach-parity")]
    output: PathBuf,
    /// Keep each disk as its machine left it, and not only those of machines that failed.
    #[arg(long, requires = "boot")]
    keep_disks: bool,
    #[arg(long, value_enum, default_value_t)]
    format: ParityFormat,
}

impl Once {
    fn shown_moments(&self) -> String {
        let all: Vec<_> = self.at.iter().map(|moment| moment.as_str()).collect();
        all.join(",")
    }

    fn run(&self) -> Result<End> {
        let mut routes = self.routes.clone();
        routes.sort();
        routes.dedup();
        if routes.len() < 2 {
            let all = Route::CUSTOMIZED.map(Route::as_str).join(", ");
            bail!("--routes needs at least two of {all}");
        }
        let composed = routes.iter().filter(|route| route.is_composed()).count();
        if !self.boot && composed < 2 {
            bail!("without --boot only derive, etc and split can be compared; add --boot");
        }
        let later = self.at.iter().any(|moment| *moment > Moment::First);
        if later && self.upgrade.is_none() {
            bail!(
                "--at {} needs --upgrade, the image that the upgrade brings",
                self.shown_moments()
            );
        }
        if later && routes.contains(&Route::Split) {
            bail!(
                "split is compared after the first boot only: nothing upgrades its two halves together"
            );
        }
        image::require_root("parity")?;
        let mut moments = self.at.clone();
        moments.sort();
        moments.dedup();
        let open = |name| image::open(name, &self.source);
        let time = Timeline {
            moments,
            upgrade: self.upgrade.as_deref().map(open).transpose()?,
            document: self.document.config.clone(),
        };
        let work = Work::prepare(
            &self.base,
            &self.document,
            &self.placing,
            &self.source,
            &self.output,
            &routes,
            time,
        )?;
        let found = if self.boot {
            work.booted(&self.booting, self.control.as_deref(), self.keep_disks)?
        } else {
            work.composed()?
        };
        let report = Report {
            format_version: FORMAT_VERSION,
            subject: found.subject,
            control: found.control,
            verdicts: found.verdicts,
            not_compared: found.not_compared,
        };
        files::write(
            &self.output.join("report.json"),
            report.to_json().as_bytes(),
        )?;
        files::write(
            &self.output.join("report.txt"),
            report.to_string().as_bytes(),
        )?;
        print_report(&report, &found.failed_checks, self.format)?;
        for failure in &found.failed_checks {
            output::step(failure);
        }
        Ok(if report.is_equal() && found.failed_checks.is_empty() {
            End::Fine
        } else {
            End::Differs
        })
    }
}
