//! What an issuer says of a person, and what that means here. Pure: the claims were verified before.
//!
//! A claim that is there with another type than it must have is refused; it never counts as absent.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tollgate_policy::name::{NAME_LENGTH_MAX, Name};

use super::settings::{Mapping, Rule};

/// The claims of a token or of a userinfo answer.
pub type Claims = Map<String, Value>;

/// The most groups of a person that are taken from an issuer.
const GROUPS_MAX: usize = 1_000;
/// The longest group with its prefix, in bytes.
const GROUP_BYTES_MAX: usize = 256;
/// The longest subject, in bytes: OpenID Connect Core has 255 characters of ASCII.
const SUBJECT_BYTES_MAX: usize = 255;
/// The longest address and display name, in bytes, as for users that are made by hand.
const TEXT_BYTES_MAX: usize = 254;
/// How much room a name leaves for what makes it unique.
const SUFFIX_BYTES: usize = 13;

/// A person as an issuer describes them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Person {
    /// Who they are there.
    pub subject: String,
    /// Their address, where the issuer has verified it.
    pub email: Option<String>,
    /// What people read.
    pub display_name: String,
    /// What they would be called here, the best first.
    pub names: Vec<Name>,
    /// Their groups, with the prefix.
    pub groups: BTreeSet<String>,
    /// The team of a person who is new.
    pub team: Option<String>,
}

/// Where the groups come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GroupsFrom<'a> {
    /// The token itself.
    Token,
    /// A userinfo answer: the token had no room for them.
    Userinfo(&'a Claims),
}

/// Why claims do not make a person.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A claim that must be there is not.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has another type than it must have.
    #[error("the claim {0} does not have the type that it must have")]
    Mistyped(String),
    /// The token says that the person is in more groups than it names, and nothing else names them.
    #[error("the groups are too many for the token, and the userinfo endpoint does not give them")]
    Overage,
    /// A group, or their number, is beyond bounds.
    #[error("a group is not 1 to 256 bytes without control characters, or there are more than 1000")]
    Groups,
    /// The address is not verified, and a domain is required.
    #[error("the e-mail address is not verified")]
    Unverified,
    /// The address is of another domain.
    #[error("the e-mail address is of a domain that is not allowed")]
    Domain,
}

/// Whether the token says that the person is in more groups than it has room for.
///
/// # Errors
/// When what says so is mistyped.
pub fn is_overage(mapping: &Mapping, claims: &Claims) -> Result<bool, Unfit> {
    let named = match claims.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => {
            let first = mapping.groups_claim.split('/').nth(1).unwrap_or_default();
            names.contains_key("groups") || names.contains_key(first)
        }
        Some(_) => return Err(Unfit::Mistyped("_claim_names".to_owned())),
    };
    Ok(named || flag(claims, "hasgroups")?.unwrap_or_default())
}

/// Reads what the claims say.
///
/// # Errors
/// Says what is wrong with them.
pub fn read(mapping: &Mapping, claims: &Claims, from: GroupsFrom<'_>) -> Result<Person, Unfit> {
    let subject = text(claims, "sub")?.ok_or(Unfit::Missing("sub"))?;
    if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
        return Err(Unfit::Mistyped("sub".to_owned()));
    }
    let email = email(mapping, claims)?;
    let preferred = text(claims, "preferred_username")?;
    let name = text(claims, "name")?.unwrap_or_default();
    let local = |address: &str| address.split('@').next().unwrap_or_default().to_owned();
    let hints = [preferred.map(local), email.as_deref().map(local), Some(subject.to_owned())];
    let (groups, team) = groups(mapping, claims, from)?;
    Ok(Person {
        subject: subject.to_owned(),
        display_name: shown(name),
        names: hints.into_iter().flatten().filter_map(|hint| name_of(&hint)).collect(),
        email,
        groups,
        team,
    })
}

/// A name of this form that nobody has yet: the first is the name itself.
#[must_use]
pub fn numbered(name: &Name, attempt: usize) -> Option<Name> {
    match attempt {
        0 => Some(name.clone()),
        _ => Name::parse(&format!("{name}-{}", attempt + 1)).ok(),
    }
}

