//! The rows of users who are provisioned over SCIM. Those of groups are in `scim/groups.rs`.

use tollgate_policy::{id::UserId, name::Name};

use super::{Position, Row, Statement, StoreError, Txn, organisation::Stamp};

pub mod groups;

/// The source of memberships that come over SCIM.
pub const SOURCE: &str = "scim";
/// Ids of one statement: well below the 32,766 values that SQLite takes, and the 65,535 of PostgreSQL.
const IDS_MAX: usize = 1_000;

/// A provisioned user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provisioned {
    /// Their id.
    pub id: UserId,
    /// Their name in Tollgate.
    pub name: Name,
    /// Their e-mail address.
    pub email: Option<String>,
    /// What people read.
    pub display_name: String,
    /// Whether their keys are refused.
    pub disabled: bool,
    /// Their history.
    pub stamp: Stamp,
    /// The id that the identity provider gave; empty when it gave none.
    pub external_id: String,
    /// The attributes as they were given, a JSON object.
    pub attributes: String,
}

/// What every user of a list has.
#[derive(Clone, Debug, Default)]
pub struct Narrow {
    /// The id.
    pub id: Option<String>,
    /// The name with which they sign in, in any case.
    pub user_name: Option<String>,
    /// The id that the identity provider gave.
    pub external_id: Option<String>,
    /// Whether their keys are refused.
    pub disabled: Option<bool>,
}

/// Users. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The user with this id.
    pub async fn scim_user_find(&mut self, id: &str) -> Result<Option<Provisioned>, StoreError> {
        let mut select = users();
        select.narrow("u.id", Some(id));
        self.fetch_optional(select).await?.as_ref().map(Provisioned::read).transpose()
    }

    /// The id of the user with this name, in any case.
    pub async fn scim_user_named(&mut self, user_name: &str) -> Result<Option<String>, StoreError> {
        let select = sql!("SELECT user_id FROM scim_users WHERE user_name = $1", user_name.to_lowercase());
        self.fetch_optional(select).await?.map(|row| row.text("user_id")).transpose()
    }

    /// Users in the order of creation: those behind a position, or behind so many of them.
    pub async fn scim_user_list(
        &mut self,
        narrow: &Narrow,
        after: Option<&Position>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Provisioned>, StoreError> {
        let mut select = users();
        narrow.apply(&mut select);
        window(&mut select, ["u.created", "u.id"], after, skip, limit);
        self.fetch_all(select).await?.iter().map(Provisioned::read).collect()
    }

    /// How many users there are.
    pub async fn scim_user_count(&mut self) -> Result<usize, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS n FROM scim_users")).await?.narrow("n")
    }

    /// Stores what SCIM knows of a user who is there already.
    pub async fn scim_user_insert(&mut self, user: &Provisioned, user_name: &str) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO scim_users (user_id, user_name, external_id, attributes) VALUES ($1, $2, $3, $4)",
            user.id.as_str(),
            user_name.to_lowercase(),
            &user.external_id,
            &user.attributes,
        );
        self.execute(insert).await.map(|_| ())
    }

    /// Stores the changed fields of a user. A user who is disabled is signed out everywhere.
    pub async fn scim_user_update(&mut self, user: &Provisioned, user_name: &str) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE scim_users SET user_name = $1, external_id = $2, attributes = $3 WHERE user_id = $4",
            user_name.to_lowercase(),
            &user.external_id,
            &user.attributes,
            user.id.as_str(),
        );
        self.execute(update).await?;
        self.scim_user_apply(user).await
    }

    /// Stores what replicas and administrators see of a user. A user who is disabled is signed out everywhere.
    pub async fn scim_user_apply(&mut self, user: &Provisioned) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE users SET email = $1, display_name = $2, disabled = $3, update_time = $4, revision = $5 WHERE id = $6",
            user.email.as_deref(),
            &user.display_name,
            user.disabled,
            user.stamp.update_time,
            user.stamp.revision,
            user.id.as_str(),
        );
        self.execute(update).await?;
        if user.disabled {
            let end = sql!(
                "UPDATE sessions SET ended = 1, revision = $1 WHERE user_id = $2 AND ended = 0",
                user.stamp.revision,
                user.id.as_str(),
            );
            self.execute(end).await?;
        }
        Ok(())
    }

    /// Forgets what SCIM knows of a user, and takes them out of every group of every source.
    pub async fn scim_user_forget(&mut self, id: &UserId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM memberships WHERE user_id = $1", id.as_str())).await?;
        self.execute(sql!("DELETE FROM scim_users WHERE user_id = $1", id.as_str())).await?;
        Ok(())
    }

    /// Whom an issuer means by a subject.
    pub async fn scim_identity(&mut self, issuer: &str, subject: &str) -> Result<Option<String>, StoreError> {
        let select = sql!("SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2", issuer, subject);
        self.fetch_optional(select).await?.map(|row| row.text("user_id")).transpose()
    }

    /// Says whom an issuer means by a subject, which nobody has yet.
    pub async fn scim_identity_insert(
        &mut self,
        issuer: &str,
        subject: &str,
        user: &UserId,
        now: i64,
    ) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO identities (issuer, subject, user_id, create_time, sign_in_time) VALUES ($1, $2, $3, $4, 0)",
            issuer,
            subject,
            user.as_str(),
            now,
        );
        self.execute(insert).await.map(|_| ())
    }

    /// Takes back whom an issuer means by a subject.
    pub async fn scim_identity_delete(&mut self, issuer: &str, subject: &str, user: &UserId) -> Result<(), StoreError> {
        let delete = sql!(
            "DELETE FROM identities WHERE issuer = $1 AND subject = $2 AND user_id = $3",
            issuer,
            subject,
            user.as_str(),
        );
        self.execute(delete).await.map(|_| ())
    }
}

