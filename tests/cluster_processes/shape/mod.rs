//! The cluster changes its shape under load: a node comes, one goes, one dies for good. Nobody notices, and what segments held
//! that have ended is in blocks, once. Also when nodes are killed at any step of it, and when the bucket is away meanwhile.

mod check;
mod crashes;
pub mod outages;
mod plain;
mod restarts;
mod tenants;
mod two_away;
