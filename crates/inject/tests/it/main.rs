//! One binary for all integration tests of the crate.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests open their own temporary directories, and say what they skip"
)]

mod etc;
mod ignition;
mod scripts;

use pleach_customization::{Customization, Format, Input, NoLocalFiles, ParseOptions, parse};

/// A customization from the body of a Butane document.
fn site(body: &str) -> Customization {
    let text = format!("variant: fcos\nversion: 1.5.0\n{body}");
    let input = Input {
        name: "site.bu",
        text: &text,
        format: Format::Butane,
    };
    match parse(&input, &NoLocalFiles, &ParseOptions::default()) {
        Ok(parsed) => parsed.customization,
        Err(errors) => panic!("{errors}\n{text}"),
    }
}

const EVERYTHING: &str = "
passwd:
  groups: [{ name: ops, gid: 2000 }]
  users:
    - name: alice
      uid: 1001
      gecos: Alice
      groups: [ops]
      shell: /bin/bash
      ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleWZha2Vr a]
storage:
  directories: [{ path: /etc/site, mode: 0750, group: { name: ops } }]
  files:
    - { path: /etc/site/conf, mode: 0640, contents: { inline: \"a = 1\\n\" }, append: [{ inline: \"b = 2\\n\" }] }
    - { path: /etc/motd, overwrite: true, contents: { inline: hello } }
    - { path: /usr/local/bin/x, mode: 0755, contents: { inline: \"#!/bin/sh\\n\" } }
  links:
    - { path: /etc/site/current, target: conf }
systemd:
  units:
    - name: site.service
      enabled: true
      contents: \"[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n\"
    - { name: old.timer, enabled: false }
    - { name: loud.service, mask: true }
    - { name: ssh.service, dropins: [{ name: 10-site.conf, contents: \"[Service]\\nNice=5\\n\" }] }
kernel_arguments: { should_exist: [site=one], should_not_exist: [quiet] }
";
