//! Signing in on another device (RFC 8628): a code is shown, and the authorisation server is asked until it was confirmed.

use std::time::Duration;

use super::authority::{Authority, CLIENT_ID, Device, Refused, Tokens, plain};
use crate::{
    failure::{Failure, written},
    surroundings::Surroundings,
};

/// How often the server is asked when it says nothing, and by how much less often when it asks for that.
const INTERVAL: Duration = Duration::from_secs(5);
/// The least interval, whatever the server says.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest that a person may take, whatever the server says.
const PATIENCE_MAX: Duration = Duration::from_secs(30 * 60);

/// When to ask again.
struct Pace {
    interval: Duration,
    left: Duration,
}

/// Signs in.
pub(crate) async fn sign_in(
    authority: &Authority,
    issuer: Option<&str>,
    surroundings: &mut Surroundings<'_>,
) -> Result<Tokens, Failure> {
    let mut parameters = vec![("client_id", CLIENT_ID)];
    parameters.extend(issuer.map(|issuer| ("issuer", issuer)));
    let begun = authority.device(&parameters).await?;
    let device = begun.map_err(|refused| refused.failure("the sign-in was refused"))?;
    let mut text = format!("sign in at {} with the code {}", plain(&device.verification_uri), plain(&device.user_code));
    if let Some(complete) = &device.verification_uri_complete {
        text = format!("{text}\nor at once at {}", plain(complete));
    }
    written(writeln!(surroundings.stderr, "{text}").and_then(|()| surroundings.stderr.flush()))?;
    let parameters = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device.device_code.expose().as_str()),
        ("client_id", CLIENT_ID),
    ];
    let mut pace = Pace::new(&device);
    loop {
        tokio::time::sleep(pace.next()?).await;
        if let Some(tokens) = pace.judge(authority.token(&parameters).await?)? {
            return Ok(tokens);
        }
    }
}

impl Pace {
    fn new(device: &Device) -> Self {
        let interval = device.interval.map_or(INTERVAL, Duration::from_secs).max(INTERVAL_MIN);
        Self { interval, left: Duration::from_secs(device.expires_in).min(PATIENCE_MAX) }
    }

    /// How long to wait before the next question.
    fn next(&mut self) -> Result<Duration, Failure> {
        self.left = self.left.checked_sub(self.interval).ok_or_else(expired)?;
        Ok(self.interval)
    }

    /// What an answer means: the tokens, or that they are asked for again.
    fn judge(&mut self, answer: Result<Tokens, Refused>) -> Result<Option<Tokens>, Failure> {
        let refused = match answer {
            Ok(tokens) => return Ok(Some(tokens)),
            Err(refused) => refused,
        };
        match refused.error.as_str() {
            "authorization_pending" => Ok(None),
            "slow_down" => {
                self.interval += INTERVAL;
                Ok(None)
            }
            "expired_token" => Err(expired()),
            _ => Err(refused.failure("the sign-in was refused")),
        }
    }
}

fn expired() -> Failure {
    Failure::new("deadline_exceeded", "the code was not confirmed in time").hint("begin again: tollgate login --device")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> Result<Tokens, Refused> {
        Err(Refused { error: error.to_owned(), error_description: String::new() })
    }

    #[test]
    fn the_server_sets_the_pace_and_the_end() {
        let mut pace = Pace { interval: Duration::from_secs(2), left: Duration::from_secs(12) };
        assert_eq!(pace.next().unwrap().as_secs(), 2);
        assert!(pace.judge(refused("authorization_pending")).unwrap().is_none());
        assert_eq!(pace.next().unwrap().as_secs(), 2);
        assert!(pace.judge(refused("slow_down")).unwrap().is_none());
        assert_eq!(pace.next().unwrap().as_secs(), 7);
        assert_eq!(pace.next().unwrap_err().code, "deadline_exceeded");
        assert_eq!(pace.judge(refused("expired_token")).unwrap_err().code, "deadline_exceeded");
        assert_eq!(pace.judge(refused("access_denied")).unwrap_err().code, "refused");
    }
}
