//! What is sent at a time: records of consecutive entries, and how far they reach.

use tollgate_audit::{Entry, Header, Placed, file::Content};

use crate::store::audit::Found;

/// The most bytes of a batch, unless one record alone has more.
const BYTES_MAX: usize = 1 << 20;

/// Records of consecutive entries.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The records, each with what delimits it.
    pub(super) records: Vec<Vec<u8>>,
    /// The last entry that is in it, or that the sink does not want.
    pub(super) through: i64,
    /// Whether there may be more behind it.
    pub(super) is_full: bool,
    bytes: usize,
}

impl Batch {
    /// An empty one behind an entry. `is_full` tells whether more is read than this.
    pub(super) fn behind(index: i64, is_full: bool) -> Self {
        Self { through: index, is_full, ..Self::default() }
    }

    /// Takes the record of the next entry, if the sink wants one. Tells whether there was room.
    pub(super) fn take(&mut self, index: i64, record: Option<Vec<u8>>) -> bool {
        let bytes = self.bytes + record.as_ref().map_or(0, Vec::len);
        if record.is_some() && bytes > BYTES_MAX && !self.records.is_empty() {
            self.is_full = true;
            return false;
        }
        (self.bytes, self.through) = (bytes, index);
        self.records.extend(record);
        true
    }

    /// The records, one behind the other.
    pub(super) fn joined(&self) -> Vec<u8> {
        self.records.concat()
    }
}

/// Writes the record of a row; `None` when the sink does not want it.
///
/// # Errors
/// Says why it cannot be read: somebody has changed it in the database.
pub(super) fn record(
    row: &Found,
    actions: &[String],
    write: impl Fn(&Placed<'_>) -> Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    let (stored, _) = row.row.as_ref().map_err(Clone::clone)?;
    let header = Header::decode(&stored.header).map_err(|error| error.to_string())?;
    if !is_wanted(header.action, actions) {
        return Ok(None);
    }
    let entry = match &stored.content {
        Content::Body { body, .. } => Some(Entry::decode(body).map_err(|error| error.to_string())?),
        Content::Erased(_) => None,
    };
    Ok(Some(write(&Placed::new(&header, stored.leaf, entry.as_ref()))))
}

fn is_wanted(action: &str, actions: &[String]) -> bool {
    actions.is_empty()
        || actions.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => action.starts_with(beginning),
            None => action == wanted,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_gets_the_actions_that_it_wants() {
        let wanted = ["key.*", "request.refuse"].map(str::to_owned);
        for (action, expect) in
            [("key.create", true), ("request.refuse", true), ("request.refused", false), ("ke", false)]
        {
            assert_eq!(is_wanted(action, &wanted), expect, "{action}");
        }
        assert!(is_wanted("anything", &[]));
    }

    #[test]
    fn a_batch_ends_before_it_is_too_long_and_has_at_least_one_record() {
        let mut batch = Batch::default();
        assert!(batch.take(1, Some(vec![0; BYTES_MAX + 1])) && batch.take(2, None));
        assert!(!batch.take(3, Some(vec![0])) && batch.is_full);
        assert_eq!((batch.through, batch.records.len()), (2, 1));
    }
}
