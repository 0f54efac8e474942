//! Rules of one's own: blocked words, and a check of what was written before it is rolled out.

use crate::{
    RULES,
    finding::FingerprintKey,
    gitleaks::{self, Bases, LoadError},
    report::Report,
    rule::{Rule, Rules},
    set::{RuleSet, Scratch},
    text::Scan,
};

/// More words are a dictionary, and cost each stream.
const WORDS_MAX: usize = 1_000;
/// The id of the rule of blocked words.
pub const BLOCKED_WORD: &str = "blocked-word";
const WORD_BYTES: std::ops::RangeInclusive<usize> = 2..=64;

/// A list of words is not one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WordsError {
    /// It has none, or too many.
    #[error("{count} words: a list has 1 to {WORDS_MAX}")]
    Count {
        /// How many it has.
        count: usize,
    },
    /// A word is too short or too long.
    #[error("word {number} has {bytes} bytes: a word has 2 to 64")]
    Length {
        /// Which one, from 1 on.
        number: usize,
        /// Its length.
        bytes: usize,
    },
}

/// What rules would do.
#[derive(Debug)]
pub struct DryRun {
    /// What is not taken over, and why. A rule that is refused makes a change unfit to be rolled out.
    pub report: Report,
    /// What they find in the sample.
    pub scan: Scan,
    /// The compiled rules, for the names in `scan` and for what they take.
    pub set: RuleSet,
}

// === impl Rules ===

impl Rules {
    /// The rules for credentials: those that come with Tollgate, those of a rule file in the form of Gitleaks, or the file's over them.
    ///
    /// # Errors
    /// When the file cannot be read at all. Everything smaller is a remark in the report.
    pub fn secrets(builtin: bool, file: Option<&str>) -> Result<(Self, Report), LoadError> {
        let bases = Bases { default: Some(RULES), files: &[] };
        let own = || gitleaks::load(RULES, Bases::default());
        match (builtin, file) {
            (false, None) => Ok(Default::default()),
            (true, None) => own(),
            (false, Some(file)) => gitleaks::load(file, bases),
            (true, Some(file)) => {
                let (over, report) = gitleaks::load(file, bases)?;
                Ok((over.over(&own()?.0, &[]), report))
            }
        }
    }

    /// Rules of one's own: an id and an expression each.
    pub fn expressions<'a>(list: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let rule = |(id, regex): (&str, &str)| Rule { id: id.to_owned(), regex: regex.to_owned(), ..Rule::default() };
        Self { rules: list.into_iter().map(rule).collect(), ..Self::default() }
    }

    /// One rule, which finds words.
    ///
    /// # Errors
    /// As [`Rule::words`].
    pub fn words(words: &[String]) -> Result<Self, WordsError> {
        Ok(Self { rules: vec![Rule::words(BLOCKED_WORD, words)?], ..Self::default() })
    }
}

// === impl Rule ===

impl Rule {
    /// A rule that finds words, in any case of letters, as words of their own.
    ///
    /// # Errors
    /// When the list is empty or too long, or a word is.
    pub fn words(id: &str, words: &[String]) -> Result<Self, WordsError> {
        if words.is_empty() || words.len() > WORDS_MAX {
            return Err(WordsError::Count { count: words.len() });
        }
        let mut expressions = Vec::with_capacity(words.len());
        for (number, word) in (1..).zip(words) {
            if !WORD_BYTES.contains(&word.len()) {
                return Err(WordsError::Length { number, bytes: word.len() });
            }
            expressions.push(expression(word));
        }
        // Of two that begin alike, the longer one is tried first.
        expressions.sort_unstable_by_key(|expression| std::cmp::Reverse(expression.len()));
        Ok(Self {
            id: id.to_owned(),
            description: "a blocked word".to_owned(),
            regex: format!("(?i)(?:{})", expressions.join("|")),
            keywords: words.to_vec(),
            ..Self::default()
        })
    }
}

