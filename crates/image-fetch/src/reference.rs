use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error};

/// Where an image comes from: the part of a reference before its first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// `docker://HOST/NAME[:TAG|@DIGEST]`: a registry.
    Docker,
    /// `oci:DIR[:NAME]`: an OCI image layout.
    Oci,
    /// `oci-archive:FILE[:NAME]`: an OCI image layout in a tar archive.
    OciArchive,
    /// `dir:DIR`: manifest and blobs as plain files; skopeo's own format.
    Dir,
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive,
    /// `docker-daemon:NAME`: the store of a running Docker daemon.
    DockerDaemon,
    /// `containers-storage:NAME`: the store of podman, buildah and CRI-O.
    ContainersStorage,
}

impl Transport {
    const ALL: [Self; 7] = [
        Self::Docker,
        Self::Oci,
        Self::OciArchive,
        Self::Dir,
        Self::DockerArchive,
        Self::DockerDaemon,
        Self::ContainersStorage,
    ];

    /// The name as it stands before the colon, and as a key of containers-policy.json(5).
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::Dir => "dir",
            Self::DockerArchive => "docker-archive",
            Self::DockerDaemon => "docker-daemon",
            Self::ContainersStorage => "containers-storage",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a text that should be an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceProblem {
    /// There is no colon, so no transport.
    #[error("it names no transport (docker://, oci:, oci-archive:, dir:, …)")]
    NoTransport,
    /// The part before the colon is no transport of containers-transports(5).
    #[error("{0:?} is no transport")]
    UnknownTransport(String),
    /// `docker:` without the two slashes.
    #[error("docker: is followed by two slashes")]
    NoSlashes,
    /// Nothing follows the transport.
    #[error("no name follows the transport")]
    Empty,
    /// A control character or white space where none can be.
    #[error("it holds the character {0:?}")]
    Character(char),
    /// A part of a registry name that the distribution grammar does not allow.
    #[error("{0:?} is no component of a repository name")]
    Component(String),
    /// A tag that the distribution grammar does not allow.
    #[error("{0:?} is no tag")]
    Tag(String),
    /// A digest that is not SHA-256 in canonical spelling.
    #[error("{0:?} is no digest")]
    Digest(String),
}

/// An image by its place, in the spelling of [containers-transports(5)].
///
/// ```
/// use pleach_image_fetch::{ImageReference, Transport};
///
/// let image: ImageReference = "docker://registry.example/os/base:42".parse()?;
/// assert_eq!(image.transport(), Transport::Docker);
/// assert_eq!(image.tag(), Some("42"));
/// assert_eq!(image.to_string(), "docker://registry.example/os/base:42");
/// # Ok::<(), pleach_image_fetch::Error>(())
/// ```
///
/// [containers-transports(5)]: https://github.com/containers/image/blob/main/docs/containers-transports.5.md
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    transport: Transport,
    name: String,
}

impl ImageReference {
    /// The transport.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// What follows the transport's colon (and the slashes of `docker://`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag of a registry reference, or the image name in a layout or archive, if it has one.
    pub fn tag(&self) -> Option<&str> {
        match self.transport {
            Transport::Docker => split_docker(&self.name).1,
            Transport::Oci | Transport::OciArchive | Transport::DockerArchive => {
                self.name.split_once(':').map(|(_, tag)| tag)
            }
            Transport::Dir | Transport::DockerDaemon | Transport::ContainersStorage => None,
        }
    }

    /// The digest of a registry reference, if it has one.
    pub fn digest(&self) -> Option<Digest> {
        match self.transport {
            Transport::Docker => split_docker(&self.name).2?.parse().ok(),
            _ => None,
        }
    }
}

/// The scopes of containers-policy.json(5) that a registry reference lies in, the most specific first.
pub(crate) fn docker_scopes(name: &str) -> Vec<String> {
    let (path, tag, digest) = split_docker(name);
    let full = match path.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => path.to_owned(),
        Some(_) => format!("docker.io/{path}"),
        None => format!("docker.io/library/{path}"),
    };
    let identity = match digest {
        Some(digest) => format!("{full}@{digest}"),
        None => format!("{full}:{}", tag.unwrap_or("latest")),
    };
    let mut scopes = vec![identity];
    let mut rest = &*full;
    scopes.push(rest.to_owned());
    while let Some((parent, _)) = rest.rsplit_once('/') {
        scopes.push(parent.to_owned());
        rest = parent;
    }
    while let Some((_, parent)) = rest.split_once('.') {
        scopes.push(format!("*.{parent}"));
        rest = parent;
    }
    scopes
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slashes = if self.transport == Transport::Docker {
            "//"
        } else {
            ""
        };
        write!(f, "{}:{slashes}{}", self.transport, self.name)
    }
}

impl FromStr for ImageReference {
    type Err = Error;

    /// # Errors
    /// [`Error::Reference`] says which part is wrong.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|problem| Error::Reference {
            reference: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<ImageReference, ReferenceProblem> {
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(ReferenceProblem::Character(bad));
    }
    let (transport, name) = text.split_once(':').ok_or(ReferenceProblem::NoTransport)?;
    let transport = Transport::ALL
        .into_iter()
        .find(|known| known.name() == transport)
        .ok_or_else(|| ReferenceProblem::UnknownTransport(transport.to_owned()))?;
    let name = match transport {
        Transport::Docker => name.strip_prefix("//").ok_or(ReferenceProblem::NoSlashes)?,
        _ => name,
    };
    if name.is_empty() {
        return Err(ReferenceProblem::Empty);
    }
    if transport == Transport::Docker {
        check_docker(name)?;
    }
    Ok(ImageReference {
        transport,
        name: name.to_owned(),
    })
}

