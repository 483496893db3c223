//! Real output fits the schema that is published.

use std::path::Path;

use serde_json::{Value, json};

/// The parts of JSON Schema that the published schema uses; another keyword is a failure.
struct Schema(Value);

impl Schema {
    fn published() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas/etc.json");
        let text = std::fs::read_to_string(file).expect("docs/schemas/etc.json");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    fn check(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let failed = |what: String| Err(format!("{at}: {what}"));
        for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "format" => {}
                "$ref" => {
                    let name = wanted.as_str().and_then(|r| r.strip_prefix("#/$defs/"));
                    let defined = &self.0["$defs"][name.expect("a reference into $defs")];
                    self.check(defined, value, at)?;
                }
                "type" => {
                    let types = wanted.as_array().cloned().unwrap_or(vec![wanted.clone()]);
                    if !types.iter().any(|t| is(value, t.as_str().expect("a type"))) {
                        return failed(format!("{value} is not of type {wanted}"));
                    }
                }
                "const" if value != wanted => return failed(format!("{value} is not {wanted}")),
                "enum" if !wanted.as_array().expect("a list").contains(value) => {
                    return failed(format!("{value} is not one of {wanted}"));
                }
                "const" | "enum" => {}
                "minimum" if value.as_f64() < wanted.as_f64() => {
                    return failed(format!("{value} is less than {wanted}"));
                }
                "minimum" => {}
                "required" => {
                    for name in wanted.as_array().expect("a list") {
                        if value.get(name.as_str().expect("a name")).is_none() {
                            return failed(format!("{name} is missing"));
                        }
                    }
                }
                "additionalProperties" => {
                    assert_eq!(*wanted, json!(false), "{at}: only false is known");
                    for name in value.as_object().into_iter().flat_map(|o| o.keys()) {
                        if schema["properties"].get(name).is_none() {
                            return failed(format!("{name} is not in the schema"));
                        }
                    }
                }
                "properties" => {
                    for (name, schema) in wanted.as_object().expect("an object") {
                        if let Some(value) = value.get(name) {
                            self.check(schema, value, &format!("{at}.{name}"))?;
                        }
                    }
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, value, &format!("{at}[{index}]"))?;
                    }
                }
                "anyOf" | "oneOf" => {
                    let all = wanted.as_array().expect("a list").iter();
                    let tried: Vec<_> = all.map(|one| self.check(one, value, at)).collect();
                    let fit = tried.iter().filter(|t| t.is_ok()).count();
                    if fit == 0 || (keyword == "oneOf" && fit > 1) {
                        return failed(format!("fits {fit} of {keyword}: {tried:#?}"));
                    }
                }
                other => panic!("{at}: the keyword {other} is not checked by this test"),
            }
        }
        Ok(())
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not checked by this test"),
    }
}

/// The value fits the published schema.
#[track_caller]
pub(super) fn check(value: &Value) {
    let schema = Schema::published();
    if let Err(error) = schema.check(&schema.0, value, "$") {
        panic!("{error}\n{value:#}");
    }
}

#[test]
fn the_check_refuses_what_does_not_fit() {
    let schema = Schema::published();
    let good = json!({"report": "why", "format_version": 1, "paths": []});
    check(&good);
    for (name, bad) in [
        ("format_version", json!("1")),
        ("format_version", json!(-1)),
        ("paths", json!([{"path": "/a"}])),
        ("report", json!("who")),
        ("more", json!(1)),
    ] {
        let mut value = good.clone();
        value[name] = bad;
        assert!(schema.check(&schema.0, &value, "$").is_err(), "{value}");
    }
    let mut less = good;
    less.as_object_mut().expect("an object").remove("paths");
    assert!(schema.check(&schema.0, &less, "$").is_err());
}
