//! The same customization as an Ignition document, for the machine's own first boot.

mod contents;
mod disks;
mod settings;
mod version;

use std::fmt;

use contents::resource;
use pleach_customization::{
    Customization, Directory, Dropin, File, Group, KernelArgument, Link, Owner, Unit, User,
};
use serde_json::{Map, Value, json};

/// An Ignition document. It may hold password hashes and keys, so `Debug` shows its size alone;
/// write it where only root reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ignition(String);

impl Ignition {
    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Ignition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ignition({} bytes)", self.0.len())
    }
}

/// Writes a customization as Ignition JSON of the lowest specification that holds it, with every
/// content that is here in a `data:` URL. The same customization gives the same bytes.
///
/// The lowest, and not the one that Butane pairs with the document's version: the same meaning for the
/// machine, and older Ignitions read it too.
pub fn to_ignition(customization: &Customization) -> Ignition {
    let c = customization;
    let mut root = Map::new();
    root.insert("ignition".into(), settings::ignition(c, version::lowest(c)));
    let storage = [
        ("directories", c.directories.iter().map(directory).collect()),
        ("disks", c.disks.iter().map(disks::disk).collect()),
        ("files", c.files.iter().map(file).collect()),
        (
            "filesystems",
            c.filesystems.iter().map(disks::filesystem).collect(),
        ),
        ("links", c.links.iter().map(link).collect()),
        ("luks", c.luks.iter().map(disks::luks).collect()),
        ("raid", c.raid.iter().map(disks::raid).collect()),
    ];
    section(&mut root, "storage", storage);
    section(
        &mut root,
        "systemd",
        [("units", c.units.iter().map(unit).collect())],
    );
    let passwd = [
        ("groups", c.groups.iter().map(group).collect()),
        ("users", c.users.iter().map(user).collect()),
    ];
    section(&mut root, "passwd", passwd);
    let words =
        |list: &[KernelArgument]| list.iter().map(|argument| json!(argument.value)).collect();
    let arguments = [
        ("shouldExist", words(&c.kernel_arguments.should_exist)),
        (
            "shouldNotExist",
            words(&c.kernel_arguments.should_not_exist),
        ),
    ];
    section(&mut root, "kernelArguments", arguments);
    let mut text = serde_json::to_string_pretty(&root).expect("plain JSON values");
    text.push('\n');
    Ignition(text)
}

fn section<const N: usize>(
    root: &mut Map<String, Value>,
    name: &str,
    lists: [(&str, Vec<Value>); N],
) {
    let filled: Map<_, _> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(key, list)| (key.to_owned(), Value::Array(list)))
        .collect();
    if !filled.is_empty() {
        root.insert(name.to_owned(), Value::Object(filled));
    }
}

/// An object without the members that are null or empty.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let members = members.into_iter().filter(|(_, value)| said(value));
    Value::Object(
        members
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn owner(owner: Option<&Owner>) -> Value {
    match owner {
        None => Value::Null,
        Some(Owner::Id(id)) => json!({ "id": id }),
        Some(Owner::Name(name)) => json!({ "name": name }),
    }
}

fn directory(d: &Directory) -> Value {
    object([
        ("path", json!(d.path)),
        ("overwrite", json!(d.overwrite)),
        ("mode", json!(d.mode)),
        ("user", owner(d.user.as_ref())),
        ("group", owner(d.group.as_ref())),
    ])
}

fn file(f: &File) -> Value {
    object([
        ("path", json!(f.path)),
        ("overwrite", json!(f.overwrite)),
        (
            "contents",
            f.contents.as_ref().map_or(Value::Null, resource),
        ),
        ("append", f.append.iter().map(resource).collect()),
        ("mode", json!(f.mode)),
        ("user", owner(f.user.as_ref())),
        ("group", owner(f.group.as_ref())),
    ])
}

fn link(l: &Link) -> Value {
    object([
        ("path", json!(l.path)),
        ("overwrite", json!(l.overwrite)),
        ("target", json!(l.target)),
        ("hard", json!(l.hard)),
        ("user", owner(l.user.as_ref())),
        ("group", owner(l.group.as_ref())),
    ])
}

fn unit(u: &Unit) -> Value {
    let dropin = |d: &Dropin| object([("name", json!(d.name)), ("contents", json!(d.contents))]);
    object([
        ("name", json!(u.name)),
        ("enabled", json!(u.enabled)),
        ("mask", json!(u.mask)),
        ("contents", json!(u.contents)),
        ("dropins", u.dropins.iter().map(dropin).collect()),
    ])
}

fn user(u: &User) -> Value {
    object([
        ("name", json!(u.name)),
        ("shouldExist", json!(u.should_exist)),
        ("uid", json!(u.uid)),
        ("gecos", json!(u.gecos)),
        ("homeDir", json!(u.home_dir)),
        ("noCreateHome", json!(u.no_create_home)),
        ("primaryGroup", json!(u.primary_group)),
        ("groups", json!(u.groups)),
        ("shell", json!(u.shell)),
        ("system", json!(u.system)),
        ("noUserGroup", json!(u.no_user_group)),
        ("noLogInit", json!(u.no_log_init)),
        (
            "passwordHash",
            json!(u.password_hash.as_ref().map(|s| s.expose())),
        ),
        ("sshAuthorizedKeys", json!(u.ssh_authorized_keys)),
    ])
}

fn group(g: &Group) -> Value {
    object([
        ("name", json!(g.name)),
        ("shouldExist", json!(g.should_exist)),
        ("gid", json!(g.gid)),
        ("system", json!(g.system)),
        (
            "passwordHash",
            json!(g.password_hash.as_ref().map(|s| s.expose())),
        ),
    ])
}
