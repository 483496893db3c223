//! The recipes under `ci/` are what their systems read.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the workspace's own files"
)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Each recipe, and the schema that it is held to.
const RECIPES: [(&str, &str); 5] = [
    ("github/release.yml", "github-workflow"),
    ("gitlab/release.yml", "gitlab-ci"),
    ("kubernetes/parity-job.yaml", "kubernetes"),
    ("kubernetes/parity-merge.yaml", "kubernetes"),
    ("tekton/release.yaml", "tekton"),
];

fn ci() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci")
}

fn schema(name: &str) -> jsonschema::Validator {
    let path = ci().join("schemas").join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
    jsonschema::draft202012::new(&schema).expect(name)
}

/// The documents of a recipe.
fn documents(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(ci().join(file)).expect(file);
    serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn errors(schema: &jsonschema::Validator, document: &Value) -> Vec<String> {
    let errors = schema.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn every_recipe_fits_its_schema() {
    for (file, name) in RECIPES {
        let schema = schema(name);
        let documents = documents(file);
        assert!(!documents.is_empty(), "{file} is empty");
        for (number, document) in documents.iter().enumerate() {
            let errors = errors(&schema, document);
            assert!(errors.is_empty(), "{file}, document {number}: {errors:#?}");
        }
    }
}

#[test]
fn no_recipe_is_forgotten() {
    let mut found = Vec::new();
    for folder in std::fs::read_dir(ci()).expect("ci").flatten() {
        let name = folder.file_name().into_string().expect("a plain name");
        if name == "schemas" || !folder.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder.path())
            .expect("a folder")
            .flatten()
        {
            found.push(format!("{name}/{}", file.file_name().to_string_lossy()));
        }
    }
    found.sort();
    assert_eq!(found, RECIPES.map(|(file, _)| file));
}

#[test]
fn what_a_system_would_refuse_is_refused() {
    let check = |file: &str, number: usize, at: &str, value: Value| {
        let (_, name) = RECIPES
            .iter()
            .find(|(recipe, _)| *recipe == file)
            .expect(file);
        let mut document = documents(file).swap_remove(number);
        let (parent, key) = at.rsplit_once('/').expect("a pointer");
        let place = document
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("{file} has no {parent}"));
        match place {
            Value::Object(fields) if value.is_null() => {
                assert!(fields.remove(key).is_some(), "{at}")
            }
            Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
            other => panic!("{file}: {parent} is {other}"),
        }
        assert!(
            !errors(&schema(name), &document).is_empty(),
            "{file}: {at} was accepted"
        );
    };
    let github = "github/release.yml";
    check(github, 0, "/jobs/lint/runs-on", Value::Null);
    check(github, 0, "/jobs/lint/step", json!([]));
    check(
        github,
        0,
        "/jobs/parity/steps/0/run",
        json!("both uses and run"),
    );
    check(
        github,
        0,
        "/jobs/parity/steps/0/uses",
        json!("actions/checkout"),
    );
    check(github, 0, "/jobs/parity/strategy/matrix", json!({}));
    check(github, 0, "/permissions/content", json!("read"));
    check(github, 0, "/on/tag", json!({}));
    let gitlab = "gitlab/release.yml";
    check(gitlab, 0, "/parity/script", Value::Null);
    check(gitlab, 0, "/parity/parallel", json!(0));
    check(gitlab, 0, "/lint/artifacts/report", json!({}));
    check(gitlab, 0, "/report/when", json!("whenever"));
    let job = "kubernetes/parity-job.yaml";
    check(job, 2, "/spec/completions", Value::Null);
    check(job, 2, "/spec/completionMode", json!("indexed"));
    check(job, 2, "/spec/completionMode", json!("NonIndexed"));
    check(job, 2, "/spec/template/spec/restartPolicy", json!("Always"));
    check(
        job,
        2,
        "/spec/template/spec/containers/0/imagePullPolicie",
        json!("Always"),
    );
    check(
        job,
        2,
        "/spec/template/spec/containers/0/resources/requests/memory",
        json!("2 GB"),
    );
    check(job, 1, "/data/SHARDS", json!(8));
    check(job, 0, "/spec/accessModes", json!(["ReadWriteSome"]));
    check(job, 0, "/apiVersion", json!("batch/v1"));
    let tekton = "tekton/release.yaml";
    check(tekton, 0, "/apiVersion", json!("tekton.dev/v1beta1"));
    check(tekton, 0, "/spec/steps/0/image", Value::Null);
    check(tekton, 1, "/spec/steps/0/command", json!(["sh"]));
    check(
        tekton,
        3,
        "/spec/tasks/1/matrix/params/0/value",
        json!("1/8"),
    );
    check(tekton, 3, "/spec/tasks/1/taskRef", Value::Null);
}

