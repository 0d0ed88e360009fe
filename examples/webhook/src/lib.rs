//! The admission webhook `add-pod-eni-ip-limit`: pods that get an address of the VPC ask for the extended resource
//! that stands for it, so that the scheduler counts it.

pub mod admission;
pub mod certificate;
pub mod options;
pub mod program;
pub mod server;
pub mod tls;
