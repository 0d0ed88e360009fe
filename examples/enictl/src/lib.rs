//! `enictl`, an operator's view of a cluster's ENIs and addresses. It changes nothing.
//!
//! | file | what |
//! | --- | --- |
//! | [`options`] | the command line |
//! | [`command`] | from a command to what it prints |
//! | [`cluster`] | what is read of the API server |
//! | [`objects`] | our kinds, as far as they are shown |
//! | [`nodes`], [`enis`], [`addresses`] | rows of tables, from what was read |
//! | [`why`] | the first cause why a pod has no address |
//! | [`verify`] | the agent's view beside the kernel |
//! | [`journal`] | a journal's rows, from a copy of the file |
//! | [`table`] | how rows are printed |
#![deny(missing_docs)]

pub mod addresses;
pub mod cluster;
pub mod command;
pub mod enis;
pub mod error;
pub mod journal;
pub mod nodes;
pub mod objects;
pub mod options;
pub mod table;
pub mod verify;
pub mod why;
