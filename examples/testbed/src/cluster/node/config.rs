//! The configuration files of a node's programs, as text.

use std::path::Path;

use ipnet::Ipv4Net;
use serde_json::json;

use crate::kubernetes::images::PAUSE_IMAGE;

/// containerd's socket in the node.
pub(super) const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Where CNI configurations are in the node.
pub(super) const CNI_CONFIGURATIONS: &str = "/etc/cni/net.d";

/// Where CNI plugins are in the node.
pub(super) const CNI_PLUGINS: &str = "/opt/cni/bin";

/// containerd's configuration.
pub(super) fn containerd() -> String {
    let pause = PAUSE_IMAGE.tag;
    // Lowering a score of the OOM killer takes a right that containers rarely have.
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{CNI_CONFIGURATIONS}"
"#
    )
}

/// kubelet's configuration, with its certificate for those who call it.
pub(super) fn kubelet(trusted: &Path, certificate: &Path, key: &Path, resolver: &Path) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": trusted},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": certificate,
        "tlsPrivateKeyFile": key,
        "cgroupDriver": "cgroupfs",
        "failSwapOn": false,
        "resolvConf": resolver,
        "clusterDomain": "cluster.local",
        "clusterDNS": ["10.96.0.10"],
        // The disk is the machine's, and images are not to be had again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "2s",
        "maxPods": 250,
    })
    .to_string()
}

/// A network of the reference plugins for the pods of one node.
pub(super) fn bridge(pods: Ipv4Net) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}