/// Compiles rules and tries them on a sample.
#[must_use]
pub fn dry_run(rules: &Rules, sample: &[u8]) -> DryRun {
    let (set, report) = RuleSet::compile(rules);
    let scan = set.scan(&mut Scratch::new(), &FingerprintKey::new(&[0; 32]), sample);
    DryRun { report, scan, set }
}

fn expression(word: &str) -> String {
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let bound = |byte| if is_word(byte) { r"\b" } else { "" };
    let (first, last) = (bound(word.bytes().next()), bound(word.bytes().last()));
    format!("{first}{}{last}", regex_syntax::escape(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rules: Vec<Rule>, sample: &str) -> (Vec<String>, Report) {
        let DryRun { report, scan, .. } = dry_run(&Rules { rules, ..Rules::default() }, sample.as_bytes());
        let found = scan.findings.iter().map(|finding| sample[finding.range.clone()].to_owned()).collect();
        (found, report)
    }

    #[test]
    fn a_file_stands_alone_or_over_the_rules_that_come_with_tollgate() {
        let file = "[[rules]]\nid = 'own'\nregex = 'emp-[0-9]{4}'\n[[rules]]\nid = 'openai-api-key'\nregex = 'x'\n";
        let ids = |builtin, file| -> Vec<String> {
            Rules::secrets(builtin, file).unwrap().0.rules.into_iter().map(|rule| rule.id).collect()
        };
        let own = ids(true, None);
        assert!(own.len() > 220 && own.contains(&"openai-api-key".to_owned()));
        assert_eq!(ids(false, Some(file)), ["own", "openai-api-key"]);
        assert_eq!(ids(true, Some(file)).len(), own.len() + 1);
        assert_eq!(ids(false, Some("[extend]\nuseDefault = true")), own);
        assert!(Rules::secrets(true, Some("[[rules")).is_err());
        assert_eq!(ids(false, None), [""; 0]);
    }

    #[test]
    fn blocked_words_are_found_as_words_of_their_own() {
        let words: Vec<String> = ["Project Blue", "C++", "naïve", "blue"].map(str::to_owned).into();
        let rule = Rule::words("words", &words).unwrap();
        let (found, report) = found(vec![rule], "project blue, bluebird, c++! BLUE naïve");
        assert_eq!(found, ["project blue", "c++", "BLUE", "naïve"], "{report:?}");
        assert!(report.remarks().is_empty(), "{report:?}");
    }

    #[test]
    fn a_long_list_of_words_compiles_within_its_bounds() {
        let words: Vec<String> = (0..WORDS_MAX).map(|number| format!("codeword{number}")).collect();
        let (found, report) =
            found(vec![Rule::words("words", &words).unwrap()], "a codeword7 and codeword999, codeword1000");
        assert_eq!(found, ["codeword7", "codeword999"], "{report:?}");
        assert_eq!(Rule::words("words", &[]), Err(WordsError::Count { count: 0 }));
        assert_eq!(Rule::words("words", &["x".to_owned()]), Err(WordsError::Length { number: 1, bytes: 1 }));
    }

    #[test]
    fn what_would_not_work_is_said_before_it_is_rolled_out() {
        let rule = |regex: &str| Rule { id: "own".to_owned(), regex: regex.to_owned(), ..Rule::default() };
        for (regex, why) in [
            ("(", "it does not parse"),
            ("a*", "it matches where there is nothing"),
            ("(?:[a-z]{900}){900}", "it is too large once compiled"),
            (r"(a)\1", "it does not parse"),
            ("(?=a)b", "it does not parse"),
        ] {
            let (found, report) = found(vec![rule(regex)], "aaaa");
            assert!(found.is_empty());
            assert!(report.remarks()[0].why.starts_with(why), "{regex}: {report:?}");
        }
        assert_eq!(found(vec![rule("emp-[0-9]{4}")], "of emp-1234.").0, ["emp-1234"]);
        assert_eq!(found(vec![rule(r"\b[0-9]{4}\b")], "in 1234 of 12345").0, ["1234"]);
    }
}
