use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, Transport};

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
        let Self::Document(bytes) = self else {
            return Ok(false);
        };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| Error::Policy {
            problem: error.to_string(),
        })?;
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
            .any(|it| it.r#type != "insecureAcceptAnything"))
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
}
