//! The data path in a real kernel, each test in network namespaces of its own.

mod audit;
mod bed;
mod contract;
mod eni;
mod ownership;
mod settings;
mod traffic;
mod unwire;
mod wire;

use std::process::ExitCode;

use eni_netlink::testing::{KernelTest, kernel_tests};

fn main() -> ExitCode {
    let rooms = [
        wire::tests(),
        unwire::tests(),
        ownership::tests(),
        eni::tests(),
        traffic::tests(),
        audit::tests(),
        settings::tests(),
        contract::tests(),
    ];
    kernel_tests(rooms.into_iter().flatten().collect())
}

/// The tests of a module, named as their functions are.
#[macro_export]
macro_rules! kernel_tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn tests() -> Vec<$crate::KernelTest> {
            let room = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$($crate::KernelTest::new(
                Box::leak(format!("{room}::{}", stringify!($name)).into_boxed_str()),
                $name,
            )),*]
        }
    };
}
