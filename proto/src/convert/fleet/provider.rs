//! Providers, as a snapshot has them.

use std::sync::Arc;

use http::Uri;
use tollgate_policy::{
    id::{CredentialId, ProviderId},
    provider::{Auth, Quirk},
    snapshot::{Credential, Dialect, Provider},
};

use super::{Field, LIST_MAX, LOCATION_BYTES_MAX, WEIGHT_MAX, parsed, patterns, problem, text};
use crate::fleet::v1;

pub(super) fn read(id: &str, body: v1::ProviderItem) -> Field<Provider> {
    let v1::ProviderItem {
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        disabled,
        priority,
        credentials,
        auth,
        region,
        quirks,
    } = body;
    if credentials.len() > LIST_MAX {
        return Err(problem("credentials", "has too many entries"));
    }
    let credentials = credentials.into_iter().map(credential).collect::<Field<Vec<_>>>()?;
    let mut ids: Vec<&CredentialId> = credentials.iter().map(|credential| &credential.id).collect();
    ids.sort();
    if ids.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(problem("credentials", "names one twice"));
    }
    Ok(Provider {
        id: parsed("id", id, ProviderId::parse)?,
        name: text("name", &name)?,
        dialect: Dialect::of_word(&dialect).ok_or_else(|| problem("dialect", "is not known to this version"))?,
        base_url: base_url_of(&base_url)?,
        allow_private,
        models: patterns("models", &models)?,
        vendor: text("vendor", &vendor)?,
        disabled,
        priority,
        credentials,
        auth: shown(&auth)?,
        region: if region.is_empty() { "".into() } else { text("region", &region)? },
        quirks: in_order("quirks", &quirks, Quirk::of_word)?,
    })
}

fn credential(wire: v1::CredentialItem) -> Field<Credential> {
    let v1::CredentialItem { id, name, weight, disabled, reference } = wire;
    let weight = u32::try_from(weight).ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    let visible = reference.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if reference.len() > LOCATION_BYTES_MAX || !visible {
        return Err(problem("credentials.reference", "is too long or has control characters"));
    }
    Ok(Credential {
        id: parsed("credentials.id", &id, CredentialId::parse)?,
        name: text("credentials.name", &name)?,
        weight: weight.ok_or_else(|| problem("credentials.weight", "is not between 1 and 1,000,000"))?,
        disabled,
        reference: (!reference.is_empty()).then(|| reference.into()),
    })
}

// In its one spelling: names of headers are in lower case.
fn shown(text: &str) -> Field<Auth> {
    let auth = Auth::parse(text).map_err(|error| problem("auth", error))?;
    if auth.text() == text { Ok(auth) } else { Err(problem("auth", "is not in lower case")) }
}

/// Reads words, each once and in the order in which the type has them, so that there is one encoding.
pub(super) fn in_order<T: Ord + Copy, L: FromIterator<T>>(
    field: &'static str,
    words: &[String],
    of_word: fn(&str) -> Option<T>,
) -> Field<L> {
    let read =
        |word: &String| of_word(word).ok_or_else(|| problem(field, "has a word that is not known to this version"));
    let found = words.iter().map(read).collect::<Field<Vec<T>>>()?;
    if found.is_sorted_by(|one, other| one < other) {
        Ok(found.into_iter().collect())
    } else {
        Err(problem(field, "is not in order, or has a word twice"))
    }
}

fn base_url_of(text: &str) -> Field<Arc<str>> {
    let shaped = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    let plain = text.len() <= LOCATION_BYTES_MAX && !text.contains('#') && !text.ends_with('/');
    if plain && text.parse::<Uri>().is_ok_and(|uri| shaped(&uri)) {
        Ok(text.into())
    } else {
        Err(problem("base_url", "must be http or https with a host, without user, query, fragment or trailing slash"))
    }
}
