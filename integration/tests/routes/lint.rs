//! What `pleach lint` says of real images: the base, its variants, and each document derived onto it.
//! Nothing but what is in the table, each with why it is true; and all of that.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pleach_integration::setting::Setting;
use serde_json::Value;

use crate::{text, with};

/// What is found: a rule, or what a piece of evidence speaks for; its path; and why it is true.
type Row = (&'static str, &'static str, &'static str);

/// An image, what it is, and what is found in it.
struct Image {
    name: &'static str,
    class: &'static str,
    rows: &'static [Row],
}

/// In every image: what the base has.
const BASE: &[Row] = &[
    (
        "generic",
        "/usr/lib/dracut/modules.d/30ignition",
        "Ignition is in the initramfs, and waits to be asked",
    ),
    (
        "baseimage-composefs",
        "/usr/lib/ostree/prepare-root.conf",
        "Debian builds ostree without it",
    ),
    (
        "dangling-link",
        "/etc/vconsole.conf",
        "Debian's systemd brings the link, and keyboard-configuration, which has the file, is not there",
    ),
    (
        "sysusers",
        "/etc/group",
        "openssh-client makes the group _ssh by a script, and declares it nowhere",
    ),
];

const UNIT: &str = "the document enables a unit of its own";
const NAME: &str = "the document gives a name";
const PERSON: &str = "the document has a person";
const KEY: &str = "who has a key, which tmpfiles.d copies to its place";
const POSTGRES: &str = "it is owned by postgres, who has the number that was free in the build";
const SNAKEOIL: &str = "it is owned by ssl-cert, which has the number that was free in the build";

/// The variants.
const VARIANTS: &[Image] = &[
    Image {
        name: "base",
        class: "final hint, generic likely",
        rows: &[],
    },
    Image {
        name: "cloud-init",
        class: "final hint, generic likely",
        rows: &[
            (
                "generic",
                "/usr/bin/cloud-init",
                "it is what the variant is for",
            ),
            (
                "sysusers",
                "/etc/passwd",
                "dhcpcd-base makes its user by a script",
            ),
        ],
    },
    Image {
        name: "kiosk",
        class: "final hint, generic likely",
        rows: &[],
    },
    Image {
        name: "podman",
        class: "final hint, generic likely",
        rows: &[],
    },
    Image {
        name: "postgres",
        class: "final hint, generic likely",
        rows: &[
            (
                "sysusers",
                "/etc/passwd",
                "postgresql-common makes its user by a script",
            ),
            (
                "private-key",
                "/etc/ssl/private/ssl-cert-snakeoil.key",
                "ssl-cert makes a key when it is installed: every machine of this image has the same",
            ),
            ("etc-uid-drift", "/etc/postgresql", POSTGRES),
            ("etc-uid-drift", "/etc/postgresql/17", POSTGRES),
            ("etc-uid-drift", "/etc/postgresql/17/main", POSTGRES),
            ("etc-uid-drift", "/etc/postgresql/17/main/conf.d", POSTGRES),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/environment",
                POSTGRES,
            ),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/pg_ctl.conf",
                POSTGRES,
            ),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/pg_hba.conf",
                POSTGRES,
            ),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/pg_ident.conf",
                POSTGRES,
            ),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/postgresql.conf",
                POSTGRES,
            ),
            (
                "etc-uid-drift",
                "/etc/postgresql/17/main/start.conf",
                POSTGRES,
            ),
            ("etc-uid-drift", "/etc/ssl/private", SNAKEOIL),
            (
                "etc-uid-drift",
                "/etc/ssl/private/ssl-cert-snakeoil.key",
                SNAKEOIL,
            ),
        ],
    },
];

/// The documents, derived onto the base.
const DERIVED: &[Image] = &[
    Image {
        name: "drone",
        class: "final likely, specific likely",
        rows: &[
            ("final", "/etc/systemd/system/drone-control.service", UNIT),
            (
                "specific",
                "/etc/systemd/system/drone-control.service",
                UNIT,
            ),
        ],
    },
    Image {
        name: "every",
        class: "final likely, specific likely",
        rows: &[
            ("specific", "/etc/hostname", NAME),
            ("final", "/etc/systemd/system/every-count.service", UNIT),
            ("specific", "/etc/systemd/system/every-count.service", UNIT),
            ("final", "/etc/systemd/system/every-timer.timer", UNIT),
            ("specific", "/etc/systemd/system/every-timer.timer", UNIT),
            (
                "final",
                "/etc/systemd/system/multi-user.target.wants/every-said@one.service",
                UNIT,
            ),
            (
                "specific",
                "/etc/systemd/system/multi-user.target.wants/every-said@one.service",
                UNIT,
            ),
        ],
    },
    Image {
        name: "fips",
        class: "final hint, generic likely",
        rows: &[],
    },
    Image {
        name: "generic-final",
        class: "final likely, specific certain",
        rows: &[
            ("specific", "/etc/hostname", NAME),
            ("final", "/etc/systemd/system/introduce.service", UNIT),
            ("specific", "/etc/systemd/system/introduce.service", UNIT),
            ("specific", "/usr/lib/sysusers.d/50-pleach.conf", PERSON),
            (
                "specific",
                "/usr/share/factory/var/home/core/.ssh/authorized_keys",
                KEY,
            ),
        ],
    },
    Image {
        name: "kiosk",
        class: "final likely, specific likely",
        rows: &[
            ("final", "/etc/systemd/system/kiosk.service", UNIT),
            ("specific", "/etc/systemd/system/kiosk.service", UNIT),
        ],
    },
    Image {
        name: "postgres",
        class: "final likely, specific likely",
        rows: &[
            ("final", "/etc/systemd/system/site-postgres.service", UNIT),
            (
                "specific",
                "/etc/systemd/system/site-postgres.service",
                UNIT,
            ),
        ],
    },
    Image {
        name: "quadlet",
        class: "final likely, specific certain",
        rows: &[
            (
                "final",
                "/etc/containers/systemd/hello.container",
                "the document has a quadlet",
            ),
            (
                "specific",
                "/etc/containers/systemd/hello.container",
                "the document has a quadlet",
            ),
        ],
    },
    Image {
        name: "site",
        class: "final likely, specific certain",
        rows: &[
            ("specific", "/etc/hostname", NAME),
            ("final", "/etc/systemd/system/site-hello.service", UNIT),
            ("specific", "/etc/systemd/system/site-hello.service", UNIT),
            ("specific", "/usr/lib/sysusers.d/50-pleach.conf", PERSON),
            (
                "specific",
                "/usr/share/factory/var/home/alice/.ssh/authorized_keys",
                KEY,
            ),
        ],
    },
    Image {
        name: "site-units",
        class: "final likely, specific likely",
        rows: &[
            (
                "final",
                "/usr/lib/systemd/system/ssh.socket",
                "the document's preset enables it, and the image's does not",
            ),
            (
                "specific",
                "/usr/lib/systemd/system/ssh.socket",
                "the document's preset enables it, and the image's does not",
            ),
        ],
    },
];

