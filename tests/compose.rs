//! `docker-compose.yml` as a test: it parses, it gives nothing away, and the programs accept what it sets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a file that is not as it must be fails its test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use tollgate_settings::Reader;

const PROXIES: [&str; 3] = ["proxy-eu", "proxy-us", "proxy-ap"];

type Variables = BTreeMap<&'static str, String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

// Puts variables in, as Compose does: `$$` is a dollar, `${A:-b}` has a default, `${A:?why}` must be set.
fn interpolate(text: &str, variables: &Variables) -> Result<String, String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
            continue;
        }
        let (expression, after) = after.strip_prefix('{').and_then(|after| after.split_once('}')).expect("a lone '$'");
        let (name, operator) = expression.split_once(':').unwrap_or((expression, "?no default"));
        match (variables.get(name), operator.split_at(1)) {
            (Some(value), _) => done.push_str(value),
            (None, ("-", default)) => done.push_str(default),
            (None, (_, why)) => return Err(format!("{name}: {why}")),
        }
        rest = after;
    }
    Ok(done + rest)
}

fn compose(variables: &Variables) -> Result<Value, String> {
    // A comment may speak of a dollar.
    let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let text = interpolate(&code.join("\n"), variables)?;
    Ok(serde_saphyr::from_str(&text).expect("docker-compose.yml is not YAML"))
}

// The file as it is after deploy/make-secrets.
struct Deployment {
    secrets: TempDir,
    file: Value,
}

impl Deployment {
    fn new() -> Self {
        let secrets = TempDir::new().unwrap();
        let made = Command::new(root().join("deploy/make-secrets")).arg(secrets.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let variables = Variables::from([("TOLLGATE_SECRETS", secrets.path().display().to_string())]);
        Self { file: compose(&variables).unwrap(), secrets }
    }

    fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.file["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
    }

    fn service(&self, name: &str) -> &Value {
        &self.file["services"][name]
    }

    // The variables of a service, with the files of this machine in place of those of the container.
    fn environment(&self, name: &str) -> Vec<(String, String)> {
        let secrets = format!("file://{}", self.secrets.path().display());
        let variables = self.service(name)["environment"].as_object().unwrap().iter();
        variables.map(|(name, value)| (name.clone(), text(value).replace("file:///run/secrets", &secrets))).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn without_secrets_nothing_starts_and_the_reason_is_told() {
    let refusal = compose(&Variables::new()).unwrap_err();
    assert!(refusal.starts_with("TOLLGATE_SECRETS: run deploy/make-secrets"), "{refusal}");
}

#[test]
fn there_is_one_control_plane_and_three_proxies_in_three_regions() {
    let deployment = Deployment::new();
    let expect = BTreeSet::from(["postgres", "redis", "control-plane", "join", "proxy-eu", "proxy-us", "proxy-ap"]);
    assert_eq!(names(&deployment.file["services"]), expect);
    let of = |path: &str| -> BTreeSet<&str> {
        PROXIES.iter().map(|name| text(deployment.file.pointer(&format!("/services/{name}/{path}")).unwrap())).collect()
    };
    assert_eq!(of("environment/TOLLGATE_REGION").len(), 3);
    assert_eq!(of("environment/TOLLGATE_NAME"), BTreeSet::from(PROXIES));
    assert_eq!(of("ports/0"), BTreeSet::from(["127.0.0.1:8080:8080", "127.0.0.1:8180:8080", "127.0.0.1:8280:8080"]));
}

#[test]
fn every_service_runs_unprivileged_on_a_read_only_system_and_is_watched() {
    let deployment = Deployment::new();
    for (name, service) in deployment.services() {
        assert_eq!(service["read_only"], Value::Bool(true), "{name}");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(!matches!(service["user"].as_str(), None | Some("root" | "0" | "0:0")), "{name} runs as root");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(name == "join" || !list(&service["healthcheck"]["test"]).is_empty(), "{name} has no health check");
        let image = text(&service["image"]);
        let pinned = image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest");
        assert!(pinned || service.get("build").is_some(), "{name}: {image} is whatever is newest");
    }
}

#[test]
fn what_a_service_refers_to_is_there() {
    let deployment = Deployment::new();
    let services = names(&deployment.file["services"]);
    for (name, service) in deployment.services() {
        let depends = names(&service["depends_on"]);
        assert!(depends.is_subset(&services), "{name} depends on {depends:?}");
        let networks: BTreeSet<_> = list(&service["networks"]).into_iter().collect();
        assert!(networks.is_subset(&names(&deployment.file["networks"])), "{name} is on {networks:?}");
        let volumes: BTreeSet<_> =
            list(&service["volumes"]).into_iter().map(|volume| volume.split(':').next().unwrap()).collect();
        assert!(volumes.is_subset(&names(&deployment.file["volumes"])), "{name} mounts {volumes:?}");
        let secrets: BTreeSet<_> = list(&service["secrets"]).into_iter().collect();
        assert!(secrets.is_subset(&names(&deployment.file["secrets"])), "{name} is given {secrets:?}");
    }
    for (name, secret) in deployment.file["secrets"].as_object().unwrap() {
        let length = fs::read_to_string(text(&secret["file"])).unwrap().trim().len();
        assert!(length >= 48, "{name} is short, or deploy/make-secrets does not make it");
    }
}

#[test]
fn no_secret_stands_in_the_file() {
    let deployment = Deployment::new();
    for (name, service) in deployment.services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["PASSWORD", "TOKEN", "KEY", "SECRET", "URL"].iter().any(|word| variable.contains(word));
            let by_file = text(value).starts_with("file:///") || variable.ends_with("_FILE");
            assert!(!secret || by_file, "{name}: {variable} is no file");
        }
    }
}

#[test]
fn the_database_is_the_one_that_postgres_makes() {
    let deployment = Deployment::new();
    let environment = &deployment.service("postgres")["environment"];
    let read = |name: &str| fs::read_to_string(deployment.secrets.path().join(name)).unwrap().trim().to_owned();
    let (user, database) = (text(&environment["POSTGRES_USER"]), text(&environment["POSTGRES_DB"]));
    let expect = format!("postgres://{user}:{}@postgres:5432/{database}", read("postgres_password"));
    assert_eq!(read("database_url"), expect);
}

#[test]
fn the_redis_of_the_proxies_is_the_one_of_the_file() {
    let deployment = Deployment::new();
    let read = |name: &str| fs::read_to_string(deployment.secrets.path().join(name)).unwrap().trim().to_owned();
    assert_eq!(read("redis_url"), format!("redis://:{}@redis:6379", read("redis_password")));
    let redis = deployment.service("redis");
    let command = list(&redis["command"]).join(" ");
    assert!(command.contains("requirepass") && !command.contains("--port"), "{command}");
    let networks = |service: &'_ Value| -> BTreeSet<String> {
        list(&service["networks"]).into_iter().map(str::to_owned).collect()
    };
    for name in PROXIES {
        let service = deployment.service(name);
        assert_eq!(service["environment"]["TOLLGATE_REDIS_URL"], "file:///run/secrets/redis_url", "{name}");
        assert!(list(&service["secrets"]).contains(&"redis_url"), "{name} is not given the secret");
        assert!(!networks(service).is_disjoint(&networks(redis)), "{name} cannot reach it");
        // No request depends on it: a proxy starts without it.
        assert!(!names(&service["depends_on"]).contains("redis"), "{name}");
    }
}

