//! What a provisioned user is in Tollgate, and the other way round.

use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_policy::name::{NAME_LENGTH_MAX, Name};
use tollgate_scim::{
    Object, Problem,
    resource::{self, text},
    schema::USERS,
};

use super::reply;
use crate::{
    api::{
        violations::Violations,
        wire::{self, DISPLAY_NAME_MAX},
    },
    store::{
        StoreError, Txn,
        scim::{Provisioned, groups::Belongs},
    },
};

/// The longest user name or external id, in bytes: an e-mail address fits.
const ID_BYTES_MAX: usize = 256;
/// The longest attributes of one user, in bytes: a page of 1,000 stays within 64 MiB.
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// How many users may have the same name before the rest of them get one at random.
const NAMESAKES_MAX: usize = 20;

/// What a resource wants of a user.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) user_name: String,
    pub(super) external_id: String,
    pub(super) email: Option<String>,
    pub(super) display_name: String,
    /// What it says; `None`: nothing.
    pub(super) active: Option<bool>,
    pub(super) attributes: String,
}

impl Wanted {
    /// Reads a canonical resource.
    pub(super) fn read(mut resource: Object) -> Result<Self, Problem> {
        resource::ensure_complete(&resource, &USERS)?;
        let active = match resource.remove("active") {
            Some(Value::Null) => {
                resource.insert("active".into(), Value::Null);
                Some(false)
            }
            said => said.and_then(|active| active.as_bool()),
        };
        let user_name = identifier(&resource, "userName")?;
        let external_id = identifier(&resource, "externalId")?;
        let (email, display_name) = (email(&resource), display_name(&resource));
        let attributes = Value::Object(resource).to_string();
        if attributes.len() > ATTRIBUTES_BYTES_MAX {
            return Err(Problem::InvalidValue(format!("a user may have {ATTRIBUTES_BYTES_MAX} bytes of attributes")));
        }
        Ok(Self { user_name, external_id, email, display_name, active, attributes })
    }

    /// What it makes of a user.
    pub(super) fn apply(&self, user: Provisioned) -> Provisioned {
        let Self { user_name: _, external_id, email, display_name, active, attributes } = self.clone();
        let disabled = active.map_or(user.disabled, |active| !active);
        Provisioned { email, display_name, disabled, external_id, attributes, ..user }
    }
}

/// The attributes of a user as they were given, and whether the user is active.
pub(super) fn given(user: &Provisioned) -> Result<Object, StoreError> {
    let attributes = serde_json::from_str(&user.attributes);
    let mut attributes: Object = attributes.map_err(|error| StoreError::corrupt("attributes", error))?;
    // Where it was removed it is kept as null, and not told while the user is disabled.
    if attributes.remove("active").is_none() || !user.disabled {
        attributes.insert("active".into(), Value::Bool(!user.disabled));
    }
    Ok(attributes)
}

/// A user as a resource.
pub(super) fn document(user: &Provisioned, groups: &[Belongs], base: &str) -> Result<Object, StoreError> {
    let mut resource = given(user)?;
    let schemas = resource::schemas(&resource, &USERS);
    let group = |belongs: &Belongs| {
        let address = format!("{base}/Groups/{}", belongs.group);
        json!({"value": belongs.group, "$ref": address, "display": belongs.name})
    };
    if !groups.is_empty() {
        resource.insert("groups".into(), groups.iter().map(group).collect());
    }
    let location = format!("{base}/Users/{}", user.id);
    resource.insert("schemas".into(), schemas);
    resource.insert("id".into(), user.id.as_str().into());
    resource.insert("meta".into(), reply::meta(USERS.name, location, &user.stamp));
    Ok(resource)
}

/// What the log shows of a user.
pub(super) fn fields(user: &Provisioned, user_name: &str) -> Fields {
    wire::fields([
        ("name", json!(user.name.as_str())),
        ("user_name", json!(user_name)),
        ("external_id", json!(user.external_id)),
        ("email", json!(user.email)),
        ("display_name", json!(user.display_name)),
        ("disabled", json!(user.disabled)),
    ])
}

