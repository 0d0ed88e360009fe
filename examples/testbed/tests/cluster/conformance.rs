//! Kubernetes' own tests of pod networks, as its conformance asks for them.

use std::process::Command;

use testbed::kubernetes::{
    Binaries,
    programs::{CONFORMANCE, CONFORMANCE_ARCHIVE, E2E_TESTS},
};

use crate::{Bed, Case, Outcome};

pub(crate) const CASE: Case = ("upstream_conformance_of_pod_networks_passes", upstream);

/// The four tests "Granular Checks: Pods" of `test/e2e/common/networking.go`; the fifth is of SCTP.
const FOCUS: &str = "Granular Checks: Pods should function for .*(http|udp)";

/// What their end says if all four passed.
const PASSED: &str = "SUCCESS! -- 4 Passed | 0 Failed";

/// Whether upstream's tests were built, by the gate's stage `conformance`.
pub(crate) fn is_possible() -> bool {
    Binaries::cached(CONFORMANCE).is_ok()
}

fn upstream(bed: &Bed) -> Outcome {
    let binaries = Binaries::cached(CONFORMANCE)?;
    let archive = binaries.path(&CONFORMANCE_ARCHIVE).display().to_string();
    for node in ["node-1", "node-2"] {
        let import = ["ctr", "--namespace=k8s.io", "images", "import", &archive];
        let imported = bed.cluster.exec(node, &import)?;
        assert!(imported.status.success(), "{imported:?}");
    }
    let directory = tempfile::tempdir()?;
    let output = Command::new(binaries.path(&E2E_TESTS))
        .arg(format!(
            "--kubeconfig={}",
            bed.cluster.state().kubeconfig().display()
        ))
        .args(["--provider=skeleton", "--num-nodes=2", "--disable-log-dump"])
        .args(["--ginkgo.noColor", &format!("--ginkgo.focus={FOCUS}")])
        .current_dir(&directory)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(PASSED),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
