//! etcd and kube-apiserver on loopback, for as long as a handle lives.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

use tempfile::TempDir;

use super::{
    Binaries, PATIENCE, REQUIRE_KUBERNETES, Unavailable, arguments,
    authority::{Authority, signing_keys, write_secret},
    etcd,
    probe::Probe,
    process::Process,
    programs,
};

/// An API server without controllers, scheduler or nodes, on 127.0.0.1.
///
/// Bounded: it dies with its handle or with this process, however that ends; its memory is limited to what
/// tests need; its files are in a directory that goes with it.
#[derive(Debug)]
pub struct ApiServer {
    // In the order in which they end.
    server: Option<Process>,
    _etcd: Process,
    directory: TempDir,
    binaries: Binaries,
    authority: Authority,
    port: u16,
    etcd_port: u16,
}

impl ApiServer {
    /// Starts one, and returns when it serves.
    pub fn start() -> Result<Self, Unavailable> {
        let binaries = Binaries::cached(programs::SERVER)?;
        let directory = TempDir::with_prefix("testbed-")
            .map_err(Unavailable::machine("no directory for the API server"))?;
        let authority = Authority::new()?;
        let place = directory.path();
        write_secret(&place.join("ca.crt"), &authority.certificate)?;
        let serving = authority.issue("kube-apiserver", &[], &["127.0.0.1", "localhost"])?;
        write_secret(&place.join("server.crt"), &serving.certificate)?;
        write_secret(&place.join("server.key"), &serving.key)?;
        let [secret, public] = signing_keys()?;
        write_secret(&place.join("accounts.key"), &secret)?;
        write_secret(&place.join("accounts.pub"), &public)?;
        write_secret(&place.join("audit.json"), arguments::AUDIT)?;
        let [port, etcd_port, peer_port] =
            free_ports().map_err(Unavailable::machine("no free ports on 127.0.0.1"))?;
        let etcd = etcd::start(&binaries, place, etcd_port, peer_port)?;
        let mut server = Self {
            server: None,
            _etcd: etcd,
            directory,
            binaries,
            authority,
            port,
            etcd_port,
        };
        server.start_server()?;
        Ok(server)
    }

    /// Starts one for the tests that are `what`; or says that they are left out because its programs were not
    /// built, on standard error itself, which no test runner captures.
    ///
    /// # Panics
    ///
    /// If the API server cannot start, or is not there where [`REQUIRE_KUBERNETES`] wants it.
    pub fn for_tests(what: &str) -> Option<Self> {
        let required = std::env::var(REQUIRE_KUBERNETES).is_ok_and(|value| value == "1");
        match Self::start() {
            Ok(server) => Some(server),
            Err(missing @ Unavailable::Missing(_)) if !required => {
                let line = format!("SKIPPED {what}: {missing}\n");
                io::stderr()
                    .write_all(line.as_bytes())
                    .expect("stderr takes a line");
                None
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }

    /// A kubeconfig of a user in groups, by a certificate of its own.
    pub fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Unavailable> {
        let identity = self.authority.issue(user, groups, &[])?;
        let place = self.directory.path();
        let file = |ending: &str| place.join(format!("user-{}.{ending}", user.replace([':', '/'], "-")));
        let (certificate, key, config) = (file("crt"), file("key"), file("kubeconfig"));
        write_secret(&certificate, &identity.certificate)?;
        write_secret(&key, &identity.key)?;
        let text = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": place.join("ca.crt"),
            }}],
            "users": [{"name": user, "user": {"client-certificate": certificate, "client-key": key}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        });
        write_secret(&config, &text.to_string())?;
        Ok(config)
    }

    /// A kubeconfig of a user who may do everything.
    pub fn administrator(&self) -> Result<PathBuf, Unavailable> {
        self.kubeconfig("administrator", &["system:masters"])
    }

    /// Ends the API server alone, as an upgrade does. What it stored is kept.
    pub fn stop_server(&mut self) {
        self.server = None;
    }

    /// Ends the API server alone, as a crash does. What it stored is kept.
    pub fn crash_server(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill();
        }
        self.server = None;
    }

    /// Starts the API server again, under the same address; returns when it serves.
    pub fn start_server(&mut self) -> Result<(), Unavailable> {
        if self.server.is_some() {
            return Ok(());
        }
        let mut server = Process::start(
            "kube-apiserver",
            &self.binaries.path(&programs::API_SERVER),
            &self.arguments(),
            &[("GOMEMLIMIT", "1GiB")],
            self.directory.path(),
        )?;
        let probe = Probe::new(self.port, &self.authority.certificate)
            .map_err(Unavailable::machine("the API server cannot be asked"))?;
        server.wait_until(PATIENCE, || probe.is_ready())?;
        self.server = Some(server);
        Ok(())
    }

    /// What was asked of the API server since it was started first, one JSON object a request, oldest first:
    /// the schema is Kubernetes' `audit.k8s.io/v1` Event.
    pub fn audit(&self) -> Result<Vec<serde_json::Value>, Unavailable> {
        let path = self.audit_log();
        arguments::audit(&path).map_err(Unavailable::machine(format!("{} cannot be read", path.display())))
    }

    fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn arguments(&self) -> Vec<String> {
        let place = self.directory.path();
        let mut arguments = arguments::api_server(&arguments::ApiServer {
            files: place,
            audit_log: &self.audit_log(),
            etcd_port: self.etcd_port,
            address: Ipv4Addr::LOCALHOST,
            port: self.port,
        });
        arguments.extend([
            "--bind-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            // No controller makes the account that this one wants every pod to have.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ]);
        arguments
    }
}

/// Ports of 127.0.0.1 that nobody listens on.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Held at once, so that they differ.
    let listeners = [bind()?, bind()?, bind()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_serves_again_after_a_crash_and_after_a_stop() {
        let Some(mut server) = ApiServer::for_tests("the API server's own test") else {
            return;
        };
        server.crash_server();
        server.start_server().unwrap();
        server.stop_server();
        server.start_server().unwrap();
        assert!(server.administrator().unwrap().is_file());
    }
}
