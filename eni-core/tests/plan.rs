//! The plan of one node's pool: exact actions for exact views.

mod planning;
