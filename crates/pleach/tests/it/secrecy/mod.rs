//! What is secret in a document is never to be read by others, not for a moment, and is in nothing that
//! others are given: the system calls of each verb are looked at, and all that it leaves.

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use self::documents::{Document, PLACES, Random, broken, document};
use crate::images::{is_root, prepare};
use crate::{pleach, scratch};

/// How many documents are made up.
const DOCUMENTS: u64 = 1000;

fn deployment(root: &Path) {
    let write = |path: &str, text: &str, mode| {
        let path = root.join(path);
        fs::write(&path, text).expect("the scratch folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for folder in [
        "etc",
        "usr",
        "var/home",
        "var/opt",
        "var/roothome",
        "var/usrlocal",
    ] {
        fs::create_dir_all(root.join(folder)).expect("the scratch folder is ours");
    }
    write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    write("etc/group", "root:x:0:\nusers:x:100:\n", 0o644);
    write("etc/shadow", "root:!:20000::::::\n", 0o600);
    write("etc/gshadow", "root:*::\nusers:*::\n", 0o600);
    for (link, target) in [
        ("home", "var/home"),
        ("opt", "var/opt"),
        ("root", "var/roothome"),
        ("usr/local", "../var/usrlocal"),
    ] {
        std::os::unix::fs::symlink(target, root.join(link)).expect("nothing is there yet");
    }
}

/// A verb that is run on a document.
struct Run {
    arguments: &'static [&'static str],
    /// Whether it is there to give the secrets to whoever started it.
    prints: bool,
    /// Whether it writes files for a machine, or for an image's builder.
    writes: bool,
}

const fn says(arguments: &'static [&'static str]) -> Run {
    Run {
        arguments,
        prints: false,
        writes: false,
    }
}

const fn prints(arguments: &'static [&'static str]) -> Run {
    Run {
        arguments,
        prints: true,
        writes: false,
    }
}

const fn writes(arguments: &'static [&'static str]) -> Run {
    Run {
        arguments,
        prints: false,
        writes: true,
    }
}

