//! The HTTP face of a node.

pub mod push;
