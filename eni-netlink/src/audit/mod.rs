//! The node as a whole: what of ours is there, what of it is left over, and what is missing.
//!
//! Each question reads the kernel once ([`Reading`]), however many pods there are, and is answered by a
//! pure function of that.

mod clear;
mod reading;
mod repair;
mod survey;

pub(crate) use self::clear::clear;
pub(crate) use self::repair::repair;
pub(crate) use self::survey::survey;
