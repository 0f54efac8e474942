//! Providers that are known by name: how they are listed, and what they fill in.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_policy::{
    preset::{PRESETS, Preset, REGION},
    provider::Quirk,
};
use tollgate_proto::admin::v1;

use crate::{
    failure::Failure,
    literals::{preset_credential, route::Setting},
    output::{Answer, Format, View},
};

/// A preset as it is shown.
#[derive(Serialize)]
struct PresetView {
    name: &'static str,
    title: &'static str,
    dialect: &'static str,
    base_url: &'static str,
    placeholders: Vec<&'static str>,
    auth: &'static str,
    quirks: Vec<&'static str>,
    vendor: &'static str,
    variable: &'static str,
    documentation: &'static str,
}

/// Lists every preset. No control plane is asked.
pub(crate) fn list(format: Format) -> Result<Answer, Failure> {
    format.list(&PRESETS.iter().map(PresetView::of).collect::<Vec<_>>())
}

/// Parses the name of a preset.
pub(super) fn preset(text: &str) -> Result<&'static Preset, String> {
    Preset::named(text).ok_or_else(|| "is not the name of a preset; `tollgate provider presets` lists them".to_owned())
}

/// Fills in what was not said of a new provider.
pub(super) fn fill(provider: v1::Provider, preset: &Preset, settings: Vec<Setting>) -> Result<v1::Provider, Failure> {
    let mut values: BTreeMap<String, String> =
        settings.into_iter().map(|Setting { name, value }| (name, value)).collect();
    let mut region = provider.region;
    if preset.placeholders().contains(&REGION) {
        if region.is_empty() {
            region = values.get(REGION).cloned().unwrap_or_default();
        } else {
            values.entry(REGION.to_owned()).or_insert_with(|| region.clone());
        }
    }
    let base_url = match provider.base_url.as_str() {
        "" => preset.fill(&values).map_err(|unfilled| {
            let text = format!("the preset {} {unfilled}", preset.name);
            Failure::usage(text).hint(format!("its base URL is {}; write --set NAME=VALUE", preset.base_url))
        })?,
        _ => provider.base_url,
    };
    let credentials = match (provider.credentials.is_empty(), preset_credential(preset)) {
        (false, _) => provider.credentials,
        (true, Some((name, secret))) => {
            vec![v1::Credential { name: name.to_owned(), secret, weight: 1, ..v1::Credential::default() }]
        }
        (true, None) => {
            return Err(Failure::usage(format!("the preset {} needs --credential NAME=SECRET", preset.name)));
        }
    };
    let or = |said: String, preset: &str| if said.is_empty() { preset.to_owned() } else { said };
    let quirks = || preset.quirks.iter().copied().map(Quirk::word).map(str::to_owned).collect();
    Ok(v1::Provider {
        name: or(provider.name, preset.name),
        dialect: or(provider.dialect, preset.dialect.word()),
        base_url,
        allow_private: provider.allow_private || preset.is_local,
        vendor: or(provider.vendor, preset.vendor),
        auth: or(provider.auth, preset.auth),
        region,
        quirks: if provider.quirks.is_empty() { quirks() } else { provider.quirks },
        credentials,
        ..provider
    })
}

impl PresetView {
    fn of(preset: &Preset) -> Self {
        let Preset { name, title, dialect, base_url, is_local: _, auth, quirks, vendor, variable, documentation } =
            *preset;
        Self {
            name,
            title,
            dialect: dialect.word(),
            base_url,
            placeholders: preset.placeholders(),
            auth,
            quirks: quirks.iter().copied().map(Quirk::word).collect(),
            vendor,
            variable,
            documentation,
        }
    }
}

impl View for PresetView {
    const PLURAL: &'static str = "presets";
    const LISTED: &'static [&'static str] = &["name", "title", "dialect", "base_url", "variable"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.to_owned()),
            ("title", self.title.to_owned()),
            ("dialect", self.dialect.to_owned()),
            ("base_url", self.base_url.to_owned()),
            ("variable", self.variable.to_owned()),
        ]
    }
}
