//! What each RPC demands of its caller, as declared in the `.proto` files.

mod table {
    include!(concat!(env!("OUT_DIR"), "/permissions.rs"));
}

/// A permission, `resource.action`, or [`PUBLIC`].
pub type Permission = &'static str;

/// Demands an authenticated caller and nothing more.
pub const PUBLIC: Permission = "public";

/// Returns what the RPC at this path (`/package.Service/Method`) demands, or `None` for a path that is not governed.
#[must_use]
pub fn required(path: &str) -> Option<Permission> {
    table::TABLE.binary_search_by_key(&path, |row| row.0).ok().and_then(|at| table::TABLE.get(at)).map(|row| row.1)
}

/// Returns the whole table of (path, permission), sorted by path.
#[must_use]
pub fn table() -> &'static [(&'static str, Permission)] {
    table::TABLE
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_governed_rpc_has_a_permission_of_two_words() {
        assert!(super::table().len() > 30);
        for (path, permission) in super::table() {
            assert!(*permission == super::PUBLIC || permission.split('.').count() == 2, "{path}: {permission}");
        }
        assert_eq!(super::required("/tollgate.admin.v1.KeyService/RevokeKey"), Some("key.revoke"));
        assert_eq!(super::required("/tollgate.admin.v1.KeyService/Nothing"), None);
    }
}
