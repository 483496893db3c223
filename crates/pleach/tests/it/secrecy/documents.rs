//! Made-up documents with secrets wherever one can be. The same number gives the same document.

use serde_json::{Map, Value, json};

/// A document and what it keeps.
pub(super) struct Document {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// Each where it is kept, in words, and the token that is kept there.
    pub(super) secrets: Vec<(&'static str, String)>,
    /// Files for `--files-dir`.
    pub(super) local: Vec<(&'static str, String)>,
}

/// Where a secret can be. A test counts that each of them was tried.
pub(super) const PLACES: [&str; 14] = [
    "the hash of a user",
    "the hash of a group",
    "a private file in /etc",
    "a private file in /usr",
    "a private file in /var",
    "a user's private SSH key",
    "a private key that others may read",
    "a fragment added to a private file",
    "the key of a volume",
    "a header of a request",
    "a password in a URL",
    "a password of a proxy",
    "a document that is merged",
    "a private local file",
];

/// Numbers that follow from a seed (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Nothing that a program would write of itself.
    pub(super) fn token(&mut self) -> String {
        format!("Tk{:016x}{:08x}", self.next(), self.next() & 0xffff_ffff)
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).expect("a small number")]
    }
}

/// In the making. Names are Butane's; `spelled` turns them into Ignition's.
struct Making {
    random: Random,
    secrets: Vec<(&'static str, String)>,
    local: Vec<(&'static str, String)>,
    users: Vec<Value>,
    groups: Vec<Value>,
    files: Vec<Value>,
    luks: Vec<Value>,
    merge: Vec<Value>,
    proxy: Option<Value>,
}

impl Making {
    fn secret(&mut self, place: &'static str) -> String {
        let token = self.random.token();
        self.secrets.push((place, token.clone()));
        token
    }

    /// Contents in one of the spellings that are there.
    fn contents(&mut self, text: &str, butane: bool) -> Value {
        let escaped = text
            .replace('%', "%25")
            .replace('\n', "%0A")
            .replace(' ', "%20");
        match self.random.below(if butane { 3 } else { 2 }) {
            0 => json!({ "source": format!("data:,{escaped}") }),
            1 => json!({ "source": format!("data:text/plain;charset=utf-8,{escaped}") }),
            _ => json!({ "inline": text }),
        }
    }

    fn private_mode(&mut self) -> u32 {
        [0o600, 0o400, 0o700][usize::try_from(self.random.below(3)).expect("a small number")]
    }

    fn put(&mut self, place: &'static str, butane: bool) {
        let n = self.files.len();
        let token = self.secret(place);
        let line = format!("before {token} after\n");
        let mode = self.private_mode();
        let pem = format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{token}\n-----END OPENSSH PRIVATE KEY-----\n"
        );
        let remote = |more: Value| {
            let mut contents = json!({ "source": "https://host.example/file" });
            let fields = contents.as_object_mut().expect("a mapping");
            fields.extend(more.as_object().cloned().unwrap_or_default());
            contents
        };
        match place {
            "the hash of a user" => {
                let name = format!("user{}", self.users.len());
                self.users
                    .push(json!({ "name": name, "password_hash": format!("$6$salt${token}") }));
            }
            "the hash of a group" => {
                let name = format!("group{}", self.groups.len());
                self.groups
                    .push(json!({ "name": name, "password_hash": format!("$6$salt${token}") }));
            }
            "a private file in /etc" | "a private file in /usr" | "a private file in /var" => {
                let top = match place {
                    "a private file in /etc" => self.random.pick(&["/etc", "/etc/site/deep"]),
                    "a private file in /usr" => "/usr/share/site",
                    _ => self
                        .random
                        .pick(&["/var/lib", "/opt/site", "/root", "/usr/local/etc"]),
                };
                let contents = self.contents(&line, butane);
                self.files.push(json!({ "path": format!("{top}/private{n}"), "mode": mode, "contents": contents }));
            }
            "a user's private SSH key" => {
                if self.users.is_empty() {
                    self.users.push(json!({ "name": "user0" }));
                }
                let contents = self.contents(&pem, butane);
                self.files.push(
                    json!({ "path": format!("/home/user0/.ssh/id_{n}"), "mode": 0o600,
                    "user": { "name": "user0" }, "contents": contents }),
                );
            }
            "a private key that others may read" => {
                let contents = self.contents(&pem, butane);
                self.files.push(json!({ "path": format!("/etc/tls{n}.key"), "mode": 0o644, "contents": contents }));
            }
            "a fragment added to a private file" => {
                let contents = self.contents(&line, butane);
                self.files.push(
                    json!({ "path": format!("/etc/added{n}"), "mode": mode, "append": [contents] }),
                );
            }
            "the key of a volume" => {
                let contents = self.contents(&token, butane);
                let n = self.luks.len();
                self.luks.push(json!({ "name": format!("volume{n}"), "device": format!("/dev/disk{n}"), "key_file": contents }));
            }
            "a header of a request" => {
                let headers =
                    json!([{ "name": "Authorization", "value": format!("Bearer {token}") }]);
                let contents = remote(json!({ "http_headers": headers }));
                self.files
                    .push(json!({ "path": format!("/etc/fetched{n}"), "contents": contents }));
            }
            "a password in a URL" => {
                let url = match self.random.below(2) {
                    0 => format!("https://user:{token}@host.example/file"),
                    _ => format!("https://host.example/file?token={token}"),
                };
                self.files.push(json!({ "path": format!("/etc/fetched{n}"), "contents": remote(json!({ "source": url })) }));
            }
            "a password of a proxy" => {
                self.proxy = Some(
                    json!({ "https_proxy": format!("https://user:{token}@proxy.example:8080") }),
                );
            }
            "a document that is merged" => {
                let n = self.merge.len();
                let inner = format!(
                    r#"{{"ignition":{{"version":"3.4.0"}},"storage":{{"files":[{{"path":"/etc/merged{n}","mode":384,"contents":{{"source":"data:,{token}"}}}}]}}}}"#
                );
                let escaped = inner.replace('%', "%25").replace(' ', "%20");
                self.merge
                    .push(json!({ "source": format!("data:,{escaped}") }));
            }
            "a private local file" => {
                self.local.push(("local", line));
                self.files.push(json!({ "path": format!("/etc/local{n}"), "mode": mode, "contents": { "local": "local" } }));
            }
            other => panic!("no secret can be in {other}"),
        }
    }
}

/// A document. There is always something in it that a layer can hold, and always a secret.
pub(super) fn document(number: u64) -> Document {
    let butane = number.is_multiple_of(2);
    let mut making = Making {
        random: Random::new(number.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed),
        secrets: Vec::new(),
        local: Vec::new(),
        users: Vec::new(),
        groups: Vec::new(),
        files: Vec::new(),
        luks: Vec::new(),
        merge: Vec::new(),
        proxy: None,
    };
    let once = ["a password of a proxy", "a private local file"];
    let usable: Vec<_> = PLACES
        .into_iter()
        .filter(|place| butane || *place != "a private local file")
        .collect();
    for _ in 0..1 + making.random.below(4) {
        let place = making.random.pick(&usable);
        let had = making.secrets.iter().any(|(known, _)| *known == place);
        if !(had && once.contains(&place)) {
            let place = PLACES
                .into_iter()
                .find(|known| *known == place)
                .expect("one of them");
            making.put(place, butane);
        }
    }
    for n in 0..1 + making.random.below(3) {
        let top = making.random.pick(&["/etc", "/var/lib"]);
        let contents = making.contents("public\n", butane);
        making.files.push(
            json!({ "path": format!("{top}/public{n}"), "mode": 0o644, "contents": contents }),
        );
    }
    let mut ignition = json!({});
    if !making.merge.is_empty() {
        ignition["config"] = json!({ "merge": making.merge });
    }
    if let Some(proxy) = &making.proxy {
        ignition["proxy"] = proxy.clone();
    }
    let unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    let mut whole = json!({
        "ignition": ignition,
        "passwd": { "users": making.users, "groups": making.groups },
        "storage": { "files": making.files, "luks": making.luks },
        "systemd": { "units": [{ "name": "public.service", "enabled": true, "contents": unit }] },
        "kernel_arguments": { "should_exist": ["public=1"] },
    });
    let (name, text) = match butane {
        true => {
            whole["variant"] = json!("fcos");
            whole["version"] = json!("1.5.0");
            // JSON is YAML.
            ("site.bu", whole.to_string())
        }
        false => {
            whole["ignition"]["version"] = json!("3.4.0");
            ("site.ign", spelled(&whole).to_string())
        }
    };
    let Making { secrets, local, .. } = making;
    Document {
        name,
        text,
        secrets,
        local,
    }
}

/// `http_headers` is `httpHeaders` there.
fn spelled(value: &Value) -> Value {
    let camel = |name: &str| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |mut all, part| {
            let (head, tail) = part.split_at(1);
            all.push_str(&head.to_ascii_uppercase());
            all.push_str(tail);
            all
        })
    };
    match value {
        Value::Object(map) => {
            let map = map.iter().map(|(key, value)| (camel(key), spelled(value)));
            Value::Object(map.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(spelled).collect()),
        other => other.clone(),
    }
}

