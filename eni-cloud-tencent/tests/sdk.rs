//! Tencent's own SDK for Python against the program `tencent-sim`, by POST and by GET.
//!
//! The gate's stage `install` puts the SDK below the target directory. Without it the tests are skipped and
//! say so; with `ENI_REQUIRE_SDK=1` in the environment that is a failure.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const REQUIREMENTS: &str = include_str!("sdk/requirements.txt");
const SECRET_ID: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "SECRETEXAMPLE";

/// The program, which ends with the test.
struct Program {
    child: Child,
    listen: String,
}

impl Program {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tencent-sim"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--secret-id",
                SECRET_ID,
                "--secret-key",
                SECRET_KEY,
            ])
            .args(["--order-millis", "100", "--rate", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its first line");
        let first: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let listen = first["listen"].as_str().expect("where it listens").to_owned();
        Self { child, listen }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("it still runs");
        self.child.wait().expect("it ends");
    }
}

/// The interpreter that has the SDK.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory");
    let environment = target.join("python-sdk");
    let installed = std::fs::read_to_string(environment.join("installed.txt"));
    if installed.is_ok_and(|text| text == REQUIREMENTS) {
        return Some(environment.join("bin/python"));
    }
    let missing = format!(
        "the SDK is not in {}; `cargo verify -- --only install` puts it there",
        environment.display()
    );
    let required = std::env::var("ENI_REQUIRE_SDK").is_ok_and(|value| value == "1");
    assert!(!required, "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

fn run(case: &str) {
    let Some(python) = python() else { return };
    for method in ["POST", "GET"] {
        let program = Program::start();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/client.py");
        let output = Command::new(&python)
            .arg(script)
            .args([case, method, &program.listen, SECRET_ID, SECRET_KEY])
            .output()
            .expect("the interpreter runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{case} by {method}:\n{said}");
    }
}

#[test]
fn an_eni_lives_as_the_sdk_expects() {
    run("life_of_an_eni");
}

#[test]
fn a_public_address_is_bound_and_released_by_the_sdk() {
    run("public_addresses");
}

#[test]
fn subnets_and_instances_are_read_by_the_sdk() {
    run("places");
}

#[test]
fn the_sdk_understands_every_refusal() {
    run("errors");
}

#[test]
fn the_sdk_notices_every_fault() {
    run("faults");
}

#[test]
fn the_program_listens_on_the_loopback_alone() {
    let output = Command::new(env!("CARGO_BIN_EXE_tencent-sim"))
        .args([
            "--listen",
            "0.0.0.0:0",
            "--secret-id",
            SECRET_ID,
            "--secret-key",
            SECRET_KEY,
        ])
        .output()
        .expect("the program starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not a loopback address"), "{said}");
}
