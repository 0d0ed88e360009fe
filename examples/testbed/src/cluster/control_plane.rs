//! etcd, API server, controllers and scheduler, on an instance of their own.

use std::{
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use eni_netlink::namespace::Namespace;
use fabric::nodes::Node;
use serde_json::{Value, json};

use super::{ClusterError, certificates::Certificates, relay, state::State};
use crate::kubernetes::{
    Binaries, PATIENCE, Unavailable,
    arguments::{self, AUDIT, ApiServer},
    authority::write_secret,
    etcd,
    probe::Probe,
    process::Process,
    programs::{API_SERVER, CONTROLLER_MANAGER, SCHEDULER},
};

/// The API server's port, and its store's two; they are free in a namespace of its own.
const PORT: u16 = 6443;
const ETCD: [u16; 2] = [2379, 2380];

/// The first address of the Services' range, which is the API server's.
const SERVICE: &str = "10.96.0.1";

/// A running control plane.
#[derive(Debug)]
pub(super) struct ControlPlane {
    /// The API server, as instances of the VPC reach it.
    pub(super) server: String,
    // In the order in which they end.
    _clients: Vec<Process>,
    api_server: Process,
    _etcd: Process,
    program: ApiServerProgram,
    probe: Probe,
}

/// What an API server is started from, once and again.
#[derive(Debug)]
struct ApiServerProgram {
    namespace: Namespace,
    path: PathBuf,
    arguments: Vec<String>,
    directory: PathBuf,
}

/// What a control plane is made from.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) node: &'a Node,
    pub(super) state: &'a State,
    pub(super) binaries: &'a Binaries,
    pub(super) certificates: &'a Certificates,
    /// Where the scheduler's extender will answer, if there is to be one.
    pub(super) extender: Option<String>,
}

impl ControlPlane {
    /// Starts one; returns when its API server serves, here as well, by the administrator's kubeconfig.
    pub(super) fn start(parts: &Parts<'_>) -> Result<Self, ClusterError> {
        let Parts {
            node,
            state,
            binaries,
            certificates,
            ..
        } = parts;
        let directory = &node.directory;
        parts.issue_server()?;
        write_secret(&certificates.file("audit.json"), AUDIT)?;
        let api = ApiServerProgram {
            namespace: Namespace::open(node.netns())
                .map_err(io::Error::other)
                .map_err(ClusterError::machine("the control plane's namespace"))?,
            path: binaries.path(&API_SERVER),
            arguments: parts.api_server()?,
            directory: directory.clone(),
        };
        let etcd = inside(&api.namespace, || {
            etcd::start(binaries, directory, ETCD[0], ETCD[1])
        })?;
        let mut api_server = api.start()?;
        let port = relay::start(node.netns(), (Ipv4Addr::LOCALHOST, PORT).into())
            .map_err(ClusterError::machine("relaying to the API server"))?;
        let probe = Probe::new(port, certificates.trusted())
            .map_err(Unavailable::machine("the API server cannot be asked"))?;
        api_server.wait_until(PATIENCE, || probe.is_ready())?;
        let administrator = certificates.issue("admin", "administrator", &["system:masters"], &[])?;
        certificates.kubeconfig(
            &state.kubeconfig(),
            &format!("https://127.0.0.1:{port}"),
            &administrator,
        )?;
        let server = format!("https://{}:{PORT}", node.address);
        let mut clients = Vec::new();
        for (program, arguments) in [
            (CONTROLLER_MANAGER, parts.controller_manager(&server)?),
            (SCHEDULER, parts.scheduler(&server)?),
        ] {
            clients.push(inside(&api.namespace, || {
                let path = binaries.path(&program);
                Process::start(program.name, &path, &arguments, &[], directory)
            })?);
        }
        Ok(Self {
            server,
            _clients: clients,
            api_server,
            _etcd: etcd,
            program: api,
            probe,
        })
    }

    /// Ends the API server as a crash does.
    pub(super) fn kill_api_server(&mut self) {
        self.api_server.kill();
        self.api_server.stop();
    }

    /// Starts it again; returns when it serves.
    pub(super) fn start_api_server(&mut self) -> Result<(), ClusterError> {
        self.kill_api_server();
        self.api_server = self.program.start()?;
        Ok(self.api_server.wait_until(PATIENCE, || self.probe.is_ready())?)
    }
}

