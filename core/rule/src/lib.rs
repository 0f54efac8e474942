//! Conditions that administrators write, in the Common Expression Language (CEL, <https://cel.dev>).
//!
//! A rule is checked when it is written: its syntax, every name in it, that it gives true or false, and how much work it can be.
//! What is found wrong then is refused, so that nothing is left to be skipped later. A rule that all the same cannot be decided
//! for a request says so, and whoever asked refuses the request.
//!
//! [`facts`]: what a rule may be about. [`call`]: rules over calls of tools. [`check`]: what is wrong with one. The evaluator is a library behind this crate alone: its
//! interface changes often, and its error texts would quote what clients sent.

mod call;
mod check;
mod facts;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use cel::{Context, Env, ExecutionError, Program, Value};

use self::facts::Scope;
pub use self::{
    call::{Arguments, Call, CallRule, InvalidArguments, VALUES_MAX},
    check::InvalidRule,
    facts::{Facts, Request, Variable, Who},
};

/// The longest rule, in bytes.
pub const RULE_BYTES_MAX: usize = 1_024;

/// A condition over requests.
#[derive(Clone, Eq, PartialEq)]
pub struct Rule(Condition);

// What was read of a rule of either kind.
#[derive(Clone)]
struct Condition {
    text: Arc<str>,
    program: Arc<Program>,
    about: Arc<[Variable]>,
}

/// A rule could not be decided. The text names no value of the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Undecided {
    /// It gives something that is neither true nor false.
    #[error("it gives neither true nor false")]
    NoFlag,
    /// It asks for what is not there, such as a header or an argument that was not sent.
    #[error("it asks for something that is not there")]
    Absent,
    /// It does with a value what its type does not allow.
    #[error("it compares or combines values of types that do not go together")]
    Types,
    /// It computes what cannot be computed, such as a division by zero.
    #[error("it computes something that cannot be computed")]
    Computation,
}

// The functions of the language, made once: a request that meets a rule makes only the values that the rule is about.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Rule {
    /// Reads a rule, and checks it.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let rule = Self(Condition::parse(text, Scope::Request)?);
        for sample in facts::samples() {
            rule.holds(&sample).map_err(InvalidRule::Undecided)?;
        }
        Ok(rule)
    }

    /// The text, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Decides.
    ///
    /// # Errors
    /// Says why it cannot be decided.
    pub fn holds(&self, facts: &dyn Facts) -> Result<bool, Undecided> {
        self.0.holds(|variable| facts::value(variable, facts))
    }
}

// === impl Condition ===

impl Condition {
    // Reads one, and checks what can be checked without deciding it.
    fn parse(text: &str, scope: Scope) -> Result<Self, InvalidRule> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidRule::Empty);
        }
        if text.len() > RULE_BYTES_MAX {
            return Err(InvalidRule::Long);
        }
        let program = Program::compile(text).map_err(|errors| InvalidRule::of_syntax(&errors))?;
        let about = check::check(program.expression(), scope)?;
        Ok(Self { text: text.into(), program: Arc::new(program), about: about.into() })
    }

    fn holds(&self, value: impl Fn(Variable) -> Value) -> Result<bool, Undecided> {
        let mut context = Context::with_env(Arc::clone(&LANGUAGE));
        for variable in &*self.about {
            context.add_variable_from_value(variable.word(), value(*variable));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err(Undecided::NoFlag),
            Err(error) => Err(Undecided::of(&error)),
        }
    }
}

impl Undecided {
    fn of(error: &ExecutionError) -> Self {
        match error {
            ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) => Self::Absent,
            ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::IndexOutOfBounds(_)
            | ExecutionError::FunctionError { .. } => Self::Computation,
            _ => Self::Types,
        }
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.0.text).finish()
    }
}

#[cfg(test)]
mod tests;
