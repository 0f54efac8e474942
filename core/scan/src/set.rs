//! A compiled rule set: immutable, shared by all threads, with what each thread needs beside it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aho_corasick::AhoCorasick;
use regex_automata::{hybrid::dfa, meta, util::syntax};
use sha2::{Digest, Sha256};

use crate::{
    finding::RuleIndex,
    judge::AllowList,
    keywords::Keywords,
    pattern::{self, Bytes, Pattern},
    report::{Outcome, Report},
    rule::{Allow, Rule, Rules},
    shape::{self, Begins},
    syntax::translated,
};

/// More rules than any file has; each costs memory on every replica.
const RULES_MAX: usize = 4_096;
/// What a compiled set may take, caches of threads apart.
pub const MEMORY_BYTES_MAX: usize = 60 * 1024 * 1024;
/// A keyword is a short word; a longer one would be held back by each stream.
pub(crate) const KEYWORD_BYTES_MAX: usize = 64;
/// How far before its keyword a match may begin, where the expression sets no bound.
pub(crate) const BEFORE_BYTES_MAX: usize = 256;
/// How far behind a keyword a match may begin that does not hold it.
pub(crate) const BESIDE_BYTES_MAX: usize = 1_024;
/// What the expressions of one allow-list may take.
const ALLOW_BYTES_MAX: usize = 2 * 1024 * 1024;
const ALLOW_CACHE_BYTES_MAX: usize = 64 * 1024;

/// Rules, compiled together.
pub struct RuleSet {
    pub(crate) rules: Vec<Compiled>,
    pub(crate) global: Vec<AllowList>,
    pub(crate) keywords: Keywords,
    /// Rules that are tried everywhere.
    pub(crate) everywhere: Vec<u32>,
    /// How far before its keyword a secret may begin, and of which bytes.
    pub(crate) before: Vec<(usize, Bytes)>,
    version: Version,
}

/// Names what a set finds: the same rules, compiled by the same version of this crate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Version([u8; 16]);

/// One rule of a compiled set, for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RuleView<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it finds.
    pub description: &'a str,
    /// Its tags.
    pub tags: &'a [String],
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) id: String,
    description: String,
    tags: Vec<String>,
    pub(crate) pattern: Pattern,
    pub(crate) trigger: Trigger,
    /// How far before its keyword the secret may begin; `None`: it stands behind.
    pub(crate) secret_before: Option<usize>,
    pub(crate) group: usize,
    pub(crate) entropy: f64,
    pub(crate) allow: Vec<Arc<AllowList>>,
    pub(crate) required: Vec<Needed>,
    /// Another rule requires it.
    pub(crate) is_required: bool,
    pub(crate) is_hidden: bool,
}

/// Where a rule is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trigger {
    /// So many bytes before its keyword.
    At(usize),
    /// From so many bytes before its keyword to so many before it.
    From { max: usize, min: usize },
    /// From its keyword on, since it need not hold it.
    Beside,
    /// At every place.
    Everywhere,
}

/// A rule that must match nearby.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    pub(crate) rule: u32,
    pub(crate) lines: Option<usize>,
    pub(crate) columns: Option<usize>,
}

/// What one thread needs beside a set: the states that its automata have visited. Any set may be used with it; it begins anew with another.
#[derive(Default)]
pub struct Scratch {
    version: Option<Version>,
    caches: Vec<Option<dfa::Cache>>,
    pub(crate) hits: Vec<(usize, usize, u32)>,
}

// === impl RuleSet ===

