//! Guardrails at work: what is looked for in requests and answers, and what is done where it is found.
//!
//! Rules are compiled when policy arrives, off the way of requests; what does not compile refuses the push. Reading order: [`Guards`], all
//! of one policy; `engine`, a compiled set of rules with what threads need beside it; [`Watch`], those that look at one visit in one direction;
//! `sealed`, what they leave alone; [`Report`], what they found, for the audit log; [`screen`], a document on its way; [`Filter`], a stream.

mod engine;
mod watch;
mod sealed;
mod report;
mod screen;
mod filter;
mod tools;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tollgate_policy::{
    guardrail::{Asker, Direction, Guardrail, RuleSource},
    id::KeyId,
    token::Pepper,
};
use tollgate_scan::{FingerprintKey, Hasher, Memo, Rules, SessionKey};
use zeroize::Zeroizing;

use self::engine::Engine;
pub(crate) use self::{
    filter::{Filter, Passed},
    screen::restored,
    tools::ToolRule,
};
pub use self::{
    report::Report,
    screen::{Screened, screen},
    watch::{Blocked, Watch},
};

/// So many texts are remembered with what they held: about 8 MiB where they held nothing.
const REMEMBERED_MAX: usize = 100_000;

/// The guardrails of one policy, compiled.
#[derive(Default)]
pub struct Guards {
    guardrails: Arc<Vec<Arc<Guardrail>>>,
    groups: Vec<Arc<Group>>,
}

/// Guardrails that have their rules from one source: it is compiled once, and a text is looked at once.
struct Group {
    source: RuleSource,
    engine: Arc<Engine>,
    guards: Vec<Guard>,
}

/// A guardrail, and which of its group's rules act for it.
struct Guard {
    guardrail: Arc<Guardrail>,
    acts: Vec<bool>,
}

/// With what texts are looked at, as long as the fleet's pepper holds: the keys that every replica has, and what this one remembers.
pub struct GuardKeys {
    pepper: Pepper,
    fingerprints: FingerprintKey,
    sessions: Zeroizing<[u8; 32]>,
    hasher: Hasher,
    memo: Mutex<Memo>,
}

/// A guardrail that this replica cannot enforce.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the guardrail {guardrail:?} cannot be enforced: {why}")]
pub struct Unfit {
    guardrail: Arc<str>,
    why: String,
}

// === impl Guards ===

impl Guards {
    /// Compiles guardrails; what these have compiled already is taken over. Takes tens of milliseconds for each new source of rules.
    ///
    /// # Errors
    /// Names the first guardrail with rules that do not compile, and why.
    pub fn next(&self, guardrails: &Arc<Vec<Arc<Guardrail>>>) -> Result<Self, Unfit> {
        let mut groups: Vec<Group> = Vec::new();
        for guardrail in guardrails.iter().filter(|guardrail| !guardrail.disabled) {
            let group = match groups.iter_mut().find(|group| group.source == guardrail.source) {
                Some(group) => group,
                None => {
                    let source = guardrail.source.clone();
                    let engine = self.engine(guardrail)?;
                    groups.push(Group { source, engine, guards: Vec::new() });
                    let Some(last) = groups.last_mut() else { continue };
                    last
                }
            };
            let acts = group
                .engine
                .set()
                .rules()
                .map(|(_, rule)| guardrail.acts(rule.id, rule.tags.iter().map(String::as_str)));
            group.guards.push(Guard { guardrail: Arc::clone(guardrail), acts: acts.collect() });
        }
        let groups = groups.into_iter().map(Arc::new).collect();
        Ok(Self { guardrails: Arc::clone(guardrails), groups })
    }

    /// Whether these are the guardrails of a policy.
    #[must_use]
    pub(crate) fn are_of(&self, guardrails: &Arc<Vec<Arc<Guardrail>>>) -> bool {
        Arc::ptr_eq(&self.guardrails, guardrails) || self.guardrails == *guardrails
    }

    /// Those that look at what the asker sends or gets; `None`: nobody does.
    #[must_use]
    pub fn watch(&self, keys: &Arc<GuardKeys>, direction: Direction, asker: Asker<'_>) -> Option<Watch> {
        Watch::of(self, keys, direction, asker)
    }

    fn engine(&self, guardrail: &Guardrail) -> Result<Arc<Engine>, Unfit> {
        if let Some(known) = self.groups.iter().find(|group| group.source == guardrail.source) {
            return Ok(Arc::clone(&known.engine));
        }
        let unfit = |why: String| Unfit { guardrail: Arc::clone(&guardrail.name), why };
        let rules = match &guardrail.source {
            RuleSource::Secrets { builtin, file } => {
                Rules::secrets(*builtin, file.as_deref()).map_err(|error| unfit(error.to_string()))?.0
            }
            RuleSource::Expressions(list) => Rules::expressions(list.iter().map(|own| (&*own.id, &*own.regex))),
            RuleSource::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
                Rules::words(&words).map_err(|error| unfit(error.to_string()))?
            }
        };
        Engine::compile(&rules).map(Arc::new).map_err(unfit)
    }
}

// === impl GuardKeys ===

impl GuardKeys {
    /// Keys under that pepper.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(pepper: &Pepper) -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self {
            pepper: pepper.clone(),
            fingerprints: FingerprintKey::new(&pepper.derive("tollgate guardrail fingerprints")),
            sessions: pepper.derive("tollgate guardrail sessions"),
            hasher: Hasher::new(&key),
            memo: Mutex::new(Memo::new(REMEMBERED_MAX)),
        })
    }

    /// Whether they are of that pepper.
    #[must_use]
    pub(crate) fn are_of(&self, pepper: &Pepper) -> bool {
        self.pepper.expose() == pepper.expose()
    }

    /// The key of a session: what stands for a secret in it stands for nothing in another one.
    #[must_use]
    pub fn session(&self, key: &KeyId, session: &str) -> SessionKey {
        SessionKey::derive(&self.sessions, [key.as_str(), session].join("\0").as_bytes())
    }
}

impl fmt::Debug for GuardKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardKeys(***)")
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guards").field("guardrails", &self.guardrails.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
