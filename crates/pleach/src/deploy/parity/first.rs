//! What a machine is given by the routes that act when it boots.

use anyhow::{Context as _, Result, bail};
use pleach_customization::Customization;
use pleach_fs_tree::TreePath;
use pleach_inject::{CloudInitOptions, nocloud_disk, to_cloud_init, to_credentials, to_ignition};
use pleach_parity::Route;
use pleach_vm::Credential;

use crate::cli::image::Merged;
use crate::first_boot::FirstBoot;

/// Programs without which a route does nothing, where the image's tree shows them. Ignition is in the
/// initramfs.
const TOOLS: [(Route, &str); 2] = [
    (Route::CloudInit, "/usr/bin/cloud-init"),
    (Route::Credentials, "/usr/bin/systemd-tmpfiles"),
];

/// The first boot by a route; an empty one where everything is on the disk.
///
/// # Errors
/// What the route cannot carry, and a tool that the image lacks.
pub(super) fn first_boot(
    route: Route,
    customization: &Customization,
    image: &Merged,
) -> Result<FirstBoot> {
    if let Some((_, tool)) = TOOLS.iter().find(|(needs, _)| *needs == route) {
        let found = image.tree().resolve(&TreePath::new(tool)?, true);
        if found.is_err() {
            bail!("the base image has no {tool}, which the route {route} needs");
        }
    }
    let mut first = FirstBoot::default();
    match route {
        Route::Ignition => {
            pleach_customization::carried(customization, pleach_customization::Route::Ignition)?;
            first.ignite(to_ignition(customization).as_str().into());
        }
        Route::CloudInit => {
            let seed = to_cloud_init(customization, &CloudInitOptions::default())?;
            let disk = nocloud_disk(&seed).context("writing the disk with the seed")?;
            first.seed(disk.expose().to_vec());
        }
        Route::Credentials => {
            let made = to_credentials(customization)?.credentials.into_iter();
            first.credentials = made
                .map(|made| Credential::new(made.name, made.value.expose()))
                .collect();
        }
        _ => {}
    }
    Ok(first)
}
