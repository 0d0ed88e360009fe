//! The VPC in the kernel: what the fabric delivers, and what it drops; and a run of the whole system.

mod capture;
mod data_plane;
mod harness;
mod whole;

use std::process::ExitCode;

use playground::plugins;

fn main() -> ExitCode {
    // Before this process leaves the machine's namespaces: cargo may have to build them.
    let plugins = plugins::locate(None).map_err(|error| error.to_string());
    harness::main(vec![
        harness::trial(
            "a_node_reaches_its_gateway_and_the_other_nodes",
            data_plane::nodes_reach_each_other,
        ),
        harness::trial(
            "an_eni_comes_as_the_next_ethernet_device_and_leaves_without_trace",
            data_plane::hot_plug,
        ),
        harness::trial(
            "unassigning_an_address_stops_its_traffic_and_assigning_restores_it",
            data_plane::assignment,
        ),
        harness::trial(
            "a_foreign_source_is_dropped_by_the_router_and_counted",
            data_plane::spoofing,
        ),
        harness::trial(
            "pods_of_two_nodes_talk_by_their_enis_and_never_by_eth0",
            data_plane::path,
        ),
        harness::trial(
            "what_is_left_in_kernel_cloud_and_cluster_is_named",
            whole::leaks_are_named,
        ),
        harness::trial(
            "a_run_finds_everything_right_and_leaves_nothing",
            move |directory| whole::run(directory, plugins),
        ),
    ])
}
