//! The ServiceAccounts of our programs, with the rights that their manifests give them.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    cluster::{ClusterError, Kubectl, certificates::Certificates},
    kubernetes::authority::write_secret,
};

/// The kinds of a manifest that say who may do what.
const KINDS: [&str; 5] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Longer than any cluster here lives, in seconds.
const LIFE: u64 = 30 * 24 * 3600;

/// The account of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Account {
    name: &'static str,
    manifests: &'static [&'static str],
}

impl Account {
    /// ipamd's.
    pub(in crate::cluster) const IPAMD: Self = Self {
        name: "tke-eni-ipamd",
        manifests: deploy::IPAMD,
    };

    /// The agents'.
    pub(in crate::cluster) const AGENT: Self = Self {
        name: "tke-eni-agent",
        manifests: deploy::AGENT,
    };

    /// Makes the account; a token of it.
    pub(in crate::cluster) fn create(&self, kubectl: &Kubectl) -> Result<String, ClusterError> {
        kubectl.feed(&["apply", "--filename=-"], &rights(self.manifests))?;
        let path = format!(
            "/api/v1/namespaces/kube-system/serviceaccounts/{}/token",
            self.name
        );
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFE},
        });
        let answer = kubectl.feed(&["create", "--raw", &path, "--filename=-"], &request.to_string())?;
        let token = serde_json::from_str::<Value>(&answer)
            .ok()
            .and_then(|answer| Some(answer["status"]["token"].as_str()?.to_owned()));
        token.ok_or_else(|| ClusterError::Kubectl {
            arguments: format!("create --raw {path}"),
            output: format!("there is no token in: {answer}"),
        })
    }
}

/// Writes the kubeconfig of the holder of a token at `path`, for the API server at `server`.
pub(in crate::cluster) fn write_kubeconfig(
    path: &Path,
    certificates: &Certificates,
    server: &str,
    token: &str,
) -> Result<(), ClusterError> {
    let text = certificates.configuration(server, &json!({"token": token}));
    Ok(write_secret(path, &text)?)
}

/// The documents of manifests that say who may do what.
fn rights(manifests: &[&str]) -> String {
    let kind = |document: &str| {
        let line = document.lines().find_map(|line| line.strip_prefix("kind: "));
        line.is_some_and(|kind| KINDS.contains(&kind.trim()))
    };
    let documents: Vec<&str> = manifests
        .iter()
        .flat_map(|manifest| manifest.split("\n---\n"))
        .filter(|document| kind(document))
        .collect();
    documents.join("\n---\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_manifests_the_rights_are_applied_and_no_workload() {
        for Account { name, manifests } in [Account::IPAMD, Account::AGENT] {
            let rights = rights(manifests);
            for kind in ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"] {
                assert!(rights.contains(&format!("\nkind: {kind}\n")), "{name}: {kind}");
            }
            for kind in ["Deployment", "DaemonSet", "ConfigMap"] {
                assert!(!rights.contains(&format!("\nkind: {kind}\n")), "{name}: {kind}");
            }
        }
    }
}