/// `CONFIG` stands for the document; `--files-dir=files` is added.
const RUNS: [Run; 14] = [
    says(&["plan", "CONFIG"]),
    says(&["plan", "CONFIG", "--format=json"]),
    says(&["config", "check", "CONFIG"]),
    says(&[
        "derive",
        "CONFIG",
        "--base=oci:base:v1",
        "--output=oci:derived:site",
    ]),
    says(&[
        "inject",
        "etc",
        "CONFIG",
        "--deployment=root",
        "--dry-run",
        "--allow-remainder",
    ]),
    prints(&["config", "to-ignition", "CONFIG"]),
    prints(&["inject", "ignition", "CONFIG"]),
    writes(&[
        "derive",
        "CONFIG",
        "--base=oci:base:v1",
        "--output=oci:derived:site",
        "--containerfile=context",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    writes(&[
        "inject",
        "etc",
        "CONFIG",
        "--deployment=root",
        "--record",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    writes(&[
        "inject",
        "cloud-init",
        "CONFIG",
        "--output=made",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    writes(&[
        "inject",
        "kickstart",
        "CONFIG",
        "--output=made",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    writes(&[
        "inject",
        "credentials",
        "CONFIG",
        "--output=made",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    writes(&[
        "inject",
        "confext",
        "CONFIG",
        "--output=made",
        "--allow-remainder",
        "--remainder=left.ign",
    ]),
    says(&["lint", "oci:out:site", "--format=json"]),
];

/// What a verb said and did.
struct Ran {
    code: Option<i32>,
    said: String,
    trace: String,
}

/// Runs it and writes its system calls down.
fn traced(folder: &Path, run: &Run, document: &Document) -> Ran {
    let config = format!("--config={}", document.name);
    let mut command = Command::new("strace");
    command.current_dir(folder);
    command.args([
        "--seccomp-bpf",
        "-f",
        "-y",
        "-qq",
        "-s",
        "1000000",
        "-o",
        "trace",
        "-e",
    ]);
    command.arg("trace=openat,openat2,write,pwrite64,writev,fchmod,execve,close");
    command.arg(env!("CARGO_BIN_EXE_pleach"));
    for argument in run.arguments {
        match *argument {
            "CONFIG" => command.args([&config, "--files-dir=files"]),
            other => command.arg(other),
        };
    }
    let ran = command.output().expect("strace runs");
    let said = [ran.stdout, ran.stderr].concat();
    Ran {
        code: ran.status.code(),
        said: String::from_utf8_lossy(&said).into_owned(),
        trace: fs::read_to_string(folder.join("trace")).expect("strace writes text"),
    }
}

fn has_strace(test: &str) -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "needs strace");
    if !found {
        eprintln!("SKIP {test}: needs strace");
    }
    found
}

/// Split's and one other verb's, on each document: nothing of it but what is written for its owner
/// alone, and what is asked for on standard output, has a secret in it.
#[test]
fn a_secret_of_a_thousand_documents_is_in_nothing_that_others_read() {
    let test = "a_secret_of_a_thousand_documents_is_in_nothing_that_others_read";
    if !has_strace(test) || !is_root(test) {
        return;
    }
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let seen: Vec<Tried> = std::thread::scope(|scope| {
        let work = |worker| move || tried((0..DOCUMENTS).filter(move |n| n % workers == worker));
        let threads: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(work(worker)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("it has said why"))
            .collect()
    });
    // All of it was tried: each place, each verb with each kind of end.
    let all = seen.into_iter().reduce(|mut all, more| {
        all.places.extend(more.places);
        all.injected.extend(more.injected);
        all.split += more.split;
        all.refused += more.refused;
        all.broken += more.broken;
        all
    });
    let all = all.expect("there is a worker");
    assert_eq!(all.places, PLACES.into(), "places");
    let writers = RUNS
        .iter()
        .filter(|run| run.writes)
        .map(|run| run.arguments[1]);
    assert_eq!(
        all.injected,
        writers.collect(),
        "verbs that wrote a secret where it belongs"
    );
    assert!(
        all.split > DOCUMENTS / 2,
        "{} documents were split",
        all.split
    );
    assert!(
        all.refused > DOCUMENTS / 20,
        "{} derivations were refused",
        all.refused
    );
    assert!(
        all.broken > DOCUMENTS / 2,
        "{} documents were refused",
        all.broken
    );
}

/// What was tried, so that a test that looks at nothing fails.
#[derive(Default)]
struct Tried {
    places: BTreeSet<&'static str>,
    injected: BTreeSet<&'static str>,
    split: u64,
    refused: u64,
    broken: u64,
}

const SPLIT: Run = writes(&[
    "split",
    "CONFIG",
    "--base=oci:base:v1",
    "--output=oci:out:site",
    "--remainder=rest.ign",
]);

fn tried(numbers: impl Iterator<Item = u64>) -> Tried {
    let scratch = scratch();
    let folder = scratch.path();
    prepare(folder);
    fs::create_dir(folder.join("files")).expect("the scratch folder is ours");
    let mut tried = Tried::default();
    for number in numbers {
        let document = document(number);
        tried
            .places
            .extend(document.secrets.iter().map(|(place, _)| *place));
        fs::write(folder.join(document.name), &document.text).expect("the scratch folder is ours");
        for (name, text) in &document.local {
            fs::write(folder.join("files").join(name), text).expect("the scratch folder is ours");
        }
        for name in ["out", "derived", "context", "made", "root"] {
            let _ = fs::remove_dir_all(folder.join(name));
        }
        for name in ["rest.ign", "left.ign"] {
            let _ = fs::remove_file(folder.join(name));
        }
        deployment(&folder.join("root"));
        let fail = |verb: &[&str], why: &str| -> ! {
            panic!(
                "document {number}: {}: {why}\n{}",
                verb.join(" "),
                document.text
            )
        };

        let ran = traced(folder, &SPLIT, &document);
        if let Err(why) = is_kept(&document, &SPLIT, &ran) {
            fail(SPLIT.arguments, &why);
        }
        if let Some(why) = shown(&document, &folder.join("out")) {
            fail(SPLIT.arguments, &why);
        }
        // /usr is neither Ignition's nor, with a secret, the layer's.
        let lost = document
            .secrets
            .iter()
            .any(|(place, _)| *place == "a private file in /usr");
        if ran.code != Some(if lost { 3 } else { 0 }) {
            fail(SPLIT.arguments, &format!("{:?}: {}", ran.code, ran.said));
        }
        if !lost {
            tried.split += 1;
            let rest = fs::read_to_string(folder.join("rest.ign")).expect("it is there");
            let held =
                |(_, token): &&(&str, String)| !forms(token).iter().any(|form| rest.contains(form));
            if let Some((place, _)) = document.secrets.iter().find(held) {
                fail(SPLIT.arguments, &format!("the remainder has lost {place}"));
            }
        }

        let run = &RUNS[usize::try_from(number).expect("a small number") % RUNS.len()];
        if run.arguments[0] == "lint" && lost {
            continue;
        }
        let ran = traced(folder, run, &document);
        match is_kept(&document, run, &ran) {
            Err(why) => fail(run.arguments, &why),
            Ok(written) if run.writes && written > 0 => {
                tried.injected.insert(run.arguments[1]);
            }
            Ok(_) => {}
        }
        for made in ["derived", "context"] {
            if let Some(why) = shown(&document, &folder.join(made)) {
                fail(run.arguments, &why);
            }
        }
        let refused = run.arguments[0] == "derive" && !run.writes;
        tried.refused += u64::from(refused);
        let expected = match run.arguments {
            _ if refused => 3,
            // Ignition is no way into /usr; and what no route carries is a finding.
            ["inject", "ignition", ..] if lost => 3,
            ["plan", ..] if lost => 1,
            // The base is no bootable image.
            ["lint", ..] => 1,
            _ => 0,
        };
        if ran.code != Some(expected) {
            fail(run.arguments, &format!("{:?}: {}", ran.code, ran.said));
        }

        let text = broken(&document, &mut Random::new(number));
        fs::write(folder.join(document.name), &text).expect("the scratch folder is ours");
        let config = format!("--config={}", document.name);
        let (code, stdout, stderr) =
            pleach(folder, &["config", "check", &config, "--files-dir=files"]);
        tried.broken += u64::from(code == Some(3));
        if let Some(place) = holds(&document, (stdout + &stderr).as_bytes()) {
            panic!("document {number}: an error shows {place}: {stderr}\n{text}");
        }
    }
    tried
}

/// A token as it is, and as it is within Base64 wherever it begins there.
fn forms(token: &str) -> Vec<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let base64 = |skip: usize| -> String {
        let whole = token.as_bytes()[skip..].chunks_exact(3);
        whole
            .flat_map(|three| {
                let bits = three
                    .iter()
                    .fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
                [18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63]))
            })
            .collect()
    };
    let mut all = vec![token.to_owned()];
    all.extend((0..3).map(base64));
    all
}

/// Whose secret is in the bytes.
fn holds(document: &Document, bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let has = |token: &String| forms(token).iter().any(|form| text.contains(form));
    let found = document.secrets.iter().find(|(_, token)| has(token));
    found.map(|(place, _)| *place)
}

/// A secret in what a folder holds: blobs, decompressed, and all that speaks of them.
fn shown(document: &Document, folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?;
    for entry in entries {
        let path = entry.expect("it is ours").path();
        let found = match path.is_dir() {
            true => shown(document, &path),
            false => {
                let mut bytes = fs::read(&path).expect("it is ours");
                if bytes.starts_with(&[0x1f, 0x8b]) {
                    let plain = Command::new("gzip").arg("-dc").arg(&path).output();
                    let plain = plain.expect("every Debian has gzip");
                    assert!(plain.status.success(), "a layer is gzip");
                    bytes = plain.stdout;
                }
                holds(document, &bytes).map(|place| format!("{} shows {place}", path.display()))
            }
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Holds what a verb said and did to the rule; how many files it wrote secrets to.
fn is_kept(document: &Document, run: &Run, ran: &Ran) -> Result<usize, String> {
    if !run.prints
        && let Some(place) = holds(document, ran.said.as_bytes())
    {
        return Err(format!("it says {place}: {}", ran.said));
    }
    // In the machine's own /etc others may read what the document lets them read.
    let open = |place: &str| place == "a private key that others may read" && run.writes;
    let tokens: Vec<Vec<String>> = (document.secrets.iter())
        .filter(|(place, _)| !open(place))
        .map(|(_, token)| forms(token))
        .collect();
    let tokens: Vec<&str> = tokens.iter().flatten().map(String::as_str).collect();
    let written = private(&ran.trace, &tokens, run.prints)?;
    match written > 0 && !run.writes && !run.prints {
        true => Err("it wrote a secret to a file".to_owned()),
        false => Ok(written),
    }
}

/// System calls, each on a line of its own: what was interrupted by another thread is joined. A
/// `close` counts from its beginning, as its number may be another file's before it ends.
fn calls(trace: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut out = Vec::new();
    for line in trace.lines() {
        let (pid, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            match start.starts_with("close(") {
                true => out.push(start.to_owned()),
                false => drop(begun.insert(pid, start)),
            }
        } else if let Some((_, end)) = call
            .split_once(" resumed>")
            .filter(|_| call.starts_with("<... "))
        {
            out.extend(begun.remove(pid).map(|start| format!("{start}{end}")));
        } else {
            out.push(call.to_owned());
        }
    }
    out
}

/// A call's arguments and its result. strace fills the blanks between them up to a column.
fn ended(call: &str) -> Option<(&str, &str)> {
    let mut ends = call.rmatch_indices(") ");
    ends.find_map(|(at, _)| {
        let result = call[at + 1..].trim_start().strip_prefix("= ")?;
        Some((&call[..at], result))
    })
}

/// Holds a trace to the rule: what a secret is written to has been made for its owner alone, and is
/// never given to everybody. To a group it may be, at the end: Debian's `shadow` is. How many files
/// have one.
fn private(trace: &str, tokens: &[&str], by_stdout: bool) -> Result<usize, String> {
    // The mode that each open descriptor's file was made with.
    let mut made: BTreeMap<String, u32> = BTreeMap::new();
    let mut done = 0;
    let mut written = BTreeSet::new();
    // `-y` shows a descriptor with its path.
    let number = |text: &str| text.split('<').next().unwrap_or_default().trim().to_owned();
    for call in calls(trace) {
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        let has = || tokens.iter().any(|token| call.contains(token));
        let descriptor = number(rest.split([',', ')']).next().unwrap_or_default());
        let (arguments, result) = ended(&call).unwrap_or((&call, ""));
        let result = number(result);
        match name {
            "execve" if has() => return Err(format!("an argument has it: {call}")),
            "openat" | "openat2" if rest.contains("O_CREAT") || rest.contains("O_TMPFILE") => {
                // The last argument of the one, `mode=` of the other.
                let mode = match name {
                    "openat" => arguments.rsplit_once(", "),
                    _ => rest.split_once("mode="),
                };
                let digits = mode.and_then(|(_, mode)| mode.split([',', '}']).next());
                let mode = digits.and_then(|digits| u32::from_str_radix(digits.trim(), 8).ok());
                made.insert(result, mode.ok_or_else(|| format!("no mode in {call}"))?);
            }
            "openat" | "openat2" => {
                made.remove(&result);
            }
            "close" => {
                made.remove(&descriptor);
                done += usize::from(written.remove(&descriptor));
            }
            "fchmod" => {
                let mode = rest.split([',', ')']).nth(1).unwrap_or_default().trim();
                let mode = u32::from_str_radix(mode, 8).map_err(|e| format!("{call}: {e}"))?;
                if written.contains(&descriptor) && mode & 0o007 != 0 {
                    return Err(format!("everybody may read it: {call}"));
                }
                made.entry(descriptor).and_modify(|made| *made |= mode);
            }
            "write" | "pwrite64" | "writev" if has() => {
                match made.get(&descriptor) {
                    Some(mode) if mode & 0o077 == 0 => {}
                    None if descriptor == "1" && by_stdout => {}
                    Some(mode) => return Err(format!("the file has {mode:o}: {call:.200}")),
                    None => return Err(format!("nobody knows this file: {call:.200}")),
                }
                written.insert(descriptor);
            }
            _ => {}
        }
    }
    Ok(done + written.len())
}

/// The rule can fail.
#[test]
fn a_trace_with_a_readable_secret_is_found() {
    let check = |trace: &str, expected: Result<usize, &str>| {
        let found = private(trace, &["T0ken"], false);
        match expected {
            Ok(count) => assert_eq!(found, Ok(count), "{trace}"),
            Err(words) => assert!(
                found.as_ref().is_err_and(|why| why.contains(words)),
                "{found:?}\n{trace}"
            ),
        }
    };
    let open2 = "7 openat2(4, \"f\", {flags=O_WRONLY|O_CREAT, mode=0644, resolve=0}, 24) = 5\n";
    let open = |mode| format!("7 openat(4, \"f\", O_WRONLY|O_CREAT|O_EXCL, {mode}) = 5\n");
    let write = "7 write(5, \"x T0ken\", 7) = 7\n";
    check(&format!("{}{write}", open("0600")), Ok(1));
    check(&format!("{}{write}", open("0644")), Err("the file has 644"));
    check(
        &format!("{}7 fchmod(5, 0640) = 0\n{write}", open("0600")),
        Err("the file has 640"),
    );
    check(&format!("{open2}{write}"), Err("the file has 644"));
    check(
        "7 write(2, \"T0ken\", 5) = 5\n",
        Err("nobody knows this file"),
    );
    check(
        "7 write(1, \"T0ken\", 5) = 5\n",
        Err("nobody knows this file"),
    );
    check(
        "7 execve(\"/bin/x\", [\"x\", \"T0ken\"], 0x0) = 0\n",
        Err("an argument has it"),
    );
    check(
        &format!("{}{write}7 fchmod(5, 0640) = 0\n", open("0600")),
        Ok(1),
    );
    check(
        &format!("{}{write}7 fchmod(5, 0644) = 0\n", open("0600")),
        Err("everybody may read it"),
    );
    check(&open("0600"), Ok(0));
    check(
        "7 write(3</x/y>, \"T0ken\", 5) = 5\n",
        Err("nobody knows this file"),
    );
    let two = "7 openat(4</x>, \"f\", O_CREAT, 0644 <unfinished ...>\n8 close(9) = 0\n7 <... openat resumed>) = 5</x/f>\n";
    check(&format!("{two}{write}"), Err("the file has 644"));
    // Padded, as strace does with what is short and with what another thread interrupted.
    for (mode, expected) in [("0644", Err("the file has 644")), ("0600", Ok(1))] {
        let padded = format!("7 openat(4, \"f\", O_CREAT, {mode})      = 5\n");
        check(&format!("{padded}{write}"), expected);
        let resumed = format!(
            "7 openat(4</x>, \"f\", O_CREAT, {mode} <unfinished ...>\n8 close(9)              = 0\n7 <... openat resumed>)      = 5</x/f>\n"
        );
        check(&format!("{resumed}{write}"), expected);
    }
    // The number is another file's before its last bearer's close has come to an end.
    let passed_on = "8 close(5 <unfinished ...>\n7 openat(4, \"f\", O_CREAT, 0600) = 5\n8 <... close resumed>)        = 0\n";
    check(&format!("{passed_on}{write}"), Ok(1));
    // What a file is called does not look like a result.
    let named = "7 openat(4, \"a)  = 9, 0600\", O_CREAT, 0644)  = 5\n";
    check(&format!("{named}{write}"), Err("the file has 644"));
}
