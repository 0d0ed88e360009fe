//! The real plugins, executed by the real protocol in fresh network namespaces, against the agent's real
//! server.

mod add;
mod away;
mod bed;
mod chain;
mod check;
mod del;
mod delegate;
mod heal;
mod input;
mod network;
mod plugin;

use std::process::ExitCode;

use eni_netlink::testing::kernel_tests;

fn main() -> ExitCode {
    let mut tests = [
        input::tests(),
        add::tests(),
        del::tests(),
        check::tests(),
        away::tests(),
        network::tests(),
        heal::tests(),
    ]
    .concat();
    match debian_plugins() {
        Ok(()) => tests.extend([delegate::tests(), chain::tests()].concat()),
        Err(missing) => {
            let line = "!".repeat(100);
            eprintln!(
                "\n{line}\nNO OTHER PLUGIN IS TESTED WITH: {missing}. Delegated IPAM, hostPort and bandwidth are left \
                 out.\nInstall Debian's containernetworking-plugins, iptables and iproute2.\n{line}\n"
            );
            if std::env::var_os(eni_netlink::testing::REQUIRE).is_some_and(|value| value == "1") {
                return ExitCode::FAILURE;
            }
        }
    }
    kernel_tests(tests)
}

/// Whether everything is there that the tests with other plugins need.
fn debian_plugins() -> Result<(), String> {
    let plugins =
        ["host-local", "portmap", "bandwidth"].map(|name| format!("{}/{name}", plugin::DEBIAN_PLUGINS));
    let tools = ["/usr/sbin/iptables", "/sbin/tc"].map(str::to_owned);
    match plugins
        .iter()
        .chain(&tools)
        .find(|path| !std::path::Path::new(path).exists())
    {
        Some(path) => Err(format!("{path} does not exist")),
        None => Ok(()),
    }
}

/// The tests of a module, named as their functions are.
#[macro_export]
macro_rules! exec_tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<eni_netlink::testing::KernelTest> {
            vec![$(eni_netlink::testing::KernelTest::new(concat!(module_path!(), "::", stringify!($name)), $name)),*]
        }
    };
}