impl RuleSet {
    /// Compiles rules. What cannot be taken over is in the report; a set without rules finds nothing.
    ///
    /// Takes tens of milliseconds: off the path of requests.
    #[must_use]
    pub fn compile(rules: &Rules) -> (Self, Report) {
        let mut report = Report::default();
        let mut memory = 0_usize;
        let mut kept: Vec<(&Rule, Compiled, Vec<String>)> = Vec::new();
        for rule in &rules.rules {
            let Some((compiled, keywords)) = compile_rule(rule, &mut report) else { continue };
            memory = memory.saturating_add(compiled.memory());
            if memory > MEMORY_BYTES_MAX || kept.len() >= RULES_MAX {
                report.add(Some(&rule.id), "rule", Outcome::Refused, "the set has no room left for it");
                memory = memory.saturating_sub(compiled.memory());
                continue;
            }
            kept.push((rule, compiled, keywords));
        }
        let index = |id: &str| kept.iter().position(|(rule, ..)| rule.id == id).and_then(|at| u32::try_from(at).ok());
        let needed: Vec<Vec<Needed>> = kept.iter().map(|(rule, ..)| needed(rule, index, &mut report)).collect();
        let words = words(&kept);
        let mut compiled: Vec<Compiled> = kept.into_iter().map(|(_, compiled, _)| compiled).collect();
        for required in needed.iter().flatten() {
            if let Some(rule) = compiled.get_mut(required.rule as usize) {
                rule.is_required = true;
            }
        }
        compiled.iter_mut().zip(needed).for_each(|(rule, needed)| rule.required = needed);
        let global = global_lists(rules, &mut compiled, &mut report);
        let keywords = Keywords::build(words).unwrap_or_else(|why| {
            report.add(None, "keywords", Outcome::Refused, why);
            Keywords::none()
        });
        let set = Self::of(compiled, global, keywords, version(rules));
        (set, report)
    }

    fn of(rules: Vec<Compiled>, global: Vec<AllowList>, keywords: Keywords, version: Version) -> Self {
        let numbered = || (0_u32..).zip(&rules);
        let everywhere = numbered().filter(|(_, rule)| rule.trigger == Trigger::Everywhere).map(|(at, _)| at).collect();
        let mut before: Vec<(usize, Bytes)> = Vec::new();
        for rule in &rules {
            let bytes = match (rule.secret_before, rule.trigger) {
                (Some(bytes), Trigger::At(_)) => bytes,
                (Some(bytes), Trigger::From { .. }) => bytes.saturating_add(keywords.len_max),
                _ => 0,
            };
            if bytes > 0 {
                before.push((bytes, *rule.pattern.bytes()));
            }
        }
        Self { everywhere, before, rules, global, keywords, version }
    }

    /// Names what this set finds.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How many rules it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// A rule by what a finding calls it; `None` for one of another set.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> Option<RuleView<'_>> {
        self.rules.get(index.0 as usize).map(Compiled::view)
    }

    /// All rules.
    pub fn rules(&self) -> impl Iterator<Item = (RuleIndex, RuleView<'_>)> {
        (0_u32..).map(RuleIndex).zip(self.rules.iter().map(Compiled::view))
    }

    /// Bytes of memory that it takes, without the caches of threads.
    #[must_use]
    pub fn memory(&self) -> usize {
        let rules: usize = self.rules.iter().map(Compiled::memory).sum();
        let lists = self.global.iter().map(AllowList::memory).sum::<usize>();
        rules.saturating_add(self.keywords.memory()).saturating_add(lists)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RuleSet").field("rules", &self.rules.len()).field("version", &self.version).finish()
    }
}

// === impl Version ===

impl Version {
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) const fn for_tests(number: u8) -> Self {
        Self([number; 16])
    }
}

// === impl Compiled ===

impl Compiled {
    fn view(&self) -> RuleView<'_> {
        RuleView { id: &self.id, description: &self.description, tags: &self.tags }
    }

    fn memory(&self) -> usize {
        let lists: usize = self.allow.iter().map(|list| list.memory()).sum();
        self.pattern.memory().saturating_add(lists).saturating_add(size_of::<Self>())
    }
}

// === impl Scratch ===

