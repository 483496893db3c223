//! What an image boots by.

use serde::Deserialize;

use super::{Hit, Subject, hit, hit_item, hit_line};
use crate::view::View;

const MODULES: &str = "/usr/lib/modules";
const UKI: &str = "/boot/EFI/Linux";

/// Exactly one kernel, with its initramfs beside it; a unified kernel image has both in it.
pub(super) fn kernel(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let kernels: Vec<String> = view
        .children(MODULES)
        .map(|item| item.path.to_string())
        .filter(|path| view.get(&format!("{path}/vmlinuz")).is_some())
        .collect();
    let unified = view.children(UKI).any(|item| item.name().ends_with(".efi"));
    match &kernels[..] {
        [] if unified => Vec::new(),
        [] => vec![hit(MODULES, "no kernel")],
        [one] if view.get(&format!("{one}/initramfs.img")).is_none() && !unified => {
            vec![hit(one, "no initramfs.img beside the kernel")]
        }
        [_] => Vec::new(),
        _ => vec![hit(MODULES, format!("{} kernels", kernels.len()))],
    }
}

/// A file of `kargs.d`, as bootc reads it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Kargs {
    kargs: Vec<String>,
    #[allow(dead_code, reason = "that it is a list of words is all that is asked")]
    match_architectures: Option<Vec<String>>,
}

const KARGS_D: &str = "/usr/lib/bootc/kargs.d";

fn kargs_files(view: &View<'_>) -> Vec<(String, Result<Kargs, toml::de::Error>, String)> {
    let files = view.children(KARGS_D);
    let files = files.filter(|item| item.is_file() && item.name().ends_with(".toml"));
    files
        .map(|item| {
            let text = String::from_utf8_lossy(&view.bytes(item)).into_owned();
            (item.path.to_string(), toml::from_str(&text), text)
        })
        .collect()
}

pub(super) fn kargs(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for (path, parsed, text) in kargs_files(subject.view) {
        match parsed {
            Err(error) => {
                let before = error.span().map_or("", |span| &text[..span.start]);
                let line = before.matches('\n').count() + 1;
                out.push(hit_line(path, line, error.message().trim()));
            }
            Ok(Kargs { kargs, .. }) => {
                for argument in kargs {
                    // The boot loader's configuration is lines.
                    if argument.contains('\n') || argument.trim().is_empty() {
                        out.push(hit(&path, format!("{argument:?} is no kernel argument")));
                    }
                }
            }
        }
    }
    out
}

/// The kernel arguments that an image brings, one by one, with their places.
pub(crate) fn kernel_arguments(view: &View<'_>) -> Vec<(String, Option<usize>, String)> {
    let mut out = Vec::new();
    for (path, parsed, text) in kargs_files(view) {
        let kargs = parsed.map(|file| file.kargs).unwrap_or_default();
        for argument in kargs.iter().flat_map(|line| line.split_whitespace()) {
            let line = text.lines().position(|line| line.contains(argument));
            out.push((path.clone(), line.map(|n| n + 1), argument.to_owned()));
        }
    }
    out
}

pub(super) fn nonempty_boot(subject: &Subject<'_, '_>) -> Vec<Hit> {
    let view = subject.view;
    let Some(boot) = view.get("/boot") else {
        return vec![hit("/boot", "not there")];
    };
    if !boot.is_directory() {
        return vec![hit_item(view, boot, "no directory")];
    }
    // A unified kernel image is installed from there.
    let efi = |name: &str| name == "EFI" && view.get(UKI).is_some();
    let entries = view.children("/boot").filter(|item| !efi(item.name()));
    entries
        .map(|item| hit_item(view, item, "hidden at run time"))
        .collect()
}
