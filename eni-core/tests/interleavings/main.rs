//! What can happen at the same time on a node, in every order: enumerated, not sampled.
#![cfg(feature = "sim")]

mod containers;
mod explore;
mod gates;
mod withdrawal;
