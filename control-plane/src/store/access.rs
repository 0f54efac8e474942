//! The rows of roles and of their bindings.

use tollgate_policy::{
    id::{BindingId, CustomerId, RoleId, ServiceAccountId, TeamId, UserId},
    name::Name,
    rbac::{ADMIN, Grant, Permissions, Reach, Scope, SystemRole},
    time::UnixMillis,
};

use super::{Position, Row, Statement, StoreError, TextMatch, Txn, organisation::Stamp, reach::Belonging, statement};

/// A custom role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: Name,
    /// What people read.
    pub display_name: String,
    /// What it permits.
    pub permissions: Permissions,
    /// Its history.
    pub stamp: Stamp,
}

/// A binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// The id of a custom role, or the name of a system role.
    pub role: String,
    /// The name of the role.
    pub role_name: String,
    /// Who holds it.
    pub subject: Subject,
    /// Where.
    pub scope: Scope,
    /// From when it no longer holds, in Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// Its history.
    pub stamp: Stamp,
}

/// Who holds a role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// Everybody in a group.
    Group(String),
    /// A service account.
    ServiceAccount(ServiceAccountId),
}

/// Which bindings to list.
#[derive(Clone, Debug, Default)]
pub struct BindingFilter {
    /// The role, as [`Binding::role`].
    pub role: Option<String>,
    /// Who holds it.
    pub subject: Option<Subject>,
    /// Which the caller may see.
    pub reach: Reach,
}

// A binding belongs where it holds, one of what somebody owns where that is; and to its subject.
const BELONGING: Belonging = Belonging {
    customer: Some(
        "CASE b.scope_kind WHEN 'customer' THEN b.scope WHEN 'team' THEN (SELECT t.customer FROM teams t WHERE t.id = b.scope)
         WHEN 'own' THEN (SELECT t.customer FROM users u JOIN teams t ON t.id = u.team WHERE u.id = b.subject) END",
    ),
    team: Some(
        "CASE b.scope_kind WHEN 'team' THEN b.scope
         WHEN 'own' THEN (SELECT u.team FROM users u WHERE u.id = b.subject) END",
    ),
    user: Some("CASE b.subject_kind WHEN 'user' THEN b.subject END"),
};

/// Roles. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The custom role with this id or name.
    pub async fn role_find(&mut self, named: &str) -> Result<Option<Role>, StoreError> {
        let row = self.fetch_optional(sql!("SELECT * FROM roles WHERE id = $1 OR name = $1", named)).await?;
        row.as_ref().map(Role::read).transpose()
    }

    /// The custom roles that match, in the order of creation.
    pub async fn role_list(
        &mut self,
        name: Option<&TextMatch>,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Role>, StoreError> {
        let mut select = sql!("SELECT * FROM roles WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.page(after, limit);
        self.fetch_all(select).await?.iter().map(Role::read).collect()
    }

    /// Stores a new role.
    pub async fn role_insert(&mut self, role: &Role) -> Result<(), StoreError> {
        let Role { id, name, display_name, permissions, stamp } = role;
        let insert = sql!(
            "INSERT INTO roles (id, name, display_name, permissions, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id.as_str(),
            name.as_str(),
            display_name,
            statement::list(permissions.iter()),
        );
        self.execute(stamp.bind(insert)).await?;
        Ok(())
    }

    /// Stores the changed fields of a role.
    pub async fn role_update(&mut self, role: &Role) -> Result<(), StoreError> {
        let Role { id, name, display_name, permissions, stamp } = role;
        let update = sql!(
            "UPDATE roles SET name = $1, display_name = $2, permissions = $3, update_time = $4, revision = $5 WHERE id = $6",
            name.as_str(),
            display_name,
            statement::list(permissions.iter()),
            stamp.update_time,
            stamp.revision,
            id.as_str(),
        );
        self.execute(update).await?;
        Ok(())
    }

    /// Deletes a role.
    pub async fn role_delete(&mut self, id: &RoleId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM roles WHERE id = $1", id.as_str())).await?;
        Ok(())
    }

    /// How many bindings a role has.
    pub async fn role_bindings(&mut self, role: &str) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS n FROM bindings WHERE role = $1", role)).await?.int("n")
    }
}