impl Provisioned {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", UserId::parse)?,
            name: row.parsed("name", Name::parse)?,
            email: row.text_opt("email")?,
            display_name: row.text("display_name")?,
            disabled: row.flag("disabled")?,
            stamp: Stamp::read(row)?,
            external_id: row.text("external_id")?,
            attributes: row.text("attributes")?,
        })
    }

    /// Where they stand in the order of creation.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { created: self.stamp.created, id: self.id.to_string() }
    }
}

impl Narrow {
    fn apply(&self, select: &mut Statement) {
        let Self { id, user_name, external_id, disabled } = self;
        select.narrow("u.id", id.as_deref());
        select.narrow("s.user_name", user_name.as_ref().map(|name| name.to_lowercase()));
        select.narrow("s.external_id", external_id.as_deref());
        select.narrow("u.disabled", *disabled);
    }
}

fn users() -> Statement {
    sql!(
        "SELECT u.id, u.name, u.email, u.display_name, u.disabled, u.create_time, u.update_time, u.created, u.revision,
         s.external_id, s.attributes FROM scim_users s JOIN users u ON u.id = s.user_id WHERE 1 = 1"
    )
}

// One window in the order of creation. A position is cheap however far it is; so many to skip are not.
fn window(select: &mut Statement, order: [&'static str; 2], after: Option<&Position>, skip: usize, limit: usize) {
    let [created, id] = order;
    if let Some(after) = after {
        for piece in [" AND (", created, ", ", id, ") > ("] {
            select.push(piece);
        }
        select.push_bind(after.created);
        select.push(", ");
        select.push_bind(&after.id);
        select.push(")");
    }
    for piece in [" ORDER BY ", created, ", ", id, " LIMIT "] {
        select.push(piece);
    }
    select.push_bind(limit);
    select.push(" OFFSET ");
    select.push_bind(i64::try_from(skip).unwrap_or(i64::MAX));
}

// `IN (...)` behind a statement that ends with a column.
fn among(select: &mut Statement, ids: &[String]) {
    select.push(" IN (");
    for (at, id) in ids.iter().enumerate() {
        if at > 0 {
            select.push(", ");
        }
        select.push_bind(id);
    }
    select.push(")");
}
