//! The environment and the arguments of one execution, good and bad.

use std::{collections::BTreeMap, os::unix::ffi::OsStringExt};

use super::*;

const GOOD: [(&str, &str); 5] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/x"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/a:/b"),
];

/// The good environment with changes; an empty value is an empty variable.
fn read(changes: &[(&str, &str)]) -> Result<(Command, Invocation), Error> {
    let variables: BTreeMap<_, _> = GOOD.iter().chain(changes).copied().collect();
    Invocation::read(|name| variables.get(name).map(OsString::from))
}

fn complaint(changes: &[(&str, &str)]) -> String {
    let error = read(changes).unwrap_err();
    assert_eq!(error.code, Code::Environment, "{error}");
    error.to_string()
}

#[test]
fn reads_a_good_environment() {
    let args =
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u=1;K8S_POD_INFRA_CONTAINER_ID=c1";
    let (command, invocation) = read(&[("CNI_ARGS", args)]).unwrap();
    assert_eq!(command, Command::Add);
    let expected = Invocation {
        container: "c1".to_owned(),
        netns: Some("/run/netns/x".to_owned()),
        interface: "eth0".to_owned(),
        pod: Some(PodKey::new("ns", "p")),
        pod_uid: Some(Uid::from("u=1")),
        path: vec!["/a".into(), "/b".into()],
    };
    assert_eq!(invocation, expected);
}

#[test]
fn names_everything_that_is_missing() {
    let nothing = Invocation::read(|_| None).unwrap_err();
    assert_eq!(nothing.to_string(), "missing in the environment: CNI_COMMAND");
    let empty = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")];
    assert_eq!(
        complaint(&empty),
        "missing in the environment: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"
    );
    let del = [&empty[..], &[("CNI_COMMAND", "DEL")]].concat();
    assert_eq!(
        complaint(&del),
        "missing in the environment: CNI_CONTAINERID, CNI_IFNAME"
    );
}

#[test]
fn a_del_needs_no_namespace_and_version_needs_nothing() {
    let (_, del) = read(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]).unwrap();
    assert_eq!(del.netns, None);
    let (command, _) = Invocation::read(|name| (name == "CNI_COMMAND").then(|| "VERSION".into())).unwrap();
    assert_eq!(command, Command::Version);
}

#[test]
fn status_and_gc_are_about_no_interface() {
    for (name, expected) in [("STATUS", Command::Status), ("GC", Command::Gc)] {
        let variables = BTreeMap::from([("CNI_COMMAND", name), ("CNI_PATH", "/a:/b")]);
        let read = Invocation::read(|name| variables.get(name).map(OsString::from));
        let (command, invocation) = read.unwrap();
        assert_eq!((command, invocation.path.len()), (expected, 2));
        assert_eq!(invocation.container, "");
    }
}

#[test]
fn refuses_unknown_commands() {
    for command in ["UPDATE", "status", "add", "ADD "] {
        assert!(complaint(&[("CNI_COMMAND", command)]).contains(command));
    }
}

#[test]
fn refuses_invalid_container_ids() {
    for id in ["-c", ".c", "_c", "a/b", "a b", "a:b", "ä", "a\n", "../x"] {
        assert!(complaint(&[("CNI_CONTAINERID", id)]).contains("CNI_CONTAINERID"));
    }
}

#[test]
fn refuses_invalid_interface_names() {
    for name in [".", "..", "a/b", "a:b", "a b", "a\t", "0123456789abcdef"] {
        assert!(complaint(&[("CNI_IFNAME", name)]).contains("CNI_IFNAME"));
    }
    assert!(read(&[("CNI_IFNAME", "0123456789abcde")]).is_ok());
}

#[test]
fn refuses_half_a_pod_and_broken_arguments() {
    for args in [
        "K8S_POD_NAME=p",
        "K8S_POD_NAMESPACE=ns",
        "K8S_POD_NAME=p;K8S_POD_NAMESPACE=",
        "nonsense",
    ] {
        assert!(complaint(&[("CNI_ARGS", args)]).contains("CNI_ARGS"));
    }
    assert!(read(&[("CNI_ARGS", ";A=1;;")]).is_ok());
}

#[test]
fn refuses_variables_that_are_no_text() {
    let variables: BTreeMap<_, _> = GOOD.into_iter().collect();
    let error = Invocation::read(|name| match name {
        "CNI_IFNAME" => Some(OsString::from_vec(vec![0xff])),
        name => variables.get(name).map(OsString::from),
    });
    assert!(error.unwrap_err().to_string().contains("CNI_IFNAME is not UTF-8"));
}

#[test]
fn a_namespace_must_exist_and_be_one_of_somebody_else() {
    let check = |netns: &str| {
        Invocation {
            netns: Some(netns.to_owned()),
            ..Default::default()
        }
        .existing_netns()
    };
    assert_eq!(check("/nowhere/at/all").unwrap_err().code, Code::UnknownContainer);
    assert_eq!(
        check("/proc/self/stat/x").unwrap_err().code,
        Code::UnknownContainer
    );
    assert_eq!(check("/proc/self/stat").unwrap_err().code, Code::UnknownContainer);
    let own = check("/proc/self/ns/net").unwrap_err();
    assert_eq!(own.code, Code::Environment);
    assert!(own.to_string().contains("own network namespace"));
}
