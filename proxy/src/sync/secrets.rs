//! The secrets of credentials: literal ones, which come with the stream and stay in memory, and references, which this
//! replica resolves in its own environment and file system. A reference that does not resolve is a warning, and that
//! credential cannot be used; the policy holds all the same.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tollgate_policy::{
    id::CredentialId,
    mcp::McpCredential,
    snapshot::{Credential, Snapshot},
};
use tollgate_proto::fleet::v1::{CredentialSecret, Credentials};
use tollgate_settings::{SecretSource, setting::Setting as _};

use crate::current::Secret;

/// The longest secret, in bytes; the longest that providers issue are tokens of a few KiB.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// The most literal secrets in one message.
const SECRETS_MAX: usize = 10_000;
/// Variables of Tollgate itself: an administrator who may name a reference must not read the replica's own secrets with it.
const OWN_PREFIX: &str = "TOLLGATE_";

/// Reads a variable of the environment, which was taken once, when the process began.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Where the secrets of this replica come from.
#[derive(Clone)]
pub(crate) struct Secrets {
    environment: Environment,
    data_dir: PathBuf,
    literals: Arc<HashMap<CredentialId, Secret>>,
}

/// The secrets that a snapshot's credentials have, and the credentials that have none, each with the reason.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// By credential.
    pub(crate) secrets: HashMap<CredentialId, Secret>,
    /// Sentences without a secret.
    pub(crate) missing: HashMap<CredentialId, String>,
}

/// Credentials that are not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidCredentials {
    #[error("too many credentials")]
    TooMany,
    #[error("the secret of a credential without a valid id")]
    Id,
    #[error("the secret of {0} is empty, too long, or not text")]
    Secret(CredentialId),
}

impl Secrets {
    /// No literal secret yet.
    pub(crate) fn new(environment: Environment, data_dir: &Path) -> Self {
        let data_dir = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Self { environment, data_dir, literals: Arc::default() }
    }

    /// Takes the literal secrets, whole: what is missing is gone.
    pub(crate) fn take(&mut self, message: &Credentials) -> Result<(), InvalidCredentials> {
        let Credentials { secrets } = message;
        if secrets.len() > SECRETS_MAX {
            return Err(InvalidCredentials::TooMany);
        }
        let literals: Result<HashMap<_, _>, _> = secrets.iter().map(literal).collect();
        self.literals = Arc::new(literals?);
        Ok(())
    }

    /// Finds the secret of each credential. Reads files: blocks.
    pub(crate) fn resolve(&self, snapshot: &Snapshot) -> Resolved {
        let mut resolved = Resolved::default();
        for Needed { id, reference, is_disabled } in needed(snapshot) {
            match self.find(id, reference) {
                Ok(secret) => drop(resolved.secrets.insert(id.clone(), secret)),
                // A disabled one is not sent, and not missed.
                Err(_) if is_disabled => {}
                Err(reason) => drop(resolved.missing.insert(id.clone(), reason)),
            }
        }
        resolved
    }

    fn find(&self, id: &CredentialId, reference: Option<&str>) -> Result<Secret, String> {
        let Some(reference) = reference else {
            let literal = self.literals.get(id);
            return literal.cloned().ok_or_else(|| "its secret has not come from the control plane yet".to_owned());
        };
        match SecretSource::parse(reference) {
            Ok(SecretSource::Literal(_)) => Err("its reference is neither env:// nor file://".to_owned()),
            Ok(SecretSource::Env(name)) if name.starts_with(OWN_PREFIX) => {
                Err("its reference names a variable of Tollgate itself".to_owned())
            }
            Ok(source) => {
                let found = source.resolve(&*self.environment, &|path| self.read(path))?;
                Ok(Secret::new(found.expose().to_owned()))
            }
            Err(problem) => Err(format!("its reference {problem}")),
        }
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let path = fs::canonicalize(path)?;
        if path.starts_with(&self.data_dir) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "lies in the replica's own data directory"));
        }
        // A pipe or a device might never end.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let mut text = String::new();
        let read = fs::File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
        if u64::try_from(read).is_ok_and(|read| read <= SECRET_BYTES_MAX) {
            Ok(text)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "is longer than 64 KiB"))
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("literals", &self.literals.len()).finish_non_exhaustive()
    }
}

/// Whether any credential's secret may change without a push.
pub(crate) fn has_files(snapshot: &Snapshot) -> bool {
    needed(snapshot).filter_map(|needed| needed.reference).any(|text| text.starts_with("file://"))
}

// A credential of a provider or of a server of tools.
struct Needed<'s> {
    id: &'s CredentialId,
    reference: Option<&'s str>,
    is_disabled: bool,
}

fn needed(snapshot: &Snapshot) -> impl Iterator<Item = Needed<'_>> {
    let providers = snapshot.providers().iter().flat_map(|provider| &provider.credentials).map(|credential| {
        let Credential { id, reference, disabled, name: _, weight: _ } = credential;
        Needed { id, reference: reference.as_deref(), is_disabled: *disabled }
    });
    let servers = snapshot.mcp_servers().iter().filter_map(move |server| {
        let McpCredential { id, reference } = server.credential.as_ref()?;
        Some(Needed { id, reference: reference.as_deref(), is_disabled: server.disabled })
    });
    providers.chain(servers)
}

