//! Measures what a developer's short-lived credential costs a request: verifying it for the first time, and finding it among
//! those that were verified. Either way it is decided against the snapshot.
//!
//! `cargo bench --profile measure -p tollgate-proxy --bench credentials`. Criterion times many at once; the percentiles are of
//! credentials that were timed one by one, the reading of the clock included. One credential that is verified again and again
//! is the same work each time: what its slow percentiles have beyond its fastest is the machine's noise.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use criterion::Criterion;
use mimalloc::MiMalloc;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tollgate_policy::{
    credential::{Claims, Presented, TokenKey},
    id::{CustomerId, KeyId, SessionId, TeamId, UserId},
    pattern::Patterns,
    snapshot::{AuditMode, Customer, Key, Object, Snapshot, Team, User},
    time::UnixMillis,
    token::KeyHash,
};
use tollgate_proxy::credentials::Credentials;

// As the proxy's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const ISSUED: i64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis::new(ISSUED * 1_000);
/// So many are verified one by one; fewer than are remembered, so that the second round finds all of them.
const CREDENTIALS: usize = 20_000;
/// Of requests as they come: so many developers, each of whom sends so many requests while a credential lives, which is an hour.
const DEVELOPERS: usize = 2_000;
const REQUESTS: usize = 200;

fn main() -> anyhow::Result<()> {
    let (world, texts) = (world()?, texts()?);
    let measures = std::env::args().any(|argument| argument == "--bench");
    let mut criterion = Criterion::default().configure_from_args();
    let first = texts.first().context("no credential")?;
    criterion.bench_function("verify", |bencher| {
        bencher.iter(|| Presented::parse(black_box(first)).ok().map(|presented| presented.verify(world.token_keys())));
    });
    let known = Credentials::default();
    criterion.bench_function("recall", |bencher| bencher.iter(|| request(&world, &known, black_box(first))));
    if measures {
        let credentials = Credentials::default();
        let presented = Presented::parse(first)?;
        let verified = |_: &String| presented.verify(world.token_keys()).is_ok();
        print("the same one verified again and again", timed(&texts, verified)?);
        print("first time", timed(&texts, |text| request(&world, &credentials, text))?);
        print("remembered", timed(&texts, |text| request(&world, &credentials, text))?);
        println!("{} of {CREDENTIALS} are remembered", credentials.remembered());
        let (credentials, few) = (Credentials::default(), texts.get(..DEVELOPERS).context("too few credentials")?);
        let mut all = Vec::with_capacity(DEVELOPERS * REQUESTS);
        for _ in 0..REQUESTS {
            all.extend(timed(few, |text| request(&world, &credentials, text))?);
        }
        print(&format!("{REQUESTS} requests with each of {DEVELOPERS}"), all);
    }
    criterion.final_summary();
    Ok(())
}

// What the gate does with a credential: its shape, its signature or the memory of it, the decision.
fn request(world: &Snapshot, credentials: &Credentials, text: &str) -> bool {
    Presented::parse(text).is_ok_and(|presented| credentials.authenticate(world, NOW, &presented).is_ok())
}

fn timed(texts: &[String], what: impl Fn(&String) -> bool) -> anyhow::Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(texts.len());
    for text in texts {
        let begun = Instant::now();
        let admitted = black_box(what(text));
        taken.push(begun.elapsed());
        anyhow::ensure!(admitted, "a credential was refused");
    }
    Ok(taken)
}

fn print(what: &str, mut taken: Vec<Duration>) {
    taken.sort_unstable();
    let at = |permille: usize| {
        let taken = taken.get(taken.len().saturating_sub(1) * permille / 1_000).copied().unwrap_or_default();
        taken.as_secs_f64() * 1e6
    };
    let (least, half, most, rare) = (at(0), at(500), at(990), at(999));
    println!("credential, {what}: least {least:.2} µs, p50 {half:.2} µs, p99 {most:.2} µs, p99.9 {rare:.2} µs");
}

fn pair() -> anyhow::Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).map_err(|error| anyhow::anyhow!("{error}"))
}

fn token_key() -> anyhow::Result<TokenKey> {
    Ok(TokenKey::new("0123456789abcdef", pair()?.public_key().as_ref().try_into()?)?)
}

fn texts() -> anyhow::Result<Vec<String>> {
    let (pair, key) = (pair()?, token_key()?);
    let text = |number: usize| {
        let claims = Claims {
            user: UserId::from_ulid(ULID)?,
            key: KeyId::from_ulid(ULID)?,
            session: SessionId::from_ulid(ULID)?,
            issued: ISSUED,
            not_before: ISSUED,
            expires: ISSUED + 3_600,
            id: format!("{number:026}").into(),
        };
        let input = claims.signing_input(&key)?;
        Ok(Presented::assemble(&input, pair.sign(input.as_bytes()).as_ref())?.expose().to_owned())
    };
    (0..CREDENTIALS).map(text).collect()
}

fn world() -> anyhow::Result<Snapshot> {
    let (customer, team) = (CustomerId::from_ulid(ULID)?, TeamId::from_ulid(ULID)?);
    let user = UserId::from_ulid(ULID)?;
    let key = Key {
        id: KeyId::from_ulid(ULID)?,
        name: "dev".into(),
        hash: KeyHash::new([1; 32]),
        team: team.clone(),
        user: Some(user.clone()),
        revoked: false,
        expires: None,
        models: Patterns::default(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: tollgate_policy::mcp::Access::default(),
        tool_rules: Arc::default(),
    };
    let objects = vec![
        Object::Customer(Customer { id: customer.clone(), name: "acme".into(), disabled: false, quota: None }),
        Object::Team(Team {
            id: team,
            name: "platform".into(),
            customer,
            disabled: false,
            quota: None,
            providers: Arc::new([]),
            regions: Patterns::default(),
        }),
        Object::User(User { id: user, name: "ada".into(), disabled: false, quota: None }),
        Object::Key(key),
        Object::TokenKey(token_key()?),
    ];
    Ok(Snapshot::default().next(1, objects, vec![]))
}