/// A name for a user that nobody has: what is in front of the `@` of the user name, as far as a name may have it.
pub(super) async fn free_name(txn: &mut Txn, user_name: &str) -> Result<Name, StoreError> {
    let stem = stem(user_name);
    for number in 1..=NAMESAKES_MAX {
        let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
        let Ok(name) = Name::parse(&name) else { continue };
        if txn.user_find(name.as_str()).await?.is_none() {
            return Ok(name);
        }
    }
    let random = ulid::Ulid::generate().to_string().to_lowercase();
    Name::parse(&format!("user.{random}")).map_err(|error| StoreError::corrupt("name", error))
}

// Room for a number behind it.
fn stem(user_name: &str) -> String {
    let local = user_name.split('@').next().unwrap_or_default().to_lowercase();
    let fit = |character: char| match character {
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => character,
        _ => '-',
    };
    let stem: String = local.chars().map(fit).collect();
    let stem = stem.trim_start_matches(['.', '_', '-']);
    let stem: String = stem.chars().take(NAME_LENGTH_MAX - 3).collect();
    if stem.is_empty() { "user".into() } else { stem }
}

fn identifier(resource: &Object, name: &str) -> Result<String, Problem> {
    let text = text(resource, name).unwrap_or_default();
    if text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Problem::InvalidValue(format!("{name} may have {ID_BYTES_MAX} bytes and no control characters")));
    }
    Ok(text.to_owned())
}

// The primary address, or that of work, or the first, among those that are addresses.
fn email(resource: &Object) -> Option<String> {
    let emails = resource.get("emails")?.as_array()?;
    let addresses = || {
        let value = |email: &Value| email.get("value").and_then(Value::as_str).map(str::to_owned);
        emails.iter().filter_map(move |email| Some((email, value(email)?))).filter(|(_, value)| wire::is_address(value))
    };
    let primary = addresses().find(|(email, _)| email.get("primary") == Some(&Value::Bool(true)));
    let work = || addresses().find(|(email, _)| email.get("type").and_then(Value::as_str) == Some("work"));
    primary.or_else(work).or_else(|| addresses().next()).map(|(_, value)| value)
}

fn display_name(resource: &Object) -> String {
    let name = resource.get("name").and_then(Value::as_object);
    let part = |part: &str| name.and_then(|name| text(name, part)).unwrap_or_default();
    let whole = [part("givenName"), part("familyName")].join(" ");
    let chosen = text(resource, "displayName").or(Some(part("formatted")).filter(|text| !text.is_empty()));
    let chosen: String = chosen.unwrap_or(whole.trim()).chars().take(DISPLAY_NAME_MAX).collect();
    wire::display_name(&chosen, &mut Violations::default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(resource: Value) -> Wanted {
        Wanted::read(resource.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_name_is_what_fits_of_the_user_name() {
        for (user_name, expect) in [
            ("Alice@Example.com", "alice"),
            ("O'Brien, Zoë", "o-brien--zo-"),
            ("@x", "user"),
            ("...", "user"),
            (&"n".repeat(200), &*"n".repeat(60)),
        ] {
            assert_eq!(stem(user_name), expect);
        }
    }

    #[test]
    fn one_address_and_one_name_are_chosen() {
        let emails = json!([{"value": "nonsense", "primary": true}, {"value": "h@x", "type": "home"}, {"value": "w@x", "type": "work"}]);
        let user = wanted(json!({"userName": "a", "emails": emails, "name": {"givenName": "A", "familyName": "B"}}));
        assert_eq!((user.email.as_deref(), user.display_name.as_str(), user.active), (Some("w@x"), "A B", None));
        let user = wanted(json!({"userName": "a", "displayName": "D", "active": false}));
        assert_eq!((user.email, user.display_name.as_str(), user.active), (None, "D", Some(false)));
        assert!(!user.attributes.contains("active"));
    }
}
