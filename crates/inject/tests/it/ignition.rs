use ignition_config::Config;
use pleach_inject::to_ignition;

use crate::{EVERYTHING, site};

#[test]
fn the_whole_document_is_said_again() {
    let text = to_ignition(&site(EVERYTHING));
    insta::assert_snapshot!(text.as_str(), @r###"
    {
      "ignition": {
        "version": "3.3.0"
      },
      "kernelArguments": {
        "shouldExist": [
          "site=one"
        ],
        "shouldNotExist": [
          "quiet"
        ]
      },
      "passwd": {
        "groups": [
          {
            "gid": 2000,
            "name": "ops"
          }
        ],
        "users": [
          {
            "gecos": "Alice",
            "groups": [
              "ops"
            ],
            "name": "alice",
            "shell": "/bin/bash",
            "sshAuthorizedKeys": [
              "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFrZWtleWZha2VrZXlmYWtla2V5ZmFrZWtleWZha2Vr a"
            ],
            "uid": 1001
          }
        ]
      },
      "storage": {
        "directories": [
          {
            "group": {
              "name": "ops"
            },
            "mode": 488,
            "path": "/etc/site"
          }
        ],
        "files": [
          {
            "append": [
              {
                "source": "data:,b%20%3D%202%0A"
              }
            ],
            "contents": {
              "source": "data:,a%20%3D%201%0A"
            },
            "mode": 416,
            "path": "/etc/site/conf"
          },
          {
            "contents": {
              "source": "data:,hello"
            },
            "overwrite": true,
            "path": "/etc/motd"
          },
          {
            "contents": {
              "source": "data:,%23%21/bin/sh%0A"
            },
            "mode": 493,
            "path": "/usr/local/bin/x"
          }
        ],
        "links": [
          {
            "path": "/etc/site/current",
            "target": "conf"
          }
        ]
      },
      "systemd": {
        "units": [
          {
            "contents": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
            "enabled": true,
            "name": "site.service"
          },
          {
            "enabled": false,
            "name": "old.timer"
          },
          {
            "mask": true,
            "name": "loud.service"
          },
          {
            "dropins": [
              {
                "contents": "[Service]\nNice=5\n",
                "name": "10-site.conf"
              }
            ],
            "name": "ssh.service"
          }
        ]
      }
    }
    "###);
}

#[test]
fn the_lowest_version_that_holds_it_is_named() {
    let check = |body: &str, version: &str| {
        let text = to_ignition(&site(body));
        assert!(
            text.as_str()
                .contains(&format!("\"version\": \"{version}\"")),
            "{text:?} {body}"
        );
        let (config, warnings) = Config::parse_str(text.as_str()).expect("valid Ignition");
        assert!(warnings.is_empty(), "{warnings:?}");
        drop(config);
    };
    check("", "3.0.0");
    check("storage: { files: [{ path: /etc/a }] }", "3.0.0");
    check(
        "passwd: { users: [{ name: a, should_exist: false }] }",
        "3.2.0",
    );
    check(
        "passwd: { groups: [{ name: a, should_exist: false }] }",
        "3.2.0",
    );
    check("kernel_arguments: { should_exist: [a] }", "3.3.0");
    check(EVERYTHING, "3.3.0");
}

#[test]
fn contents_come_back_byte_for_byte() {
    let all: String = (1..=126u8)
        .map(char::from)
        .filter(|c| !c.is_control() || *c == '\n')
        .collect();
    let quoted = serde_json::to_string(&format!("{all}é€ %41")).expect("a string");
    let body =
        format!("storage: {{ files: [{{ path: /etc/a, contents: {{ inline: {quoted} }} }}] }}");
    let customization = site(&body);
    let text = to_ignition(&customization);
    let input = pleach_customization::Input {
        name: "site.ign",
        text: text.as_str(),
        format: pleach_customization::Format::Ignition,
    };
    let again = pleach_customization::parse(
        &input,
        &pleach_customization::NoLocalFiles,
        &pleach_customization::ParseOptions::default(),
    )
    .unwrap_or_else(|e| panic!("{e}"))
    .customization;
    let data = |c: &pleach_customization::Customization| {
        c.files[0]
            .contents
            .as_ref()
            .and_then(|contents| contents.bytes())
            .expect("contents")
            .to_vec()
    };
    assert_eq!(data(&again), data(&customization));
}
