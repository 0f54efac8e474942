//! The rows of customers, teams and users.

use tollgate_policy::{
    id::{CustomerId, ProviderId, TeamId, UserId},
    name::Name,
    rbac::Reach,
};

use super::{
    Position, Row, Statement, StoreError, TextMatch, Txn,
    quotas::Quota,
    reach::Belonging,
    self_service::{self, SelfService},
    statement,
};

/// When an object came to be and when it last changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// The revision of its creation, which orders pages.
    pub created: i64,
    /// The revision of its last change, which is its etag.
    pub revision: i64,
    /// When it was created, in Unix milliseconds.
    pub create_time: i64,
    /// When it last changed, in Unix milliseconds.
    pub update_time: i64,
}

/// A customer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// Its name.
    pub name: Name,
    /// What people read.
    pub display_name: String,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// What it may spend and how fast.
    pub quota: Quota,
    /// Its history.
    pub stamp: Stamp,
}

/// A team.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: Name,
    /// What people read.
    pub display_name: String,
    /// The customer that owns it.
    pub customer: CustomerId,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// What it may spend and how fast.
    pub quota: Quota,
    /// What its developers may do for themselves; `None`: nothing.
    pub self_service: Option<SelfService>,
    /// The providers that its keys may reach; empty: all.
    pub providers: Vec<ProviderId>,
    /// Where their requests may be received and answered, as patterns; empty: everywhere.
    pub regions: Vec<String>,
    /// Its history.
    pub stamp: Stamp,
}

/// A user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: Name,
    /// Their e-mail address.
    pub email: Option<String>,
    /// What people read.
    pub display_name: String,
    /// Their team.
    pub team: Option<TeamId>,
    /// Whether their keys are refused.
    pub disabled: bool,
    /// What they may spend and how fast.
    pub quota: Quota,
    /// Their history.
    pub stamp: Stamp,
}

/// Which customers to list.
#[derive(Clone, Debug, Default)]
pub struct CustomerFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// Whether disabled.
    pub disabled: Option<bool>,
    /// Which the caller may see.
    pub reach: Reach,
}

/// Which teams to list.
#[derive(Clone, Debug, Default)]
pub struct TeamFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// The customer that owns them.
    pub customer: Option<CustomerId>,
    /// Whether disabled.
    pub disabled: Option<bool>,
    /// Which the caller may see.
    pub reach: Reach,
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Their team.
    pub team: Option<TeamId>,
    /// Whether disabled.
    pub disabled: Option<bool>,
    /// Which the caller may see.
    pub reach: Reach,
}

const CUSTOMERS: Belonging = Belonging { customer: Some("id"), team: None, user: None };
const TEAMS: Belonging = Belonging { customer: Some("customer"), team: Some("id"), user: None };
const USERS: Belonging = Belonging {
    customer: Some("(SELECT t.customer FROM teams t WHERE t.id = users.team)"),
    team: Some("team"),
    user: Some("id"),
};

/// Customers. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The customer with this id or name: a name never reads like an id.
    pub async fn customer_find(&mut self, named: &str) -> Result<Option<Customer>, StoreError> {
        let select = sql!("SELECT * FROM customers WHERE id = $1 OR name = $1", named);
        Ok(self.owners(select, Customer::read).await?.pop())
    }

    /// The customers that match, in the order of creation.
    pub async fn customer_list(
        &mut self,
        filter: &CustomerFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Customer>, StoreError> {
        let CustomerFilter { name, disabled, reach } = filter;
        let mut select = sql!("SELECT * FROM customers WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("disabled", *disabled);
        CUSTOMERS.narrow(&mut select, reach);
        select.page(after, limit);
        self.owners(select, Customer::read).await
    }

    /// Stores a new customer.
    pub async fn customer_insert(&mut self, customer: &Customer) -> Result<(), StoreError> {
        let Customer { id, name, display_name, disabled, quota, stamp } = customer;
        let insert = sql!(
            "INSERT INTO customers (id, name, display_name, disabled, limits, session_limit, create_time, update_time, created,
             revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            id.as_str(),
            name.as_str(),
            display_name,
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
        );
        self.execute(stamp.bind(insert)).await?;
        self.budgets_put(CustomerId::NOUN, id.as_str(), &quota.budgets).await
    }

    /// Stores the changed fields of a customer.
    pub async fn customer_update(&mut self, customer: &Customer) -> Result<(), StoreError> {
        let Customer { id, name, display_name, disabled, quota, stamp } = customer;
        let update = sql!(
            "UPDATE customers SET name = $1, display_name = $2, disabled = $3, limits = $4, session_limit = $5,
             update_time = $6, revision = $7 WHERE id = $8",
            name.as_str(),
            display_name,
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
            stamp.update_time,
            stamp.revision,
            id.as_str(),
        );
        self.execute(update).await?;
        self.budgets_put(CustomerId::NOUN, id.as_str(), &quota.budgets).await
    }

    /// Deletes a customer, retires the budgets, and remembers that it is gone.
    pub async fn customer_delete(&mut self, id: &CustomerId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM customers WHERE id = $1", id.as_str())).await?;
        self.budgets_put(CustomerId::NOUN, id.as_str(), &[]).await?;
        self.bindings_forget(id.as_str()).await?;
        self.tombstone(CustomerId::NOUN, id.as_str(), revision).await
    }

    /// How many teams the customer has.
    pub async fn customer_teams(&mut self, id: &CustomerId) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS n FROM teams WHERE customer = $1", id.as_str())).await?.int("n")
    }
}

