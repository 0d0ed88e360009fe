//! The environment of a call: which interface of which sandbox.

use std::{env, ffi::OsString, path::PathBuf};

use agent_api::netns;
use eni_core::model::{Netns, PodKey, Uid};

use crate::{
    command::Command,
    error::{Code, Error},
};

/// The longest name that the kernel gives an interface (`IFNAMSIZ` with the final zero byte is 16).
const INTERFACE_NAME: usize = 15;

/// The environment of a call. STATUS and GC are about no interface, and VERSION about nothing: what they do
/// not need is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) container: String,
    /// The path of the sandbox's network namespace; a DEL may come without.
    pub(crate) netns: Option<String>,
    pub(crate) interface: String,
    /// The pod, where the runtime names it.
    pub(crate) pod: Option<PodKey>,
    pub(crate) pod_uid: Option<Uid>,
    /// Where other plugins are found.
    pub(crate) path: Vec<PathBuf>,
}

impl Invocation {
    /// The command and its surroundings, read from variables.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<(Command, Self), Error> {
        let text = |name: &str| -> Result<Option<String>, Error> {
            match variable(name).map(OsString::into_string).transpose() {
                Ok(text) => Ok(text.filter(|text| !text.is_empty())),
                Err(_) => Err(invalid(name, "is not UTF-8")),
            }
        };
        let command: Command = text("CNI_COMMAND")?
            .ok_or_else(|| missing(&["CNI_COMMAND"]))?
            .parse()?;
        let mut absent = Vec::new();
        for name in command.required() {
            if text(name)?.is_none() {
                absent.push(*name);
            }
        }
        if !absent.is_empty() {
            return Err(missing(&absent));
        }
        let path = variable("CNI_PATH").map(|path| env::split_paths(&path).collect());
        let path = path.unwrap_or_default();
        if !command.is_about_an_interface() {
            let invocation = Self {
                path,
                ..Self::default()
            };
            return Ok((command, invocation));
        }
        let mut invocation = Self {
            container: text("CNI_CONTAINERID")?.unwrap_or_default(),
            netns: text("CNI_NETNS")?,
            interface: text("CNI_IFNAME")?.unwrap_or_default(),
            path,
            ..Self::default()
        };
        if !is_identifier(&invocation.container) {
            return Err(invalid(
                "CNI_CONTAINERID",
                "must be a letter or digit followed by letters, digits, `_`, `.` or `-`",
            ));
        }
        check_interface(&invocation.interface)?;
        (invocation.pod, invocation.pod_uid) = read_args(&text("CNI_ARGS")?.unwrap_or_default())?;
        Ok((command, invocation))
    }

    /// The sandbox's network namespace, which must exist and be another than this process's own.
    pub(crate) fn existing_netns(&self) -> Result<Netns, Error> {
        let path = self.netns.as_deref().ok_or_else(|| missing(&["CNI_NETNS"]))?;
        let read = |path: &str| {
            netns::identify(path)
                .map_err(|error| Error::new(Code::Io, format!("network namespace {path}: {error}")))
        };
        let found = read(path)?.ok_or_else(|| {
            let sentence = format!("there is no network namespace {path} (any more); the sandbox is gone");
            Error::new(Code::UnknownContainer, sentence)
        })?;
        let own = read("/proc/self/ns/net")?;
        if own.is_some_and(|own| (own.device, own.inode) == (found.device, found.inode)) {
            return Err(invalid(
                "CNI_NETNS",
                format!("is {path}, which is the node's own network namespace"),
            ));
        }
        Ok(found)
    }
}

/// Whether it may name a network or a container: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, as the specification says.
pub(crate) fn is_identifier(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.bytes().all(rest)
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
}

fn check_interface(name: &str) -> Result<(), Error> {
    let complaint = match name {
        "." | ".." => "must not be . or ..",
        name if name.len() > INTERFACE_NAME => "is longer than the 15 bytes that the kernel allows",
        name if name.chars().any(|c| c == '/' || c == ':' || c.is_whitespace()) => {
            "must not contain `/`, `:` or white space"
        }
        _ => return Ok(()),
    };
    Err(invalid("CNI_IFNAME", format!("is `{name}`, which {complaint}")))
}

/// Reads `K8S_POD_*` of `A=1;B=2`; other keys are the business of others.
fn read_args(args: &str) -> Result<(Option<PodKey>, Option<Uid>), Error> {
    let (mut namespace, mut name, mut uid) = (None, None, None);
    for pair in args.split(';').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| invalid("CNI_ARGS", format!("has `{pair}`, which is not KEY=VALUE")))?;
        match key {
            "K8S_POD_NAMESPACE" => namespace = Some(value),
            "K8S_POD_NAME" => name = Some(value),
            "K8S_POD_UID" => uid = Some(value),
            _ => {}
        }
    }
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let pod = match (given(namespace), given(name)) {
        (Some(namespace), Some(name)) => Some(PodKey::new(namespace, name)),
        (None, None) => None,
        _ => {
            return Err(invalid(
                "CNI_ARGS",
                "must have both K8S_POD_NAMESPACE and K8S_POD_NAME or neither",
            ));
        }
    };
    Ok((pod, given(uid).map(Uid::from)))
}

fn missing(names: &[&str]) -> Error {
    Error::new(
        Code::Environment,
        format!("missing in the environment: {}", names.join(", ")),
    )
}

fn invalid(name: &str, complaint: impl std::fmt::Display) -> Error {
    Error::new(Code::Environment, format!("{name} {complaint}"))
}

#[cfg(test)]
#[path = "invocation_tests.rs"]
mod tests;