impl Scratch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.caches.iter().flatten().map(dfa::Cache::memory_usage).sum()
    }

    pub(crate) fn begin(&mut self, set: &RuleSet) {
        if self.version != Some(set.version) || self.caches.len() != set.rules.len() {
            self.version = Some(set.version);
            self.caches.clear();
            self.caches.resize_with(set.rules.len(), || None);
        }
    }

    pub(crate) fn cache(&mut self, rule: u32, pattern: &Pattern) -> Option<&mut dfa::Cache> {
        self.caches.get_mut(rule as usize).map(|slot| slot.get_or_insert_with(|| pattern.create_cache()))
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scratch").field("version", &self.version).finish_non_exhaustive()
    }
}

// === compiling ===

fn compile_rule(rule: &Rule, report: &mut Report) -> Option<(Compiled, Vec<String>)> {
    let id = Some(rule.id.as_str());
    if rule.regex.is_empty() {
        report.add(id, "regex", Outcome::Refused, "it has none");
        return None;
    }
    let (pattern, hir) = match Pattern::compile(&rule.regex) {
        Ok(compiled) => compiled,
        Err(why) => {
            report.add(id, "regex", Outcome::Refused, why.to_string());
            return None;
        }
    };
    if rule.secret_group > pattern.groups() {
        report.add(id, "secretGroup", Outcome::Refused, "the expression has no such group");
        return None;
    }
    let (keywords, is_given) = keywords(rule, &hir, report);
    let (trigger, secret_before) = trigger(rule, &hir, &keywords, is_given, report);
    let allow = rule.allow.iter().filter_map(|list| compile_allow(list, id, report)).map(Arc::new).collect();
    let compiled = Compiled {
        id: rule.id.clone(),
        description: rule.description.clone(),
        tags: rule.tags.clone(),
        pattern,
        trigger,
        secret_before,
        group: rule.secret_group,
        entropy: rule.entropy,
        allow,
        required: Vec::new(),
        is_required: false,
        is_hidden: rule.skip_report,
    };
    Some((compiled, keywords))
}

/// The keywords in lower case, and whether the rule gave them itself.
fn keywords(rule: &Rule, hir: &regex_syntax::hir::Hir, report: &mut Report) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    for word in rule.keywords.iter().filter(|word| !word.is_empty()) {
        if word.len() > KEYWORD_BYTES_MAX {
            let why = format!("only the first {KEYWORD_BYTES_MAX} bytes of a keyword are sought");
            report.add(Some(&rule.id), "keywords", Outcome::Limited, why);
        }
        let mut end = word.len().min(KEYWORD_BYTES_MAX);
        while !word.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        words.push(word.get(..end).unwrap_or_default().to_ascii_lowercase());
    }
    let is_given = !words.is_empty();
    if !is_given {
        words = shape::derived(hir).into_iter().filter(|word| word.len() <= KEYWORD_BYTES_MAX).collect();
    }
    words.sort_unstable();
    words.dedup();
    (words, is_given)
}

fn trigger(
    rule: &Rule,
    hir: &regex_syntax::hir::Hir,
    keywords: &[String],
    is_given: bool,
    report: &mut Report,
) -> (Trigger, Option<usize>) {
    let Some(lead) = shape::lead(hir, keywords, rule.secret_group).filter(|_| !keywords.is_empty()) else {
        if !is_given {
            return (Trigger::Everywhere, None);
        }
        let why = format!(
            "a match need not hold one: it is found from its keyword on, as far as {BESIDE_BYTES_MAX} bytes behind it"
        );
        report.add(Some(&rule.id), "keywords", Outcome::Limited, why);
        return (Trigger::Beside, None);
    };
    let bounded = |max: Option<usize>| max.unwrap_or(usize::MAX).min(BEFORE_BYTES_MAX);
    if lead.max.is_none_or(|max| max > BEFORE_BYTES_MAX) {
        let why = format!("a match begins at most {BEFORE_BYTES_MAX} bytes before its keyword");
        report.add(Some(&rule.id), "regex", Outcome::Limited, why);
    }
    let secret_before = match lead.secret {
        Begins::Behind => None,
        Begins::Before(max) => Some(bounded(max)),
    };
    let max = bounded(lead.max);
    let trigger = if lead.min == max { Trigger::At(max) } else { Trigger::From { max, min: lead.min.min(max) } };
    (trigger, secret_before)
}

