//! Kernel settings of a network namespace, under `/proc/sys/net`.
//!
//! A thread sees there the settings of the namespace that it is in, so the callers enter it first.

use std::io;
use std::path::Path;

use eni_core::network::NetworkError;

/// Runtimes switch IPv6 off in namespaces whose network they take for IPv4 only.
pub(crate) fn enable_ipv6(interface: &str) -> Result<(), NetworkError> {
    set(&format!("ipv6/conf/{interface}/disable_ipv6"), "0").map(drop)
}

/// Writes only what differs: some settings reset others when they are written. What it was, if it differed.
pub(crate) fn set(name: &str, value: &str) -> Result<Option<String>, NetworkError> {
    let was = get(name)?;
    if was == value {
        return Ok(None);
    }
    std::fs::write(path(name), value).map_err(|error| failed(&format!("set {name} to {value}"), &error))?;
    Ok(Some(was))
}

/// The value of a setting.
pub(crate) fn get(name: &str) -> Result<String, NetworkError> {
    let text =
        std::fs::read_to_string(path(name)).map_err(|error| failed(&format!("read {name}"), &error))?;
    Ok(text.trim_end().to_owned())
}

fn path(name: &str) -> impl AsRef<Path> {
    format!("/proc/sys/net/{name}")
}

fn failed(operation: &str, error: &io::Error) -> NetworkError {
    NetworkError::Kernel {
        operation: format!("{operation} under /proc/sys/net"),
        message: error.to_string(),
    }
}
