//! What is wrong with a rule that the grammar accepts: names that nothing has, headers that may be absent, work without bounds.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr,
        operators::{IN, INDEX},
    },
    parser::ParseErrors,
};

use crate::{
    RULE_BYTES_MAX, Undecided,
    facts::{Scope, Variable},
};

/// What is wrong with a rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRule {
    /// It is empty.
    #[error("is empty: leave it out where it shall always hold")]
    Empty,
    /// It is too long.
    #[error("must be at most {RULE_BYTES_MAX} bytes long")]
    Long,
    /// It is not CEL.
    #[error("is no expression of CEL, at line {line}, column {column}: {reason}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What was expected.
        reason: String,
    },
    /// A name is none of the variables.
    #[error("knows nothing of {0:?}: {1}")]
    Variable(String, &'static str),
    /// A variable has no such field.
    #[error("asks for {0}.{1}, which there is not: there are {2}")]
    Field(&'static str, String, String),
    /// There is no such function.
    #[error("calls {0:?}, which is no function here")]
    Function(String),
    /// A variable is taken as a whole.
    #[error("takes {0} whole: name one of its fields, {1}")]
    Whole(&'static str, String),
    /// A header is asked for that may be absent.
    #[error("asks for the header {0:?} without asking whether it was sent: write `{0:?} in headers && …` with it")]
    Unasked(String),
    /// A header is named in another case, or not by a text.
    #[error("must name headers by texts in lower case, as in headers[\"x-team\"]")]
    HeaderName,
    /// The arguments are named in the body of a loop.
    #[error("names arguments within a loop (all, exists, filter, map): name there only what the loop goes over")]
    ArgumentsInLoop,
    /// A pattern comes from a call, or from a request.
    #[error("must give matches a text that stands in the rule, and not one that is sent")]
    SentPattern,
    /// A pattern is none.
    #[error("has the pattern {0:?}, which cannot be read as a regular expression")]
    Pattern(String),
    /// Loops within loops.
    #[error("has a loop (all, exists, filter, map) within another: that is too much work for each request")]
    Nested,
    /// It failed on a sample.
    #[error("cannot be decided for every request: {0}")]
    Undecided(Undecided),
}

// What a rule may call, beside the operators and what macros become. What is missing would be found only when a request comes.
const FUNCTIONS: [&str; 24] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "duration",
    "timestamp",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfYear",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "min",
    "max",
    "lowerAscii",
];

const MATCHES: &str = "matches";

/// Checks an expression, and returns what it is about.
pub(crate) fn check(expression: &IdedExpr, scope: Scope) -> Result<Vec<Variable>, InvalidRule> {
    let mut walk = Walk::new(scope);
    walk.expression(expression)?;
    match walk.read.difference(&walk.asked).next() {
        Some(header) => Err(InvalidRule::Unasked((*header).to_owned())),
        None => Ok(walk.about.into_iter().collect()),
    }
}

struct Walk<'e> {
    scope: Scope,
    about: BTreeSet<Variable>,
    // The names that loops give.
    bound: Vec<&'e str>,
    is_in_loop: bool,
    is_in_body: bool,
    // Headers whose value is read, and those of which is asked whether they were sent.
    read: BTreeSet<&'e str>,
    asked: BTreeSet<&'e str>,
}

impl<'e> Walk<'e> {
    const fn new(scope: Scope) -> Self {
        Self {
            scope,
            about: BTreeSet::new(),
            bound: Vec::new(),
            is_in_loop: false,
            is_in_body: false,
            read: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    fn expression(&mut self, IdedExpr { expr, .. }: &'e IdedExpr) -> Result<(), InvalidRule> {
        match expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.whole(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::StructField(field) => self.expression(&field.value),
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key)?;
                    self.expression(&entry.value)
                }
            }),
            Expr::Struct(made) => Err(InvalidRule::Function(made.type_name.clone())),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    // A name that stands alone. Only what has no fields may: of the others, one of the fields is meant.
    fn whole(&mut self, name: &'e str) -> Result<(), InvalidRule> {
        if self.bound.contains(&name) {
            return Ok(());
        }
        let variable = self.variable(name)?;
        match variable.fields() {
            [] => Ok(()),
            fields => Err(InvalidRule::Whole(variable.word(), fields.join(", "))),
        }
    }

