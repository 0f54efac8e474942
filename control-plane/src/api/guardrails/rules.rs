//! Whether rules compile, and what they find: a replica that met one that does not could only leave it out.

use tokio::sync::Semaphore;
use tollgate_policy::{guardrail::RuleSource, pattern::Pattern};
use tollgate_scan::{Finding, Outcome, Remark, Report, RuleSet, Rules, dry_run};

use super::{
    super::{failure::Failure, violations::Violations},
    fields::Draft,
};
use crate::store::StoreError;

/// The most remarks of an answer.
const REMARKS_MAX: usize = 50;
/// The longest remark, in bytes.
const REMARK_BYTES_MAX: usize = 300;
/// How many sets are compiled at once: each takes a core for tens of milliseconds, and up to 60 MiB.
const AT_ONCE: usize = 2;

static COMPILING: Semaphore = Semaphore::const_new(AT_ONCE);

/// Rules that may be rolled out.
#[derive(Debug)]
pub(super) struct Checked {
    /// What of the rule file has no effect, or less than where the format comes from.
    pub(super) remarks: Vec<String>,
    /// The compiled rules.
    pub(super) set: RuleSet,
    /// What they find in the sample.
    pub(super) found: Vec<Finding>,
    /// Which of them act, by their place in the set.
    pub(super) acting: Vec<bool>,
}

// A field, and what is wrong with it.
type Mistakes = Vec<(String, String)>;

/// Notes what is wrong with the rules of a draft, and returns what there is to remark.
///
/// # Errors
/// Only when the program stops meanwhile.
pub(super) async fn checked(draft: Option<&Draft>, violations: &mut Violations) -> Result<Vec<String>, Failure> {
    let Some(draft) = draft else { return Ok(Vec::new()) };
    match compiled(draft.source.clone(), draft.rules.clone(), Vec::new()).await? {
        Ok(checked) => Ok(checked.remarks),
        Err(mistakes) => {
            mistakes.into_iter().for_each(|(field, text)| violations.add(field, text));
            Ok(Vec::new())
        }
    }
}

/// Compiles rules on a thread for such work, and tries them on a sample.
///
/// # Errors
/// Only when the program stops meanwhile. What is wrong with the rules is an answer.
pub(super) async fn compiled(
    source: RuleSource,
    patterns: Vec<String>,
    sample: Vec<u8>,
) -> Result<Result<Checked, Mistakes>, Failure> {
    let stopped = |error: &dyn std::fmt::Display| Failure::Store(StoreError::corrupt("rules", error.to_string()));
    let permit = COMPILING.acquire().await.map_err(|error| stopped(&error))?;
    let work = tokio::task::spawn_blocking(move || {
        let checked = check(&source, &patterns, &sample);
        drop(permit);
        checked
    });
    work.await.map_err(|error| stopped(&error))
}

fn check(source: &RuleSource, patterns: &[String], sample: &[u8]) -> Result<Checked, Mistakes> {
    let (rules, own) = rules_of(source)?;
    let run = dry_run(&rules.all, sample);
    let mut report = own;
    report.append(run.report);
    let (refused, others): (Vec<_>, Vec<_>) =
        report.remarks().iter().partition(|remark| remark.outcome == Outcome::Refused);
    if !refused.is_empty() {
        return Err(refused.into_iter().map(|remark| (field_of(source, remark), remark.to_string())).collect());
    }
    if run.set.is_empty() {
        return Err(vec![(field(source).to_owned(), "has no rule that looks at texts".to_owned())]);
    }
    let acting = acting(&run.set, patterns)?;
    // What is to be said of the rules that come with Tollgate was said when they were written.
    let is_left_out = |id: &String| rules.all.rules.iter().all(|rule| rule.id != *id);
    let is_own = |remark: &&Remark| remark.rule.as_ref().is_none_or(|id| rules.own.contains(id) || is_left_out(id));
    let remarks = others.into_iter().filter(is_own).take(REMARKS_MAX).map(|remark| cut(remark.to_string()));
    Ok(Checked { remarks: remarks.collect(), set: run.set, found: run.scan.findings, acting })
}

// All rules of a source, and the ids of those that do not come with Tollgate.
struct Gathered {
    all: Rules,
    own: Vec<String>,
}

fn rules_of(source: &RuleSource) -> Result<(Gathered, Report), Mistakes> {
    let mistake = |text: String| vec![(field(source).to_owned(), cut(text))];
    let ids = |rules: &Rules| rules.rules.iter().map(|rule| rule.id.clone()).collect();
    match source {
        RuleSource::Secrets { builtin, file } => {
            let read = |builtin| Rules::secrets(builtin, file.as_deref()).map_err(|error| mistake(error.to_string()));
            let (all, report) = read(*builtin)?;
            Ok((Gathered { all, own: ids(&read(false)?.0) }, report))
        }
        RuleSource::Expressions(list) => {
            let all = Rules::expressions(list.iter().map(|own| (&*own.id, &*own.regex)));
            Ok((Gathered { own: ids(&all), all }, Report::default()))
        }
        RuleSource::Words(words) => {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            let all = Rules::words(&words).map_err(|error| mistake(error.to_string()))?;
            Ok((Gathered { own: ids(&all), all }, Report::default()))
        }
    }
}

const fn field(source: &RuleSource) -> &'static str {
    match source {
        RuleSource::Secrets { .. } => "rule_file",
        RuleSource::Expressions(_) => "expressions",
        RuleSource::Words(_) => "words",
    }
}

fn field_of(source: &RuleSource, remark: &Remark) -> String {
    let RuleSource::Expressions(expressions) = source else { return field(source).to_owned() };
    let at = expressions.iter().position(|expression| remark.rule.as_deref() == Some(&expression.id));
    at.map_or_else(|| field(source).to_owned(), |at| format!("expressions[{at}].regex"))
}

