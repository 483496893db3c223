//! Names that hide what lower layers have (OCI image spec, layer.md, "Whiteouts").

use pleach_fs_tree::{Name, TreePath};

use crate::Fault;

/// What the name of a whiteout begins with.
pub(crate) const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What aufs kept for itself; old images have it.
const AUFS: [&[u8]; 3] = [b".wh..wh.aufs", b".wh..wh.plnk", b".wh..wh.orph"];

/// What a path means by its names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Itself.
    Plain,
    /// That this path of lower layers is hidden.
    Whiteout(TreePath),
    /// That what lower layers have in this directory is hidden.
    Opaque(TreePath),
    /// Nothing: metadata of aufs.
    Aufs,
    /// Nothing: it would hide a name that cannot exist.
    Nothing,
}

/// Says what a path means.
pub(crate) fn meaning(path: &TreePath) -> Result<Meaning, Fault> {
    let mut components = path.components();
    let Some(last) = components.next_back() else {
        return Ok(Meaning::Plain);
    };
    if path.components().any(|name| AUFS.contains(&name)) {
        return Ok(Meaning::Aufs);
    }
    if components.clone().any(|name| name.starts_with(PREFIX)) {
        return Err(Fault::BadWhiteout("a parent has the name of a whiteout"));
    }
    let Some(hidden) = last.strip_prefix(PREFIX) else {
        return Ok(Meaning::Plain);
    };
    let parent = path.parent().unwrap_or_default();
    if last == OPAQUE {
        return Ok(Meaning::Opaque(parent));
    }
    if hidden.starts_with(PREFIX) {
        return Ok(Meaning::Nothing);
    }
    match Name::new(hidden) {
        Ok(name) => Ok(Meaning::Whiteout(parent.join(&name))),
        Err(_) => Err(Fault::BadWhiteout("it hides no name: empty, . or ..")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let check = |text: &str, expect: Option<Meaning>| {
            assert_eq!(meaning(&path(text)).ok(), expect, "{text}");
        };
        check("", Some(Meaning::Plain));
        check("a/b", Some(Meaning::Plain));
        check("a/.WH.b", Some(Meaning::Plain));
        check("a/wh.b", Some(Meaning::Plain));
        check("a/.wh.b", Some(Meaning::Whiteout(path("a/b"))));
        check(".wh.b", Some(Meaning::Whiteout(path("b"))));
        check(".wh..b", Some(Meaning::Whiteout(path(".b"))));
        check("a/.wh..wh..opq", Some(Meaning::Opaque(path("a"))));
        check(".wh..wh..opq", Some(Meaning::Opaque(path(""))));
        check(".wh.", None);
        check("a/.wh..", None);
        check(".wh...", None);
        check(".wh.....", Some(Meaning::Whiteout(path("...."))));
        check(".wh..wh.foo", Some(Meaning::Nothing));
        check(".wh..wh..opqx", Some(Meaning::Nothing));
        check(".wh..wh..wh..opq", Some(Meaning::Nothing));
        check(".wh.d/x", None);
        check(".wh.d/.wh.x", None);
        check(".wh..wh..opq/x", None);
        check(".wh..wh.plnk", Some(Meaning::Aufs));
        check(".wh..wh.plnk/1.2", Some(Meaning::Aufs));
    }
}
