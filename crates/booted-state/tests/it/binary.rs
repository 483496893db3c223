//! How the binary ends. What it writes is the library's, tried in a guest.

use std::process::Command;

#[test]
fn exit_codes() {
    let check = |arguments: &[&str], code: i32, message: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_pleach-capture"))
            .args(arguments)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    };
    check(&["--bad"], 2, "unknown option --bad\nusage: ");
    check(&["a", "b"], 2, "more than one file");
    check(&["--wait"], 2, "--wait takes a number of seconds");
    check(&["--wait", "x"], 2, "--wait takes a number of seconds");
    check(
        &["--no-wait", "/nonexistent/file"],
        3,
        "create /nonexistent/file: No such file",
    );
}
