//! Which control plane and whose token: from flags, the environment, the profile file, the session of who signed in, or the
//! standalone's data directory.
//! What stands nearer to the command wins.

use std::{
    fs::File,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::Uri;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    arguments::Global,
    failure::Failure,
    sign_in::sessions::Sessions,
    surroundings::{Surroundings, read_bounded},
};

/// Where a control plane listens unless it is told otherwise.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7070";
/// At which port of the same host people sign in unless something else is said.
const LOGIN_PORT: u16 = 7072;

/// The settled connection.
#[derive(Default)]
pub(crate) struct Settings {
    /// The URL of the control plane.
    pub(crate) server: String,
    /// The caller's token, if one was found.
    pub(crate) token: Option<Zeroizing<String>>,
    /// Whether nobody named that token: it lies in the data directory, and a session is preferred to it.
    pub(crate) implicit: bool,
    /// Where the data directory says that people sign in.
    pub(crate) announced_login: Option<String>,
    /// The file of the certificate authority that is trusted, instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// What the caller should know.
    pub(crate) notes: Vec<String>,
}

/// The profile file, `~/.config/tollgate/config.toml`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

/// The part of `<data-dir>/endpoints.json` that is of use here.
#[derive(Default, Deserialize)]
struct Endpoints {
    admin: Option<String>,
    http: Option<String>,
}

impl Settings {
    /// Settles them.
    ///
    /// # Errors
    /// A file that was named and cannot be read, or a profile that is not valid.
    pub(crate) fn read(global: &Global, surroundings: &Surroundings<'_>) -> Result<Self, Failure> {
        let profile = Profile::read(surroundings)?;
        let data_dir = surroundings.variable("TOLLGATE_DATA_DIR").map(PathBuf::from);
        let announced = data_dir.as_deref().and_then(announced).unwrap_or_default();
        let given = global.server.clone().or_else(|| surroundings.variable("TOLLGATE_SERVER").map(str::to_owned));
        let server = match given.or_else(|| profile.server.clone()) {
            Some(server) => server,
            None => announced.admin.clone().unwrap_or_else(|| DEFAULT_SERVER.to_owned()),
        };
        let announced_login = announced.http.filter(|_| announced.admin.as_ref() == Some(&server));
        let named = token(global, surroundings, &profile)?;
        let implicit = named.is_none();
        // Nobody named this file: when it is not there, the control plane says that a token is missing.
        let bootstrap = data_dir.filter(|_| implicit && is_loopback(&server));
        let bootstrap = bootstrap.map(|directory| directory.join("admin-token")).filter(|path| path.exists());
        let token = named.or(bootstrap.map(|path| token_of(&path)).transpose()?);
        let ca = global.ca.clone().or_else(|| surroundings.variable("TOLLGATE_CA").map(PathBuf::from)).or(profile.ca);
        let mut settings = Self { server, token, implicit, announced_login, ca, notes: Vec::new() };
        settings.warn();
        Ok(settings)
    }

    /// Takes the session that is kept for this control plane, when no token was named.
    ///
    /// # Errors
    /// A session that ended or cannot be refreshed.
    pub(crate) async fn signed_in(&mut self, surroundings: &Surroundings<'_>) -> Result<(), Failure> {
        let Some(sessions) = Sessions::at(surroundings).filter(|_| self.implicit) else { return Ok(()) };
        let current = sessions.current(&self.server, self.ca.as_deref(), surroundings.now, None);
        if let Some(token) = Box::pin(current).await? {
            self.token = Some(token.expose().clone());
            self.warn();
        }
        Ok(())
    }

    /// Where people sign in to this control plane, when nothing else is said.
    pub(crate) fn login_url(&self, surroundings: &Surroundings<'_>) -> Result<String, Failure> {
        let named = surroundings.variable("TOLLGATE_LOGIN_URL").map(str::to_owned);
        let derived = || {
            let uri: Uri = self.server.parse().ok()?;
            Some(format!("{}://{}:{LOGIN_PORT}", uri.scheme_str()?, uri.host()?))
        };
        let found = named.or_else(|| self.announced_login.clone()).or_else(derived);
        found.ok_or_else(|| {
            Failure::usage(format!("the server {:?} must be a URL such as {DEFAULT_SERVER}", self.server))
        })
    }

