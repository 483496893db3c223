//! A matrix in parts, by the scripts of the recipe for Kubernetes, eight of them at a time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::images::Scratch;
use crate::images::is_root;
use crate::pleach;

const HEAD: &str = "variant: fcos\nversion: 1.5.0\nstorage:\n  files:\n";

fn documents(scratch: &Scratch) {
    let file = "    - { path: /etc/site/own.conf, contents: { inline: own } }\n";
    let motd = "    - { path: /etc/motd, overwrite: true, contents: { inline: \"site\\n\" } }\n";
    fs::write(scratch.path("one.bu"), format!("{HEAD}{file}")).expect("written");
    fs::write(scratch.path("two.bu"), format!("{HEAD}{motd}")).expect("written");
}

/// What the container of a recipe's job runs: the block that is the shell's argument.
fn script(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../ci/kubernetes")
        .join(file);
    let text = fs::read_to_string(&path).expect(file);
    let start = "command: [/bin/sh, -c]\n          args:\n            - |\n";
    let (_, block) = text.split_once(start).expect("a script");
    let inside = "              ";
    let lines = block.lines().map_while(|line| line.strip_prefix(inside));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The command that runs it as Kubernetes would.
fn pod(scratch: &Scratch, script: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_pleach"))
        .parent()
        .expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script])
        .current_dir(scratch.path(""))
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("BASES", "oci:images:v1 oci:images:v2")
        .env("UPGRADES", "oci:images:v2 oci:images:v3")
        .env("CONFIGS", "one.bu two.bu")
        .env("ROUTES", "derive,etc")
        .env("AT", "t0,t1,t2,t3")
        .env("SHARDS", "8")
        .env("REPORTS", scratch.path("reports"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn cells(path: &Path) -> Vec<String> {
    let json = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let report: Value = serde_json::from_slice(&json).expect("JSON");
    let cells = report["cells"].as_array().expect("cells").iter();
    let name = |cell: &Value| {
        ["image", "customization", "left", "right", "moment"]
            .map(|field| cell[field].as_str().expect(field).to_owned())
            .join(" ")
    };
    cells.map(name).collect()
}

#[test]
fn eight_processes_do_the_whole_and_nothing_twice() {
    if !is_root("eight_processes_do_the_whole_and_nothing_twice") {
        return;
    }
    let scratch = Scratch::new();
    documents(&scratch);
    fs::create_dir_all(scratch.path("reports/parts")).expect("made");
    let part = script("parity-job.yaml");
    let pods = (0..8).map(|index: u32| {
        let mut pod = pod(&scratch, &part);
        pod.env("JOB_COMPLETION_INDEX", index.to_string());
        pod.spawn().expect("started")
    });
    let pods: Vec<_> = pods.collect();
    for pod in pods {
        let output = pod.wait_with_output().expect("ended");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
    let reports: Vec<_> = (1..=8)
        .map(|k| scratch.path(&format!("reports/parts/{k}/report.json")))
        .collect();
    let parts: Vec<Vec<String>> = reports.iter().map(|path| cells(path)).collect();
    assert!(parts.iter().all(|part| part.len() == 2), "{parts:#?}");
    let all: Vec<_> = parts.concat();
    let once: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), once.len()), (16, 16), "{all:#?}");

    let merge = script("parity-merge.yaml");
    let output = pod(&scratch, &merge).output().expect("ran");
    let (code, text) = (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
    );
    assert!(text.contains("16 cells: "), "{text}");
    let merged: Value =
        serde_json::from_slice(&fs::read(scratch.path("reports/parity.json")).expect("merged"))
            .expect("JSON");

    // One process finds the same, in the same order, with the same verdicts.
    let whole = [
        "parity",
        "matrix",
        "--base=oci:images:v1",
        "--base=oci:images:v2",
        "--upgrade=oci:images:v2",
        "--upgrade=oci:images:v3",
        "--config=one.bu",
        "--config=two.bu",
        "--at=t0,t1,t2,t3",
        "--output=whole",
    ];
    let (alone, _, stderr) = pleach(&scratch.path(""), &whole);
    assert_eq!(alone, code, "{stderr}");
    let alone: Value =
        serde_json::from_slice(&fs::read(scratch.path("whole/report.json")).expect("a report"))
            .expect("JSON");
    assert_eq!(merged["cells"], alone["cells"]);
    assert_eq!(merged["digests"], alone["digests"]);
    assert!(
        merged["cells"].as_array().is_some_and(|cells| cells
            .iter()
            .all(|cell| cell["outcome"].get("verdict").is_some())),
        "{merged:#}"
    );

    // A part that is missing, or there twice, is named.
    let names: Vec<String> = reports
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let check = |reports: &[String], says: &str| {
        let arguments: Vec<&str> = ["parity", "merge"]
            .into_iter()
            .chain(reports.iter().map(String::as_str))
            .collect();
        let (code, _, stderr) = pleach(&scratch.path(""), &arguments);
        assert_eq!(code, Some(3), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    check(
        &names[1..],
        "missing, 2 of 16 cells:\n  oci:images:v1, one.bu: derive and etc at t0",
    );
    check(
        &[&names[..], &names[..1]].concat(),
        "the cell oci:images:v1, one.bu: derive and etc at t0 is in ",
    );

    // The page of it.
    let page = [
        "report",
        "oci:images:v1",
        "--parity=reports/parity.json",
        "--output=page.html",
    ];
    let (code, _, stderr) = pleach(&scratch.path(""), &page);
    assert_eq!(code, Some(0), "{stderr}");
    let page = fs::read_to_string(scratch.path("page.html")).expect("a page");
    assert_eq!(page.matches("<details class=\"cell\">").count(), 16);
}

#[test]
fn what_a_part_would_do_can_be_listed() {
    let scratch = crate::scratch();
    let arguments = |more: &[&'static str]| {
        let base = [
            "parity",
            "matrix",
            "--base=oci:a:1",
            "--base=oci:a:2",
            "--upgrade=oci:a:3",
            "--config=one.bu",
            "--config=two.bu",
            "--routes=derive,etc,split",
            "--at=t0,t1",
            "--list",
        ];
        [&base[..], more].concat()
    };
    let (code, whole, stderr) = pleach(scratch.path(), &arguments(&[]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(whole.lines().count(), 2 * 2 * 3 * 2);
    let mut parts = String::new();
    for shard in [
        "--shard=1/5",
        "--shard=2/5",
        "--shard=3/5",
        "--shard=4/5",
        "--shard=5/5",
    ] {
        let (code, part, stderr) = pleach(scratch.path(), &arguments(&[shard]));
        assert_eq!(code, Some(0), "{stderr}");
        parts.push_str(&part);
    }
    assert_eq!(parts, whole);
    let check = |more: &'static str, says: &str| {
        let (code, _, stderr) = pleach(scratch.path(), &arguments(&[more]));
        assert_eq!(code, Some(2), "{more}: {stderr}");
        assert!(stderr.contains(says), "{more}: {stderr}");
    };
    check("--shard=6/5", "K counts from 1");
    check("--routes=ignition", "compare it with --boot");
    let twice = ["--base=oci:a:5", "--upgrade=oci:a:4"];
    let (code, _, stderr) = pleach(scratch.path(), &arguments(&twice));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("--upgrade is given 2 times for 3 base images"),
        "{stderr}"
    );
}
