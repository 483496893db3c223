//! The cases, booted: each has to do in the guest what it is for.
//!
//! With `PLEACH_CASES=all` (`cargo xtask test --tier vm --all`) every route that carries a case is
//! booted and compared with every other, which takes an hour; else only what is in [`ALWAYS`].

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use pleach_integration::cases::{CASES, Case};
use pleach_integration::screen::Picture;
use pleach_integration::setting::Setting;

/// Cases that every run boots, on an image that it has at hand.
const ALWAYS: &[&str] = &["drone"];

pub(crate) fn trials(setting: &Arc<Result<Setting>>, whole: bool) -> Vec<Trial> {
    if !whole {
        let left = CASES.len() - ALWAYS.len();
        println!("{left} cases are not booted here: cargo xtask test --tier vm --all");
    }
    let own = |name: &str, test: fn(&Setting) -> Result<()>| {
        crate::trial(&format!("cases::{name}"), setting, test)
    };
    let mut trials = Vec::new();
    if whole {
        trials.extend([
            own("no_check_passes_on_the_base_image", no_check_passes),
            own(
                "postgres_keeps_its_rows_over_an_upgrade",
                postgres_is_upgraded,
            ),
            own("kiosk_is_seen_only_where_it_runs", kiosk_is_seen),
            own("generic_final_is_generic_until_derived", generic_is_generic),
        ]);
    }
    for case in CASES {
        let test = move |setting: &Setting| match whole {
            true => case.compare(setting, case.routes),
            false => derived_works(setting, case),
        };
        if whole || ALWAYS.contains(&case.name) {
            let name = format!("cases::{}", case.name);
            trials.push(crate::trial(&name, setting, test));
        }
    }
    trials
}

fn derived_works(setting: &Setting, case: &Case) -> Result<()> {
    let disk = case.install(setting, &case.derive(setting, "v1")?, None)?;
    case.boot(setting, &disk, &case.check(), "derived")?
        .passed()?
        .discard()?;
    Ok(std::fs::remove_file(disk)?)
}

/// What a machine passes without the customization says nothing about it. One boot for all cases of
/// one image, whose base is not booted with each of them; for the others, `pleach parity` itself asks.
fn no_check_passes(setting: &Setting) -> Result<()> {
    let image = Case::named("site-units")?.variant;
    let cases = CASES.iter().filter(|case| case.variant == image);
    let mut script = "#!/bin/sh\nend=0\n".to_owned();
    let mut count = 0;
    for case in cases {
        let check = std::fs::read_to_string(case.check())?;
        let (name, end) = (case.name, "END-OF-CHECK");
        script.push_str(&format!(
            "cat >{name} <<'{end}'\n{check}{end}\nif sh {name} >/dev/null 2>&1; then echo {name} passes; end=1; fi\n"
        ));
        count += 1;
    }
    ensure!(count > 3, "{count} cases");
    script.push_str("exit $end\n");
    let case = Case::named("site-units")?;
    let folder = case.folder(setting, "base")?;
    let check = folder.join("check.sh");
    std::fs::write(&check, script)?;
    let disk = case.install(setting, &case.base(setting, "v1")?, None)?;
    case.boot(setting, &disk, &check, "base-alone")?
        .passed()?
        .discard()?;
    Ok(std::fs::remove_file(disk)?)
}

/// Version 1 is booted and a row written; the guest's own ostree deploys version 2; that is booted and
/// has to answer with what was written before.
fn postgres_is_upgraded(setting: &Setting) -> Result<()> {
    let case = Case::named("postgres")?;
    let (first, next) = (case.derive(setting, "v1")?, case.derive(setting, "v2")?);
    let disk = case.install(setting, &first, Some(&next))?;
    let deploy = case.folder(setting, "upgrade")?.join("check.sh");
    let check = std::fs::read_to_string(case.check())?;
    // The image says by this file that it has no policy; ostree would refresh one all the same, with
    // tools that are not there.
    let upgrade = "rm /etc/selinux/config\nostree admin deploy --os=default pleach/next >&2\nostree admin status >&2\n";
    std::fs::write(&deploy, format!("{check}{upgrade}"))?;
    let before = case.boot(setting, &disk, &deploy, "v1")?.passed()?;
    ensure!(before.printed().contains(&"v1"), "{:?}", before.answer);
    let after = case
        .boot(setting, &before.disk(), &case.check(), "v2")?
        .passed()?;
    let rows: Vec<_> = after
        .printed()
        .into_iter()
        .filter(|line| line.starts_with('v'))
        .collect();
    ensure!(rows == ["v1", "v2"], "{rows:?}\n{:?}", after.answer);
    before.discard()?;
    after.discard()?;
    Ok(std::fs::remove_file(disk)?)
}

/// The house's colours, as `kiosk.bu` has them: a bar above, the board's ground below.
const BAR: [u8; 3] = [0xff, 0xb7, 0x03];
const GROUND: [u8; 3] = [0x1d, 0x35, 0x57];

fn kiosk_is_seen(setting: &Setting) -> Result<()> {
    let case = Case::named("kiosk")?;
    let look = |image: &str, name: &str| {
        let disk = case.install(setting, image, None)?;
        let machine = case.boot(setting, &disk, &case.check(), name)?;
        std::fs::remove_file(disk)?;
        anyhow::Ok(machine)
    };
    let machine = look(&case.derive(setting, "v1")?, "derived")?.passed()?;
    let picture = Picture::parse(&machine.screen()?)?;
    let share = |picture: &Picture, lines, colour| {
        let size = (picture.width, picture.height);
        picture
            .share(lines, colour)
            .with_context(|| format!("the picture is {size:?}"))
    };
    let (bar, ground) = (
        share(&picture, 20..70, BAR)?,
        share(&picture, 120..480, GROUND)?,
    );
    ensure!(bar > 0.9 && ground > 0.99, "bar {bar}, ground {ground}");
    // There are letters in the bar.
    ensure!(bar < 0.995, "bar {bar}");

    // The same machine without the customization shows none of it, and its check knows.
    let base = look(&case.base(setting, "v1")?, "base-alone")?;
    ensure!(base.answer.code == Some(1), "{:?}", base.answer);
    let picture = Picture::parse(&base.screen()?)?;
    let (bar, ground) = (
        share(&picture, 20..70, BAR)?,
        share(&picture, 120..480, GROUND)?,
    );
    ensure!(bar < 0.01 && ground < 0.01, "bar {bar}, ground {ground}");
    machine.discard()?;
    base.discard()
}

/// Nothing is set up in the base image; once derived, it is an image for one purpose.
fn generic_is_generic(setting: &Setting) -> Result<()> {
    let case = Case::named("generic-final")?;
    for (image, scope) in [
        (case.base(setting, "v1")?, "generic"),
        (case.derive(setting, "v1")?, "specific"),
    ] {
        let answer = setting.pleach(&["lint", &image, "--format", "json"])?;
        let wanted = format!("\"scope\": \"{scope}\"");
        ensure!(answer.stdout.contains(&wanted), "{image}: {answer:?}");
    }
    Ok(())
}