/// Each system has its own way to name a part, and as many parts as it says.
#[test]
fn recipes_ask_for_every_part_once() {
    let github = &documents("github/release.yml")[0];
    let shards = &github["jobs"]["parity"]["strategy"]["matrix"]["shard"];
    assert_eq!(*shards, json!([1, 2, 3, 4, 5, 6, 7, 8]));
    let kubernetes = documents("kubernetes/parity-job.yaml");
    let count = kubernetes[2]["spec"]["completions"].to_string();
    assert_eq!(kubernetes[1]["data"]["SHARDS"], json!(count));
    let tekton = documents("tekton/release.yaml");
    let parts = tekton[3]["spec"]["tasks"][1]["matrix"]["params"][0]["value"].clone();
    let parts: Vec<String> = serde_json::from_value(parts).expect("texts");
    let expect: Vec<_> = (1..=parts.len())
        .map(|k| format!("{k}/{}", parts.len()))
        .collect();
    assert_eq!(parts, expect);
}

/// Images come from variables: a registry of somebody's is nobody else's.
#[test]
fn recipes_name_no_registry() {
    fn images(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    if key == "image"
                        && let Some(image) = value.as_str()
                    {
                        found.push(image.to_owned());
                    }
                    images(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| images(item, found)),
            _ => {}
        }
    }
    for (file, _) in RECIPES {
        let mut found = Vec::new();
        documents(file)
            .iter()
            .for_each(|document| images(document, &mut found));
        assert!(!found.is_empty(), "{file}");
        for image in found {
            assert!(image.starts_with('$'), "{file}: {image}");
        }
    }
}

/// What `pleach` writes; its own tests hold it to these files.
#[test]
fn what_pleach_writes_fits_its_schema() {
    let root = ci().join("..");
    let read = |path: &str| -> Value {
        let text = std::fs::read_to_string(root.join(path)).expect(path);
        serde_json::from_str(&text).expect(path)
    };
    let check = |schema: &str, sample: &str, wrong: &dyn Fn(&mut Value)| {
        let schema = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&read(schema))
            .expect(schema);
        let mut sample = read(&format!("crates/pleach/tests/it/kept/{sample}"));
        let found = errors(&schema, &sample);
        assert!(found.is_empty(), "{found:#?}");
        wrong(&mut sample);
        assert!(
            !errors(&schema, &sample).is_empty(),
            "{sample:#} was accepted"
        );
    };
    let sarif = "ci/schemas/sarif.json";
    check(sarif, "lint.sarif", &|log| log["version"] = json!("2.0.0"));
    check(sarif, "lint.sarif", &|log| {
        log["runs"][0]["results"][0]["level"] = json!("fatal")
    });
    check(sarif, "lint.sarif", &|log| {
        log["runs"][0]["result"] = json!([])
    });
    let diff = "docs/schemas/diff.json";
    check(diff, "diff.json", &|found| {
        found["etc"][0]["change"] = json!("other")
    });
    check(diff, "diff.json", &|found| found["packages"] = Value::Null);
}
