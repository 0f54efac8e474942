//! Fields that the hub does not model, written as they came.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use crate::hub::{Json, Text};

/// The fields, for a place in which an object's members are flattened.
#[derive(Debug, Default)]
pub(super) struct Rest<'a>(pub(super) Vec<(&'a Text<'a>, &'a Json<'a>)>);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, json) in &self.0 {
            map.serialize_entry(name, json)?;
        }
        map.end()
    }
}