// A pattern that is of no rule is a mistake, and so is a guardrail none of whose rules acts.
fn acting(set: &RuleSet, patterns: &[String]) -> Result<Vec<bool>, Mistakes> {
    let names: Vec<Vec<String>> = set
        .rules()
        .map(|(_, rule)| {
            let tags = rule.tags.iter().map(|tag| [tollgate_policy::guardrail::TAG, tag].concat());
            std::iter::once(rule.id.to_owned()).chain(tags).collect()
        })
        .collect();
    let (mut allowed, mut denied) = (Vec::new(), Vec::new());
    let mut mistakes = Vec::new();
    for (at, text) in patterns.iter().enumerate() {
        let Ok(pattern) = Pattern::parse(text.strip_prefix('!').unwrap_or(text)) else { continue };
        if !names.iter().flatten().any(|name| pattern.matches(name)) {
            mistakes.push((format!("rules[{at}]"), "is of none of its rules, nor of a tag of them".to_owned()));
        }
        if text.starts_with('!') { denied.push(pattern) } else { allowed.push(pattern) }
    }
    let is_one =
        |list: &[Pattern], names: &[String]| list.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)));
    let acts = |names: &Vec<String>| (allowed.is_empty() || is_one(&allowed, names)) && !is_one(&denied, names);
    let acting: Vec<bool> = names.iter().map(acts).collect();
    if mistakes.is_empty() && !acting.contains(&true) {
        mistakes.push(("rules".to_owned(), "leaves no rule that acts".to_owned()));
    }
    if mistakes.is_empty() { Ok(acting) } else { Err(mistakes) }
}

fn cut(mut text: String) -> String {
    text.retain(|character| !character.is_control());
    text.truncate(text.floor_char_boundary(REMARK_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use tollgate_policy::guardrail::Expression;

    use super::*;

    const OWN: &str = r#"
[[rules]]
id = "employee"
description = "an employee"
regex = '''emp-[0-9]{4}'''
tags = ["internal"]
"#;

    fn secrets(builtin: bool, file: &str) -> RuleSource {
        RuleSource::Secrets { builtin, file: (!file.is_empty()).then(|| file.into()) }
    }

    fn expressions(list: &[(&str, &str)]) -> RuleSource {
        let expression = |(id, regex): &(&str, &str)| Expression { id: (*id).into(), regex: (*regex).into() };
        RuleSource::Expressions(list.iter().map(expression).collect())
    }

    fn words(list: &[&str]) -> RuleSource {
        RuleSource::Words(list.iter().map(|word| (*word).into()).collect())
    }

    fn patterns(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_comes_with_tollgate_compiles_and_a_file_stands_beside_it() {
        let builtin = check(&secrets(true, ""), &[], b"").unwrap();
        assert!(builtin.remarks.is_empty() && builtin.set.len() > 50, "{:?}", builtin.remarks);
        let both = check(&secrets(true, OWN), &patterns(&["tag:internal"]), b"of emp-1234").unwrap();
        assert_eq!((both.set.len(), both.found.len()), (builtin.set.len() + 1, 1));
        assert_eq!(both.acting.iter().filter(|acts| **acts).count(), 1);
        assert_eq!(check(&secrets(false, OWN), &[], b"").unwrap().set.len(), 1);
    }

    #[test]
    fn what_cannot_be_rolled_out_is_named() {
        let long = "(?:[a-z]{900}){900}";
        let file = |regex: &str| format!("{OWN}\n[[rules]]\nid = \"bad\"\nregex = '''{regex}'''\n");
        let cases: [(RuleSource, &[&str], &str, &str); 13] = [
            (secrets(false, "= no"), &[], "rule_file", "the rules are not TOML"),
            (secrets(true, &file("(")), &[], "rule_file", "bad: regex refused: it does not parse"),
            (secrets(true, &file("x*")), &[], "rule_file", "matches where there is nothing"),
            (secrets(true, OWN.repeat(2).as_str()), &[], "rule_file", "employee: id refused"),
            (secrets(false, "title = \"none\""), &[], "rule_file", "has no rule"),
            (expressions(&[("a", "a+b"), ("b", long)]), &[], "expressions[1].regex", "too large"),
            (expressions(&[("a", "(")]), &[], "expressions[0].regex", "does not parse"),
            (expressions(&[("a", "a*")]), &[], "expressions[0].regex", "where there is nothing"),
            (words(&["x"]), &[], "words", "word 1 has 1 bytes"),
            (words(&["blue"]), &["red"], "rules[0]", "none of its rules"),
            (secrets(true, ""), &["*", "!tag:nothing"], "rules[1]", "none of its rules"),
            (secrets(true, ""), &["*", "!*"], "rules", "leaves no rule"),
            (secrets(true, ""), &["cloud-nothing-*"], "rules[0]", "none of its rules"),
        ];
        for (source, rules, field, says) in cases {
            let mistakes = check(&source, &patterns(rules), b"").err().unwrap_or_default();
            let is_said = mistakes.iter().any(|(at, text)| at == field && text.contains(says));
            assert!(is_said, "{field}: {mistakes:?}");
        }
    }

    #[test]
    fn what_has_less_effect_is_remarked_and_names_of_files_refuse_nothing() {
        let file = format!("{OWN}colour = \"red\"\n[[rules]]\nid = \"key-file\"\npath = '''\\.p12$'''\n");
        let checked = check(&secrets(true, &file), &[], b"").unwrap();
        let says = |text: &str| checked.remarks.iter().any(|remark| remark.contains(text));
        assert!(says("employee: colour ignored") && says("key-file: path ignored"), "{:?}", checked.remarks);
    }
}
