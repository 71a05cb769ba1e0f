//! Where things lie in the bucket: Cortex's layout.
//!
//! ```text
//! <tenant>/<ULID>/meta.json                        put last, removed first
//! <tenant>/<ULID>/index
//! <tenant>/<ULID>/chunks/000001 ...
//! <tenant>/<ULID>/deletion-mark.json               the same mark again, where Thanos looks for it
//! <tenant>/<ULID>/no-compact-mark.json
//! <tenant>/markers/<ULID>-deletion-mark.json       marks of all blocks, found with one listing
//! <tenant>/markers/<ULID>-no-compact-mark.json
//! <tenant>/bucket-index.json.gz
//! ```
//!
//! A tenant's name admits no slash and no `..`, so no path of one tenant can reach another's (I5). Folders beside those
//! of tenants, such as `epochs/`, hold no ULIDs.

use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;

/// A block's description.
pub const META: &str = "meta.json";
/// A block's index.
pub const INDEX: &str = "index";
/// The folder of a block's chunks.
pub const CHUNKS: &str = "chunks";
/// A block is to be removed.
pub const DELETION_MARK: &str = "deletion-mark.json";
/// A block is not to be compacted.
pub const NO_COMPACT_MARK: &str = "no-compact-mark.json";

/// Everything of a tenant.
pub fn tenant_folder(tenant: &TenantId) -> String {
    tenant.as_str().to_owned()
}

/// Everything of a block.
pub fn block_folder(tenant: &TenantId, block: Ulid) -> String {
    format!("{tenant}/{block}")
}

/// An object of a block, by its path within it.
pub fn block_object(tenant: &TenantId, block: Ulid, object: &str) -> String {
    format!("{tenant}/{block}/{object}")
}

/// A block's description.
pub fn meta(tenant: &TenantId, block: Ulid) -> String {
    block_object(tenant, block, META)
}

/// The marks of all blocks of a tenant.
pub fn markers_folder(tenant: &TenantId) -> String {
    format!("{tenant}/markers")
}

/// A mark among those of all blocks, by its name within the block: [`DELETION_MARK`] or [`NO_COMPACT_MARK`].
pub fn marker(tenant: &TenantId, block: Ulid, mark: &str) -> String {
    format!("{tenant}/markers/{block}-{mark}")
}

/// Reads the name of an object among the marks of all blocks: which block, and which mark.
pub fn parse_marker(name: &str) -> Option<(Ulid, &str)> {
    let (block, mark) = name.split_once('-')?;
    Some((block.parse().ok()?, mark))
}

/// Cortex's listing.
pub fn bucket_index(tenant: &TenantId) -> String {
    format!("{tenant}/bucket-index.json.gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_its_block_and_kind() {
        let (tenant, block) = (TenantId::new("acme").unwrap(), Ulid(7));
        let path = marker(&tenant, block, NO_COMPACT_MARK);
        assert_eq!(path, "acme/markers/00000000000000000000000007-no-compact-mark.json");
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(parse_marker(name), Some((block, NO_COMPACT_MARK)));
        for other in ["tenant-deletion-mark.json", "", "x", "00000000000000000000000007"] {
            assert_eq!(parse_marker(other), None, "{other}");
        }
    }
}
