//! Role-based access: what somebody may do, and where.
//!
//! A role is a set of permissions; a binding grants it to a subject in a scope, for some time. Grants only add: what none of
//! them permits is denied. A permission is asked for at a [`Place`], the part of the organisation to which an object belongs.
//! Nobody gives what they do not hold: [`Holder::covers`] decides that for a new binding as it decides every call.

use std::{collections::BTreeSet, fmt};

use crate::{
    id::{CustomerId, TeamId, UserId},
    time::UnixMillis,
};

/// The most permissions of one role.
pub const PERMISSIONS_MAX: usize = 256;

/// What a role permits: `key.create`, `key.*` for every action on keys, `*` for everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Permissions(BTreeSet<String>);

/// A text that is no permission.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "'{0}' is not a permission: write `resource.action`, `resource.*` or `*`, from those that `tollgate role get admin` lists"
)]
pub struct UnknownPermission(pub String);

/// Where a grant holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Everywhere.
    Everything,
    /// In a customer and all of its teams.
    Customer(CustomerId),
    /// In a team.
    Team(TeamId),
    /// For what the subject owns.
    Own,
}

/// The part of the organisation to which an object belongs. What is nowhere belongs to the whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The customer.
    pub customer: Option<CustomerId>,
    /// The team, which is the customer's.
    pub team: Option<TeamId>,
    /// The user who owns it.
    pub user: Option<UserId>,
}

/// A role in a scope.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The name of the role.
    pub role: String,
    /// What it permits.
    pub permissions: Permissions,
    /// Where.
    pub scope: Scope,
    /// From when it no longer holds.
    pub expires: Option<UnixMillis>,
}

/// Somebody who holds grants.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holder {
    user: Option<UserId>,
    grants: Vec<Grant>,
}

/// Everywhere that somebody holds a permission: what a list may show.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reach {
    /// Everywhere.
    pub everything: bool,
    /// In these customers.
    pub customers: Vec<CustomerId>,
    /// In these teams.
    pub teams: Vec<TeamId>,
    /// For what this user owns.
    pub own: Option<UserId>,
}

/// A role that is part of the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SystemRole {
    /// Its name, which is also its id.
    pub name: &'static str,
    /// What people read.
    pub display_name: &'static str,
    permissions: &'static [&'static str],
}

/// The roles that are part of the program.
pub const SYSTEM_ROLES: [SystemRole; 4] = [
    SystemRole { name: ADMIN, display_name: "Administrator: everything", permissions: &["*"] },
    SystemRole {
        name: "viewer",
        display_name: "Viewer: reads everything, changes nothing",
        permissions: &[
            "audit.read",
            "binding.read",
            "budget.read",
            "customer.read",
            "guardrail.read",
            "key.read",
            "mcp-grant.read",
            "mcp-server.read",
            "model.read",
            "provider.read",
            "replica.read",
            "role.read",
            "route.read",
            "service-account.read",
            "session.read",
            "system.read",
            "team.read",
            "usage.read",
            "user.read",
        ],
    },
    SystemRole {
        name: "developer",
        display_name: "Developer: own keys, own usage, own sessions",
        permissions: &[
            "budget.read",
            "key.create",
            "key.delete",
            "key.read",
            "key.revoke",
            "key.rotate",
            "key.update",
            "mcp-grant.read",
            "mcp-grant.revoke",
            "model.read",
            "session.issue",
            "session.read",
            "session.revoke",
            "usage.read",
            "user.read",
        ],
    },
    SystemRole {
        name: "team-lead",
        display_name: "Team lead: the keys, usage and sessions of a team",
        permissions: &[
            "binding.read",
            "budget.read",
            "key.create",
            "key.delete",
            "key.enable",
            "key.read",
            "key.revoke",
            "key.rotate",
            "key.update",
            "mcp-grant.read",
            "mcp-grant.revoke",
            "model.read",
            "session.read",
            "session.revoke",
            "team.read",
            "usage.read",
            "user.read",
        ],
    },
];

/// The name of the role that permits everything.
pub const ADMIN: &str = "admin";

// === impl Permissions ===

