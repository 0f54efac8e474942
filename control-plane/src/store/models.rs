//! Models: the imported catalogue and the overrides before it. What holds is the override, otherwise the catalogue's row.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tollgate_policy::{snapshot::Model, time::UnixMillis};

use super::{Row, Statement, StoreError, TextMatch, Txn, changes::MODEL};
use crate::catalogue::{Catalogue, Facts};

/// Rows in one INSERT: 3,000 values, a tenth of what SQLite takes, and a catalogue in ten statements.
const IMPORT_ROWS_MAX: usize = 500;

/// Where a row comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The catalogue that ships with the program.
    Catalogue,
    /// An administrator.
    Override,
}

/// The effective row of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The model.
    pub model: Model,
    /// Where the row comes from.
    pub origin: Origin,
    /// When the facts were collected or set.
    pub as_of: UnixMillis,
}

/// Which models to list. `None` admits every one.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The vendor.
    pub vendor: Option<TextMatch>,
    /// The vendor's name of the model.
    pub name: Option<TextMatch>,
    /// Where the row comes from.
    pub origin: Option<Origin>,
}

/// What an import changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    /// Models that are new or changed.
    pub changed: usize,
    /// Models that are gone.
    pub gone: usize,
}

// What every effective row is: an override, or a row of the catalogue before which no override stands.
macro_rules! effective {
    ($($condition:literal),*) => {
        concat!(
            "SELECT m.vendor, m.name, m.origin, m.facts, m.as_of FROM models m WHERE (m.origin = 'override' OR NOT EXISTS \
             (SELECT 1 FROM models o WHERE o.vendor = m.vendor AND o.name = m.name AND o.origin = 'override'))",
            $($condition),*
        )
    };
}

// === impl Origin ===

impl Origin {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Override => "override",
        }
    }

    /// The origin of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Catalogue, Self::Override].into_iter().find(|origin| origin.word() == word)
    }
}

// === impl Txn ===

