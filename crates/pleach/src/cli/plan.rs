//! `pleach plan`: what each route makes of each item of a document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use pleach_customization::{Customization, Placement, Route, Verdict, placement, split};
use schemars::JsonSchema;
use serde::Serialize;

use super::config::Document;
use super::exit::End;
use super::output::{self, Format};
use super::verdicts::Reasons;

/// What changes only with the meaning of what is printed as JSON.
const FORMAT_VERSION: u32 = 1;

/// Say what each route makes of each item of a document: carried, carried differently, or refused.
///
/// It knows the document alone, not an image. Exit code 1: there is an item that none of the routes
/// carries.
#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    document: Document,
    /// The routes to ask; all by default.
    #[arg(long = "route", value_name = "ROUTE", value_delimiter = ',')]
    routes: Vec<Route>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Plan {
    pub(crate) fn run(&self) -> Result<End> {
        let customization = self.document.read()?;
        let chosen = |route: &Route| self.routes.is_empty() || self.routes.contains(route);
        let routes: Vec<Route> = Route::ALL.into_iter().filter(chosen).collect();
        let table = Table::new(&customization, &routes);
        match self.format {
            Format::Human => output::print(&table.to_text(&routes))?,
            Format::Json => output::print(&(serde_json::to_string_pretty(&table)? + "\n"))?,
        }
        let refused = |said: &Said| said.verdict == Word::Refused;
        match (table.items.iter()).any(|item| item.routes.values().all(refused)) {
            true => Ok(End::Differs),
            false => Ok(End::Fine),
        }
    }
}

/// The schema of what is printed as JSON.
#[allow(dead_code, reason = "of the two programs pleach-deploy prints it")]
pub(crate) fn schema() -> schemars::Schema {
    schemars::schema_for!(Table)
}

/// What `pleach plan --format json` prints.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "pleach plan")]
struct Table {
    /// Changes with the meaning of anything here, not with additions.
    format_version: u32,
    /// `sha256:` and hex digits of the document's text.
    digest: String,
    /// Every item of the document, in its order.
    items: Vec<Row>,
    /// For each route, how many items `split` would leave to Ignition: what is refused, with what
    /// belongs to it.
    left: BTreeMap<&'static str, usize>,
}

/// An item of the document.
#[derive(Serialize, JsonSchema)]
struct Row {
    /// In words: `file /etc/motd`.
    item: String,
    file: String,
    line: usize,
    column: usize,
    /// Where in the document: `$.storage.files.0`.
    path: String,
    /// By the route's name.
    routes: BTreeMap<&'static str, Said>,
}

#[derive(Serialize, JsonSchema)]
struct Said {
    #[serde(skip)]
    said: Verdict,
    verdict: Word,
    /// Of what is carried differently: what is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    /// Of what is not just carried.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// Of what is refused: what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Carried,
    CarriedDifferently,
    Refused,
}

impl Said {
    fn new(said: Verdict) -> Self {
        let (verdict, how, why, instead) = match said {
            Verdict::Carried => (Word::Carried, None, None, None),
            Verdict::CarriedDifferently { how, why } => {
                (Word::CarriedDifferently, Some(how), Some(why), None)
            }
            Verdict::Refused { why, instead } => (Word::Refused, None, Some(why), Some(instead)),
        };
        Self {
            said,
            verdict,
            how,
            why,
            instead,
        }
    }
}

impl Table {
    fn new(customization: &Customization, routes: &[Route]) -> Self {
        let mut items: Vec<Row> = Vec::new();
        let mut left = BTreeMap::new();
        for &route in routes {
            let placements = placement(customization, route);
            if items.is_empty() {
                items = placements.iter().map(Row::new).collect();
            }
            for (row, placement) in items.iter_mut().zip(placements) {
                row.routes
                    .insert(route.as_str(), Said::new(placement.verdict));
            }
            left.insert(
                route.as_str(),
                split(customization, route).refusals().count(),
            );
        }
        Self {
            format_version: FORMAT_VERSION,
            digest: customization.digest.clone(),
            items,
            left,
        }
    }

    /// A line an item with a letter a route, and each reason once below.
    fn to_text(&self, routes: &[Route]) -> String {
        let mut reasons = Reasons::default();
        let rows = self.items.iter();
        let cells: Vec<Vec<String>> = rows
            .map(|item| {
                let said = routes.iter().map(|route| &item.routes[route.as_str()]);
                said.map(|said| reasons.cell(said.said)).collect()
            })
            .collect();
        let head: Vec<String> = routes.iter().map(Route::to_string).collect();
        let count = |route: &Route| match self.left[route.as_str()] {
            0 => "-".to_owned(),
            left => left.to_string(),
        };
        let foot: Vec<String> = routes.iter().map(count).collect();
        let names = self.items.iter().map(|item| &*item.item);
        let first = names.clone().chain([LEFT]).map(width).max().unwrap_or(0);
        let widths: Vec<usize> = (0..routes.len())
            .map(|column| {
                let cells = cells.iter().map(|row| &row[column]);
                cells
                    .chain([&head[column], &foot[column]])
                    .map(|cell| width(cell))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        let mut line = |name: &str, row: &[String]| {
            let mut text = format!("{name}{}", " ".repeat(first - width(name)));
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a string cannot fail.
                let _ = write!(text, "  {cell:width$}");
            }
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line("", &head);
        for (name, row) in names.zip(&cells) {
            line(name, row);
        }
        line(LEFT, &foot);
        for (index, reason) in reasons.iter().enumerate() {
            let gap = if index == 0 { "\n" } else { "" };
            let _ = writeln!(out, "{gap}{:3}  {reason}", index + 1);
        }
        out
    }
}

/// The last line's name.
const LEFT: &str = "left to Ignition by split";

fn width(text: &str) -> usize {
    text.chars().count()
}

impl Row {
    fn new(placement: &Placement) -> Self {
        let origin = &placement.origin;
        Self {
            item: placement.item.clone(),
            file: origin.file.to_string(),
            line: origin.line,
            column: origin.column,
            path: origin.path.to_string(),
            routes: BTreeMap::new(),
        }
    }
}