fn judged(
    setting: &Setting,
    image: &str,
    base: &str,
) -> Result<(String, BTreeSet<(String, String)>)> {
    let cache = setting.output.join("routes/lint-cache");
    let cache = format!("--cache={}", cache.display());
    let answer = setting.pleach(&["lint", image, "--base", base, &cache, "--format=json"])?;
    ensure!(matches!(answer.code, Some(0 | 1)), "{image}: {answer:?}");
    let report: Value = serde_json::from_str(&answer.stdout)?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let class = format!(
        "{} {}, {} {}",
        word(&report["role"]),
        word(&report["role_certainty"]),
        word(&report["scope"]),
        word(&report["scope_certainty"])
    );
    let mut found = BTreeSet::new();
    for (list, name) in [("evidence", "speaks_for"), ("findings", "rule")] {
        for item in report[list].as_array().context(list)? {
            let layer = &item["layer"];
            ensure!(
                layer.is_u64() || item["path"] == "/",
                "{image}: no layer: {item}"
            );
            found.insert((word(&item[name]), word(&item["path"])));
        }
    }
    ensure!(
        report["unread"] == Value::Array(Vec::new()),
        "{image}: {}",
        report["unread"]
    );
    Ok((class, found))
}

/// Holds an image to its rows and those of the base.
fn held(setting: &Setting, image: &Image, reference: &str) -> Result<String> {
    let (class, found) = judged(setting, reference, &setting.base)?;
    let rows = image.rows.iter().chain(BASE);
    let known: BTreeSet<(String, String)> = rows
        .map(|(what, path, why)| {
            assert!(!why.is_empty(), "{what} {path}");
            ((*what).to_owned(), (*path).to_owned())
        })
        .collect();
    let mut out = String::new();
    if class != image.class {
        out += &format!("  it is {class}, not {}\n", image.class);
    }
    for (what, path) in found.difference(&known) {
        out += &format!("  without a reason: {what} {path}\n");
    }
    for (what, path) in known.difference(&found) {
        out += &format!("  not found: {what} {path}\n");
    }
    Ok(match out.is_empty() {
        true => out,
        false => format!("{}:\n{out}", image.name),
    })
}

#[test]
fn nothing_is_found_in_real_images_but_what_is_true() {
    with("lint", |setting, folder| {
        let mut wrong = String::new();
        let all = std::env::var("PLEACH_CASES").is_ok_and(|cases| cases == "all");
        for image in VARIANTS {
            let reference = match image.name {
                "base" => setting.base.clone(),
                name if all || name == "cloud-init" => Setting::variant(name, "v1")?,
                _ => continue,
            };
            wrong += &held(setting, image, &reference)?;
        }
        let documents = documents()?;
        let known: BTreeSet<&str> = DERIVED.iter().map(|image| image.name).collect();
        let there: BTreeSet<&str> = documents.iter().map(String::as_str).collect();
        ensure!(known == there, "rows {known:?}, documents {there:?}");
        for image in DERIVED {
            let reference = derived(setting, folder, image.name)?;
            wrong += &held(setting, image, &reference)?;
        }
        ensure!(wrong.is_empty(), "{wrong}");
        Ok(())
    });
}

/// The names of the documents.
fn documents() -> Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(Setting::customizations())? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        out.extend(name.strip_suffix(".bu").map(str::to_owned));
    }
    Ok(out)
}

/// What a layer can hold of a document, on the base.
fn derived(setting: &Setting, folder: &Path, name: &str) -> Result<String> {
    let config = Setting::customizations().join(format!("{name}.bu"));
    let output = format!("oci:{}:{name}", folder.join("derived").display());
    let rest = folder.join(format!("{name}.ign"));
    setting.done(&[
        "derive",
        "--base",
        &setting.base,
        "--config",
        text(&config),
        "--output",
        &output,
        "--allow-remainder",
        "--remainder",
        text(&rest),
    ])?;
    Ok(output)
}
