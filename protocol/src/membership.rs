//! Who is meant by a request (rule 1).
//!
//! A node that lost its disk may have acked a batch that nobody else has yet. Whatever it copies from its peers, it
//! lacks that batch, and the ack still counts. So it can never again answer as the one it was.

use gyre_ring::Replica;

use crate::rules::Rules;

/// Whether a request that names `addressee` may be answered by `own`: the node may have lost its disk since the
/// sender looked, and what it has now must not be taken for what it had. `has_copied_all` says that it has compared
/// itself with all other replicas since, which does not help.
pub fn is_meant(own: &Replica, addressee: &Replica, has_copied_all: bool, rules: &Rules) -> bool {
    let is_readmitted = has_copied_all && !rules.copies_readmit_nobody;
    own.node == addressee.node
        && (own.incarnation == addressee.incarnation || is_readmitted || !rules.incarnations_are_checked)
}
