//! The client over HTTP, against a gateway that answers as each test says.

mod gateway;
mod keys;
mod listings;
mod orders;
mod requests;