    fn variable(&mut self, name: &str) -> Result<Variable, InvalidRule> {
        let variable = self.scope.variables().iter().copied().find(|variable| variable.word() == name);
        let variable = variable.ok_or_else(|| InvalidRule::Variable(name.to_owned(), self.scope.sentence()))?;
        // The work of a loop grows with what a caller sends; with arguments in it, it would with the square.
        if self.is_in_body && variable == Variable::Arguments {
            return Err(InvalidRule::ArgumentsInLoop);
        }
        self.about.insert(variable);
        Ok(variable)
    }

    fn select(&mut self, SelectExpr { operand, field, test }: &'e SelectExpr) -> Result<(), InvalidRule> {
        let name = match &operand.expr {
            Expr::Ident(name) if !self.bound.contains(&name.as_str()) => name,
            _ => return self.expression(operand),
        };
        match self.variable(name)? {
            Variable::Headers => self.header(field, *test),
            Variable::Arguments => Ok(()),
            variable if variable.fields().contains(&field.as_str()) => Ok(()),
            variable => {
                let there_are = variable.fields();
                let there_are = if there_are.is_empty() { "none".to_owned() } else { there_are.join(", ") };
                Err(InvalidRule::Field(variable.word(), field.clone(), there_are))
            }
        }
    }

    fn header(&mut self, name: &'e str, is_asked: bool) -> Result<(), InvalidRule> {
        if name != name.to_ascii_lowercase() {
            return Err(InvalidRule::HeaderName);
        }
        if is_asked {
            self.asked.insert(name)
        } else {
            self.read.insert(name)
        };
        Ok(())
    }

    fn call(&mut self, call: &'e CallExpr) -> Result<(), InvalidRule> {
        let CallExpr { func_name, target, args } = call;
        let is_operator = func_name.starts_with(['_', '!', '-', '@']);
        if !is_operator && !FUNCTIONS.contains(&func_name.as_str()) {
            return Err(InvalidRule::Function(func_name.clone()));
        }
        match (func_name.as_str(), args.as_slice()) {
            (INDEX, [of, at]) if is_headers(of) => {
                self.variable(Variable::Headers.word())?;
                return self.header(literal(at).ok_or(InvalidRule::HeaderName)?, false);
            }
            (IN, [what, of]) if is_headers(of) => {
                self.variable(Variable::Headers.word())?;
                return self.header(literal(what).ok_or(InvalidRule::HeaderName)?, true);
            }
            (MATCHES, [pattern]) => self.pattern(pattern)?,
            _ => {}
        }
        target.iter().try_for_each(|target| self.expression(target))?;
        args.iter().try_for_each(|argument| self.expression(argument))
    }

    // Each pattern is compiled as often as it is met: one that is sent could be made to be slow.
    fn pattern(&self, pattern: &IdedExpr) -> Result<(), InvalidRule> {
        match literal(pattern) {
            Some(text) if regex_syntax::parse(text).is_err() => Err(InvalidRule::Pattern(text.to_owned())),
            None if self.scope == Scope::Call => Err(InvalidRule::SentPattern),
            _ => Ok(()),
        }
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) -> Result<(), InvalidRule> {
        let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, loop_cond, loop_step, result } =
            comprehension;
        if self.is_in_loop {
            return Err(InvalidRule::Nested);
        }
        self.is_in_loop = true;
        self.expression(iter_range)?;
        let outside = self.bound.len();
        self.bound.extend([iter_var.as_str(), accu_var.as_str()]);
        self.bound.extend(iter_var2.as_deref());
        self.is_in_body = true;
        for part in [accu_init, loop_cond, loop_step, result] {
            self.expression(part)?;
        }
        self.is_in_body = false;
        self.bound.truncate(outside);
        self.is_in_loop = false;
        Ok(())
    }
}

fn is_headers(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name == Variable::Headers.word())
}

fn literal(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

// === impl InvalidRule ===

impl InvalidRule {
    pub(crate) fn of_syntax(errors: &ParseErrors) -> Self {
        let Some(first) = errors.errors.first() else { return Self::Empty };
        let at = |position: isize| usize::try_from(position).unwrap_or_default().max(1);
        // The parser lists every token that it would have taken: its first line says enough.
        let reason = first.msg.lines().next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        Self::Syntax { line: at(first.pos.0), column: at(first.pos.1), reason }
    }
}

const REASON_CHARS_MAX: usize = 120;
