//! Users and groups: `sysusers.extra`, with homes and keys by `tmpfiles.extra`.

use pleach_customization::accounts::sysusers_field;
use pleach_customization::{Customization, Group, User};

use super::tmpfiles::{EXTRA as TMPFILES, path};
use super::{CredentialsError, Made, refused};

const SYSUSERS: &str = "sysusers.extra";
/// What `useradd` gives where an image says nothing else.
const SHELL: &str = "/bin/sh";
const HOMES: &str = "/home";

pub(super) fn add(c: &Customization, made: &mut Made) -> Result<(), CredentialsError> {
    for g in &c.groups {
        group(g, made)?;
    }
    for u in &c.users {
        user(u, made)?;
    }
    Ok(())
}

fn group(g: &Group, made: &mut Made) -> Result<(), CredentialsError> {
    let no = |why, instead| {
        Err(refused(
            format!("group {}", g.name),
            &g.origin,
            why,
            instead,
        ))
    };
    if g.should_exist == Some(false) {
        return no(
            "sysusers.d removes no accounts",
            "remove it by another route",
        );
    }
    if g.password_hash
        .as_ref()
        .is_some_and(|hash| !hash.expose().is_empty())
    {
        return no(
            "sysusers.d has no passwords of groups",
            "inject it by another route",
        );
    }
    let gid = match (g.gid, g.system == Some(true)) {
        (Some(gid), _) => gid.to_string(),
        (None, true) => "-".to_owned(),
        (None, false) => {
            return no(
                "sysusers.d takes numbers of the system's range",
                "say its gid",
            );
        }
    };
    made.add(SYSUSERS, format!("g {} {gid}\n", g.name).as_bytes());
    Ok(())
}

fn user(u: &User, made: &mut Made) -> Result<(), CredentialsError> {
    let name = &u.name;
    let no = |why, instead| Err(refused(format!("user {name}"), &u.origin, why, instead));
    if u.should_exist == Some(false) {
        return no(
            "sysusers.d removes no accounts",
            "remove it by another route",
        );
    }
    let hash = u.password_hash.as_ref().map(|hash| hash.expose());
    let hash = hash.filter(|hash| !hash.is_empty());
    if name == "root" {
        if hash.is_some() {
            return no(
                "systemd sets root's password only where root has no account yet",
                "inject it by another route",
            );
        }
        if !u.ssh_authorized_keys.is_empty() {
            made.add("ssh.authorized_keys.root", keys(u).as_bytes());
        }
        return Ok(());
    }
    let uid = match (u.uid, u.system == Some(true)) {
        (Some(uid), _) => uid.to_string(),
        (None, true) => "-".to_owned(),
        (None, false) => {
            return no(
                "sysusers.d takes numbers of the system's range",
                "say its uid",
            );
        }
    };
    let id = match (&u.primary_group, u.no_user_group == Some(true)) {
        (Some(group), _) if uid == "-" => format!("-:{group}"),
        (Some(group), _) => format!("{uid}:{group}"),
        (None, true) => {
            return no(
                "sysusers.d gives each user a group",
                "say its primary_group",
            );
        }
        (None, false) => uid,
    };
    let home = u
        .home_dir
        .clone()
        .unwrap_or_else(|| format!("{HOMES}/{name}"));
    let gecos = u.gecos.as_deref().unwrap_or_default();
    let shell = u.shell.as_deref().unwrap_or(SHELL);
    let fields = [gecos, &home, shell].map(sysusers_field).join(" ");
    made.add(SYSUSERS, format!("u {name} {id} {fields}\n").as_bytes());
    for group in &u.groups {
        made.add(SYSUSERS, format!("m {name} {group}\n").as_bytes());
    }
    if let Some(hash) = hash {
        made.add(&format!("passwd.hashed-password.{name}"), hash.as_bytes());
        // Its unit asks for root's alone.
        let more = "[Service]\nImportCredential=passwd.hashed-password.*\n";
        let dropin = "systemd.unit-dropin.systemd-sysusers.service";
        if !made.0.contains_key(dropin) {
            made.add(dropin, more.as_bytes());
        }
    }
    self::home(u, &home, made);
    Ok(())
}

fn keys(u: &User) -> String {
    let mut lines = u.ssh_authorized_keys.join("\n");
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    lines
}

/// `useradd` makes it with the skeleton in it, of which tmpfiles.d makes all the user's.
fn home(u: &User, home: &str, made: &mut Made) {
    let owner = |u: &User| {
        let group = u.primary_group.as_ref().unwrap_or(&u.name);
        format!("{} {group}", u.name)
    };
    let (at, owner) = (path(home), owner(u));
    if u.no_create_home != Some(true) {
        made.add(
            TMPFILES,
            format!("C {at} 0700 {owner} - /etc/skel\n").as_bytes(),
        );
    } else if !u.ssh_authorized_keys.is_empty() {
        made.add(TMPFILES, format!("d {at} 0700 {owner} -\n").as_bytes());
    }
    if u.ssh_authorized_keys.is_empty() {
        return;
    }
    use base64::Engine as _;
    let data = base64::engine::general_purpose::STANDARD.encode(keys(u));
    let ssh = path(&format!("{home}/.ssh"));
    let file = path(&format!("{home}/.ssh/authorized_keys"));
    let lines = format!("d {ssh} 0700 {owner} -\nf+~ {file} 0600 {owner} - {data}\n");
    made.add(TMPFILES, lines.as_bytes());
}