/// Bindings. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The binding with this id.
    pub async fn binding_find(&mut self, id: &str) -> Result<Option<Binding>, StoreError> {
        let mut select = bindings();
        select.narrow("b.id", Some(id));
        Ok(self.read_bindings(select).await?.pop())
    }

    /// The bindings that match, in the order of creation.
    pub async fn binding_list(
        &mut self,
        filter: &BindingFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Binding>, StoreError> {
        let BindingFilter { role, subject, reach } = filter;
        let mut select = bindings();
        select.narrow("b.role", role.as_deref());
        select.narrow("b.subject_kind", subject.as_ref().map(Subject::kind));
        select.narrow("b.subject", subject.as_ref().map(Subject::text));
        BELONGING.narrow(&mut select, reach);
        if let Some(Position { created, id }) = after {
            select.push(" AND (b.created, b.id) > (");
            select.push_bind(*created);
            select.push(", ");
            select.push_bind(id);
            select.push(")");
        }
        select.push(" ORDER BY b.created, b.id LIMIT ");
        select.push_bind(limit);
        self.read_bindings(select).await
    }

    /// Stores a new binding, and returns whether there was none of the same role, subject and scope.
    pub async fn binding_insert(&mut self, binding: &Binding) -> Result<bool, StoreError> {
        let Binding { id, role, role_name: _, subject, scope, expires_ms, stamp } = binding;
        let (scope_kind, scope) = scope_columns(scope);
        let insert = sql!(
            "INSERT INTO bindings (id, role, subject_kind, subject, scope_kind, scope, expire_time, create_time, update_time,
             created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (role, subject_kind, subject, scope_kind, scope) DO NOTHING",
            id.as_str(),
            role,
            subject.kind(),
            subject.text(),
            scope_kind,
            scope,
            *expires_ms,
        );
        Ok(self.execute(stamp.bind(insert)).await? == 1)
    }

    /// Deletes a binding.
    pub async fn binding_delete(&mut self, id: &BindingId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM bindings WHERE id = $1", id.as_str())).await?;
        Ok(())
    }

    /// Deletes every binding of a subject, or of a scope that is gone.
    pub async fn bindings_forget(&mut self, id: &str) -> Result<(), StoreError> {
        let delete = sql!("DELETE FROM bindings WHERE (subject_kind <> 'group' AND subject = $1) OR scope = $1", id);
        self.execute(delete).await?;
        Ok(())
    }

    /// What a user holds, by themselves and by their groups.
    pub async fn grants_of_user(&mut self, user: &UserId) -> Result<Vec<Grant>, StoreError> {
        let mut select = bindings();
        select.push(" AND ((b.subject_kind = 'user' AND b.subject = ");
        select.push_bind(user.as_str());
        select.push(
            ") OR (b.subject_kind = 'group' AND b.subject IN (SELECT m.group_name FROM memberships m WHERE m.user_id = ",
        );
        select.push_bind(user.as_str());
        select.push(")))");
        self.grants(select).await
    }

    /// What a service account holds.
    pub async fn grants_of_account(&mut self, account: &ServiceAccountId) -> Result<Vec<Grant>, StoreError> {
        let mut select = bindings();
        select.narrow("b.subject_kind", Some("service-account"));
        select.narrow("b.subject", Some(account.as_str()));
        self.grants(select).await
    }

    /// How many people and programs can sign in and hold the role of an administrator everywhere.
    pub async fn administrators_count(&mut self, now_ms: i64) -> Result<i64, StoreError> {
        let select = sql!(
            "SELECT (SELECT COUNT(*) FROM users u WHERE u.disabled = 0 AND EXISTS (SELECT 1 FROM bindings b
                WHERE b.role = $1 AND b.scope_kind = 'everything' AND (b.expire_time IS NULL OR b.expire_time > $2)
                AND ((b.subject_kind = 'user' AND b.subject = u.id) OR (b.subject_kind = 'group'
                AND b.subject IN (SELECT m.group_name FROM memberships m WHERE m.user_id = u.id)))))
             + (SELECT COUNT(*) FROM service_accounts a WHERE a.disabled = 0
                AND EXISTS (SELECT 1 FROM service_account_tokens t WHERE t.account = a.id AND t.expire_time > $2)
                AND EXISTS (SELECT 1 FROM bindings b WHERE b.role = $1 AND b.scope_kind = 'everything'
                AND (b.expire_time IS NULL OR b.expire_time > $2)
                AND b.subject_kind = 'service-account' AND b.subject = a.id)) AS n",
            ADMIN,
            now_ms
        );
        self.fetch_one(select).await?.int("n")
    }

    /// Whether a user is in a group, by any source.
    pub async fn is_member(&mut self, user: &UserId, group: &str) -> Result<bool, StoreError> {
        let select =
            sql!("SELECT COUNT(*) AS n FROM memberships WHERE user_id = $1 AND group_name = $2", user.as_str(), group);
        Ok(self.fetch_one(select).await?.int("n")? > 0)
    }

    async fn read_bindings(&mut self, select: Statement) -> Result<Vec<Binding>, StoreError> {
        self.fetch_all(select).await?.iter().map(Binding::read).collect()
    }

    // A role that is gone permits nothing.
    async fn grants(&mut self, select: Statement) -> Result<Vec<Grant>, StoreError> {
        let grant = |row: &Row| {
            let binding = Binding::read(row)?;
            let permissions = match SystemRole::named(&binding.role) {
                Some(role) => role.permissions(),
                None => Permissions::stored(row.list("permissions")?),
            };
            let expires = binding.expires_ms.map(UnixMillis::new);
            Ok(Grant { role: binding.role_name, permissions, scope: binding.scope, expires })
        };
        self.fetch_all(select).await?.iter().map(grant).collect()
    }
}