impl Permissions {
    /// Reads permissions. `known` are those that some call demands.
    ///
    /// # Errors
    /// Names the first that is none of them, or matches none of them.
    pub fn parse<S: AsRef<str>>(texts: &[S], known: &[&str]) -> Result<Self, UnknownPermission> {
        let read = |text: &str| {
            let matches = |permission: &&str| permits(text, permission);
            let shaped = text == "*" || text.strip_suffix(".*").unwrap_or(text).chars().all(|letter| letter != '*');
            (shaped && known.iter().any(matches))
                .then(|| text.to_owned())
                .ok_or_else(|| UnknownPermission(text.chars().filter(|c| !c.is_control()).take(80).collect()))
        };
        texts.iter().map(|text| read(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Permissions as they were stored. One that no call demands any longer permits nothing.
    #[must_use]
    pub fn stored(texts: Vec<String>) -> Self {
        Self(texts.into_iter().collect())
    }

    /// Whether they permit this.
    #[must_use]
    pub fn permit(&self, permission: &str) -> bool {
        self.0.iter().any(|held| permits(held, permission))
    }

    /// The texts, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn permits(held: &str, permission: &str) -> bool {
    held == "*"
        || held == permission
        || held.strip_suffix('*').is_some_and(|resource| resource.ends_with('.') && permission.starts_with(resource))
}

// === impl SystemRole ===

impl SystemRole {
    /// The system role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SYSTEM_ROLES.iter().find(|role| role.name == name)
    }

    /// What it permits.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        Permissions(self.permissions.iter().map(|text| (*text).to_owned()).collect())
    }
}

// === impl Holder ===

impl Holder {
    /// Somebody with these grants. `user` is whom they make owner of something; a program owns nothing.
    #[must_use]
    pub const fn new(user: Option<UserId>, grants: Vec<Grant>) -> Self {
        Self { user, grants }
    }

    /// Somebody who holds everything everywhere.
    #[must_use]
    pub fn everything() -> Self {
        let permissions = Permissions(["*".to_owned()].into());
        Self::new(None, vec![Grant { role: ADMIN.to_owned(), permissions, scope: Scope::Everything, expires: None }])
    }

    /// The grants that hold now.
    pub fn grants(&self, now: UnixMillis) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.expires.is_none_or(|expires| now < expires))
    }

    /// Whether they hold a permission somewhere.
    #[must_use]
    pub fn holds_somewhere(&self, now: UnixMillis, permission: &str) -> bool {
        self.grants(now).any(|grant| grant.permissions.permit(permission))
    }

    /// Whether they hold a permission everywhere.
    #[must_use]
    pub fn holds_everywhere(&self, now: UnixMillis, permission: &str) -> bool {
        self.grants(now).any(|grant| grant.scope == Scope::Everything && grant.permissions.permit(permission))
    }

    /// Whether they hold a permission at a place.
    #[must_use]
    pub fn holds(&self, now: UnixMillis, permission: &str, place: &Place) -> bool {
        self.grants(now).any(|grant| self.holds_there(grant, place) && grant.permissions.permit(permission))
    }

    /// Whether they hold a permission at a place for no other reason than that it is their own.
    #[must_use]
    pub fn holds_as_owner(&self, now: UnixMillis, permission: &str, place: &Place) -> bool {
        let other = |grant: &Grant| grant.scope != Scope::Own && self.holds_there(grant, place);
        self.holds(now, permission, place)
            && !self.grants(now).any(|grant| other(grant) && grant.permissions.permit(permission))
    }

    /// Everywhere that they hold a permission.
    #[must_use]
    pub fn reach(&self, now: UnixMillis, permission: &str) -> Reach {
        let mut reach = Reach::default();
        for grant in self.grants(now).filter(|grant| grant.permissions.permit(permission)) {
            match &grant.scope {
                Scope::Everything => reach.everything = true,
                Scope::Customer(customer) => reach.customers.push(customer.clone()),
                Scope::Team(team) => reach.teams.push(team.clone()),
                Scope::Own => reach.own.clone_from(&self.user),
            }
        }
        reach
    }

    /// Whether they hold each of these permissions at a place, and so may give them there. `known` are the permissions that
    /// some call demands: who gives `key.*` must hold each action on keys.
    #[must_use]
    pub fn covers(&self, now: UnixMillis, permissions: &Permissions, place: &Place, known: &[&str]) -> bool {
        let given = known.iter().filter(|permission| permissions.permit(permission));
        // A wildcard also gives what later versions add.
        let open = permissions.iter().filter(|text| text.ends_with('*'));
        given.copied().chain(open).all(|permission| {
            self.grants(now).any(|grant| {
                grant.scope != Scope::Own && self.holds_there(grant, place) && grant.permissions.permit(permission)
            })
        })
    }

    fn holds_there(&self, grant: &Grant, place: &Place) -> bool {
        match &grant.scope {
            Scope::Everything => true,
            Scope::Customer(customer) => place.customer.as_ref() == Some(customer),
            Scope::Team(team) => place.team.as_ref() == Some(team),
            Scope::Own => self.user.is_some() && place.user == self.user,
        }
    }
}

// === impl Reach ===

impl Reach {
    /// Everywhere.
    #[must_use]
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Customer(customer) => write!(f, "{customer}"),
            Self::Team(team) => write!(f, "{team}"),
            Self::Own => f.write_str("own"),
        }
    }
}

#[cfg(test)]
mod tests;
