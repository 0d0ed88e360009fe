//! The command line, and the manifest that uses it.

use std::path::Path;

use super::*;

fn read(flags: &[&str]) -> Result<Options, Error> {
    Options::read(["tke-eni-agent", "--node-name=node-1"].iter().chain(flags))
}

fn agent(flags: &[&str]) -> AgentConfig {
    let options = read(flags).unwrap();
    options.agent(options.node_name(), "ins-1".into())
}

#[test]
fn the_defaults_are_those_of_tke_and_of_kubernetes() {
    let config = agent(&[]);
    assert_eq!(config.node.as_str(), "node-1");
    assert_eq!(config.dialogue.release, Release::Slow);
    assert_eq!(config.dialogue.release_interval, Duration::from_secs(120));
    assert_eq!(config.service.cooldown, ServiceConfig::default().cooldown);
    assert_eq!(
        config.dialogue.report_interval,
        DialogueConfig::default().report_interval
    );
    assert_eq!(config.collection, eni_core::gc::INTERVAL);
    assert_eq!(config.results, results::DIRECTORIES.map(PathBuf::from));
    let (devices, usual) = (config.devices.unwrap(), DeviceConfig::default());
    assert_eq!(devices.directory, usual.directory);
    assert_eq!(devices.pod_resources, usual.pod_resources);
    let options = read(&[]).unwrap();
    let install = options.install().unwrap();
    assert_eq!(install.binaries, Path::new("/opt/cni/bin"));
    assert_eq!(install.configurations, Path::new("/etc/cni/net.d"));
    assert!(!install.chain.port_mapping && !install.chain.bandwidth);
    let Runtime::Cri(runtime) = options.kubelet.container_runtime_endpoint else {
        panic!("a runtime is asked")
    };
    assert_eq!(runtime.path(), Path::new("/run/containerd/containerd.sock"));
}

#[test]
fn what_the_flags_say_is_what_the_agent_does() {
    let config = agent(&[
        "--enable-quick-release",
        "--release-interval=1s",
        "--cooldown=2s",
        "--report-interval=3s",
        "--gc-interval=4s",
        "--advertise=bound",
        "--kubelet-dir=/k",
        "--state-dir=/s",
        "--endpoint=127.0.0.1:61677",
        "--cni-results-dir=/a",
        "--cni-results-dir=/b",
    ]);
    assert_eq!(config.dialogue.release, Release::Quick);
    assert_eq!(config.dialogue.release_interval, Duration::from_secs(1));
    assert_eq!(config.service.cooldown, Duration::from_secs(2));
    assert_eq!(config.dialogue.report_interval, Duration::from_secs(3));
    assert_eq!(config.collection, Duration::from_secs(4));
    assert_eq!(config.dialogue.advertise, Advertise::Bound);
    assert_eq!(config.devices.unwrap().directory, Path::new("/k/device-plugins"));
    assert_eq!(config.journal, Path::new("/s/journal"));
    assert_eq!(config.endpoint.to_string(), "127.0.0.1:61677");
    assert_eq!(config.results, ["/a", "/b"].map(PathBuf::from));
}

#[test]
fn parts_can_be_switched_off() {
    assert!(agent(&["--device-plugin=false"]).devices.is_none());
    assert!(read(&["--install-cni=false"]).unwrap().install().is_none());
    let alone = read(&["--container-runtime-endpoint=none"]).unwrap();
    assert_eq!(alone.kubelet.container_runtime_endpoint, Runtime::Namespaces);
}

#[test]
fn a_node_without_a_name_bears_the_hosts() {
    let options = Options::read(["tke-eni-agent"]).unwrap();
    assert!(!options.node_name().as_str().is_empty());
}

#[test]
fn a_flag_of_tke_that_this_agent_lacks_says_why_and_what_to_do() {
    for flag in ["--kube-client-qps=10", "--kube-client-burst=20"] {
        let message = read(&[flag]).unwrap_err().to_string();
        assert!(message.contains("leave it out"), "{message}");
    }
    let slip = read(&["--enable-quik-release"]).unwrap_err().to_string();
    assert!(
        slip.contains("--enable-quick-release"),
        "a slip gets a hint: {slip}"
    );
}

#[test]
fn nonsense_of_every_kind_is_refused() {
    for flag in [
        "--instance-id= ",
        "--endpoint=10.0.0.1:61677",
        "--cooldown=0s",
        "--gc-interval=-1s",
        "--advertise=all",
        "--mtu=67",
        "--container-runtime-endpoint=containerd",
        "--health-address=61679",
        "--log-level=loud=yes",
        "--port-mapping=perhaps",
    ] {
        let name = flag.split('=').next().unwrap();
        let error = read(&[flag]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_manifest_starts_it_and_mounts_what_it_works_with() {
    let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(deploy::AGENT_WORKLOAD).unwrap();
    let daemons = objects
        .iter()
        .find(|object| object["kind"] == "DaemonSet")
        .unwrap();
    let container = &daemons["spec"]["template"]["spec"]["containers"][0];
    let arguments = [&container["command"], &container["args"]];
    let arguments = arguments.into_iter().flat_map(|list| list.as_array().unwrap());
    let options = Options::read(arguments.map(|text| text.as_str().unwrap())).unwrap();
    assert_eq!(
        container["ports"][0]["containerPort"],
        options.node.health_address.port()
    );
    let config = options.agent("node-1".into(), "ins-1".into());
    let Endpoint::Unix(socket) = config.endpoint else {
        panic!("the plugins find it by a socket")
    };
    let Runtime::Cri(runtime) = options.kubelet.container_runtime_endpoint else {
        panic!("the runtime is asked")
    };
    let devices = config.devices.unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounts: Vec<_> = mounts
        .iter()
        .map(|mount| Path::new(mount["mountPath"].as_str().unwrap()))
        .collect();
    for path in [
        &config.journal,
        &socket,
        &options.node.introspection_socket,
        &options.cni.cni_bin_dir,
        &options.cni.cni_conf_dir,
        &devices.directory,
        &devices.pod_resources,
        &runtime.path().to_owned(),
        &config.results[0],
        &config.results[1],
    ] {
        assert!(mounts.iter().any(|mount| path.starts_with(mount)), "{path:?}");
    }
}