fn bindings() -> Statement {
    sql!(
        "SELECT b.*, COALESCE(r.name, b.role) AS role_name, COALESCE(r.permissions, '[]') AS permissions
         FROM bindings b LEFT JOIN roles r ON r.id = b.role WHERE 1 = 1"
    )
}

fn scope_columns(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Everything => ("everything", ""),
        Scope::Customer(customer) => ("customer", customer.as_str()),
        Scope::Team(team) => ("team", team.as_str()),
        Scope::Own => ("own", ""),
    }
}

// === impl Subject ===

impl Subject {
    const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => UserId::NOUN,
            Self::Group(_) => "group",
            Self::ServiceAccount(_) => ServiceAccountId::NOUN,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Group(name) => name,
            Self::ServiceAccount(id) => id.as_str(),
        }
    }
}

impl Role {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", RoleId::parse)?,
            name: row.parsed("name", Name::parse)?,
            display_name: row.text("display_name")?,
            permissions: Permissions::stored(row.list("permissions")?),
            stamp: Stamp::read(row)?,
        })
    }
}

impl Binding {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let kind = row.text("subject_kind")?;
        let subject = match kind.as_str() {
            UserId::NOUN => Subject::User(row.parsed("subject", UserId::parse)?),
            "group" => Subject::Group(row.text("subject")?),
            ServiceAccountId::NOUN => Subject::ServiceAccount(row.parsed("subject", ServiceAccountId::parse)?),
            _ => return Err(StoreError::corrupt("subject_kind", kind)),
        };
        let kind = row.text("scope_kind")?;
        let scope = match kind.as_str() {
            "everything" => Scope::Everything,
            "customer" => Scope::Customer(row.parsed("scope", CustomerId::parse)?),
            "team" => Scope::Team(row.parsed("scope", TeamId::parse)?),
            "own" => Scope::Own,
            _ => return Err(StoreError::corrupt("scope_kind", kind)),
        };
        Ok(Self {
            id: row.parsed("id", BindingId::parse)?,
            role: row.text("role")?,
            role_name: row.text("role_name")?,
            subject,
            scope,
            expires_ms: row.int_opt("expire_time")?,
            stamp: Stamp::read(row)?,
        })
    }
}
