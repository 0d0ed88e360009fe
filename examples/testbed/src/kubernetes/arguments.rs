//! What every API server of a testbed is told.

use std::{net::Ipv4Addr, path::Path};

/// What is written down of each request: who asked for what, and the answer's status. Not whether the server is
/// ready, which is asked for before it knows that everybody may ask.
pub(crate) const AUDIT: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy",
"omitStages":["RequestReceived","ResponseStarted"],"rules":[{"level":"None","nonResourceURLs":["/readyz*"]},{"level":"Metadata"}]}"#;

/// Where an API server is and what it needs.
#[derive(Debug)]
pub(crate) struct ApiServer<'a> {
    /// The directory with its certificates and keys, and `audit.json`.
    pub(crate) files: &'a Path,
    /// Where it writes down each request.
    pub(crate) audit_log: &'a Path,
    /// Its store, on loopback.
    pub(crate) etcd_port: u16,
    /// The address by which it is known.
    pub(crate) address: Ipv4Addr,
    /// Its port.
    pub(crate) port: u16,
}

/// The arguments of an API server.
pub(crate) fn api_server(server: &ApiServer<'_>) -> Vec<String> {
    let file = |name: &str| server.files.join(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", server.etcd_port),
        format!("--advertise-address={}", server.address),
        format!("--secure-port={}", server.port),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={}", file("accounts.key")),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--audit-policy-file={}", file("audit.json")),
        format!("--audit-log-path={}", server.audit_log.display()),
        "--audit-log-mode=blocking".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--v=1".to_owned(),
    ]
}

/// The requests that an API server wrote down, one JSON object each, oldest first.
pub(crate) fn audit(log: &Path) -> std::io::Result<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(log)?;
    let events = text.lines().map(serde_json::from_str);
    events.collect::<Result<_, _>>().map_err(std::io::Error::other)
}
