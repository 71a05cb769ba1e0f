//! Repair: a replica gets the batches that it missed from a peer that holds them (protocol rule 7).
//!
//! - [`give`]: the peer reads them from its log.
//! - [`take`]: the replica applies and logs them.
//! - [`repair`]: who notices what is missing.
//! - `wire`: batches in a stream of bytes.
//!
//! A batch in a log lacks the samples that its holder had before, from other batches. So whoever pulls takes *all* that
//! the holder has and he lacks, never a choice of it.

pub mod give;
pub mod repair;
pub mod take;
mod wire;