fn needed(rule: &Rule, index: impl Fn(&str) -> Option<u32>, report: &mut Report) -> Vec<Needed> {
    let mut found = Vec::new();
    for required in &rule.required {
        match index(&required.rule) {
            Some(at) => found.push(Needed { rule: at, lines: required.within_lines, columns: required.within_columns }),
            None => {
                let why = format!("there is no rule {}: the rule finds nothing", required.rule);
                report.add(Some(&rule.id), "required", Outcome::Limited, why);
                found.push(Needed { rule: u32::MAX, lines: None, columns: None });
            }
        }
    }
    found
}

fn words(kept: &[(&Rule, Compiled, Vec<String>)]) -> BTreeMap<String, Vec<u32>> {
    let mut words: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (at, (_, compiled, keywords)) in (0_u32..).zip(kept) {
        if compiled.trigger != Trigger::Everywhere {
            for word in keywords {
                words.entry(word.clone()).or_default().push(at);
            }
        }
    }
    words
}

fn global_lists(rules: &Rules, compiled: &mut [Compiled], report: &mut Report) -> Vec<AllowList> {
    let mut global = Vec::new();
    for list in &rules.allow {
        let Some(compiled_list) = compile_allow(list, None, report) else { continue };
        if list.rules.is_empty() {
            global.push(compiled_list);
            continue;
        }
        let shared = Arc::new(compiled_list);
        for id in &list.rules {
            match compiled.iter_mut().find(|rule| rule.id == *id) {
                Some(rule) => rule.allow.push(Arc::clone(&shared)),
                None => report.add(Some(id), "allowlists.targetRules", Outcome::Ignored, "there is no such rule"),
            }
        }
    }
    global
}

fn compile_allow(list: &Allow, rule: Option<&str>, report: &mut Report) -> Option<AllowList> {
    let mut remark = |field: &str, why: String| report.add(rule, field, Outcome::Ignored, why);
    let mut regexes = Vec::new();
    for regex in &list.regexes {
        match pattern::parse(regex) {
            Ok(_) => regexes.push(translated(regex)),
            Err(why) => remark("allowlists.regexes", format!("one is left out: {why}")),
        }
    }
    let regexes = (!regexes.is_empty()).then(|| any_of(&regexes));
    let regexes = match regexes.transpose() {
        Ok(regexes) => regexes,
        Err(why) => {
            remark("allowlists.regexes", why);
            None
        }
    };
    let words = (!list.stop_words.is_empty()).then(|| {
        AhoCorasick::builder().ascii_case_insensitive(true).build(&list.stop_words).map_err(|error| error.to_string())
    });
    let stop_words = match words.transpose() {
        Ok(words) => words,
        Err(why) => {
            remark("allowlists.stopwords", why);
            None
        }
    };
    // A criterion that was left out allows nothing: with `All`, the list then allows nothing either.
    let lost = (regexes.is_none() && !list.regexes.is_empty()) || (stop_words.is_none() && !list.stop_words.is_empty());
    let is_empty = regexes.is_none() && stop_words.is_none();
    if is_empty || (lost && list.condition == crate::rule::Condition::All) {
        return None;
    }
    Some(AllowList { condition: list.condition, target: list.target, regexes, stop_words })
}

fn any_of(regexes: &[String]) -> Result<meta::Regex, String> {
    meta::Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .configure(
            meta::Config::new()
                .utf8_empty(false)
                .nfa_size_limit(Some(ALLOW_BYTES_MAX))
                .hybrid_cache_capacity(ALLOW_CACHE_BYTES_MAX)
                .onepass(false),
        )
        .build_many(regexes)
        .map_err(|error| error.to_string())
}

fn version(rules: &Rules) -> Version {
    let mut hash = Sha256::new();
    hash.update(concat!("tollgate scan ", env!("CARGO_PKG_VERSION"), "\0"));
    // The written form of every field, which changes when one does.
    hash.update(format!("{rules:?}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(slot, byte)| *slot = byte);
    Version(bytes)
}
