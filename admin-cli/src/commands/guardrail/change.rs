//! A change of a guardrail.

use std::{fs::File, path::Path};

use clap::{Args, ValueEnum};
use tollgate_proto::admin::v1;

use super::Rest;
use crate::{
    arguments::Switch,
    commands::Changed,
    failure::Failure,
    literals::{
        guardrail::{AllowedArgument, ExpressionArgument, action, fingerprint, kind},
        name, reference,
    },
    surroundings::read_bounded,
};

/// A changed guardrail.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The id or the name
    #[arg(value_parser = reference)]
    guardrail: String,
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Where its rules come from: secrets, expressions, words; what only the old kind has goes
    #[arg(long, value_parser = kind)]
    kind: Option<String>,
    /// Whether the rules that come with Tollgate are among its rules
    #[arg(long, value_name = "BOOLEAN")]
    builtin: Option<bool>,
    /// What is done where something is found: detect, tokenize, redact, block
    #[arg(long, value_parser = action)]
    action: Option<String>,
    /// Whether what is found is told, and nothing is done
    #[arg(long, value_name = "BOOLEAN")]
    shadow: Option<bool>,
    #[command(flatten)]
    rest: Rest,
    /// Let this pass no longer [may be repeated]
    #[arg(long = "disallow", value_name = "FINGERPRINT", value_parser = fingerprint)]
    disallowed: Vec<String>,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
    #[command(flatten)]
    switch: Switch,
}

/// A field that can be emptied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Clearable {
    #[value(alias = "rule-file")]
    RuleFile,
    Rules,
    On,
    Customers,
    Teams,
    Keys,
    Models,
    Allowed,
}

/// Reads a rule file.
pub(super) fn rule_file(path: &Path) -> Result<String, Failure> {
    let read = File::open(path).and_then(|mut file| read_bounded(&mut file));
    read.map_err(|error| Failure::unreadable(&path.display().to_string(), &error))
}

impl Update {
    /// Which guardrail.
    pub(super) fn named(&self) -> &str {
        &self.guardrail
    }

    /// Refuses what can be refused without asking anybody.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Rest { rule_file, expressions: _, words: _, rules, on, customers, teams, keys, models, allowed } =
            &self.rest;
        let set = [
            (Clearable::RuleFile, rule_file.is_some()),
            (Clearable::Rules, !rules.is_empty()),
            (Clearable::On, !on.is_empty()),
            (Clearable::Customers, !customers.is_empty()),
            (Clearable::Teams, !teams.is_empty()),
            (Clearable::Keys, !keys.is_empty()),
            (Clearable::Models, !models.is_empty()),
            (Clearable::Allowed, !allowed.is_empty() || !self.disallowed.is_empty()),
        ];
        if set.into_iter().any(|(field, set)| set && self.clear.contains(&field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        Ok(())
    }

    pub(super) fn request(self, found: v1::Guardrail) -> Result<v1::UpdateGuardrailRequest, Failure> {
        let Self { guardrail: _, name, kind, builtin, action, shadow, rest, disallowed, clear, switch } = self;
        let Rest { rule_file: path, expressions, words, rules, on, customers, teams, keys, models, allowed } = rest;
        let cleared = |field| clear.contains(&field);
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let file = match path.as_deref() {
            Some(path) => Some(rule_file(path)?),
            None => cleared(Clearable::RuleFile).then(String::new),
        };
        let expressions: Vec<_> = expressions.into_iter().map(ExpressionArgument::into_wire).collect();
        let is_touched = !allowed.is_empty() || !disallowed.is_empty();
        let allowed = match cleared(Clearable::Allowed) {
            true => Some(Vec::new()),
            false if is_touched => Some(merged(found.allowed, allowed, &disallowed)?),
            false => None,
        };
        let mut changed = Changed::default();
        let wanted = v1::Guardrail {
            id: found.id,
            name: changed.field("name", name),
            disabled: changed.field("disabled", switch.disabled()),
            kind: changed.field("kind", kind),
            builtin: changed.field("builtin", builtin.map(Some)),
            rule_file: changed.field("rule_file", file),
            expressions: changed.field("expressions", (!expressions.is_empty()).then_some(expressions)),
            words: changed.field("words", (!words.is_empty()).then_some(words)),
            rules: changed.field("rules", list(rules, Clearable::Rules)),
            on: changed.field("on", list(on, Clearable::On)),
            action: changed.field("action", action),
            shadow: changed.field("shadow", shadow),
            customers: changed.field("customers", list(customers, Clearable::Customers)),
            teams: changed.field("teams", list(teams, Clearable::Teams)),
            keys: changed.field("keys", list(keys, Clearable::Keys)),
            models: changed.field("models", list(models, Clearable::Models)),
            allowed: changed.field("allowed", allowed),
            // What is let pass was read and changed here: it must not overwrite another's change of it.
            etag: if is_touched { found.etag } else { String::new() },
            ..v1::Guardrail::default()
        };
        Ok(v1::UpdateGuardrailRequest { guardrail: Some(wanted), update_mask: Some(changed.mask()?) })
    }
}

// One that is let pass already gets the new end and reason.
fn merged(
    held: Vec<v1::AllowedFinding>,
    allowed: Vec<AllowedArgument>,
    disallowed: &[String],
) -> Result<Vec<v1::AllowedFinding>, Failure> {
    if let Some(strange) = disallowed.iter().find(|digits| !held.iter().any(|each| each.fingerprint == **digits)) {
        return Err(Failure::usage(format!("{strange} is not let pass, and so cannot be disallowed")));
    }
    let is_new = |each: &v1::AllowedFinding| allowed.iter().any(|new| new.fingerprint == each.fingerprint);
    let mut all: Vec<_> =
        held.into_iter().filter(|each| !disallowed.contains(&each.fingerprint) && !is_new(each)).collect();
    all.extend(allowed.iter().cloned().map(AllowedArgument::into_wire));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        arguments::Cli,
        commands::{Command, guardrail::GuardrailCommand},
    };

