//! The names behind the ids that the control plane returns, so that people read names.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_proto::admin::v1;
use tonic::Status;

use super::Context;
use crate::failure::Failure;

/// Names by id. An id whose name is not known, or not to be known by this caller, stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

/// A noun whose names can be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noun {
    Customer,
    Team,
    User,
    ServiceAccount,
    Provider,
    Key,
}

impl Names {
    /// Adds the names of these ids: one call for one id, a whole list for several.
    pub(crate) async fn learn<'i>(&mut self, context: &Context, noun: Noun, ids: impl IntoIterator<Item = &'i str>) {
        let wanted: BTreeSet<&str> = ids.into_iter().filter(|id| !id.is_empty()).collect();
        let learned = match (wanted.len(), wanted.first()) {
            (1, Some(id)) => one(context, noun, id).await.map_err(Failure::from),
            (2.., _) => all(context, noun).await,
            _ => return,
        };
        // A name is a courtesy: without the permission to read it, the id is shown.
        self.0.extend(learned.unwrap_or_default());
    }

    /// Adds the names of all objects of the noun.
    pub(crate) async fn learn_all(&mut self, context: &Context, noun: Noun) {
        self.0.extend(all(context, noun).await.unwrap_or_default());
    }

    /// The name, or the id when no name is known.
    pub(crate) fn of(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }
}

async fn one(context: &Context, noun: Noun, id: &str) -> Result<Vec<(String, String)>, Status> {
    let name = match noun {
        Noun::Customer => {
            let request = v1::GetCustomerRequest { customer: id.to_owned() };
            context.client.customers().get_customer(request).await?.into_inner().name
        }
        Noun::Team => {
            context.client.teams().get_team(v1::GetTeamRequest { team: id.to_owned() }).await?.into_inner().name
        }
        Noun::User => {
            context.client.users().get_user(v1::GetUserRequest { user: id.to_owned() }).await?.into_inner().name
        }
        Noun::ServiceAccount => {
            let request = v1::GetServiceAccountRequest { service_account: id.to_owned() };
            context.client.service_accounts().get_service_account(request).await?.into_inner().name
        }
        Noun::Key => context.client.keys().get_key(v1::GetKeyRequest { key: id.to_owned() }).await?.into_inner().name,
        Noun::Provider => {
            // A provider brings its credentials, whose ids are names as well.
            let request = v1::GetProviderRequest { provider: id.to_owned() };
            return Ok(provider_names(context.client.providers().get_provider(request).await?.into_inner()));
        }
    };
    Ok(vec![(id.to_owned(), name)])
}

async fn all(context: &Context, noun: Noun) -> Result<Vec<(String, String)>, Failure> {
    Ok(match noun {
        Noun::Customer => super::customer::all(context, None, String::new())
            .await?
            .into_iter()
            .map(|each| (each.id, each.name))
            .collect(),
        Noun::Team => {
            super::team::all(context, None, String::new()).await?.into_iter().map(|each| (each.id, each.name)).collect()
        }
        Noun::User => {
            super::user::all(context, None, String::new()).await?.into_iter().map(|each| (each.id, each.name)).collect()
        }
        Noun::Key => {
            super::key::all(context, None, String::new()).await?.into_iter().map(|each| (each.id, each.name)).collect()
        }
        Noun::ServiceAccount => super::service_account::all(context, None, String::new())
            .await?
            .into_iter()
            .map(|each| (each.id, each.name))
            .collect(),
        Noun::Provider => {
            super::provider::all(context, None, String::new()).await?.into_iter().flat_map(provider_names).collect()
        }
    })
}

/// The id and name of a provider, and the ids of its credentials as `provider/credential`.
pub(crate) fn provider_names(provider: v1::Provider) -> Vec<(String, String)> {
    let credentials = provider.credentials.into_iter();
    let mut names: Vec<_> =
        credentials.map(|credential| (credential.id, format!("{}/{}", provider.name, credential.name))).collect();
    names.push((provider.id, provider.name));
    names
}
