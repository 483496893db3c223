//! The placement policy as a page of the documentation.

use pleach_customization::{BONDS, KEEPERS, Place, ROUTES, Route, Subject, rules};

use crate::cli::verdicts::Reasons;

const HEAD: &str = "# What each route carries

Made by `cargo xtask codegen` from the tables in `crates/customization/src/placement`.

`pleach plan --config site.bu` says it of the items of a document. *yes*: carried as the document says it. *other*: carried with the same effect by another way. *no*: refused; the reason says what to do instead. `--allow-remainder` and `pleach split` leave what is refused to Ignition at first boot.

";

/// The whole policy, as Markdown.
pub(crate) fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("## The routes\n\n| route | when it acts | source |\n|---|---|---|\n");
    for (route, when, source) in ROUTES {
        out.push_str(&format!("| {route} | {when} | {source} |\n"));
    }
    let mut reasons = Reasons::default();
    let names: Vec<&str> = Route::ALL.iter().map(|route| route.as_str()).collect();
    let columns = format!(
        "{} | source |\n|---{}|---|\n",
        names.join(" | "),
        "|---".repeat(names.len())
    );
    out.push_str(&format!("\n## The items\n\nA file is held to every line that fits it: its path, its owner, its bits, its contents.\n\n| item | {columns}"));
    for rule in rules() {
        let cells = Route::ALL.map(|route| reasons.cell(rule.verdicts.of(route)));
        let places = match rule.subject {
            Subject::Path(keeper) => {
                let places = KEEPERS.iter().filter(|(_, by)| *by == keeper);
                let places: Vec<String> = places.map(|(place, _)| shown(*place)).collect();
                match places.is_empty() {
                    true => String::new(),
                    false => format!(": {}", places.join(", ")),
                }
            }
            _ => String::new(),
        };
        out.push_str(&format!(
            "| {}{places} | {} | {} |\n",
            rule.what,
            cells.join(" | "),
            rule.sources
        ));
    }
    out.push_str("\nThe first place that fits a path counts.\n\n");
    for (index, reason) in reasons.iter().enumerate() {
        out.push_str(&format!("{}. {reason}\n", index + 1));
    }
    out.push_str("\n## What stays together\n\nSome items are nothing alone. Where a document is divided, these go to one side, and what only follows says so:\n\n");
    for (_, what, _) in BONDS {
        out.push_str(&format!("- {what}\n"));
    }
    out.push_str(SECRETS);
    out.push_str(UNITS);
    out
}

fn shown(place: Place) -> String {
    match place {
        Place::Below(path) => format!("`{path}`"),
        Place::Begins(path) => format!("`{path}*`"),
    }
}

const SECRETS: &str = "
## What is secret

Everybody who pulls an image reads its layers, whatever mode a file has on the machine. So derive refuses password hashes, SSH host keys, private keys in their armour (PEM, OpenSSH, OpenPGP), and contents that only the owner of a file may read: a `mode` without a bit for group and others, such as 0600. `pleach split` and `--allow-remainder` leave them to Ignition. Where such a file holds no secret (a part of sshd's configuration has 0600 on some systems), `--publish PATH` says so, for each file. What a group may read is taken for configuration; the mode of a directory says nothing about what is in it.

What a route writes for one machine is its owner's alone from the moment it is there; passwords, keys of volumes, headers and passwords of fetches are in no message, plan or report.
";

const UNITS: &str = "
## Where derived units are

`--units-in etc`, the default, puts unit files, drop-ins and presets of a document where every other route puts them, so that an image and an injection differ in nothing: a machine may change them, and then keeps its change when the image brings a new one. `--units-in usr` puts them into `/usr/lib/systemd`, as packages do: they are the image's, follow it, and are read-only on the machine; what `/etc` of the base has under the same name is removed, since it would hide them.

Links that enable, disable and mask are in `/etc/systemd/system` in either case, as `RUN systemctl enable` makes them. Presets alone would not do, for they are applied at a machine's first boot only, and a unit that an update brings would never start. Links in `/usr/lib/systemd/system/*.wants` would start a unit that systemctl(1) calls disabled and that no machine could disable. The preset is written besides, so that `systemctl preset-all` at a first boot comes to the same.
";