impl ApiServerProgram {
    fn start(&self) -> Result<Process, ClusterError> {
        let environment = [("GOMEMLIMIT", "1GiB")];
        inside(&self.namespace, || {
            Process::start(
                API_SERVER.name,
                &self.path,
                &self.arguments,
                &environment,
                &self.directory,
            )
        })
    }
}

/// Starts a program in a namespace.
fn inside(
    namespace: &Namespace,
    start: impl FnOnce() -> Result<Process, Unavailable> + Send,
) -> Result<Process, ClusterError> {
    let started = namespace.run_in(start).map_err(io::Error::other);
    Ok(started.map_err(ClusterError::machine("the control plane's namespace"))??)
}

impl Parts<'_> {
    fn issue_server(&self) -> Result<(), Unavailable> {
        let address = self.node.address.to_string();
        let names = [
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            SERVICE,
            &address,
        ];
        self.certificates.issue("server", "kube-apiserver", &[], &names)?;
        Ok(())
    }

    fn api_server(&self) -> Result<Vec<String>, Unavailable> {
        // The group by which kubeadm too lets the API server into kubelets.
        let groups = ["system:masters"];
        let client =
            self.certificates
                .issue("kubelet-client", "kube-apiserver-kubelet-client", &groups, &[])?;
        let mut arguments = arguments::api_server(&ApiServer {
            files: &self.certificates.file(""),
            audit_log: &self.state.audit_log(),
            etcd_port: ETCD[0],
            address: self.node.address,
            port: PORT,
        });
        arguments.extend([
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            format!("--kubelet-client-certificate={}", client.certificate.display()),
            format!("--kubelet-client-key={}", client.key.display()),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]);
        Ok(arguments)
    }

    fn controller_manager(&self, server: &str) -> Result<Vec<String>, Unavailable> {
        let config = self.kubeconfig("kube-controller-manager", server)?;
        let file = |name: &str| self.certificates.file(name).display().to_string();
        Ok(client_arguments(&config)
            .into_iter()
            .chain([
                format!("--kubeconfig={}", config.display()),
                "--use-service-account-credentials=true".to_owned(),
                format!("--root-ca-file={}", file("ca.crt")),
                format!("--service-account-private-key-file={}", file("accounts.key")),
                format!("--cluster-signing-cert-file={}", file("ca.crt")),
                format!("--cluster-signing-key-file={}", file("ca.key")),
                "--leader-elect=false".to_owned(),
                "--allocate-node-cidrs=false".to_owned(),
            ])
            .collect())
    }

    fn scheduler(&self, server: &str) -> Result<Vec<String>, Unavailable> {
        let config = self.kubeconfig("kube-scheduler", server)?;
        let file = self.node.directory.join("scheduler.json");
        let mut options: Value =
            serde_saphyr::from_str(deploy::SCHEDULER_CONFIG).expect("the manifests' own tests read it");
        options["clientConnection"] = json!({"kubeconfig": config});
        options["leaderElection"] = json!({"leaderElect": false});
        match &self.extender {
            Some(extender) => options["extenders"][0]["urlPrefix"] = json!(extender),
            None => options["extenders"] = json!([]),
        }
        write_secret(&file, &options.to_string())?;
        let mut arguments = client_arguments(&config);
        arguments.push(format!("--config={}", file.display()));
        Ok(arguments)
    }

    /// The kubeconfig of a part of the control plane.
    fn kubeconfig(&self, part: &str, server: &str) -> Result<PathBuf, Unavailable> {
        let user = self
            .certificates
            .issue(part, &format!("system:{part}"), &[], &[])?;
        let path = self.node.directory.join(format!("{part}.kubeconfig"));
        self.certificates.kubeconfig(&path, server, &user)?;
        Ok(path)
    }
}

/// What controllers and scheduler are both told.
fn client_arguments(config: &Path) -> Vec<String> {
    vec![
        format!("--authentication-kubeconfig={}", config.display()),
        format!("--authorization-kubeconfig={}", config.display()),
        "--bind-address=127.0.0.1".to_owned(),
        "--port=0".to_owned(),
        "--v=1".to_owned(),
    ]
}
