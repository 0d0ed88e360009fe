//! The CNI IPAM plugin `tke-eni-ipamc`.

fn main() -> std::process::ExitCode {
    cni::tke_eni_ipamc()
}
