//! What the node says about itself: metrics and logs.

pub mod tenant;