/// Teams. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The team with this id or name.
    pub async fn team_find(&mut self, named: &str) -> Result<Option<Team>, StoreError> {
        let select = sql!("SELECT * FROM teams WHERE id = $1 OR name = $1", named);
        Ok(self.owners(select, Team::read).await?.pop())
    }

    /// The teams that match, in the order of creation.
    pub async fn team_list(
        &mut self,
        filter: &TeamFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<Team>, StoreError> {
        let TeamFilter { name, customer, disabled, reach } = filter;
        let mut select = sql!("SELECT * FROM teams WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("customer", customer.as_ref().map(CustomerId::as_str));
        select.narrow("disabled", *disabled);
        TEAMS.narrow(&mut select, reach);
        select.page(after, limit);
        self.owners(select, Team::read).await
    }

    /// Stores a new team.
    pub async fn team_insert(&mut self, team: &Team) -> Result<(), StoreError> {
        let Team { id, name, display_name, customer, disabled, quota, self_service, providers, regions, stamp } = team;
        let insert = sql!(
            "INSERT INTO teams (id, name, display_name, customer, disabled, limits, session_limit, self_service, providers,
             regions, create_time, update_time, created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            id.as_str(),
            name.as_str(),
            display_name,
            customer.as_str(),
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
            self_service::text(self_service.as_ref())?,
            statement::list(providers.iter().map(ProviderId::as_str)),
            statement::list(regions),
        );
        self.execute(stamp.bind(insert)).await?;
        self.budgets_put(TeamId::NOUN, id.as_str(), &quota.budgets).await?;
        self.team_links(team).await
    }

    /// Stores the changed fields of a team.
    pub async fn team_update(&mut self, team: &Team) -> Result<(), StoreError> {
        let Team { id, name, display_name, customer: _, disabled, quota, self_service, providers, regions, stamp } =
            team;
        let update = sql!(
            "UPDATE teams SET name = $1, display_name = $2, disabled = $3, limits = $4, session_limit = $5, self_service = $6,
             providers = $7, regions = $8, update_time = $9, revision = $10 WHERE id = $11",
            name.as_str(),
            display_name,
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
            self_service::text(self_service.as_ref())?,
            statement::list(providers.iter().map(ProviderId::as_str)),
            statement::list(regions),
            stamp.update_time,
            stamp.revision,
            id.as_str(),
        );
        self.execute(update).await?;
        self.budgets_put(TeamId::NOUN, id.as_str(), &quota.budgets).await?;
        self.execute(sql!("DELETE FROM team_providers WHERE team = $1", id.as_str())).await?;
        self.team_links(team).await
    }

    /// Deletes a team, retires the budgets, and remembers that it is gone.
    pub async fn team_delete(&mut self, id: &TeamId, revision: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM teams WHERE id = $1", id.as_str())).await?;
        self.budgets_put(TeamId::NOUN, id.as_str(), &[]).await?;
        self.bindings_forget(id.as_str()).await?;
        self.tombstone(TeamId::NOUN, id.as_str(), revision).await
    }

    /// How many keys and how many users the team has.
    pub async fn team_members(&mut self, id: &TeamId) -> Result<(i64, i64), StoreError> {
        let select = sql!(
            "SELECT (SELECT COUNT(*) FROM keys WHERE team = $1) AS keys, (SELECT COUNT(*) FROM users WHERE team = $1) AS users",
            id.as_str()
        );
        let row = self.fetch_one(select).await?;
        Ok((row.int("keys")?, row.int("users")?))
    }

    async fn team_links(&mut self, team: &Team) -> Result<(), StoreError> {
        for provider in &team.providers {
            let link = sql!(
                "INSERT INTO team_providers (team, provider) VALUES ($1, $2)",
                team.id.as_str(),
                provider.as_str()
            );
            self.execute(link).await?;
        }
        Ok(())
    }
}

/// Users. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The user with this id or name.
    pub async fn user_find(&mut self, named: &str) -> Result<Option<User>, StoreError> {
        let select = sql!("SELECT * FROM users WHERE id = $1 OR name = $1", named);
        Ok(self.owners(select, User::read).await?.pop())
    }

    /// The user with this e-mail address.
    pub async fn user_find_email(&mut self, email: &str) -> Result<Option<User>, StoreError> {
        let select = sql!("SELECT * FROM users WHERE email = $1", email);
        Ok(self.owners(select, User::read).await?.pop())
    }

    /// The users that match, in the order of creation.
    pub async fn user_list(
        &mut self,
        filter: &UserFilter,
        after: Option<&Position>,
        limit: i64,
    ) -> Result<Vec<User>, StoreError> {
        let UserFilter { name, email, team, disabled, reach } = filter;
        let mut select = sql!("SELECT * FROM users WHERE 1 = 1");
        if let Some(name) = name {
            name.narrow(&mut select, "name");
        }
        select.narrow("email", email.as_deref());
        select.narrow("team", team.as_ref().map(TeamId::as_str));
        select.narrow("disabled", *disabled);
        USERS.narrow(&mut select, reach);
        select.page(after, limit);
        self.owners(select, User::read).await
    }

    /// Stores a new user.
    pub async fn user_insert(&mut self, user: &User) -> Result<(), StoreError> {
        let User { id, name, email, display_name, team, disabled, quota, stamp } = user;
        let insert = sql!(
            "INSERT INTO users (id, name, email, display_name, team, disabled, limits, session_limit, create_time, update_time,
             created, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            id.as_str(),
            name.as_str(),
            email.as_deref(),
            display_name,
            team.as_ref().map(TeamId::as_str),
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
        );
        self.execute(stamp.bind(insert)).await?;
        self.budgets_put(UserId::NOUN, id.as_str(), &quota.budgets).await
    }

    /// Stores the changed fields of a user.
    pub async fn user_update(&mut self, user: &User) -> Result<(), StoreError> {
        let User { id, name, email, display_name, team, disabled, quota, stamp } = user;
        let update = sql!(
            "UPDATE users SET name = $1, email = $2, display_name = $3, team = $4, disabled = $5, limits = $6,
             session_limit = $7, update_time = $8, revision = $9 WHERE id = $10",
            name.as_str(),
            email.as_deref(),
            display_name,
            team.as_ref().map(TeamId::as_str),
            *disabled,
            quota.limits_text()?,
            quota.session_text()?,
            stamp.update_time,
            stamp.revision,
            id.as_str(),
        );
        self.execute(update).await?;
        self.budgets_put(UserId::NOUN, id.as_str(), &quota.budgets).await
    }

    /// Deletes a user, retires the budgets, and remembers that they are gone.
    pub async fn user_delete(&mut self, id: &UserId, revision: i64) -> Result<(), StoreError> {
        self.user_sessions_forget(id, revision).await?;
        self.execute(sql!("DELETE FROM users WHERE id = $1", id.as_str())).await?;
        self.budgets_put(UserId::NOUN, id.as_str(), &[]).await?;
        self.bindings_forget(id.as_str()).await?;
        self.tombstone(UserId::NOUN, id.as_str(), revision).await
    }

    /// How many keys are attributed to the user.
    pub async fn user_keys(&mut self, id: &UserId) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT COUNT(*) AS n FROM keys WHERE user_id = $1", id.as_str())).await?.int("n")
    }
}