// Only a verified address is kept: anybody may type any address into a profile.
fn email(mapping: &Mapping, claims: &Claims) -> Result<Option<String>, Unfit> {
    let address = text(claims, "email")?;
    let is_verified = flag(claims, "email_verified")?.unwrap_or_default();
    let address = address.filter(|_| is_verified);
    if let Some(address) = address {
        let spaced = |character: char| character.is_control() || character.is_whitespace();
        if address.len() > TEXT_BYTES_MAX || address.chars().any(spaced) || !address.contains('@') {
            return Err(Unfit::Mistyped("email".to_owned()));
        }
    }
    if !mapping.email_domains.is_empty() {
        let address = address.ok_or(Unfit::Unverified)?;
        let domain = address.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        if !mapping.email_domains.contains(&domain) {
            return Err(Unfit::Domain);
        }
    }
    Ok(address.map(str::to_owned))
}

fn groups(
    mapping: &Mapping,
    claims: &Claims,
    from: GroupsFrom<'_>,
) -> Result<(BTreeSet<String>, Option<String>), Unfit> {
    let (source, is_required) = match from {
        GroupsFrom::Token => (claims, false),
        GroupsFrom::Userinfo(answer) => (answer, true),
    };
    // An answer that leaves some out is no better than a token that does.
    if is_overage(mapping, source)? {
        return Err(Unfit::Overage);
    }
    let listed = texts_at(source, &mapping.groups_claim)?;
    let mut groups = match listed {
        None if is_required => return Err(Unfit::Overage),
        listed => listed.unwrap_or_default(),
    };
    let mut team = None;
    for Rule { claim, equals, group, team: its_team } in &mapping.rules {
        let values = texts_at(claims, claim)?.unwrap_or_default();
        if values.iter().any(|value| value == equals) {
            groups.extend(group.clone());
            team = team.or_else(|| its_team.clone());
        }
    }
    if groups.len() > GROUPS_MAX {
        return Err(Unfit::Groups);
    }
    let prefixed = groups.into_iter().map(|group| prefixed(mapping, &group));
    let named = prefixed.collect::<Result<Vec<_>, _>>()?;
    Ok((named.into_iter().flatten().collect(), team))
}

// A group whose name would read like one of another issuer's gives nothing.
fn prefixed(mapping: &Mapping, group: &str) -> Result<Option<String>, Unfit> {
    let name = format!("{}{group}", mapping.group_prefix);
    if group.is_empty() || name.len() > GROUP_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Unfit::Groups);
    }
    let is_foreign = mapping.foreign_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    Ok((!is_foreign).then_some(name))
}

// A text, or a list of texts.
fn texts_at(claims: &Claims, pointer: &str) -> Result<Option<Vec<String>>, Unfit> {
    let mistyped = || Unfit::Mistyped(pointer.trim_start_matches('/').to_owned());
    let Some(value) = at(claims, pointer) else { return Ok(None) };
    match value {
        Value::String(text) => Ok(Some(vec![text.clone()])),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(mistyped).map(Some)
        }
        _ => Err(mistyped()),
    }
}

fn at<'a>(claims: &'a Claims, pointer: &str) -> Option<&'a Value> {
    let path = pointer.strip_prefix('/')?;
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

fn text<'a>(claims: &'a Claims, name: &'static str) -> Result<Option<&'a str>, Unfit> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::Mistyped(name.to_owned())),
    }
}

fn flag(claims: &Claims, name: &'static str) -> Result<Option<bool>, Unfit> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(Unfit::Mistyped(name.to_owned())),
    }
}

fn shown(name: &str) -> String {
    let plain: String = name.chars().filter(|character| !character.is_control()).collect();
    plain.get(..plain.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().trim().to_owned()
}

fn name_of(hint: &str) -> Option<Name> {
    let lower = hint.to_lowercase();
    let mapped = lower.chars().map(|character| match character {
        'a'..='z' | '0'..='9' | '.' | '_' | '-' => character,
        _ => '-',
    });
    let mapped: String = mapped.collect();
    let trimmed = mapped.trim_matches(['-', '.', '_']);
    let kept = trimmed.get(..trimmed.len().min(NAME_LENGTH_MAX - SUFFIX_BYTES)).unwrap_or_default();
    Name::parse(kept).ok()
}

#[cfg(test)]
mod tests;
