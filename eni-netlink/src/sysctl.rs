//! Kernel settings of a network namespace, under `/proc/sys/net`.
//!
//! A thread sees there the settings of the namespace that it is in, so the callers enter it first.

use std::io;
use std::path::Path;

use eni_core::network::NetworkError;

/// Whether the node also forwards IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forwarding {
    V4,
    Both,
}

/// Makes the namespace forward packets, and accept those whose answer leaves by another device: a pod's
/// traffic with the outside may leave by its ENI and come back by the primary one.
pub(crate) fn forward(forwarding: Forwarding) -> Result<(), NetworkError> {
    set("ipv4/ip_forward", "1")?;
    set("ipv4/conf/all/rp_filter", "0")?;
    set("ipv4/conf/default/rp_filter", "0")?;
    if forwarding == Forwarding::Both {
        set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Runtimes switch IPv6 off in namespaces whose network they take for IPv4 only.
pub(crate) fn enable_ipv6(interface: &str) -> Result<(), NetworkError> {
    set(&format!("ipv6/conf/{interface}/disable_ipv6"), "0")
}

/// A router ignores router advertisements unless told otherwise; the node's own IPv6 route may come from
/// one.
pub(crate) fn keep_advertised_routes(device: &str) -> Result<(), NetworkError> {
    let name = format!("ipv6/conf/{device}/accept_ra");
    if get(&name)? == "1" {
        set(&name, "2")
    } else {
        Ok(())
    }
}

/// Writes only what differs: some settings reset others when they are written.
fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    if get(name)? == value {
        return Ok(());
    }
    std::fs::write(path(name), value).map_err(|error| failed(&format!("set {name} to {value}"), &error))
}

fn get(name: &str) -> Result<String, NetworkError> {
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