    fn update(line: &[&str]) -> Result<v1::UpdateGuardrailRequest, Failure> {
        let line = [&["tollgate", "guardrail", "update", "g"], line].concat();
        let Command::Guardrail(GuardrailCommand::Update(update)) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        update.check()?;
        let held = |digit: &str| v1::AllowedFinding { fingerprint: digit.repeat(32), ..Default::default() };
        let (id, etag) = ("guardrail-1".into(), "e1".into());
        update.request(v1::Guardrail { id, etag, allowed: vec![held("1"), held("2")], ..Default::default() })
    }

    #[test]
    fn an_update_names_what_it_says_and_keeps_the_rest() {
        let (one, three) = ("1".repeat(32), format!("{}=r", "3".repeat(32)));
        for (line, paths, etag) in [
            (&["--shadow", "false", "--enable"][..], &["disabled", "shadow"][..], ""),
            (&["--kind", "words", "--word", "blue"], &["kind", "words"], ""),
            (&["--builtin", "false", "--clear", "rules", "--on", "request"], &["builtin", "rules", "on"], ""),
            (&["--clear", "rule_file"], &["rule_file"], ""),
            (&["--allow", &three], &["allowed"], "e1"),
            (&["--disallow", &one], &["allowed"], "e1"),
            (&["--clear", "allowed"], &["allowed"], ""),
        ] {
            let request = update(line).unwrap();
            assert_eq!(request.update_mask.unwrap().paths, paths, "{line:?}");
            assert_eq!(request.guardrail.unwrap().etag, etag, "{line:?}");
        }
        assert_eq!(update(&["--builtin", "false"]).unwrap().guardrail.unwrap().builtin, Some(false));
        for bad in [&[][..], &["--clear", "keys", "--key", "k"], &["--clear", "allowed", "--disallow", &one]] {
            assert_eq!(update(bad).unwrap_err().code, "usage", "{bad:?}");
        }
    }

    #[test]
    fn what_is_let_pass_is_added_replaced_and_taken_away() {
        let [one, two, three] = ["1", "2", "3"].map(|digit| digit.repeat(32));
        let left = |line: &[&str]| {
            let allowed = update(line).unwrap().guardrail.unwrap().allowed;
            allowed.into_iter().map(|each| format!("{}{}", &each.fingerprint[..1], each.reason)).collect::<Vec<_>>()
        };
        assert_eq!(left(&["--allow", &format!("{three}=new")]), ["1", "2", "3new"]);
        assert_eq!(left(&["--allow", &format!("{one}=again"), "--disallow", &two]), ["1again"]);
        assert_eq!(update(&["--disallow", &three]).unwrap_err().code, "usage");
    }
}
