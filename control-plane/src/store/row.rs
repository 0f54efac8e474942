//! A row of either database, read by column name, so that each mapping is written once.

use std::fmt;

use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use super::StoreError;

/// A row.
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`StoreError::Corrupt`] when the column is not there or holds another type.
        pub fn $name(&self, column: &'static str) -> Result<$type, StoreError> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
            .map_err(|error| StoreError::corrupt(column, error))
        }
    )*};
}

impl Row {
    columns! {
        /// A BIGINT.
        int -> i64;
        /// A BIGINT that may be NULL.
        int_opt -> Option<i64>;
        /// A TEXT.
        text -> String;
        /// A TEXT that may be NULL.
        text_opt -> Option<String>;
        /// A BYTEA.
        bytes -> Vec<u8>;
        /// A BYTEA that may be NULL.
        bytes_opt -> Option<Vec<u8>>;
    }

    /// A BIGINT that is 0 or 1.
    ///
    /// # Errors
    /// As [`Self::int`].
    pub fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    /// A BIGINT that fits a narrower integer.
    ///
    /// # Errors
    /// As [`Self::int`].
    pub fn narrow<T: TryFrom<i64, Error: fmt::Display>>(&self, column: &'static str) -> Result<T, StoreError> {
        T::try_from(self.int(column)?).map_err(|error| StoreError::corrupt(column, error))
    }

    /// A TEXT that parses.
    ///
    /// # Errors
    /// As [`Self::text`], and when it does not parse.
    pub fn parsed<T, E: fmt::Display>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        parse(&self.text(column)?).map_err(|error| StoreError::corrupt(column, error))
    }

    /// A TEXT that may be NULL, and otherwise parses.
    ///
    /// # Errors
    /// As [`Self::parsed`].
    pub fn parsed_opt<T, E: fmt::Display>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        let parse = |text: String| parse(&text).map_err(|error| StoreError::corrupt(column, error));
        self.text_opt(column)?.map(parse).transpose()
    }

    /// A TEXT that holds a JSON array of text.
    ///
    /// # Errors
    /// As [`Self::parsed`].
    pub fn list(&self, column: &'static str) -> Result<Vec<String>, StoreError> {
        self.parsed(column, |text| serde_json::from_str(text))
    }

    /// A TEXT that holds a JSON array of ids.
    ///
    /// # Errors
    /// As [`Self::parsed`].
    pub fn ids<T, E: fmt::Display>(
        &self,
        column: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, StoreError> {
        let texts = self.list(column)?;
        texts.iter().map(|text| parse(text).map_err(|error| StoreError::corrupt(column, error))).collect()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Row(..)")
    }
}
