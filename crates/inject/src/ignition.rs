//! The same customization as an Ignition document, for the machine's own first boot.

use std::fmt;
use std::fmt::Write as _;

use pleach_customization::{Contents, Customization, Owner};
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
/// content in a `data:` URL. The same customization gives the same bytes.
pub fn to_ignition(customization: &Customization) -> Ignition {
    let c = customization;
    let mut root = Map::new();
    root.insert("ignition".into(), json!({ "version": version(c) }));
    let storage = [
        ("directories", c.directories.iter().map(directory).collect()),
        ("files", c.files.iter().map(file).collect()),
        ("links", c.links.iter().map(link).collect()),
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
    let words = |list: &[pleach_customization::KernelArgument]| {
        list.iter().map(|argument| json!(argument.value)).collect()
    };
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

/// 3.3 brought kernel arguments, 3.2 `shouldExist` of accounts (Ignition's migration guide).
fn version(c: &Customization) -> &'static str {
    let arguments = &c.kernel_arguments;
    if !arguments.should_exist.is_empty() || !arguments.should_not_exist.is_empty() {
        return "3.3.0";
    }
    let removed = c.users.iter().any(|u| u.should_exist.is_some())
        || c.groups.iter().any(|g| g.should_exist.is_some());
    if removed { "3.2.0" } else { "3.0.0" }
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

/// An object without the members that are null, an empty list, or a default that is false.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
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

fn resource(contents: &Contents) -> Value {
    json!({ "source": data_url(contents.bytes().unwrap_or_default()) })
}

/// RFC 2397, percent-encoded: readable where the content is.
fn data_url(data: &[u8]) -> String {
    let mut out = String::from("data:,");
    for &byte in data {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string"),
        }
    }
    out
}

fn directory(d: &pleach_customization::Directory) -> Value {
    object([
        ("path", json!(d.path)),
        ("overwrite", json!(d.overwrite)),
        ("mode", json!(d.mode)),
        ("user", owner(d.user.as_ref())),
        ("group", owner(d.group.as_ref())),
    ])
}

fn file(f: &pleach_customization::File) -> Value {
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

fn link(l: &pleach_customization::Link) -> Value {
    object([
        ("path", json!(l.path)),
        ("overwrite", json!(l.overwrite)),
        ("target", json!(l.target)),
        ("hard", json!(l.hard)),
        ("user", owner(l.user.as_ref())),
        ("group", owner(l.group.as_ref())),
    ])
}

fn unit(u: &pleach_customization::Unit) -> Value {
    let dropin = |d: &pleach_customization::Dropin| {
        object([("name", json!(d.name)), ("contents", json!(d.contents))])
    };
    object([
        ("name", json!(u.name)),
        ("enabled", json!(u.enabled)),
        ("mask", json!(u.mask)),
        ("contents", json!(u.contents)),
        ("dropins", u.dropins.iter().map(dropin).collect()),
    ])
}

fn user(u: &pleach_customization::User) -> Value {
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

fn group(g: &pleach_customization::Group) -> Value {
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