    /// The certificate authority for an address of this control plane. One that speaks http needs none.
    pub(crate) fn ca_of(&self, url: &str) -> Option<&Path> {
        self.ca.as_deref().filter(|_| url.starts_with("https://"))
    }

    fn warn(&mut self) {
        let server = &self.server;
        let exposed = self.token.is_some() && server.starts_with("http://") && !is_loopback(server);
        if exposed && self.notes.is_empty() {
            let text = format!("warning: the token travels to {server} without encryption; use https where you can");
            self.notes.push(text);
        }
    }
}

fn token(
    global: &Global,
    surroundings: &Surroundings<'_>,
    profile: &Profile,
) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(token) = &global.token {
        return Ok(Some(token.clone()));
    }
    if let Some(path) = &global.token_file {
        return token_of(path).map(Some);
    }
    if let Some(token) = surroundings.variable("TOLLGATE_TOKEN") {
        return Ok(Some(Zeroizing::new(token.to_owned())));
    }
    if let Some(path) = surroundings.variable("TOLLGATE_TOKEN_FILE") {
        return token_of(Path::new(path)).map(Some);
    }
    if let Some(token) = &profile.token {
        return Ok(Some(Zeroizing::new(token.clone())));
    }
    profile.token_file.as_deref().map(token_of).transpose()
}