impl Stamp {
    // As the last four columns of an INSERT: create_time, update_time, created, revision.
    pub(super) fn bind(&self, insert: Statement) -> Statement {
        insert.bind(self.create_time).bind(self.update_time).bind(self.created).bind(self.revision)
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            created: row.int("created")?,
            revision: row.int("revision")?,
            create_time: row.int("create_time")?,
            update_time: row.int("update_time")?,
        })
    }
}

impl Customer {
    pub(super) fn read(row: &Row, quota: Quota) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", CustomerId::parse)?,
            name: row.parsed("name", Name::parse)?,
            display_name: row.text("display_name")?,
            disabled: row.flag("disabled")?,
            quota,
            stamp: Stamp::read(row)?,
        })
    }
}

impl Team {
    pub(super) fn read(row: &Row, quota: Quota) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", TeamId::parse)?,
            name: row.parsed("name", Name::parse)?,
            display_name: row.text("display_name")?,
            customer: row.parsed("customer", CustomerId::parse)?,
            disabled: row.flag("disabled")?,
            quota,
            self_service: row.parsed_opt("self_service", self_service::read)?,
            providers: row.ids("providers", ProviderId::parse)?,
            regions: row.list("regions")?,
            stamp: Stamp::read(row)?,
        })
    }
}

impl User {
    pub(super) fn read(row: &Row, quota: Quota) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", UserId::parse)?,
            name: row.parsed("name", Name::parse)?,
            email: row.text_opt("email")?,
            display_name: row.text("display_name")?,
            team: row.parsed_opt("team", TeamId::parse)?,
            disabled: row.flag("disabled")?,
            quota,
            stamp: Stamp::read(row)?,
        })
    }
}
