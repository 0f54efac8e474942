//! What each RPC demands of its caller, as declared in the `.proto` files.

mod table {
    use super::Row;

    include!(concat!(env!("OUT_DIR"), "/permissions.rs"));
}

/// A permission, `resource.action`, or [`PUBLIC`].
pub type Permission = &'static str;

/// Demands an authenticated caller and nothing more.
pub const PUBLIC: Permission = "public";

/// Demanded by what identity providers push over SCIM, which is no RPC.
pub const SCIM: Permission = "scim.provision";

/// What one RPC demands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// The path, `/package.Service/Method`.
    pub path: &'static str,
    /// What the caller must hold.
    pub permission: Permission,
    /// Whether it is enough to hold it where the object is; otherwise it must be held everywhere.
    pub owned: bool,
}

/// Returns what the RPC at this path demands, or `None` for a path that is not governed.
#[must_use]
pub fn required(path: &str) -> Option<&'static Row> {
    table::TABLE.binary_search_by_key(&path, |row| row.path).ok().and_then(|at| table::TABLE.get(at))
}

/// Returns what every RPC demands, sorted by path.
#[must_use]
pub fn table() -> &'static [Row] {
    table::TABLE
}

/// Returns every permission that is demanded somewhere, sorted.
#[must_use]
pub fn all() -> Vec<Permission> {
    let mut all: Vec<_> = table().iter().map(|row| row.permission).filter(|permission| *permission != PUBLIC).collect();
    all.push(SCIM);
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_governed_rpc_has_a_permission_of_two_words() {
        assert!(super::table().len() > 50);
        for row in super::table() {
            assert!(row.permission == super::PUBLIC || row.permission.split('.').count() == 2, "{row:?}");
        }
        let revoke = super::required("/tollgate.admin.v1.KeyService/RevokeKey").unwrap();
        assert_eq!((revoke.permission, revoke.owned), ("key.revoke", true));
        assert!(!super::required("/tollgate.admin.v1.ProviderService/CreateProvider").unwrap().owned);
        assert_eq!(super::required("/tollgate.admin.v1.KeyService/Nothing"), None);
    }
}
