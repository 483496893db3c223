//! Which route can carry what.
//!
//! The rules are about where a system of this kind keeps what: `/usr` belongs to the image and is
//! read-only on the machine, `/var` belongs to the machine and is filled from an image only when it is
//! installed, `/etc` belongs to both.

use crate::model::{Customization, Origin};

/// A way into a booted system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// A layer on top of the image.
    Derive,
    /// Direct writes into a deployment's `/etc` and the stateroot's `/var`.
    Etc,
    /// Ignition at first boot.
    Ignition,
}

/// Whether a route carries an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As the document says it.
    Carried,
    /// With the same effect by another way.
    CarriedDifferently {
        /// What is done instead.
        how: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Not at all.
    Refused {
        /// Why.
        why: &'static str,
        /// What to do.
        instead: &'static str,
    },
}

/// What a route makes of one item of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Placement {
    /// The item, in words: `file /etc/motd`.
    pub item: String,
    /// Where it was asked for.
    pub origin: Origin,
    /// Whether the route carries it.
    pub verdict: Verdict,
}

impl Placement {
    /// Whether it is carried just as the document says it.
    pub fn is_carried(&self) -> bool {
        self.verdict == Verdict::Carried
    }

    /// Why it is refused and what to do instead, if it is.
    pub fn refused(&self) -> Option<(&'static str, &'static str)> {
        match self.verdict {
            Verdict::Refused { why, instead } => Some((why, instead)),
            _ => None,
        }
    }
}

/// One item that a route cannot carry, with what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {item}: {why}; {instead}")]
pub struct Refusal {
    /// Where it was asked for.
    pub origin: Origin,
    /// The item, in words: `file /usr/bin/x`.
    pub item: String,
    /// Why not.
    pub why: &'static str,
    /// What to do instead.
    pub instead: &'static str,
}

/// Everything that a route cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refused(pub Vec<Refusal>);

/// The items that `route` carries in another way than the document says.
///
/// # Errors
/// When there are items that it cannot carry at all: all of them.
pub fn carried(customization: &Customization, route: Route) -> Result<Vec<Placement>, Refused> {
    let placements = placement(customization, route);
    let refusal = |placement: &Placement| {
        let (why, instead) = placement.refused()?;
        let (origin, item) = (placement.origin.clone(), placement.item.clone());
        Some(Refusal {
            origin,
            item,
            why,
            instead,
        })
    };
    let refused: Vec<_> = placements.iter().filter_map(refusal).collect();
    match refused.is_empty() {
        true => Ok(placements.into_iter().filter(|p| !p.is_carried()).collect()),
        false => Err(Refused(refused)),
    }
}

/// What the caller takes upon itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlacementOptions {
    /// Password hashes may go into a layer, where everybody who pulls the image can read them.
    pub allow_password_hashes_in_image: bool,
}

/// What `route` makes of every item of the document, in the model's order, with nothing allowed that
/// [`PlacementOptions`] could allow.
pub fn placement(customization: &Customization, route: Route) -> Vec<Placement> {
    placement_with(customization, route, &PlacementOptions::default())
}

/// As [`placement`], with the caller's own choices.
pub fn placement_with(
    customization: &Customization,
    route: Route,
    options: &PlacementOptions,
) -> Vec<Placement> {
    let c = customization;
    let mut out = Vec::new();
    let mut place = |item: String, origin: &Origin, verdict| {
        out.push(Placement {
            item,
            origin: origin.clone(),
            verdict,
        });
    };
    for directory in &c.directories {
        place(
            format!("directory {}", directory.path),
            &directory.origin,
            path(&directory.path, route),
        );
    }
    for file in &c.files {
        let verdict = match path(&file.path, route) {
            // Owner and mode are set in an order that not every version of Ignition has right.
            Verdict::Carried
                if route == Route::Ignition && file.mode.is_some_and(|mode| mode & 0o6000 != 0) =>
            {
                Verdict::Refused {
                    why: "Ignition does not reliably set setuid and setgid bits of files",
                    instead: "derive it",
                }
            }
            verdict => verdict,
        };
        place(format!("file {}", file.path), &file.origin, verdict);
    }
    for link in &c.links {
        let what = if link.hard == Some(true) {
            "hard link"
        } else {
            "link"
        };
        place(
            format!("{what} {}", link.path),
            &link.origin,
            link_verdict(link, route),
        );
    }
    for unit in &c.units {
        let verdict = match (route, unit.enabled) {
            (Route::Ignition, Some(true)) => Verdict::CarriedDifferently {
                how: "as a preset, which the first boot applies",
                why: "Ignition makes no links for units that it enables",
            },
            _ => Verdict::Carried,
        };
        place(format!("unit {}", unit.name), &unit.origin, verdict);
    }
    for group in &c.groups {
        place(
            format!("group {}", group.name),
            &group.origin,
            account(group.should_exist != Some(false), route),
        );
        if group.password_hash.is_some() {
            place(
                format!("password of group {}", group.name),
                &group.origin,
                password(route, options),
            );
        }
    }
    for user in &c.users {
        place(
            format!("user {}", user.name),
            &user.origin,
            account(user.should_exist != Some(false), route),
        );
        if user
            .password_hash
            .as_ref()
            .is_some_and(|hash| !hash.expose().is_empty())
        {
            place(
                format!("password of user {}", user.name),
                &user.origin,
                password(route, options),
            );
        }
    }
    for argument in &c.kernel_arguments.should_exist {
        let verdict = match route {
            Route::Derive => Verdict::CarriedDifferently {
                how: "as a file in /usr/lib/bootc/kargs.d",
                why: "an image has no boot entry of its own",
            },
            Route::Etc => BOOT_ENTRY,
            Route::Ignition => Verdict::Carried,
        };
        place(
            format!("kernel argument {}", argument.value),
            &argument.origin,
            verdict,
        );
    }
    for argument in &c.kernel_arguments.should_not_exist {
        let verdict = match route {
            Route::Derive => Verdict::Refused {
                why: "kargs.d adds arguments and removes none",
                instead: "derive from an image without the argument, or remove it by injection",
            },
            Route::Etc => BOOT_ENTRY,
            Route::Ignition => Verdict::Carried,
        };
        place(
            format!("removal of kernel argument {}", argument.value),
            &argument.origin,
            verdict,
        );
    }
    out
}