/// `[HOST[:PORT]/]PATH`, tag, digest.
fn split_docker(name: &str) -> (&str, Option<&str>, Option<&str>) {
    let (name, digest) = match name.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (name, None),
    };
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].split_once(':') {
        Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(tag), digest),
        None => (name, None, digest),
    }
}

/// The grammar of the [distribution spec] for names and tags, with a host before it.
///
/// [distribution spec]: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
fn check_docker(name: &str) -> Result<(), ReferenceProblem> {
    let (path, tag, digest) = split_docker(name);
    if let Some(bad) = path.chars().find(|c| c.is_whitespace()) {
        return Err(ReferenceProblem::Character(bad));
    }
    let mut components = path.split('/').peekable();
    let first = components.peek().copied().unwrap_or_default();
    let several = path.contains('/');
    let is_host =
        |c: &str| c.contains(['.', ':', '[']) || c == "localhost" || c != c.to_lowercase();
    if several && is_host(first) {
        let host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        if !first.bytes().all(host) {
            return Err(ReferenceProblem::Component(first.to_owned()));
        }
        components.next();
    }
    for component in components {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let bytes = component.as_bytes();
        let whole = edge(bytes.first().copied()) && edge(bytes.last().copied());
        if !whole || !component.bytes().all(inner) || component.contains("..") {
            return Err(ReferenceProblem::Component(component.to_owned()));
        }
    }
    if let Some(tag) = tag {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if !tag.bytes().next().is_some_and(first) || !tag.bytes().all(inner) || tag.len() > 128 {
            return Err(ReferenceProblem::Tag(tag.to_owned()));
        }
    }
    if let Some(digest) = digest {
        let parsed = digest.parse::<Digest>();
        parsed.map_err(|_| ReferenceProblem::Digest(digest.to_owned()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parses_is_printed_as_it_was() {
        let digest = format!("docker://h.example/a/b@{}", Digest::of(b""));
        let both = format!("docker://h.example/a/b:1.0@{}", Digest::of(b""));
        // text, transport, tag, has a digest
        let rows = [
            ("docker://debian", Transport::Docker, None, false),
            (
                "docker://debian:bookworm",
                Transport::Docker,
                Some("bookworm"),
                false,
            ),
            (
                "docker://127.0.0.1:5000/base",
                Transport::Docker,
                None,
                false,
            ),
            (
                "docker://127.0.0.1:5000/os/base:v1.2_3",
                Transport::Docker,
                Some("v1.2_3"),
                false,
            ),
            (
                "docker://[::1]:5000/base:a",
                Transport::Docker,
                Some("a"),
                false,
            ),
            ("docker://localhost/base", Transport::Docker, None, false),
            (&digest, Transport::Docker, None, true),
            (&both, Transport::Docker, Some("1.0"), true),
            ("oci:dir", Transport::Oci, None, false),
            ("oci:/a/b:latest", Transport::Oci, Some("latest"), false),
            ("oci:/a b/ü:x@y/z:1", Transport::Oci, Some("x@y/z:1"), false),
            (
                "oci-archive:/a.tar:v1",
                Transport::OciArchive,
                Some("v1"),
                false,
            ),
            ("dir:/a:b", Transport::Dir, None, false),
            (
                "docker-archive:a.tar",
                Transport::DockerArchive,
                None,
                false,
            ),
            ("docker-daemon:a:b", Transport::DockerDaemon, None, false),
            (
                "containers-storage:[overlay@/x]localhost/a",
                Transport::ContainersStorage,
                None,
                false,
            ),
        ];
        for (text, transport, tag, has_digest) in rows {
            let parsed: ImageReference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.transport(), transport, "{text}");
            assert_eq!(parsed.tag(), tag, "{text}");
            assert_eq!(parsed.digest().is_some(), has_digest, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ReferenceProblem as P;
        let rows = [
            ("", P::NoTransport),
            ("debian", P::NoTransport),
            ("ftp://x", P::UnknownTransport("ftp".into())),
            ("OCI:x", P::UnknownTransport("OCI".into())),
            ("docker:debian", P::NoSlashes),
            ("docker:/debian", P::NoSlashes),
            ("docker://", P::Empty),
            ("oci:", P::Empty),
            ("dir:a\nb", P::Character('\n')),
            ("oci:a\0", P::Character('\0')),
            ("docker://a b", P::Character(' ')),
            ("docker://h.example//a", P::Component("".into())),
            ("docker://h.example/../a", P::Component("..".into())),
            ("docker://h.example/A", P::Component("A".into())),
            ("docker://h.example/a/", P::Component("".into())),
            ("docker://h.example/-a", P::Component("-a".into())),
            ("docker://h?x.example/a", P::Component("h?x.example".into())),
            ("docker://Debian", P::Component("Debian".into())),
            ("docker://a:", P::Tag("".into())),
            ("docker://a:.x", P::Tag(".x".into())),
            ("docker://a:x/y:ü", P::Tag("ü".into())),
            (
                "docker://a@sha256:../../x",
                P::Digest("sha256:../../x".into()),
            ),
            ("docker://a@", P::Digest("".into())),
        ];
        for (text, expect) in rows {
            match text.parse::<ImageReference>() {
                Err(Error::Reference { problem, .. }) => assert_eq!(problem, expect, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
