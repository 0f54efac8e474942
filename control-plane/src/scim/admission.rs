//! Who may provision: the one place that asks.

use axum::http::{HeaderMap, header};
use tollgate_audit::{Facts, Fields, Outcome};
use tollgate_policy::time::UnixMillis;
use tollgate_proto::permission::SCIM;
use tollgate_scim::Problem;

use super::{PATH, Scim, reply::Refusal};
use crate::{
    api::authorize::{Authorized, bearer},
    clock,
    principals::NotKnown,
};

/// Somebody who may provision.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Who it is.
    pub(super) by: Authorized,
    /// The address of the service, as the caller reaches it.
    pub(super) base: String,
}

impl Scim {
    /// Admits a call, or says why not.
    pub(super) async fn admit(&self, headers: &HeaderMap, call: &str, source: &str) -> Result<Caller, Refusal> {
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(text) => return Err(self.refuse("unknown", call, source, 401, "", text.to_owned()).await),
        };
        let principal = match self.principals.authenticate(token).await {
            Ok(principal) => principal,
            Err(NotKnown::Store(error)) => return Err(error.into()),
            Err(error) => {
                return Err(self.refuse("unknown", call, source, 401, &error.cause(), error.to_string()).await);
            }
        };
        if !principal.holder().holds_everywhere(UnixMillis::new(clock::now_ms()), SCIM) {
            let text = format!("this needs the permission {SCIM}, which {principal} does not hold");
            return Err(self.refuse(principal.name(), call, source, 403, "", text).await);
        }
        let by = Authorized::over_http(principal, SCIM, call, source, headers);
        Ok(Caller { by, base: self.base(headers) })
    }

    async fn refuse(
        &self,
        principal: &str,
        call: &str,
        source: &str,
        status: u16,
        cause: &str,
        text: String,
    ) -> Refusal {
        tracing::warn!(principal, call, source, status, cause, "refused a scim call");
        let mut detail = Fields::from_iter([
            ("call".to_owned(), call.into()),
            ("status".to_owned(), status.into()),
            ("reason".to_owned(), text.as_str().into()),
        ]);
        if !cause.is_empty() {
            detail.insert("cause".to_owned(), cause.into());
        }
        let facts = Facts { initiator: principal, target: PATH, source_address: source, detail, ..Facts::default() };
        self.refusals.write(SCIM, Outcome::Refused, facts).await;
        Refusal::Problem(Problem::Status(status, text))
    }

    fn base(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.settings.public_url {
            return format!("{}{PATH}", url.trim_end_matches('/'));
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
        let host = if !host.is_empty() && host.bytes().all(sound) { host } else { "localhost" };
        format!("http://{host}{PATH}")
    }
}