const BOOT_ENTRY: Verdict = Verdict::CarriedDifferently {
    how: "in the deployment's boot entry",
    why: "kernel arguments are no files of /etc",
};

/// Who keeps a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// Made anew at each boot.
    Boot,
    /// The deployment's own files.
    Deployment,
    /// The image's copy of `/etc`.
    EtcDefaults,
    /// What makes one machine different from every other.
    Identity,
    /// Image and machine.
    Etc,
    /// The machine.
    Var,
    /// The image.
    Image,
}

/// Prefixes and who keeps what is below them; the first that fits counts.
const KEEPERS: &[(&str, Keeper)] = &[
    ("/run", Keeper::Boot),
    ("/var/run", Keeper::Boot),
    ("/tmp", Keeper::Boot),
    ("/proc", Keeper::Boot),
    ("/sys", Keeper::Boot),
    ("/dev", Keeper::Boot),
    ("/boot", Keeper::Deployment),
    ("/efi", Keeper::Deployment),
    ("/sysroot", Keeper::Deployment),
    ("/ostree", Keeper::Deployment),
    ("/usr/etc", Keeper::EtcDefaults),
    ("/etc/machine-id", Keeper::Identity),
    ("/etc", Keeper::Etc),
    ("/var", Keeper::Var),
    ("/usr/local", Keeper::Var),
    ("/home", Keeper::Var),
    ("/root", Keeper::Var),
    ("/opt", Keeper::Var),
    ("/srv", Keeper::Var),
    ("/mnt", Keeper::Var),
];

fn keeper(path: &str) -> Keeper {
    let below = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    KEEPERS
        .iter()
        .find(|(prefix, _)| below(prefix))
        .map_or(Keeper::Image, |(_, keeper)| *keeper)
}

fn path(path: &str, route: Route) -> Verdict {
    match (keeper(path), route) {
        (Keeper::Boot, _) => Verdict::Refused {
            why: "it is made anew at each boot, and what is written there is lost",
            instead: "write a tmpfiles.d file or a unit that makes it",
        },
        (Keeper::Deployment, _) => Verdict::Refused {
            why: "it belongs to the boot loader and the deployments",
            instead: "use kernel_arguments, or the boot loader's own tools",
        },
        (Keeper::EtcDefaults, _) => Verdict::Refused {
            why: "it is the image's copy of /etc, which deploying makes",
            instead: "write to /etc",
        },
        (Keeper::Identity, Route::Derive) => Verdict::Refused {
            why: "every machine with the image would be the same machine",
            instead: "inject it, or leave it to the first boot",
        },
        (Keeper::Etc | Keeper::Identity, _) => Verdict::Carried,
        (Keeper::Var, Route::Derive) => Verdict::CarriedDifferently {
            how: "made at boot by tmpfiles.d",
            why: "/var of an image reaches new installations only",
        },
        (Keeper::Var, _) => Verdict::Carried,
        (Keeper::Image, Route::Derive) => Verdict::Carried,
        (Keeper::Image, _) => Verdict::Refused {
            why: "it belongs to the image and is read-only on the machine",
            instead: "derive it, or use a place in /etc, /var or /usr/local",
        },
    }
}

fn link_verdict(link: &crate::model::Link, route: Route) -> Verdict {
    let verdict = path(&link.path, route);
    if link.hard != Some(true) || matches!(verdict, Verdict::Refused { .. }) {
        return verdict;
    }
    if keeper(&link.path) != keeper(&link.target) {
        return Verdict::Refused {
            why: "a hard link cannot lead from one of /etc, /usr and /var into another",
            instead: "make it a symbolic link",
        };
    }
    if route == Route::Derive && keeper(&link.path) == Keeper::Var {
        return Verdict::Refused {
            why: "tmpfiles.d makes no hard links",
            instead: "make it a symbolic link",
        };
    }
    verdict
}

fn account(should_exist: bool, route: Route) -> Verdict {
    match route {
        Route::Derive if should_exist => Verdict::CarriedDifferently {
            how: "by sysusers.d, with home and keys by tmpfiles.d",
            why: "a machine that changed /etc/passwd keeps its own and never sees the image's",
        },
        Route::Derive => Verdict::Refused {
            why: "sysusers.d removes no accounts",
            instead: "remove it by injection, or when the base image is built",
        },
        Route::Etc | Route::Ignition => Verdict::Carried,
    }
}

fn password(route: Route, options: &PlacementOptions) -> Verdict {
    match route {
        Route::Derive if !options.allow_password_hashes_in_image => Verdict::Refused {
            why: "everybody who pulls the image could read it",
            instead: "inject it",
        },
        Route::Derive => Verdict::CarriedDifferently {
            how: "in the image's /etc/shadow or /etc/gshadow",
            why: "sysusers.d has no passwords",
        },
        Route::Etc | Route::Ignition => Verdict::Carried,
    }
}