fn token_of(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let shown = format!("the token file {}", path.display());
    let text = Zeroizing::new(read_file(path).map_err(|error| Failure::unreadable(&shown, &error))?);
    if text.trim().is_empty() {
        return Err(Failure::new("unreadable", format!("{shown} is empty")));
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn read_file(path: &Path) -> io::Result<String> {
    File::open(path).and_then(|mut file| read_bounded(&mut file))
}

// The standalone says where it listens; a file that is missing or odd leaves the default.
fn announced(data_dir: &Path) -> Option<Endpoints> {
    let text = read_file(&data_dir.join("endpoints.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether the address is this machine's own.
pub(crate) fn is_loopback(server: &str) -> bool {
    let Ok(uri) = server.parse::<Uri>() else { return false };
    let Some(host) = uri.host() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

// === impl Profile ===

impl Profile {
    fn read(surroundings: &Surroundings<'_>) -> Result<Self, Failure> {
        let named = surroundings.variable("TOLLGATE_CONFIG").map(PathBuf::from);
        let Some(path) = named.clone().or_else(|| Self::path(surroundings)) else { return Ok(Self::default()) };
        let shown = path.display();
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(Self::default()),
            Err(error) => return Err(Failure::unreadable(&format!("the profile {shown}"), &error)),
        };
        // The parser's own text would quote the line, and the line may be the token's.
        toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            Failure::new("profile", format!("{shown}:{line}: {}", error.message()))
                .hint("a profile has the keys server, token, token_file and ca, and no others")
        })
    }

    fn path(surroundings: &Surroundings<'_>) -> Option<PathBuf> {
        let base = surroundings.variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let base = base.or_else(|| surroundings.variable("HOME").map(|home| Path::new(home).join(".config")))?;
        Some(base.join("tollgate").join("config.toml"))
    }
}

/// Hides the token.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        f.debug_struct("Settings")
            .field("server", &self.server)
            .field("token", &token)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    fn read(global: &Global, environment: &[(&str, &str)]) -> Result<Settings, Failure> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let environment: BTreeMap<_, _> = environment.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect();
        let surroundings = Surroundings {
            environment,
            stdin: &mut io::empty(),
            stdout: &mut stdout,
            stderr: &mut stderr,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        Settings::read(global, &surroundings)
    }

    fn token_found(global: &Global, environment: &[(&str, &str)]) -> Option<String> {
        read(global, environment).unwrap().token.map(|token| token.to_string())
    }

    #[test]
    fn what_stands_nearer_to_the_command_wins() {
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join("tollgate");
        fs::create_dir(&profile).unwrap();
        fs::write(profile.join("config.toml"), "server = \"http://127.0.0.3:1\"\ntoken = \"of-profile\"\n").unwrap();
        let file = home.path().join("token");
        fs::write(&file, "of-file\n").unwrap();
        let (base, file) = (home.path().to_str().unwrap(), file.to_str().unwrap());
        let mut global = Global::default();
        let mut environment = vec![("XDG_CONFIG_HOME", base)];
        assert_eq!(token_found(&global, &environment).as_deref(), Some("of-profile"));
        assert_eq!(read(&global, &environment).unwrap().server, "http://127.0.0.3:1");
        environment.push(("TOLLGATE_TOKEN_FILE", file));
        assert_eq!(token_found(&global, &environment).as_deref(), Some("of-file"));
        environment.push(("TOLLGATE_TOKEN", "of-environment"));
        environment.push(("TOLLGATE_SERVER", "http://127.0.0.2:1"));
        assert_eq!(token_found(&global, &environment).as_deref(), Some("of-environment"));
        assert_eq!(read(&global, &environment).unwrap().server, "http://127.0.0.2:1");
        global.token_file = Some(file.into());
        assert_eq!(token_found(&global, &environment).as_deref(), Some("of-file"));
        global.token = Some(Zeroizing::new("of-flag".to_owned()));
        global.server = Some("http://127.0.0.1:1".to_owned());
        assert_eq!(token_found(&global, &environment).as_deref(), Some("of-flag"));
        assert_eq!(read(&global, &environment).unwrap().server, "http://127.0.0.1:1");
    }

    #[test]
    fn the_data_directory_serves_this_machine_only() {
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join("admin-token"), "bootstrap\n").unwrap();
        let environment = [("TOLLGATE_DATA_DIR", data.path().to_str().unwrap())];
        let found = read(&Global::default(), &environment).unwrap();
        assert_eq!(
            (found.server.as_str(), found.token.as_deref().map(String::as_str)),
            (DEFAULT_SERVER, Some("bootstrap"))
        );
        fs::write(
            data.path().join("endpoints.json"),
            r#"{"proxy": "http://127.0.0.1:1", "admin": "http://127.0.0.1:2"}"#,
        )
        .unwrap();
        assert_eq!(read(&Global::default(), &environment).unwrap().server, "http://127.0.0.1:2");
        let elsewhere = Global { server: Some("https://tollgate.example.com".to_owned()), ..Global::default() };
        assert_eq!(token_found(&elsewhere, &environment), None);
    }

    #[test]
    fn a_named_file_that_is_missing_or_odd_is_an_error() {
        assert_eq!(read(&Global::default(), &[("TOLLGATE_TOKEN_FILE", "/no/such")]).unwrap_err().code, "unreadable");
        assert_eq!(read(&Global::default(), &[("TOLLGATE_CONFIG", "/no/such")]).unwrap_err().code, "unreadable");
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.toml");
        fs::write(&path, "server = \"x\"\ntoken = \"canary\"\ntokn = \"canary\"\n").unwrap();
        let failure = read(&Global::default(), &[("TOLLGATE_CONFIG", path.to_str().unwrap())]).unwrap_err();
        assert!(
            failure.message.contains("config.toml:3: ") && !failure.message.contains("canary"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_token_in_the_clear_is_a_warning_off_this_machine() {
        for (server, warns) in [
            ("http://127.0.0.1:7070", false),
            ("http://localhost:7070", false),
            ("http://[::1]:7070", false),
            ("https://tollgate.example.com", false),
            ("http://tollgate.example.com", true),
            ("http://127.0.0.1.example.com", true),
        ] {
            let notes =
                read(&Global::default(), &[("TOLLGATE_SERVER", server), ("TOLLGATE_TOKEN", "t")]).unwrap().notes;
            assert_eq!(!notes.is_empty(), warns, "{server}");
        }
    }
}