/// Logs each credential that has no secret, once until it has one again.
pub(crate) fn warn(missing: &HashMap<CredentialId, String>, warned: &mut HashSet<CredentialId>) {
    warned.retain(|credential| missing.contains_key(credential));
    for (credential, reason) in missing {
        if warned.insert(credential.clone()) {
            tracing::warn!(%credential, reason, "credential cannot be used");
        }
    }
}

fn literal(wire: &CredentialSecret) -> Result<(CredentialId, Secret), InvalidCredentials> {
    let CredentialSecret { credential, secret } = wire;
    let id = CredentialId::parse(credential).map_err(|_| InvalidCredentials::Id)?;
    let short = u64::try_from(secret.len()).is_ok_and(|length| (1..=SECRET_BYTES_MAX).contains(&length));
    match std::str::from_utf8(secret) {
        Ok(text) if short => Ok((id, Secret::new(text.to_owned()))),
        _ => Err(InvalidCredentials::Secret(id)),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_policy::{
        id::ProviderId,
        pattern::Patterns,
        snapshot::{Dialect, Object, Provider},
    };

    use super::*;

    fn id(last: char) -> CredentialId {
        CredentialId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap()
    }

    fn snapshot(credentials: &[(char, Option<&str>, bool)]) -> Snapshot {
        let credential = |(last, reference, disabled): &(char, Option<&str>, bool)| Credential {
            id: id(*last),
            name: "c".into(),
            weight: 1,
            disabled: *disabled,
            reference: reference.map(Arc::from),
        };
        let provider = Provider {
            id: ProviderId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9p").unwrap(),
            name: "p".into(),
            dialect: Dialect::Anthropic,
            base_url: "https://a".into(),
            allow_private: false,
            models: Patterns::default(),
            vendor: "v".into(),
            disabled: false,
            priority: 0,
            credentials: credentials.iter().map(credential).collect(),
            auth: tollgate_policy::provider::Auth::OfDialect,
            region: "".into(),
            quirks: Arc::new([]),
        };
        Snapshot::default().next(1, vec![Object::Provider(provider)], vec![])
    }

    #[test]
    fn each_reference_resolves_or_says_why_not() {
        let (data, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |dir: &tempfile::TempDir, name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            format!("file://{}", path.display())
        };
        let good = file(&outside, "good", "from-file\n");
        let own = file(&data, "seal-key", "own");
        let long = file(&outside, "long", &"x".repeat(70_000));
        let sneaky =
            format!("file://{}/../{}/seal-key", data.path().display(), data.path().file_name().unwrap().display());
        let link = outside.path().join("link");
        std::os::unix::fs::symlink(data.path().join("seal-key"), &link).unwrap();
        let environment: Environment = Arc::new(|name| match name {
            "KEY" => Some("from-env".into()),
            "TOLLGATE_JOIN_TOKEN" => Some("canary".into()),
            _ => None,
        });
        let mut secrets = Secrets::new(environment, data.path());
        let literal = CredentialSecret { credential: id('0').to_string(), secret: "literal".into() };
        secrets.take(&Credentials { secrets: vec![literal] }).unwrap();
        for (reference, expect) in [
            (None, Ok("literal")),
            (Some("env://KEY"), Ok("from-env")),
            (Some(good.as_str()), Ok("from-file")),
            (Some("env://UNSET"), Err("UNSET is not set")),
            (Some("env://TOLLGATE_JOIN_TOKEN"), Err("Tollgate itself")),
            (Some("vault://x"), Err("neither env:// nor file://")),
            (Some("file:///nowhere/at/all"), Err("cannot be read")),
            (Some("file:///dev/zero"), Err("not a regular file")),
            (Some(own.as_str()), Err("own data directory")),
            (Some(sneaky.as_str()), Err("own data directory")),
            (Some(&format!("file://{}", link.display())), Err("own data directory")),
            (Some(long.as_str()), Err("longer than 64 KiB")),
        ] {
            let resolved = secrets.resolve(&snapshot(&[('0', reference, false)]));
            match expect {
                Ok(secret) => assert_eq!(resolved.secrets[&id('0')].expose(), secret),
                Err(part) => {
                    assert!(resolved.missing[&id('0')].contains(part), "{reference:?}: {:?}", resolved.missing)
                }
            }
        }
        let absent = secrets.resolve(&snapshot(&[('1', None, false), ('2', None, true)]));
        assert_eq!((absent.secrets.len(), absent.missing.len()), (0, 1), "a disabled credential is not missed");
    }

    #[test]
    fn literal_secrets_replace_each_other_whole_and_hostile_ones_change_nothing() {
        let mut secrets = Secrets::new(Arc::new(|_| None), Path::new("/"));
        let message = |last: char, secret: &'static [u8]| Credentials {
            secrets: vec![CredentialSecret { credential: id(last).to_string(), secret: secret.into() }],
        };
        secrets.take(&message('1', b"one")).unwrap();
        secrets.take(&message('2', b"two")).unwrap();
        assert!(secrets.literals.contains_key(&id('2')) && !secrets.literals.contains_key(&id('1')));
        let nameless = CredentialSecret { credential: "x".into(), secret: "y".into() };
        for bad in [message('3', b""), message('3', b"\xff"), Credentials { secrets: vec![nameless] }] {
            assert!(secrets.take(&bad).is_err());
        }
        assert!(secrets.literals.contains_key(&id('2')));
    }
}
