//! `index.json` of an OCI image layout: the list of images in it.

use serde_json::{Map, Value, json};

use crate::manifest::{Descriptor, OCI_MANIFEST};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The index with `manifest` in it under `name`; every other entry and field stays as it was.
///
/// A name belongs to one entry: what had it before is dropped, as skopeo and umoci do. Without a
/// name, an entry of the same digest is enough, whatever its name.
pub(crate) fn add(
    old: Option<&[u8]>,
    manifest: &Descriptor,
    name: Option<&str>,
) -> Result<Vec<u8>, String> {
    let mut index = match old {
        None => Map::from_iter([("schemaVersion".to_owned(), json!(2))]),
        Some(bytes) => match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err("it is no JSON object".into()),
            Err(error) => return Err(error.to_string()),
        },
    };
    if index.get("schemaVersion") != Some(&json!(2)) {
        return Err("its schemaVersion is not 2".into());
    }
    let entries = index.entry("manifests").or_insert_with(|| json!([]));
    // Go writes an empty list as null.
    if entries.is_null() {
        *entries = json!([]);
    }
    let entries = entries.as_array_mut().ok_or("its `manifests` is no list")?;

    let digest = manifest.digest.to_string();
    let mut entry = json!({
        "mediaType": OCI_MANIFEST,
        "digest": digest,
        "size": manifest.size,
    });
    match name {
        Some(name) => {
            entries.retain(|it| it["annotations"][REF_NAME] != name);
            entry["annotations"] = json!({ REF_NAME: name });
            entries.push(entry);
        }
        None if entries.iter().any(|it| it["digest"] == digest.as_str()) => {}
        None => entries.push(entry),
    }
    serde_json::to_vec_pretty(&index).map_err(|error| error.to_string())
}

/// Whether `name` can stand in `org.opencontainers.image.ref.name`: components of letters and
/// digits with `-._:@/+` or `--` between them, as the image spec's annotations page has it.
pub(crate) fn is_ref_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric();
    let bytes = name.as_bytes();
    let edges =
        bytes.first().copied().is_some_and(letter) && bytes.last().copied().is_some_and(letter);
    let allowed = |b: &u8| letter(*b) || b"-._:@/+".contains(b);
    let separated = bytes
        .windows(2)
        .all(|pair| letter(pair[0]) || letter(pair[1]) || pair == b"--");
    edges && bytes.iter().all(allowed) && separated && !name.contains("---")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn image(content: &str) -> Descriptor {
        let digest = Digest::of(content.as_bytes());
        Descriptor {
            media_type: OCI_MANIFEST.to_owned(),
            digest,
            size: content.len() as u64,
        }
    }

    #[test]
    fn names_move_and_everything_else_stays() {
        let steps = [
            ("a", Some("x")),
            ("b", Some("y")),
            ("b", Some("x")),
            ("b", None),
            ("c", None),
        ];
        let mut bytes = None;
        for (content, name) in steps {
            bytes = Some(add(bytes.as_deref(), &image(content), name).unwrap());
        }
        let bytes = bytes.unwrap();
        // Adding what is there changes no byte.
        assert_eq!(add(Some(&bytes), &image("c"), None).unwrap(), bytes);
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        let entries = index["manifests"].as_array().unwrap().iter();
        let entries: Vec<_> = entries
            .map(|it| {
                (
                    it["digest"].as_str().unwrap(),
                    it["annotations"][REF_NAME].as_str(),
                )
            })
            .collect();
        let [b, c] = ["b", "c"].map(|it| image(it).digest.to_string());
        assert_eq!(entries, [(&*b, Some("y")), (&*b, Some("x")), (&*c, None)]);
    }

    #[test]
    fn foreign_entries_are_not_touched() {
        let old = r#"{"schemaVersion":2,"x":[1],"manifests":[{"digest":7},null,"text",
            {"annotations":{"org.opencontainers.image.ref.name":["a"]}}]}"#;
        let new = add(Some(old.as_bytes()), &image("a"), Some("a")).unwrap();
        let (old, new): (Value, Value) = (
            serde_json::from_str(old).unwrap(),
            serde_json::from_slice(&new).unwrap(),
        );
        let count = old["manifests"].as_array().unwrap().len();
        assert_eq!(
            new["manifests"].as_array().unwrap()[..count],
            old["manifests"].as_array().unwrap()[..]
        );
        assert_eq!(new["x"], old["x"]);
    }

    #[test]
    fn ref_names() {
        for good in [
            "a",
            "latest",
            "v1.2.3",
            "h.example:5000/a/b:c",
            "a--b",
            "a@sha256:0",
            "A_b+c",
        ] {
            assert!(is_ref_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", "a/-b", "a---b", "a b", "a\0", "é"] {
            assert!(!is_ref_name(bad), "{bad:?}");
        }
    }
}