impl Txn {
    /// The effective row of a model.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn model_get(&mut self, vendor: &str, name: &str) -> Result<Option<Listed>, StoreError> {
        let find = Statement::new(effective!(" AND m.vendor = $1 AND m.name = $2")).bind(vendor).bind(name);
        self.fetch_optional(find).await?.as_ref().map(listed).transpose()
    }

    /// At most `count` effective rows behind the pair of vendor and name, in that order.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn model_list(
        &mut self,
        wanted: &Wanted,
        after: Option<(&str, &str)>,
        count: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut list = Statement::new(effective!());
        if let Some(text) = &wanted.vendor {
            text.narrow(&mut list, "m.vendor");
        }
        if let Some(text) = &wanted.name {
            text.narrow(&mut list, "m.name");
        }
        if let Some(origin) = wanted.origin {
            list.push(" AND m.origin = ");
            list.push_bind(origin.word());
        }
        if let Some((vendor, name)) = after {
            list.push(" AND (m.vendor, m.name) > (");
            list.push_bind(vendor);
            list.push(", ");
            list.push_bind(name);
            list.push(")");
        }
        list.push(" ORDER BY m.vendor, m.name LIMIT ");
        list.push_bind(count);
        self.fetch_all(list).await?.iter().map(listed).collect()
    }

    /// The effective rows that changed after the revision.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn models_changed(&mut self, after: i64) -> Result<Vec<Model>, StoreError> {
        let changed = Statement::new(effective!(" AND m.revision > $1 ORDER BY m.vendor, m.name")).bind(after);
        self.fetch_all(changed).await?.iter().map(|row| Ok(listed(row)?.model)).collect()
    }

    /// Sets the override of a model, in the revision that the transaction took.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn model_set(&mut self, revision: i64, model: &Model, now: UnixMillis) -> Result<(), StoreError> {
        self.models_put(&[model], Origin::Override, now, revision).await?;
        let risen = sql!("DELETE FROM tombstones WHERE kind = $1 AND id = $2", MODEL, id(&model.vendor, &model.name));
        self.execute(risen).await?;
        Ok(())
    }

    /// Removes the override of a model, in the revision that the transaction took: the catalogue's row holds again, or the
    /// model is gone. Tells whether there was one.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn model_reset(&mut self, revision: i64, vendor: &str, name: &str) -> Result<bool, StoreError> {
        let delete = sql!("DELETE FROM models WHERE vendor = $1 AND name = $2 AND origin = 'override'", vendor, name);
        if self.execute(delete).await? == 0 {
            return Ok(false);
        }
        // Effective again, which is a change of what replicas see.
        let uncover = sql!("UPDATE models SET revision = $1 WHERE vendor = $2 AND name = $3", revision, vendor, name);
        if self.execute(uncover).await? == 0 {
            self.tombstone(MODEL, &id(vendor, name), revision).await?;
        }
        Ok(true)
    }

    /// The version and the date of the catalogue that was imported last; version 0 before the first.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn catalogue_version(&mut self) -> Result<(i64, UnixMillis), StoreError> {
        let row = self.fetch_one(sql!("SELECT version, as_of FROM model_catalogue WHERE id = 1")).await?;
        Ok((row.int("version")?, UnixMillis::new(row.int("as_of")?)))
    }

    async fn models_put(
        &mut self,
        models: &[&Model],
        origin: Origin,
        as_of: UnixMillis,
        revision: i64,
    ) -> Result<(), StoreError> {
        for rows in models.chunks(IMPORT_ROWS_MAX) {
            let mut put = sql!("INSERT INTO models (vendor, name, origin, facts, as_of, revision) VALUES ");
            for (index, model) in rows.iter().enumerate() {
                put.push(if index == 0 { "(" } else { ", (" });
                put.push_bind(&*model.vendor);
                put.push(", ");
                put.push_bind(&*model.name);
                put.push(", ");
                put.push_bind(origin.word());
                put.push(", ");
                put.push_bind(facts(model)?);
                put.push(", ");
                put.push_bind(as_of.get());
                put.push(", ");
                put.push_bind(revision);
                put.push(")");
            }
            put.push(
                " ON CONFLICT (vendor, name, origin) \
                 DO UPDATE SET facts = excluded.facts, as_of = excluded.as_of, revision = excluded.revision",
            );
            self.execute(put).await?;
        }
        Ok(())
    }

    // Every row of one origin: the JSON of its facts by vendor and name.
    async fn models_of(&mut self, origin: Origin) -> Result<HashMap<(String, String), String>, StoreError> {
        let rows = sql!("SELECT vendor, name, facts FROM models WHERE origin = $1", origin.word());
        let rows = self.fetch_all(rows).await?;
        rows.iter().map(|row| Ok(((row.text("vendor")?, row.text("name")?), row.text("facts")?))).collect()
    }

    /// Replaces the catalogue, in the revision that the transaction took. Rows that did not change keep their revision, so
    /// that replicas are sent what is new and no more.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn catalogue_replace(&mut self, revision: i64, catalogue: &Catalogue) -> Result<Imported, StoreError> {
        let mut before = self.models_of(Origin::Catalogue).await?;
        let mut changed = Vec::new();
        for model in &catalogue.models {
            let stored = before.remove(&(model.vendor.to_string(), model.name.to_string()));
            if stored != Some(facts(model)?) {
                changed.push(model);
            }
        }
        self.models_put(&changed, Origin::Catalogue, catalogue.as_of, revision).await?;
        self.models_raise(&changed).await?;
        let overrides = self.models_of(Origin::Override).await?;
        for gone in before.keys() {
            let (vendor, name) = gone;
            let delete =
                sql!("DELETE FROM models WHERE vendor = $1 AND name = $2 AND origin = 'catalogue'", vendor, name);
            self.execute(delete).await?;
            if !overrides.contains_key(gone) {
                self.tombstone(MODEL, &id(vendor, name), revision).await?;
            }
        }
        let as_of = catalogue.as_of.get();
        self.execute(sql!("UPDATE models SET as_of = $1 WHERE origin = 'catalogue'", as_of)).await?;
        let version = catalogue.version;
        self.execute(sql!("UPDATE model_catalogue SET version = $1, as_of = $2 WHERE id = 1", version, as_of)).await?;
        Ok(Imported { changed: changed.len(), gone: before.len() })
    }

    // A model that was gone and is back has no tombstone.
    async fn models_raise(&mut self, models: &[&Model]) -> Result<(), StoreError> {
        let buried = self.fetch_all(sql!("SELECT id FROM tombstones WHERE kind = $1", MODEL)).await?;
        let buried = buried.iter().map(|row| row.text("id")).collect::<Result<HashSet<_>, _>>()?;
        for id in models.iter().map(|model| id(&model.vendor, &model.name)).filter(|id| buried.contains(id)) {
            self.execute(sql!("DELETE FROM tombstones WHERE kind = $1 AND id = $2", MODEL, id)).await?;
        }
        Ok(())
    }
}

fn id(vendor: &str, name: &str) -> String {
    format!("{vendor}/{name}")
}

fn facts(model: &Model) -> Result<String, StoreError> {
    serde_json::to_string(&Facts::of(model)).map_err(|error| StoreError::corrupt("facts", error))
}

fn listed(row: &Row) -> Result<Listed, StoreError> {
    let facts: Facts = row.parsed("facts", |text| serde_json::from_str(text))?;
    let (vendor, name) = (Arc::from(row.text("vendor")?), Arc::from(row.text("name")?));
    Ok(Listed {
        model: facts.model(vendor, name).map_err(|error| StoreError::corrupt("facts", error))?,
        origin: row.parsed("origin", |word| Origin::of_word(word).ok_or("is neither catalogue nor override"))?,
        as_of: UnixMillis::new(row.int("as_of")?),
    })
}

#[cfg(test)]
mod tests;
