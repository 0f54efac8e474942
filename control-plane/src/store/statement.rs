//! A statement for either database. Its text is made of literals of the program alone, so that no value can become SQL.

use std::{borrow::Cow, fmt};

use sqlx::{
    AssertSqlSafe, Postgres, SqlSafeStr as _, Sqlite, postgres::PgArguments, query::Query, sqlite::SqliteArguments,
};

/// Makes a [`Statement`] from its text and the values of `$1`, `$2`, ...: `sql!("SELECT 1 WHERE $1 = 1", one)`.
macro_rules! sql {
    ($text:literal $(, $value:expr)* $(,)?) => {
        $crate::store::Statement::new($text)$(.bind($value))*
    };
}

/// The text of a statement and its values.
#[derive(Clone)]
pub struct Statement {
    text: Cow<'static, str>,
    args: Vec<Arg>,
}

/// A value. NULL keeps its type, since PostgreSQL wants to know it.
#[derive(Clone)]
pub enum Arg {
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BYTEA.
    Bytes(Option<Vec<u8>>),
}

/// Where an object stands in the order of creation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Position {
    /// The revision of its creation.
    pub created: i64,
    /// Its id, which decides between objects of one revision.
    pub id: String,
}

/// How a text is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TextMatch {
    /// The whole text.
    Whole(String),
    /// Its beginning.
    Prefix(String),
}

impl Statement {
    /// A statement without values yet.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), args: Vec::new() }
    }

    /// Gives the next placeholder its value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Arg>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Appends text of the program.
    pub fn push(&mut self, text: &'static str) {
        self.text.to_mut().push_str(text);
    }

    /// Appends a placeholder with its value, numbered after those before it.
    pub fn push_bind(&mut self, value: impl Into<Arg>) {
        self.args.push(value.into());
        let placeholder = format!("${}", self.args.len());
        self.text.to_mut().push_str(&placeholder);
    }

    /// Puts text of the program around it.
    #[must_use]
    pub fn enclosed(self, head: &'static str, tail: &'static str) -> Self {
        Self { text: Cow::Owned([head, &self.text, tail].concat()), ..self }
    }

    /// Narrows a statement whose `WHERE` is open to rows with this value, if there is one to compare with.
    pub fn narrow(&mut self, column: &'static str, value: Option<impl Into<Arg>>) {
        if let Some(value) = value {
            for piece in [" AND ", column, " = "] {
                self.push(piece);
            }
            self.push_bind(value);
        }
    }

    /// Narrows a statement whose `WHERE` is open to one page in the order of creation.
    pub fn page(&mut self, after: Option<&Position>, limit: i64) {
        if let Some(Position { created, id }) = after {
            self.push(" AND (created, id) > (");
            self.push_bind(*created);
            self.push(", ");
            self.push_bind(id);
            self.push(")");
        }
        self.push(" ORDER BY created, id LIMIT ");
        self.push_bind(limit);
    }

    pub(super) fn sqlite<'q>(self) -> Query<'q, Sqlite, SqliteArguments> {
        let query = sqlx::query(safe(self.text));
        self.args.into_iter().fold(query, |query, arg| match arg {
            Arg::Int(value) => query.bind(value),
            Arg::Text(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
        })
    }

    pub(super) fn postgres<'q>(self) -> Query<'q, Postgres, PgArguments> {
        let query = sqlx::query(safe(self.text));
        self.args.into_iter().fold(query, |query, arg| match arg {
            Arg::Int(value) => query.bind(value),
            Arg::Text(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
        })
    }
}

// === impl TextMatch ===

impl TextMatch {
    /// Whether a text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Whole(whole) => text == whole,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }

    /// Narrows a statement whose `WHERE` is open to rows with a column that matches.
    pub fn narrow(&self, select: &mut Statement, column: &'static str) {
        match self {
            Self::Whole(text) => {
                select.push(" AND ");
                select.push(column);
                select.push(" = ");
                select.push_bind(text);
            }
            // LIKE ignores case on SQLite and wants escapes; collations differ. This reads the same everywhere. PostgreSQL's
            // substr takes no BIGINT.
            Self::Prefix(text) => {
                select.push(" AND substr(");
                select.push(column);
                select.push(", 1, CAST(");
                select.push_bind(i64::try_from(text.chars().count()).unwrap_or(i64::MAX));
                select.push(" AS INTEGER)) = ");
                select.push_bind(text);
            }
        }
    }
}

/// Prints the text without the values, which may be secret.
impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.text).finish()
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int(_) => "Int(..)",
            Self::Text(_) => "Text(..)",
            Self::Bytes(_) => "Bytes(..)",
        })
    }
}

macro_rules! args {
    ($($type:ty => |$value:ident| $arg:expr;)*) => {$(
        impl From<$type> for Arg {
            fn from($value: $type) -> Self {
                $arg
            }
        }
    )*};
}

args! {
    i64 => |value| Self::Int(Some(value));
    i32 => |value| Self::Int(Some(i64::from(value)));
    u32 => |value| Self::Int(Some(i64::from(value)));
    bool => |value| Self::Int(Some(i64::from(value)));
    usize => |value| Self::Int(i64::try_from(value).ok());
    Option<i64> => |value| Self::Int(value);
    &str => |value| Self::Text(Some(value.to_owned()));
    &String => |value| Self::Text(Some(value.clone()));
    String => |value| Self::Text(Some(value));
    Option<&str> => |value| Self::Text(value.map(str::to_owned));
    Option<String> => |value| Self::Text(value);
    &[u8] => |value| Self::Bytes(Some(value.to_vec()));
    &[u8; 32] => |value| Self::Bytes(Some(value.to_vec()));
    Vec<u8> => |value| Self::Bytes(Some(value));
    Option<Vec<u8>> => |value| Self::Bytes(value);
}

/// A list as the JSON text of a column.
pub(super) fn list(texts: impl IntoIterator<Item: AsRef<str>>) -> String {
    texts.into_iter().map(|text| text.as_ref().to_owned()).collect::<serde_json::Value>().to_string()
}

// Every piece is a literal of this program: `new`, `push` and `enclosed` take nothing else, and `push_bind` adds only a number.
fn safe(text: Cow<'static, str>) -> sqlx::SqlStr {
    match text {
        Cow::Borrowed(text) => text.into_sql_str(),
        Cow::Owned(text) => AssertSqlSafe(text).into_sql_str(),
    }
}