#[test]
fn the_programs_accept_their_settings_and_find_each_other() {
    let deployment = Deployment::new();
    let mut reader = Reader::new(None, deployment.environment("control-plane"));
    let plane = tollgate_control_plane::config::Config::read(&mut reader).unwrap();
    assert!(plane.database_url.expose().starts_with("postgres://tollgate:"));
    assert!(plane.admin_listen.ip().is_loopback(), "the admin API is on a network");
    assert!(plane.encryption_key.is_some() && plane.fleet_token.is_none());
    let health = list(&deployment.service("control-plane")["healthcheck"]["test"]).join(" ");
    assert!(health.contains(&format!("http://{}/readyz", plane.http_listen)), "{health}");

    // What deploy/start-proxy adds.
    let token = deployment.secrets.path().join("join-token");
    fs::write(&token, "token\n").unwrap();
    for name in PROXIES {
        let mut environment = deployment.environment(name);
        environment.push(("TOLLGATE_JOIN_TOKEN".into(), format!("file://{}", token.display())));
        let proxy = tollgate_proxy::Config::read(&mut Reader::new(None, environment)).unwrap();
        assert_eq!(proxy.control_plane, format!("https://control-plane:{}", plane.fleet_listen.port()), "{name}");
        assert!(proxy.join_token.is_some() && proxy.fleet_token.is_none(), "{name}");
        assert!(proxy.redis_url.is_some_and(|url| url.expose().ends_with("@redis:6379")), "{name}");
        let port = format!(":{}", proxy.listen.port());
        assert!(list(&deployment.service(name)["ports"]).iter().all(|ports| ports.ends_with(&port)), "{name}");
        let health = list(&deployment.service(name)["healthcheck"]["test"]).join(" ");
        assert!(health.contains(&format!("http://{}/readyz", proxy.status_listen)), "{name}: {health}");
        let grace: u64 = text(&deployment.service(name)["stop_grace_period"]).trim_end_matches('s').parse().unwrap();
        assert!(grace > proxy.drain_timeout.as_secs(), "{name} is killed while it drains");
        assert!(proxy.data_dir == Path::new("/data") && plane.data_dir == Path::new("/data"), "{name}");
    }
}
