//! Failures planned ahead: the next so many requests, of one credential, path or model, are answered with other settings.

use crate::behaviour::{Behaviour, Unclear};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many failures can be planned at once.
pub const FAULTS_MAX: usize = 1024;

/// A planned failure. What is `None` matches every request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// For so many requests.
    #[serde(default = "once")]
    pub next: u32,
    /// Only with the credential that has this SHA-256, in hexadecimal.
    #[serde(default)]
    pub credential_sha256: Option<String>,
    /// Only for paths that begin so.
    #[serde(default)]
    pub path: Option<String>,
    /// Only for this model.
    #[serde(default)]
    pub model: Option<String>,
    /// Settings, by the names of [`crate::SETTINGS`]; they come before those of headers and directives.
    pub settings: BTreeMap<String, Value>,
}

/// What a failure is matched with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) credential_sha256: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) model: Option<&'a str>,
}

/// The failures that are planned, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

const fn once() -> u32 {
    1
}

// === impl Fault ===

impl Fault {
    /// The next request shall be answered with these settings.
    #[must_use]
    pub fn next<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        Self { next: 1, credential_sha256: None, path: None, model: None, settings }
    }

    /// Sets what is planned.
    ///
    /// # Errors
    /// Says which setting is unclear.
    pub(crate) fn apply(&self, to: &mut Behaviour) -> Result<(), Unclear> {
        // A tool's input belongs to the tool, which must come first.
        let (inputs, others): (Vec<_>, Vec<_>) = self.settings.iter().partition(|(name, _)| *name == "tool-input");
        others.into_iter().chain(inputs).try_for_each(|(name, value)| match value {
            Value::String(text) => to.set(name, text),
            other => to.set(name, &other.to_string()),
        })
    }

    fn matches(&self, seen: Seen<'_>) -> bool {
        let Self { next: _, credential_sha256, path, model, settings: _ } = self;
        let same = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        same(credential_sha256, seen.credential_sha256)
            && same(model, seen.model)
            && path.as_ref().is_none_or(|path| seen.path.starts_with(path))
    }
}

// === impl Faults ===

impl Faults {
    /// Plans one; false where too many are planned.
    pub(crate) fn plan(&self, fault: Fault) -> bool {
        let mut faults = self.lock();
        let has_room = faults.len() < FAULTS_MAX;
        if has_room && fault.next > 0 {
            faults.push(fault);
        }
        has_room
    }

    /// The first that matches, used up by one.
    pub(crate) fn take(&self, seen: Seen<'_>) -> Option<Fault> {
        let mut faults = self.lock();
        let place = faults.iter().position(|fault| fault.matches(seen))?;
        let fault = faults.get_mut(place)?;
        fault.next = fault.next.saturating_sub(1);
        if fault.next == 0 { Some(faults.remove(place)) } else { Some(fault.clone()) }
    }

    /// What is planned.
    pub(crate) fn planned(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Plans nothing any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_used_up_by_the_requests_that_it_names() {
        let faults = Faults::default();
        let only = |model: &str| Fault { next: 2, model: Some(model.into()), ..Fault::next([("status", "529")]) };
        assert!(
            faults.plan(only("a"))
                && faults.plan(Fault { path: Some("/v1/m".into()), ..Fault::next([("status", "500")]) })
        );
        let take = |path: &str, model: &str| {
            let fault = faults.take(Seen { credential_sha256: Some("c"), path, model: Some(model) })?;
            fault.settings.get("status").and_then(Value::as_str).map(str::to_owned)
        };
        for (path, model, expect) in [
            ("/v1/messages", "a", Some("529")),
            ("/v1/messages", "b", Some("500")),
            ("/v1/messages", "b", None),
            ("/elsewhere", "a", Some("529")),
            ("/v1/messages", "a", None),
        ] {
            assert_eq!(take(path, model).as_deref(), expect, "{path} {model}");
        }
    }
}
