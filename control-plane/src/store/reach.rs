//! Which rows somebody may see.

use tollgate_policy::id::{CustomerId, TeamId, UserId};
use tollgate_policy::rbac::{Place, Reach};

use super::{Statement, StoreError, Txn};

/// How the rows of a table belong to the organisation: the expressions for their customer, their team and their user.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Belonging {
    /// The customer's id.
    pub(super) customer: Option<&'static str>,
    /// The team's id.
    pub(super) team: Option<&'static str>,
    /// The owner's id.
    pub(super) user: Option<&'static str>,
}

impl Belonging {
    /// Narrows a statement whose `WHERE` is open to the rows within reach.
    pub(super) fn narrow(self, select: &mut Statement, reach: &Reach) {
        let Reach { everything, customers, teams, own } = reach;
        if *everything {
            return;
        }
        select.push(" AND (1 = 0");
        if let Some(column) = self.customer {
            among(select, column, customers.iter().map(CustomerId::as_str));
        }
        if let Some(column) = self.team {
            among(select, column, teams.iter().map(TeamId::as_str));
        }
        if let Some(column) = self.user {
            among(select, column, own.iter().map(UserId::as_str));
        }
        select.push(")");
    }
}

fn among<'a>(select: &mut Statement, column: &'static str, values: impl Iterator<Item = &'a str>) {
    for value in values {
        for piece in [" OR ", column, " = "] {
            select.push(piece);
        }
        select.push_bind(value);
    }
}

impl Txn {
    /// Where a team is.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn place_of_team(&mut self, team: &TeamId) -> Result<Place, StoreError> {
        let row = self.fetch_optional(sql!("SELECT customer FROM teams WHERE id = $1", team.as_str())).await?;
        let customer = row.map(|row| row.parsed("customer", CustomerId::parse)).transpose()?;
        Ok(Place { customer, team: Some(team.clone()), user: None })
    }

    /// Where a user is: in their team, if they have one.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn place_of_user(&mut self, user: &UserId, team: Option<&TeamId>) -> Result<Place, StoreError> {
        let place = match team {
            Some(team) => self.place_of_team(team).await?,
            None => Place::default(),
        };
        Ok(Place { user: Some(user.clone()), ..place })
    }
}
