//! Who is who in a cluster: certificates and kubeconfigs, as files of one directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::kubernetes::{
    Unavailable,
    authority::{Authority, signing_keys, write_secret},
};

/// Certificates of one authority, in a directory.
#[derive(Debug)]
pub(super) struct Certificates {
    directory: PathBuf,
    authority: Authority,
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    /// An authority, and the keys with which tokens are signed.
    pub(super) fn create(directory: PathBuf) -> Result<Self, Unavailable> {
        let what = format!("{} cannot be made", directory.display());
        fs::create_dir(&directory).map_err(Unavailable::machine(what))?;
        let authority = Authority::new()?;
        write_secret(&directory.join("ca.crt"), &authority.certificate)?;
        write_secret(&directory.join("ca.key"), &authority.key())?;
        let [secret, public] = signing_keys()?;
        write_secret(&directory.join("accounts.key"), &secret)?;
        write_secret(&directory.join("accounts.pub"), &public)?;
        Ok(Self { directory, authority })
    }

    /// The authority's certificate.
    pub(super) fn trusted(&self) -> &str {
        &self.authority.certificate
    }

    /// The path of a file here.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Issues a certificate to a user in groups, or to a server under names and addresses.
    pub(super) fn issue(
        &self,
        file: &str,
        user: &str,
        groups: &[&str],
        names: &[&str],
    ) -> Result<Files, Unavailable> {
        let identity = self.authority.issue(user, groups, names)?;
        let files = Files {
            certificate: self.file(&format!("{file}.crt")),
            key: self.file(&format!("{file}.key")),
        };
        write_secret(&files.certificate, &identity.certificate)?;
        write_secret(&files.key, &identity.key)?;
        Ok(files)
    }

    /// Writes the kubeconfig of a user at `path`, for the API server at `server`.
    pub(super) fn kubeconfig(&self, path: &Path, server: &str, user: &Files) -> Result<(), Unavailable> {
        let user = json!({"client-certificate": user.certificate, "client-key": user.key});
        write_secret(path, &self.configuration(server, &user))
    }

    /// The kubeconfig of a user, by whatever proves who it is, for the API server at `server`.
    pub(super) fn configuration(&self, server: &str, user: &Value) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {
                "server": server,
                "certificate-authority": self.file("ca.crt"),
            }}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
            "current-context": "testbed",
        })
        .to_string()
    }
}
