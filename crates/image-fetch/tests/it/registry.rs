//! A docker-registry of its own for each test that asks for one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use pleach_image_fetch::Digest;

use crate::image::Image;
use crate::support::skopeo_copy;

pub(crate) struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {:?}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: test}}\n",
            dir.path().join("data")
        );
        let path = dir.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says which port it got; whatever it says later must be read too, or it would block.
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                Some(rest.split('"').next()?.trim().to_owned())
            })
            .expect("docker-registry ended before it listened");
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Self {
            child,
            dir,
            address,
        }
    }

    /// Pushes the image as `name:latest`.
    pub(crate) fn push(&self, image: &Image, name: &str) {
        let layout = self.dir.path().join(format!("layout-{name}"));
        image.write(&layout);
        let from = format!("oci:{}:latest", layout.display());
        skopeo_copy(&from, &format!("docker://{}/{name}:latest", self.address));
    }

    /// Where the registry keeps a blob.
    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
