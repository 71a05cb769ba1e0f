//! Whose request it is.

use std::borrow::Cow;

/// The header that names the tenant.
pub const TENANT_HEADER: &str = "X-Scope-OrgID";

/// How requests are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// A request without the header belongs to the tenant `fake`.
    Optional,
    /// A request without the header is refused.
    Header,
}

impl AuthMode {
    /// The id of a request's tenant, not yet checked; `None` if it must be refused for want of one.
    pub fn tenant_id<'a>(self, header: Option<&'a [u8]>) -> Option<Cow<'a, str>> {
        match header {
            Some(id) if !id.is_empty() => Some(String::from_utf8_lossy(id)),
            _ => match self {
                Self::Optional => Some(Cow::Borrowed(gyre_ring::TenantId::FAKE)),
                Self::Header => None,
            },
        }
    }
}
