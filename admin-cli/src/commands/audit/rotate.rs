//! `tollgate audit rotate-key`: new keys seal and sign from now on.

use serde::Serialize;
use tollgate_audit::checkpoint::PublicKey;
use tollgate_proto::audit::v1;

use super::trust::KeyView;
use crate::{
    commands::Context,
    failure::Failure,
    output::{Answer, View},
};

#[derive(Serialize)]
struct RotatedView {
    epoch: String,
    key: KeyView,
}

pub(super) async fn run(context: &Context) -> Result<Answer, Failure> {
    let rotated = context.client.audit().rotate_key(v1::RotateKeyRequest {}).await?.into_inner();
    let v1::RotateKeyResponse { epoch, public_key } = rotated;
    let key = PublicKey::try_from(public_key)
        .map_err(|_| Failure::new("internal", "the keys were made, and the control plane does not say which"))?;
    let digits = hex::encode(key);
    let view = RotatedView { epoch, key: KeyView::from(&key) };
    let answer = context.format.item(&view)?;
    Ok(answer
        .note("an entry under the old key announces the new one: an export that begins before it verifies with the old --key alone")
        .note(format!("auditors add, for exports from a later entry on, for checkpoints and for proofs: --key {digits}"))
        .note(format!("whoever checks MACs needs the HMAC key of the epoch {} too", view.epoch)))
}

impl View for RotatedView {
    const PLURAL: &'static str = "epochs";
    const LISTED: &'static [&'static str] = &["epoch", "key"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("epoch", self.epoch.clone()), ("key", self.key.to_string())]
    }
}
