//! Rules as they were written: what a file says, checked for form, before anything is compiled.

/// Rules and what holds for all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// What the file calls itself.
    pub title: String,
    /// The rules, in the order of the file; each id once.
    pub rules: Vec<Rule>,
    /// Allow-lists that hold for every rule, or for those that they name.
    pub allow: Vec<Allow>,
}

/// One rule: what is looked for, and what of it is not a secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Its name, unique in its file.
    pub id: String,
    /// What it finds, for people.
    pub description: String,
    /// The expression, in the syntax of Go's `regexp` (RE2).
    pub regex: String,
    /// Which group of the expression is the secret; 0: the first that took part, or the whole match where there are none.
    pub secret_group: usize,
    /// A secret whose Shannon entropy, in bits a byte, is not above this is none; 0 lets all pass.
    pub entropy: f64,
    /// The expression is tried only where one of these stands, in any case of letters. Empty: words are derived from the expression.
    pub keywords: Vec<String>,
    /// For choosing rules by kind.
    pub tags: Vec<String>,
    /// What of its matches is allowed.
    pub allow: Vec<Allow>,
    /// Other rules that must match nearby.
    pub required: Vec<Required>,
    /// It reports nothing by itself: it is there for rules that require it.
    pub skip_report: bool,
}

/// Another rule that must match nearby.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Required {
    /// Its id.
    pub rule: String,
    /// At most so many lines up or down.
    pub within_lines: Option<usize>,
    /// At most so many bytes to the left or right, counted from the beginnings of the lines.
    pub within_columns: Option<usize>,
}

/// A list of what is allowed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Allow {
    /// Whether one criterion is enough.
    pub condition: Condition,
    /// What the expressions look at.
    pub target: Target,
    /// Expressions of what is allowed.
    pub regexes: Vec<String>,
    /// A secret that contains one of these, in any case of letters, is none.
    pub stop_words: Vec<String>,
    /// The rules for which a list of the file holds; empty: all.
    pub rules: Vec<String>,
}

/// Whether one criterion of an allow-list is enough.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Condition {
    /// One is enough.
    #[default]
    Any,
    /// All of those that are given.
    All,
}

/// What the expressions of an allow-list look at.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Target {
    /// The secret.
    #[default]
    Secret,
    /// The whole match of the rule.
    Match,
    /// The line around it, as far as [`crate::LINE_BYTES_MAX`] reaches to either side.
    Line,
}

// === impl Rules ===

impl Rules {
    /// These rules over those of `base`, as Gitleaks extends: a rule of the same id takes over what it does not say itself, tags, keywords
    /// and allow-lists add up, and those in `disabled` are left out of the base.
    #[must_use]
    pub fn over(mut self, base: &Self, disabled: &[String]) -> Self {
        let mut rules = Vec::new();
        for below in base.rules.iter().filter(|rule| !disabled.contains(&rule.id)) {
            match self.rules.iter().position(|rule| rule.id == below.id) {
                Some(at) => rules.push(self.rules.remove(at).over(below)),
                None => rules.push(below.clone()),
            }
        }
        rules.append(&mut self.rules);
        let allow = self.allow.into_iter().chain(base.allow.iter().cloned()).collect();
        Self { title: self.title, rules, allow }
    }
}

// === impl Rule ===

impl Rule {
    fn over(self, base: &Self) -> Self {
        let Self { id, description, regex, secret_group, entropy, keywords, tags, allow, required, skip_report } = self;
        let text = |own: String, base: &str| if own.is_empty() { base.to_owned() } else { own };
        fn both<T: Clone + PartialEq>(base: &[T], own: Vec<T>) -> Vec<T> {
            let mut all = base.to_vec();
            all.extend(own.into_iter().filter(|item| !base.contains(item)));
            all
        }
        Self {
            id,
            description: text(description, &base.description),
            regex: text(regex, &base.regex),
            secret_group: if secret_group == 0 { base.secret_group } else { secret_group },
            entropy: if entropy == 0.0 { base.entropy } else { entropy },
            keywords: both(&base.keywords, keywords),
            tags: both(&base.tags, tags),
            allow: both(&base.allow, allow),
            required: if required.is_empty() { base.required.clone() } else { required },
            skip_report: skip_report || base.skip_report,
        }
    }
}
