//! Kubernetes' programs, built from Debian's source package with Debian's Go.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::debian::Debian;
use crate::{
    run::{capture, run, succeeded},
    stage::Failure,
};

/// The version that is built.
pub(super) const VERSION: &str = "1.20.2";

/// What the version's tag was on, as the programs report it.
const COMMIT: &str = "faecb196815e248d3ecfb03c680a4507229c2a56";

/// Packages that say their version.
const VERSIONED: [&str; 2] = ["component-base/version", "client-go/pkg/version"];

/// Directories of vendored packages that only make code and are part of no program.
const GENERATORS: [&str; 4] = ["code-generator", "sample-apiserver", "gengo", "kube-openapi"];

/// In place of a file that is generated and not in the archive: the manifests that upstream's tests carry along. The
/// tests of networks read none.
const NO_FILES: &str = r#"package generated

import "os"

// Asset finds no file.
func Asset(name string) ([]byte, error) { return nil, os.ErrNotExist }

// AssetNames knows of no file.
func AssetNames() []string { return nil }
"#;

/// The source tree and the compiler.
pub(super) struct Tree {
    /// The tree, by the path below GOPATH that Go knows it by.
    source: PathBuf,
    go: PathBuf,
    work: PathBuf,
}

impl Tree {
    /// Gets both, ready to build, below `work`.
    pub(super) fn prepare(debian: &Debian, work: &Path) -> Result<Self, Failure> {
        debian.unpacked("golang-1.19-src", work)?;
        let go = debian.unpacked("golang-1.19-go", work)?.join("usr/lib/go-1.19");
        let source = debian.source("kubernetes", work)?;
        replace_reflect2(debian, work, &source)?;

        // By modules it does not build: "updates to go.mod needed, disabled by -mod=vendor".
        let known = work.join("gopath/src/k8s.io/kubernetes");
        let linked = fs::create_dir_all(known.parent().unwrap_or(work))
            .and_then(|()| std::os::unix::fs::symlink(&source, &known));
        linked.map_err(|error| broken(&known, error))?;
        let tree = Self {
            source: known,
            go,
            work: work.to_owned(),
        };
        tree.describe_api()?;
        Ok(tree)
    }

    /// Builds the program of a package; its path.
    pub(super) fn program(&self, name: &str, package: &str) -> Result<PathBuf, Failure> {
        let output = self.output(name);
        run(self
            .go(["build", "-tags=providerless", "-ldflags", &ldflags(), "-o"])
            .arg(&output)
            .arg(format!("k8s.io/kubernetes/{package}")))?;
        Ok(output)
    }

    /// Builds the tests of a package as a program; its path.
    pub(super) fn tests(&self, name: &str, package: &str) -> Result<PathBuf, Failure> {
        let generated = self.source.join("test/e2e/generated/bindata.go");
        fs::write(&generated, NO_FILES).map_err(|error| broken(&generated, error))?;
        let output = self.output(name);
        run(self
            .go(["test", "-c", "-ldflags", &ldflags(), "-o"])
            .arg(&output)
            .arg(format!("k8s.io/kubernetes/{package}")))?;
        Ok(output)
    }

    /// Builds a program of one Go file, given its text; its path.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let source = self.work.join(format!("{name}.go"));
        fs::write(&source, text).map_err(|error| broken(&source, error))?;
        let output = self.output(name);
        run(self
            .go(["build", "-ldflags", "-s -w", "-o"])
            .arg(&output)
            .arg(source))?;
        Ok(output)
    }

    /// Builds a program of one C file; its path.
    pub(super) fn c(&self, name: &str, file: &str) -> Result<PathBuf, Failure> {
        let output = self.output(name);
        run(Command::new("cc")
            .args(["-Os", "-s", "-static", &format!("-DVERSION=v{VERSION}"), "-o"])
            .arg(&output)
            .arg(self.source.join(file)))?;
        Ok(output)
    }

    /// Apart from the sources, whose directories have names of programs.
    fn output(&self, name: &str) -> PathBuf {
        self.work.join(format!("built-{name}"))
    }
}

