//! A docker-registry of its own for each test that asks for one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pleach_image_fetch::Digest;

use crate::image::Image;
use crate::support::run;

/// `test:secret`, as an auth.json has it.
pub(crate) const SECRET: &str = "dGVzdDpzZWNyZXQ=";

/// bcrypt of `secret`.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

pub(crate) struct Registry {
    child: Child,
    dir: tempfile::TempDir,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// One that asks for a name and a password.
    pub(crate) fn start_locked() -> Self {
        Self::start_with(|dir| {
            let users = dir.join("htpasswd");
            fs::write(&users, format!("test:{HASH}\n")).unwrap();
            format!("auth:\n  htpasswd: {{realm: test, path: {users:?}}}\n")
        })
    }

    fn start_with(more: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {:?}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: test}}\n{}",
            dir.path().join("data"),
            more(dir.path())
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
        // Whoever asks for no password does not mind one.
        let to = format!("docker://{}/{name}:latest", self.address);
        let secret = self.dir.path().join("auth.json");
        let auth = format!(
            r#"{{"auths":{{"{}":{{"auth":"{SECRET}"}}}}}}"#,
            self.address
        );
        fs::write(&secret, auth).unwrap();
        let secret = format!("--dest-authfile={}", secret.display());
        let copy = ["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"];
        run("skopeo", &[&copy[..], &[&secret, &from, &to]].concat());
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