/// The text with a mistake near a secret, as people make them. Not every one is an error everywhere.
pub(super) fn broken(document: &Document, random: &mut Random) -> String {
    let which = random.below(document.secrets.len() as u64);
    let (_, token) = &document.secrets[usize::try_from(which).expect("a small number")];
    let text = &document.text;
    // What is in a local file is not in the text; then the mistake is at its end.
    let at = text.find(token.as_str()).unwrap_or(text.len());
    let begin = text[..at].rfind('"').expect("every text has strings");
    let end = text[at..].find('"').map_or(text.len(), |end| at + end + 1);
    let (before, string, after) = (&text[..begin], &text[begin..end], &text[end..]);
    match random.below(9) {
        // A quotation mark too few, a comma too many, an end that is missing.
        0 => format!("{before}{}{after}", &string[1..]),
        1 => format!("{before},{string}{after}"),
        2 => text[..at].to_owned() + &token[..token.len().min(text.len() - at)],
        // A list where a string is wanted, a mapping, and the string again.
        3 => format!("{before}[{string}]{after}"),
        4 => format!("{before}{{\"value\": {string}}}{after}"),
        5 => format!("{before}{string}{string}{after}"),
        // A URL that is none, a hash with what no account file can hold, a header of two lines.
        6 => text
            .replace("data:", "dat:")
            .replace("$6$salt$", "$6$salt:"),
        7 => (text.replace("Bearer ", "Bearer\\n")).replace("https://user:", "https:user:"),
        _ => (text.replace("\"contents\":", "\"content\":"))
            .replace("password_hash", "password")
            .replace("passwordHash", "password"),
    }
}