/// From Go 1.18 on, the vendored reflect2 1.0.1 crashes the server at the first custom resource.
fn replace_reflect2(debian: &Debian, work: &Path, source: &Path) -> Result<(), Failure> {
    let root = debian.unpacked("golang-github-modern-go-reflect2-dev", work)?;
    let package = "github.com/modern-go/reflect2";
    let (theirs, ours) = (
        root.join("usr/share/gocode/src").join(package),
        source.join("vendor").join(package),
    );
    let replaced = fs::remove_dir_all(&ours)
        .and_then(|()| fs::create_dir(&ours))
        .and_then(|()| {
            for entry in fs::read_dir(&theirs)? {
                let entry = entry?;
                let name = entry.file_name();
                let text = name.to_string_lossy();
                if text.ends_with(".s") || (text.ends_with(".go") && !text.ends_with("_test.go")) {
                    fs::copy(entry.path(), ours.join(&name))?;
                }
            }
            Ok(())
        });
    replaced.map_err(|error| broken(&ours, error))
}

impl Tree {
    /// Writes the one generated file that is not in the archive: the description of the API's types.
    fn describe_api(&self) -> Result<(), Failure> {
        let generator = self.work.join("openapi-gen");
        run(self
            .go(["build", "-o"])
            .arg(&generator)
            .arg("k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen"))?;
        let packages = self.described()?;
        println!("{} packages of the API are described", packages.len());
        let mut command = Command::new(generator);
        command
            .args(["--input-dirs", &packages.join(",")])
            .args(["--output-package", "k8s.io/kubernetes/pkg/generated/openapi"])
            .args(["--output-file-base", "zz_generated.openapi"])
            .args([
                "--go-header-file",
                "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
            ])
            .arg("--report-filename")
            .arg(self.work.join("violations.report"));
        run(self.with_environment(&mut command))
    }

    /// The packages whose sources ask for a description.
    fn described(&self) -> Result<Vec<String>, Failure> {
        let mut command = Command::new("grep");
        command.args(["-rl", "--include=*.go", "--exclude-dir=testdata"]);
        command.args([
            "--exclude-dir=_examples",
            "+k8s:openapi-gen=",
            "pkg",
            "cmd",
            "plugin",
        ]);
        let vendored = self.source.join("vendor/k8s.io");
        let entries = fs::read_dir(&vendored).map_err(|error| broken(&vendored, error))?;
        for entry in entries {
            let name = entry.map_err(|error| broken(&vendored, error))?.file_name();
            // Through a link, which `grep -r` follows only when it is named.
            command.arg(format!("vendor/k8s.io/{}/", name.to_string_lossy()));
        }
        command.current_dir(&self.source);
        let (status, found) = capture(&mut command)?;
        succeeded(&command, status, Vec::new())?;
        let generator = |path: &str| {
            let vendored = path.strip_prefix("vendor/k8s.io/");
            vendored.is_some_and(|path| GENERATORS.iter().any(|name| path.starts_with(name)))
        };
        let directories: BTreeSet<&str> = found
            .lines()
            .filter(|path| !path.ends_with("_test.go") && !generator(path))
            .filter_map(|path| Some(path.rsplit_once('/')?.0))
            .collect();
        Ok(directories
            .into_iter()
            .map(|directory| format!("k8s.io/kubernetes/{}", directory.replace("//", "/")))
            .collect())
    }

    fn go<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(self.go.join("bin/go"));
        command.args(arguments);
        self.with_environment(&mut command);
        command
    }

    fn with_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = vec![self.go.join("bin")];
        paths.extend(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(paths) {
            command.env("PATH", path);
        }
        command
            .current_dir(&self.source)
            // Go finds its packages relative to the directory in which we say we are.
            .env("PWD", &self.source)
            .env("GOROOT", &self.go)
            .env("GOPATH", self.work.join("gopath"))
            .env("GOCACHE", self.work.join("gocache"))
            .env("GO111MODULE", "off")
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-trimpath")
            // The compiler's own garbage is a quarter of its time; a package takes 1.5 GB at most so.
            .env("GOGC", "400")
    }
}

/// The version, for the programs to report.
fn ldflags() -> String {
    let mut flags = "-s -w".to_owned();
    let number: Vec<&str> = VERSION.split('.').collect();
    for package in VERSIONED {
        for (name, value) in [
            ("gitVersion", format!("v{VERSION}")),
            ("gitMajor", number[0].to_owned()),
            ("gitMinor", number[1].to_owned()),
            ("gitCommit", COMMIT.to_owned()),
            ("gitTreeState", "clean".to_owned()),
        ] {
            flags.push_str(&format!(
                " -X k8s.io/kubernetes/vendor/k8s.io/{package}.{name}={value}"
            ));
        }
    }
    flags
}

fn broken(path: &Path, error: std::io::Error) -> Failure {
    Failure::rule(format!("{}: {error}", path.display()), Vec::new())
}
