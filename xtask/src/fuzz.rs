//! `cargo xtask fuzz`: the fuzz targets of pleach-layer-merge, one after the other.

use anyhow::{Context as _, Result};
use clap::Args;
use xshell::cmd;

use crate::workspace::Workspace;

const TARGETS: [&str; 5] = ["archive", "layers", "index", "documents", "blob"];

/// What cargo-fuzz passes without a sanitizer: none of it needs more than a stable compiler.
const FLAGS: &str = "-Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzz the merging of layers. What is found is kept in crates/layer-merge/fuzz/artifacts.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// One target; all of them if it is not given.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
    /// For each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

impl Fuzz {
    pub(crate) fn run(&self, workspace: &Workspace) -> Result<()> {
        let sh = &workspace.sh;
        let fuzz = workspace.root().join("crates/layer-merge/fuzz");
        let (work, artifacts) = (fuzz.join("work"), fuzz.join("artifacts"));
        let test = "what_holds_for_any_bytes_holds_for_the_corpus";
        cmd!(
            sh,
            "cargo test --quiet -p pleach-layer-merge --test it {test}"
        )
        .env("PLEACH_FUZZ_SEEDS", work.join("seeds"))
        .run()?;
        let version = cmd!(sh, "rustc -vV").read()?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc says no host")?;
        let manifest = fuzz.join("Cargo.toml");
        cmd!(
            sh,
            "cargo build --release --manifest-path {manifest} --target {host}"
        )
        .env("RUSTFLAGS", FLAGS)
        .run()?;
        for target in TARGETS {
            if self.target.as_ref().is_some_and(|only| only != target) {
                continue;
            }
            let program = fuzz.join("target").join(host).join("release").join(target);
            let (found, seeds) = (work.join(target), work.join("seeds").join(target));
            let corpus = fuzz.join("corpus").join(target);
            for folder in [&found, &artifacts] {
                sh.create_dir(folder)?;
            }
            let seconds = format!("-max_total_time={}", self.seconds);
            let artifacts = format!("-artifact_prefix={}/{target}-", artifacts.display());
            cmd!(
                sh,
                "{program} {seconds} {artifacts} -max_len=6144 -timeout=60 -print_final_stats=1 {found} {corpus} {seeds}"
            )
            .run()?;
        }
        Ok(())
    }
}
