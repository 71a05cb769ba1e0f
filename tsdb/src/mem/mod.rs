//! Memory of the head: containers that grow without copying, without slack and without one heap allocation
//! per series.
//!
//! A head of a million series is judged by its bytes per series. `Vec` doubles (and holds old and new at once
//! while it does), a `Box` per chunk costs a header and a size class; these do neither. All of them start
//! small, since most tenants are.

mod arena;
mod extents;
mod paged;

pub(crate) use arena::ByteArena;
pub(crate) use extents::{EXTENT_PAYLOAD_BITS, ExtentRef, Extents, NO_EXTENT};
pub(crate) use paged::Paged;
