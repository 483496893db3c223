use std::collections::BTreeMap;

use serde::Deserialize;

use crate::reference::docker_scopes;
use crate::{Error, ImageReference, Transport};

const ACCEPT_ANYTHING: &str = "insecureAcceptAnything";

/// The signature policy that decides whether an image may be used.
///
/// There is no default: who calls knows which policy is in effect. The document is handed to skopeo
/// as it is (its `--policy`), so what was judged here is what is applied there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Any image will do: skopeo's `--insecure-policy`.
    AcceptAnything,
    /// The bytes of a [containers-policy.json(5)] document.
    ///
    /// [containers-policy.json(5)]: https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md
    Document(Vec<u8>),
}

#[derive(Deserialize)]
struct Document {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

#[derive(Deserialize)]
struct Requirement {
    r#type: String,
}

impl Policy {
    /// Whether an image of `transport` may need more than `insecureAcceptAnything`.
    ///
    /// Every scope of the transport counts, whichever of them the image falls into: a policy is
    /// taken for permissive only where nothing in it could say otherwise.
    ///
    /// # Errors
    /// [`Error::Policy`] if the document is not JSON of that shape, or has an empty requirement
    /// list, which containers-policy.json(5) does not allow.
    pub fn is_strict(&self, transport: Transport) -> Result<bool, Error> {
        let Some(document) = self.document()? else {
            return Ok(false);
        };
        let mut lists = vec![&document.default];
        lists.extend(
            document
                .transports
                .get(transport.name())
                .into_iter()
                .flat_map(BTreeMap::values),
        );
        if lists.iter().any(|list| list.is_empty()) {
            return Err(Error::Policy {
                problem: "a list of requirements is empty".into(),
            });
        }
        Ok(lists
            .into_iter()
            .flatten()
            .any(|it| it.r#type != ACCEPT_ANYTHING))
    }

    /// The kinds of the requirements that decide about `image` (`signedBy`, `sigstoreSigned`,
    /// `reject`, `insecureAcceptAnything`), each once: those of the most specific scope that a
    /// registry's image lies in. For other transports, whose scopes are paths, those of every scope.
    ///
    /// # Errors
    /// [`Error::Policy`] if the document cannot be read.
    pub fn requirements(&self, image: &ImageReference) -> Result<Vec<String>, Error> {
        let Some(document) = self.document()? else {
            return Ok(vec![ACCEPT_ANYTHING.to_owned()]);
        };
        let mut kinds = Vec::new();
        for requirement in document.lists(image).into_iter().flatten() {
            if !kinds.contains(&requirement.r#type) {
                kinds.push(requirement.r#type.clone());
            }
        }
        Ok(kinds)
    }

    /// Whether `image` is surely accepted for a reason: no list that may decide about it is
    /// `insecureAcceptAnything` alone.
    pub(crate) fn is_enforced(&self, image: &ImageReference) -> Result<bool, Error> {
        let Some(document) = self.document()? else {
            return Ok(false);
        };
        let asks = |list: &Vec<Requirement>| list.iter().any(|it| it.r#type != ACCEPT_ANYTHING);
        Ok(document.lists(image).into_iter().all(asks))
    }

    fn document(&self) -> Result<Option<Document>, Error> {
        let Self::Document(bytes) = self else {
            return Ok(None);
        };
        let document = serde_json::from_slice(bytes);
        document.map(Some).map_err(|error| Error::Policy {
            problem: error.to_string(),
        })
    }
}

impl Document {
    /// The lists that may decide about an image; exactly one for an image of a registry.
    fn lists(&self, image: &ImageReference) -> Vec<&Vec<Requirement>> {
        let Some(scopes) = self.transports.get(image.transport().name()) else {
            return vec![&self.default];
        };
        if image.transport() == Transport::Docker {
            let mut named = docker_scopes(image.name());
            named.push(String::new());
            let found = named.iter().find_map(|scope| scopes.get(scope));
            return vec![found.unwrap_or(&self.default)];
        }
        let mut lists: Vec<_> = scopes.values().collect();
        if !scopes.contains_key("") {
            lists.push(&self.default);
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictness() {
        let any = r#"[{"type":"insecureAcceptAnything"}]"#;
        let rows = [
            (format!(r#"{{"default":{any}}}"#), Some(false)),
            (r#"{"default":[{"type":"reject"}]}"#.into(), Some(true)),
            (r#"{"default":[{"type":"unknown"}]}"#.into(), Some(true)),
            (
                format!(r#"{{"default":{any},"transports":{{"docker":{{"":{any}}}}}}}"#),
                Some(false),
            ),
            (
                format!(
                    r#"{{"default":{any},"transports":{{"docker":{{"h.example":[{{"type":"signedBy","keyPath":"/k"}}]}}}}}}"#
                ),
                Some(true),
            ),
            (
                format!(
                    r#"{{"default":{any},"transports":{{"oci":{{"":[{{"type":"reject"}}]}}}}}}"#
                ),
                Some(false),
            ),
            (r#"{"default":[]}"#.into(), None),
            (
                format!(r#"{{"default":{any},"transports":{{"docker":{{"":[]}}}}}}"#),
                None,
            ),
            ("{}".into(), None),
            ("".into(), None),
            (r#"{"default":[{}]}"#.into(), None),
        ];
        for (text, expect) in rows {
            let found = Policy::Document(text.clone().into_bytes()).is_strict(Transport::Docker);
            assert_eq!(found.ok(), expect, "{text}");
        }
        assert!(!Policy::AcceptAnything.is_strict(Transport::Docker).unwrap());
    }

    #[test]
    fn the_most_specific_scope_decides() {
        let scope = |name: &str, kind: &str| format!(r#""{name}":[{{"type":"{kind}"}}]"#);
        let scopes = [
            scope("h.example/a/b:1", "sigstoreSigned"),
            scope("h.example/a", "signedBy"),
            scope("h.example", "reject"),
            scope("*.example", "one"),
            scope("docker.io/library/debian", "two"),
            scope("127.0.0.1:5000", "insecureAcceptAnything"),
        ];
        let policy = Policy::Document(
            format!(
                r#"{{"default":[{{"type":"default"}}],"transports":{{"docker":{{{}}},"dir":{{{}}}}}}}"#,
                scopes.join(","),
                scope("/a", "insecureAcceptAnything"),
            )
            .into_bytes(),
        );
        // image, what decides, whether that is something
        let rows = [
            ("docker://h.example/a/b:1", "sigstoreSigned", true),
            ("docker://h.example/a/b", "signedBy", true),
            ("docker://h.example/ab", "reject", true),
            ("docker://g.example/a/b:1", "one", true),
            ("docker://x.g.example/a", "one", true),
            ("docker://debian", "two", true),
            ("docker://docker.io/library/debian:x", "two", true),
            ("docker://127.0.0.1:5000/a", "insecureAcceptAnything", false),
            ("docker://other.test/a", "default", true),
            ("oci:x", "default", true),
            ("dir:/b", "insecureAcceptAnything default", false),
        ];
        for (image, expect, enforced) in rows {
            let parsed = image.parse().unwrap();
            let found = policy.requirements(&parsed).unwrap().join(" ");
            assert_eq!(found, expect, "{image}");
            assert_eq!(policy.is_enforced(&parsed).unwrap(), enforced, "{image}");
        }
        let any = "docker://h.example/a".parse().unwrap();
        assert!(!Policy::AcceptAnything.is_enforced(&any).unwrap());
    }
}
