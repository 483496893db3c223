//! An HTTP proxy before the registry that fails where it is told to, and keeps a list of requests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pleach_image_fetch::Digest;

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answer with this status and nothing else.
    Status(u16),
    /// Close the connection after so many bytes of the body.
    Cut(usize),
    /// End the body well-formed after so many bytes.
    Short(usize),
    /// Change one bit of this byte of the body.
    Flip(usize),
    /// Hold the rest back after so many bytes, until [`Proxy::open_gates`].
    Gate(usize),
    /// One byte of the body at a time.
    Drip,
}

struct Rule {
    path: String,
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<String>,
    gates_reached: usize,
    gates_open: bool,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    upstream: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

pub(crate) const ALWAYS: usize = usize::MAX;

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            upstream: upstream.to_owned(),
            state: Arc::default(),
        };
        let serving = proxy.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                // An end of the connection that breaks off is what these tests are about.
                std::thread::spawn(move || serving.serve(connection));
            }
        });
        proxy
    }

    pub(crate) fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}:latest", self.address)
    }

    /// The next `times` GET requests whose path contains `path` fail so.
    pub(crate) fn fail(&self, path: impl ToString, times: usize, fault: Fault) {
        let rule = Rule {
            path: path.to_string(),
            times,
            fault,
        };
        self.state.0.lock().unwrap().rules.push(rule);
    }

    /// How many GET requests there were whose path contains `path`.
    pub(crate) fn requests(&self, path: impl ToString) -> usize {
        let path = path.to_string();
        self.state
            .0
            .lock()
            .unwrap()
            .requests
            .iter()
            .filter(|it| it.contains(&path))
            .count()
    }

    pub(crate) fn forget_requests(&self) {
        self.state.0.lock().unwrap().requests.clear();
    }

    /// Waits until so many gates have let through what they let through.
    pub(crate) fn wait_for_gates(&self, count: usize) {
        let (state, changed) = &*self.state;
        let limit = Duration::from_secs(60);
        let waiting = |state: &mut State| state.gates_reached < count;
        let (_state, timeout) = changed
            .wait_timeout_while(state.lock().unwrap(), limit, waiting)
            .unwrap();
        assert!(!timeout.timed_out(), "no gate was reached");
    }

    pub(crate) fn open_gates(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap().gates_open = true;
        changed.notify_all();
    }

    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        let head = read_head(&mut client)?;
        let mut words = head.split(' ');
        let (method, path) = (
            words.next().unwrap_or(""),
            words.next().unwrap_or("").to_owned(),
        );
        if !matches!(method, "GET" | "HEAD") {
            return Ok(()); // a TLS handshake: skopeo tries that first
        }
        let fault = (method == "GET").then(|| self.note(&path)).flatten();
        if let Some(Fault::Status(status)) = fault {
            let answer = format!(
                "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return client.write_all(answer.as_bytes());
        }
        let mut server = TcpStream::connect(&self.upstream)?;
        server.write_all(with_header(&head, "Connection", "close").as_bytes())?;
        let answer = read_head(&mut server)?;
        let mut body = Vec::new();
        server.read_to_end(&mut body)?;
        self.answer(&mut client, &answer, body, fault)?;
        client.shutdown(Shutdown::Write)
    }

    fn note(&self, path: &str) -> Option<Fault> {
        let mut state = self.state.0.lock().unwrap();
        state.requests.push(path.to_owned());
        let rule = state
            .rules
            .iter_mut()
            .find(|it| it.times > 0 && path.contains(&it.path))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    fn answer(
        &self,
        client: &mut TcpStream,
        head: &str,
        mut body: Vec<u8>,
        fault: Option<Fault>,
    ) -> std::io::Result<()> {
        let mut head = with_header(head, "Connection", "close");
        match fault {
            Some(Fault::Short(length)) => {
                body.truncate(length);
                head = with_header(&head, "Content-Length", &length.to_string());
            }
            Some(Fault::Flip(at)) => body[at] ^= 1,
            _ => {}
        }
        client.write_all(head.as_bytes())?;
        match fault {
            Some(Fault::Cut(length)) => client.write_all(&body[..length]),
            Some(Fault::Gate(length)) => {
                client.write_all(&body[..length])?;
                let (state, changed) = &*self.state;
                let mut state = state.lock().unwrap();
                state.gates_reached += 1;
                changed.notify_all();
                drop(changed.wait_while(state, |it| !it.gates_open).unwrap());
                client.write_all(&body[length..])
            }
            Some(Fault::Drip) => body.iter().try_for_each(|byte| {
                std::thread::sleep(Duration::from_millis(50));
                client.write_all(&[*byte])
            }),
            _ => client.write_all(&body),
        }
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head[0] == 0x16 {
            return Ok(String::new());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn with_header(head: &str, name: &str, value: &str) -> String {
    let prefix = format!("{}:", name.to_lowercase());
    let lines = head
        .trim_end()
        .split("\r\n")
        .filter(|it| !it.to_lowercase().starts_with(&prefix));
    let mut out: String = lines.flat_map(|it| [it, "\r\n"]).collect();
    out += &format!("{name}: {value}\r\n\r\n");
    out
}

/// The path of a blob.
pub(crate) fn blob(digest: Digest) -> String {
    format!("/blobs/{digest}")
}
