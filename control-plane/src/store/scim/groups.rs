//! The rows of groups and of their members.

use super::{IDS_MAX, SOURCE, among, window};
use crate::store::{Position, Row, Statement, StoreError, Txn, organisation::Stamp};

/// A provisioned group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name, to which roles are bound.
    pub name: String,
    /// The id that the identity provider gave; empty when it gave none.
    pub external_id: String,
    /// Its history.
    pub stamp: Stamp,
}

/// A group of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Belongs {
    /// The user.
    pub user: String,
    /// The id of the group.
    pub group: String,
    /// The name of the group.
    pub name: String,
}

/// What every group of a list has.
#[derive(Clone, Debug, Default)]
pub struct Narrow {
    /// The id.
    pub id: Option<String>,
    /// The name.
    pub name: Option<String>,
    /// The id that the identity provider gave.
    pub external_id: Option<String>,
    /// A member.
    pub member: Option<String>,
}

/// Groups. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The group with this id.
    pub async fn scim_group_find(&mut self, id: &str) -> Result<Option<Group>, StoreError> {
        let select = sql!("SELECT * FROM scim_groups WHERE id = $1", id);
        self.fetch_optional(select).await?.as_ref().map(Group::read).transpose()
    }

    /// The id of the group with this name.
    pub async fn scim_group_named(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let select = sql!("SELECT id FROM scim_groups WHERE name = $1", name);
        self.fetch_optional(select).await?.map(|row| row.text("id")).transpose()
    }

    /// Groups in the order of creation: those behind a position, or behind so many of them.
    pub async fn scim_group_list(
        &mut self,
        narrow: &Narrow,
        after: Option<&Position>,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Group>, StoreError> {
        let Narrow { id, name, external_id, member } = narrow;
        let mut select = sql!("SELECT * FROM scim_groups g WHERE 1 = 1");
        select.narrow("g.id", id.as_deref());
        select.narrow("g.name", name.as_deref());
        select.narrow("g.external_id", external_id.as_deref());
        if let Some(member) = member {
            select.push(" AND g.name IN (SELECT m.group_name FROM memberships m WHERE m.source = ");
            select.push_bind(SOURCE);
            select.narrow("m.user_id", Some(member));
            select.push(")");
        }
        window(&mut select, ["g.created", "g.id"], after, skip, limit);
        self.fetch_all(select).await?.iter().map(Group::read).collect()
    }

    /// How many groups there are.
    pub async fn scim_group_count(&mut self) -> Result<usize, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS n FROM scim_groups")).await?.narrow("n")
    }

    /// Stores a new group without members.
    pub async fn scim_group_insert(&mut self, group: &Group) -> Result<(), StoreError> {
        let Group { id, name, external_id, stamp } = group;
        let insert = sql!(
            "INSERT INTO scim_groups (id, name, external_id, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            id,
            name,
            external_id,
        );
        self.execute(stamp.bind(insert)).await.map(|_| ())
    }

    /// Stores the changed fields of a group, whose members follow its name.
    pub async fn scim_group_update(&mut self, old: &Group, new: &Group) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE scim_groups SET name = $1, external_id = $2, update_time = $3, revision = $4 WHERE id = $5",
            &new.name,
            &new.external_id,
            new.stamp.update_time,
            new.stamp.revision,
            &new.id,
        );
        self.execute(update).await?;
        if new.name != old.name {
            let rename = sql!(
                "UPDATE memberships SET group_name = $1 WHERE source = $2 AND group_name = $3",
                &new.name,
                SOURCE,
                &old.name,
            );
            self.execute(rename).await?;
        }
        Ok(())
    }

    /// Deletes a group and its memberships.
    pub async fn scim_group_delete(&mut self, group: &Group) -> Result<(), StoreError> {
        self.scim_members_clear(&group.name).await?;
        self.execute(sql!("DELETE FROM scim_groups WHERE id = $1", &group.id)).await.map(|_| ())
    }

    /// The ids of the members of a group. The caller has bounded them when they were added.
    pub async fn scim_members(&mut self, group: &str) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "SELECT user_id FROM memberships WHERE source = $1 AND group_name = $2 ORDER BY user_id",
            SOURCE,
            group
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("user_id")).collect()
    }

    /// How many members a group has.
    pub async fn scim_members_count(&mut self, group: &str) -> Result<usize, StoreError> {
        let select = sql!("SELECT COUNT(*) AS n FROM memberships WHERE source = $1 AND group_name = $2", SOURCE, group);
        self.fetch_one(select).await?.narrow("n")
    }

    /// Adds members to a group, those who are provisioned users, and returns how many of the given ids
    /// were, and how many were no members yet.
    pub async fn scim_members_add(&mut self, group: &str, ids: &[String]) -> Result<(usize, u64), StoreError> {
        let (mut known, mut added) = (0, 0);
        for ids in ids.chunks(IDS_MAX) {
            let mut count = sql!("SELECT COUNT(*) AS n FROM scim_users WHERE user_id");
            among(&mut count, ids);
            known += self.fetch_one(count).await?.narrow::<usize>("n")?;
            // The name is text even where PostgreSQL cannot see it from the column.
            let mut insert = sql!(
                "INSERT INTO memberships (user_id, source, group_name)
                 SELECT user_id, CAST($1 AS TEXT), CAST($2 AS TEXT) FROM scim_users WHERE user_id",
                SOURCE,
                group,
            );
            among(&mut insert, ids);
            insert.push(" ON CONFLICT DO NOTHING");
            added += self.execute(insert).await?;
        }
        Ok((known, added))
    }

    /// Takes members out of a group, and returns how many there were.
    pub async fn scim_members_remove(&mut self, group: &str, ids: &[String]) -> Result<u64, StoreError> {
        let mut gone = 0;
        for ids in ids.chunks(IDS_MAX) {
            let mut delete =
                sql!("DELETE FROM memberships WHERE source = $1 AND group_name = $2 AND user_id", SOURCE, group);
            among(&mut delete, ids);
            gone += self.execute(delete).await?;
        }
        Ok(gone)
    }

    /// Takes all members out of a group, and returns how many there were.
    pub async fn scim_members_clear(&mut self, group: &str) -> Result<u64, StoreError> {
        self.execute(sql!("DELETE FROM memberships WHERE source = $1 AND group_name = $2", SOURCE, group)).await
    }

    /// The groups of these users.
    pub async fn scim_groups_of(&mut self, users: &[String]) -> Result<Vec<Belongs>, StoreError> {
        let mut found = Vec::new();
        for users in users.chunks(IDS_MAX) {
            let mut select: Statement = sql!(
                "SELECT m.user_id, g.id, g.name FROM memberships m JOIN scim_groups g ON g.name = m.group_name
                 WHERE m.source = $1 AND m.user_id",
                SOURCE
            );
            among(&mut select, users);
            select.push(" ORDER BY m.user_id, g.created, g.id");
            for row in self.fetch_all(select).await? {
                found.push(Belongs { user: row.text("user_id")?, group: row.text("id")?, name: row.text("name")? });
            }
        }
        Ok(found)
    }
}

impl Group {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            name: row.text("name")?,
            external_id: row.text("external_id")?,
            stamp: Stamp::read(row)?,
        })
    }

    /// Where it stands in the order of creation.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { created: self.stamp.created, id: self.id.clone() }
    }
}
