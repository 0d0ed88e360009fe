//! The CNI plugin `tke-route-eni`.

fn main() -> std::process::ExitCode {
    cni::tke_route_eni()
}
