//! Reads providers. What a preset says stands for what the file leaves out.

use std::collections::BTreeMap;

use tollgate_policy::{
    preset::{PRESETS, Preset, REGION},
    provider::Quirk,
};

use super::{Secret, fields::Fields};
use crate::{
    declare::{
        document::{Credential, Provider},
        tree::Value,
    },
    literals::{self, WEIGHT_MAX, route},
};

pub(super) fn provider(mut fields: Fields<'_, '_>) -> Provider {
    let preset = fields.parsed("preset", preset);
    let values = values(&mut fields);
    let mut provider = Provider {
        place: fields.place(),
        name: match preset {
            Some(preset) => fields.parsed("name", literals::name).unwrap_or_else(|| preset.name.to_owned()),
            None => super::name(&mut fields),
        },
        dialect: fields.parsed("dialect", route::dialect),
        base_url: fields.parsed("base_url", base_url),
        allow_private: fields.boolean("allow_private"),
        models: fields.list("models", literals::pattern),
        vendor: fields.text("vendor"),
        priority: fields
            .integer("priority", i32::MIN.into(), i32::MAX.into())
            .and_then(|number| i32::try_from(number).ok()),
        disabled: fields.boolean("disabled"),
        auth: fields.parsed("auth", route::auth),
        region: fields.parsed("region", route::region),
        quirks: fields.list("quirks", route::quirk),
        credentials: fields.tables("credentials", credential),
        usual: None,
    };
    match preset {
        Some(preset) => fill(&mut provider, preset, values, &mut fields),
        None if !values.is_empty() => fields.mistake_here("has set, which fills in the placeholders of a preset"),
        None => {}
    }
    let credentials = provider.credentials.as_deref().unwrap_or_default();
    for (at, credential) in credentials.iter().enumerate() {
        if credentials.iter().take(at).any(|earlier| earlier.name == credential.name && !earlier.name.is_empty()) {
            fields.mistake(
                credential.place,
                "credentials",
                &format!("there are two credentials {:?}", credential.name),
            );
        }
    }
    fields.close();
    provider
}

fn credential(mut fields: Fields<'_, '_>) -> Credential {
    let credential = Credential {
        place: fields.place(),
        name: super::name(&mut fields),
        secret: fields.required("secret", super::secret).unwrap_or(Secret::Stored(String::new())),
        weight: fields.integer("weight", 1, WEIGHT_MAX.into()).and_then(|number| i32::try_from(number).ok()),
        disabled: fields.boolean("disabled"),
    };
    fields.close();
    credential
}

fn preset(name: &str) -> Result<&'static Preset, String> {
    let names = || PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    Preset::named(name).ok_or_else(|| format!("must be one of {}", names()))
}

fn values(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let Some((_, node)) = fields.take("set") else { return BTreeMap::new() };
    let Value::Table(entries) = &node.value else {
        fields.mistake(node.place, "set", &format!("must be a table of names and values, not {}", node.value.noun()));
        return BTreeMap::new();
    };
    let mut values = BTreeMap::new();
    for (_, name, value) in entries {
        match &value.value {
            Value::Text(text) | Value::Number(text) => drop(values.insert(name.clone(), text.clone())),
            other => {
                fields.mistake(value.place, &format!("set.{name}"), &format!("must be a text, not {}", other.noun()));
            }
        }
    }
    values
}

fn fill(
    provider: &mut Provider,
    preset: &'static Preset,
    mut values: BTreeMap<String, String>,
    fields: &mut Fields<'_, '_>,
) {
    if preset.placeholders().contains(&REGION) {
        match &provider.region {
            Some(region) => {
                values.entry(REGION.to_owned()).or_insert_with(|| region.clone());
            }
            None => provider.region = values.get(REGION).cloned(),
        }
    }
    if provider.base_url.is_none() {
        match preset.fill(&values) {
            Ok(base_url) => provider.base_url = Some(base_url),
            Err(unfilled) => {
                let text = format!("{} {unfilled}; write set: {{ name: value }}", preset.name);
                fields.mistake(provider.place, "preset", &text);
            }
        }
    }
    let or = |field: &mut Option<String>, text: &str| {
        field.get_or_insert_with(|| text.to_owned());
    };
    or(&mut provider.dialect, preset.dialect.word());
    or(&mut provider.auth, preset.auth);
    or(&mut provider.vendor, preset.vendor);
    if preset.is_local {
        provider.allow_private.get_or_insert(true);
    }
    let words = || preset.quirks.iter().copied().map(Quirk::word).map(str::to_owned).collect();
    provider.quirks.get_or_insert_with(words);
    provider.usual = usual(preset, provider);
}

// The credential of a provider that is created and says none. One that takes no key has one nevertheless: only with one is it called.
fn usual(preset: &Preset, provider: &Provider) -> Option<Credential> {
    let (name, secret) = literals::preset_credential(preset)?;
    Some(Credential {
        name: name.to_owned(),
        secret: Secret::parse(&secret),
        weight: None,
        disabled: None,
        place: provider.place,
    })
}

// In the form in which the control plane keeps it, so that another spelling of an address is no difference.
fn base_url(text: &str) -> Result<String, String> {
    let parts = text.parse::<http::Uri>().ok().filter(|uri| uri.query().is_none()).and_then(|uri| {
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        Some(format!(
            "{scheme}://{}{}",
            uri.authority()?.as_str().to_ascii_lowercase(),
            uri.path().trim_end_matches('/')
        ))
    });
    parts.ok_or_else(|| "must be https://host[:port][/path], without a query".to_owned())
}
