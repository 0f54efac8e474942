//! Measures what money costs a request on its way: finding the budgets of its caller, holding in all of them, settling.
//!
//! Ten customers with a hundred teams and ten thousand keys have a budget each, so every request holds in three. The funds
//! are those of the proxy, and borrow over gRPC on loopback from a control plane that grants what is wished for; that goes on
//! while the requests are measured. Keys come in no order, so that what they need is seldom in a cache of the processor.
//!
//! `cargo bench --profile measure -p tollgate-proxy --bench funds`. Criterion times many requests at once; the percentiles
//! are of requests that were timed one by one, the reading of the clock included.
#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::{
    cell::Cell,
    collections::HashMap,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use criterion::Criterion;
use futures_util::StreamExt as _;
use mimalloc::MiMalloc;
use tokio::{
    net::TcpListener,
    runtime::{Handle, Runtime},
    task::JoinSet,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tollgate_policy::{
    budget::{Budget, Enforcement, Holding},
    decide::{self, Caller},
    id::{BudgetId, CustomerId, KeyId, ProviderId, TeamId},
    money::NanoUsd,
    pattern::Patterns,
    snapshot::{AuditMode, Customer, Key, Object, Quota, Snapshot, Team},
    time::UnixMillis,
    token::KeyHash,
};
use tollgate_proto::fleet::v1::{
    ExchangeRequest, ExchangeResponse, LeaseAnswer, LeaseAsk, LeaseStanding,
    lease_service_server::{LeaseService, LeaseServiceServer},
};
use tollgate_proxy::{
    funds::{Borrowing, Funds, Unfunded},
    membership::{self, Link},
    spool::{BYTES_MIN, Durability, Options, Spool},
};
use tollgate_settings::Secret;
use tonic::{Request, Response, Status, transport::Server};
use ulid::Ulid;

// As the proxy's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CUSTOMERS: usize = 10;
const TEAMS: usize = 100;
const KEYS: usize = 10_000;
const MODEL: &str = "claude-opus-4-8";
// What a request holds, and what it turns out to cost.
const HOLD: NanoUsd = NanoUsd::new(50_000_000);
const CHARGE: NanoUsd = NanoUsd::new(12_500_000);
// More than is spent in any measurement, also in a twentieth of it.
const LIMIT: NanoUsd = NanoUsd::new(1_000_000_000_000_000_000);
/// So many requests are timed one by one.
const TIMED: usize = 1_000_000;
/// Before that, so many let the funds see how fast they are spent.
const WARMING: usize = 2_000_000;
/// So many keys borrow at once in the beginning.
const OPENING: usize = 256;

/// What a request needs of the proxy.
struct World {
    snapshot: Snapshot,
    callers: Vec<Caller>,
    provider: ProviderId,
    funds: Arc<Funds>,
}

/// Grants what is wished for.
#[derive(Default)]
struct Lender {
    granted: Mutex<HashMap<String, i64>>,
}

/// How long requests took, in nanoseconds.
#[derive(Default)]
struct Timed {
    nanos: Vec<u64>,
    waited: usize,
}

/// Numbers without order, the same in every run: SplitMix64.
struct Picks(Cell<u64>);

/// Which key a request has, by such a number.
type Choice<'a> = &'a (dyn Fn(usize) -> usize + Sync);

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = CancellationToken::new();
    let (world, mut tasks) = runtime.block_on(World::open(&stop))?;
    let world = Arc::new(world);
    // Cargo says so when it measures; a test only runs everything once.
    let measures = std::env::args().any(|argument| argument == "--bench");
    if measures {
        on_threads(&runtime, &world, WARMING, &[&anyone])?;
    }
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("hold_and_settle", |bencher| {
        let picks = Picks::new(1);
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let begun = Instant::now();
                for _ in 0..count {
                    world.request(picks.next(KEYS)).await;
                }
                begun.elapsed()
            })
        });
    });
    if measures {
        percentiles(&runtime, &world)?;
    }
    criterion.final_summary();
    stop.cancel();
    runtime.block_on(async { while tasks.join_next().await.is_some() {} });
    Ok(())
}

fn percentiles(runtime: &Runtime, world: &Arc<World>) -> anyhow::Result<()> {
    // The keys of the first team, each thread with half of them.
    let even = |pick: usize| pick % (KEYS / TEAMS / 2) * 2 * TEAMS;
    let odd = |pick: usize| even(pick) + TEAMS;
    print("one thread", &on_threads(runtime, world, TIMED, &[&anyone])?);
    on_threads(runtime, world, WARMING, &[&even, &odd])?;
    print("two threads on one team", &on_threads(runtime, world, TIMED / 2, &[&even, &odd])?);
    Ok(())
}

fn anyone(pick: usize) -> usize {
    pick
}

// Times so many requests on each thread.
fn on_threads(runtime: &Runtime, world: &World, count: usize, threads: &[Choice<'_>]) -> anyhow::Result<Timed> {
    let handle = runtime.handle();
    std::thread::scope(|scope| {
        let seeded = threads.iter().zip(1..);
        let running: Vec<_> =
            seeded.map(|(key, seed)| scope.spawn(move || timed(handle, world, count, Picks::new(seed), key))).collect();
        let mut all = Timed::default();
        for thread in running {
            let Timed { nanos, waited } = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            all.nanos.extend(nanos);
            all.waited += waited;
        }
        all.nanos.sort_unstable();
        Ok(all)
    })
}

fn timed(handle: &Handle, world: &World, count: usize, picks: Picks, key: Choice<'_>) -> Timed {
    let mut timed = Timed { nanos: Vec::with_capacity(count), waited: 0 };
    handle.block_on(async {
        for _ in 0..count {
            let key = key(picks.next(KEYS));
            let begun = Instant::now();
            let mut request = pin!(world.request(key));
            if futures_util::poll!(request.as_mut()).is_pending() {
                timed.waited += 1;
                request.await;
            }
            timed.nanos.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    });
    timed
}

fn print(what: &str, timed: &Timed) {
    let Timed { nanos, waited } = timed;
    let at = |permille: usize| {
        let nanos = nanos.get(nanos.len().saturating_sub(1) * permille / 1_000).copied().unwrap_or_default();
        Duration::from_nanos(nanos).as_secs_f64() * 1e6
    };
    println!(
        "hold and settle in 3 budgets, {KEYS} keys, {what}: p50 {:.2} µs, p99 {:.2} µs, p99.9 {:.2} µs; \
         {waited} of {} waited to borrow",
        at(500),
        at(990),
        at(999),
        nanos.len(),
    );
}

// === impl World ===

impl World {
    // Everything is set up, and every budget has been borrowed from.
    async fn open(stop: &CancellationToken) -> anyhow::Result<(Self, JoinSet<()>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let link = link(&format!("http://{}", listener.local_addr()?))?;
        let mut tasks = JoinSet::new();
        let serving = stop.clone();
        tasks.spawn(async move {
            let router = Server::builder().add_service(LeaseServiceServer::new(Lender::default()));
            // It ends after the funds have been given back.
            let ended = async move { serving.cancelled().await };
            let _ = router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended).await;
        });
        let options = Options { durability: Durability::Memory, bytes_max: BYTES_MIN };
        let (spool, _) = Spool::open(Path::new(""), options)?;
        let funds = Arc::new(Funds::new());
        tasks.spawn(Borrowing::new(Arc::clone(&funds), link, spool).run(stop.clone()));
        let (snapshot, callers) = policy()?;
        let provider = ProviderId::from_ulid(&ulid(0, 0))?;
        let world = Self { snapshot, callers, provider, funds };
        futures_util::stream::iter(0..KEYS).for_each_concurrent(OPENING, |key| world.request(key)).await;
        Ok((world, tasks))
    }

    // What a request does about money between its authentication and its record.
    async fn request(&self, key: usize) {
        let Some(caller) = self.callers.get(key) else { return };
        let owners = decide::quotas(&self.snapshot, caller);
        let budgets: Vec<&Arc<Budget>> = owners
            .iter()
            .flat_map(|owner| &owner.quota.budgets)
            .filter(|budget| budget.covers(MODEL, Some(&self.provider)) && budget.enforcement == Enforcement::Hard)
            .collect();
        match self.funds.hold(&budgets, HOLD).await {
            Ok(hold) => {
                self.funds.end(hold, CHARGE);
            }
            Err(unfunded) => refused(&unfunded),
        }
    }
}

// Refusals are fast, and would flatter the figures.
#[expect(clippy::panic, reason = "a measurement with a refusal in it is none")]
fn refused(unfunded: &Unfunded) -> ! {
    panic!("a request was refused: {unfunded:?}")
}

fn link(address: &str) -> anyhow::Result<Link> {
    let options = membership::Options {
        control_plane: address.to_owned(),
        data_dir: PathBuf::new(),
        name: "bench".to_owned(),
        region: "local".to_owned(),
        join_token: None,
        fleet_token: Some(Secret::new("fleet-token")),
        authority: None,
    };
    Link::open(options).context("failed to prepare the link")
}

fn policy() -> anyhow::Result<(Snapshot, Vec<Caller>)> {
    let mut objects = Vec::with_capacity(CUSTOMERS + TEAMS + KEYS);
    for number in 0..CUSTOMERS {
        let id = CustomerId::from_ulid(&ulid(1, number))?;
        objects.push(Object::Customer(Customer { id, name: "acme".into(), disabled: false, quota: quota(1, number)? }));
    }
    for number in 0..TEAMS {
        let (id, customer) =
            (TeamId::from_ulid(&ulid(2, number))?, CustomerId::from_ulid(&ulid(1, number % CUSTOMERS))?);
        objects.push(Object::Team(Team {
            id,
            name: "platform".into(),
            customer,
            disabled: false,
            quota: quota(2, number)?,
            providers: Arc::new([]),
            regions: Patterns::default(),
        }));
    }
    for number in 0..KEYS {
        objects.push(Object::Key(Key {
            id: KeyId::from_ulid(&ulid(3, number))?,
            name: "dev".into(),
            hash: hash(number),
            team: TeamId::from_ulid(&ulid(2, number % TEAMS))?,
            user: None,
            revoked: false,
            expires: None,
            models: Patterns::default(),
            providers: Arc::new([]),
            credentials: Arc::new([]),
            quota: quota(3, number)?,
            audit: AuditMode::Required,
            regions: Patterns::default(),
            tools: tollgate_policy::mcp::Access::default(),
            tool_rules: Arc::default(),
        }));
    }
    let snapshot = Snapshot::default().next(1, objects, vec![]);
    let caller = |number| decide::authenticate(&snapshot, UnixMillis::new(1), &hash(number)).ok();
    let callers: Option<Vec<Caller>> = (0..KEYS).map(caller).collect();
    Ok((snapshot, callers.context("a key is not known")?))
}

fn quota(level: u64, number: usize) -> anyhow::Result<Option<Arc<Quota>>> {
    let budget = Budget {
        id: BudgetId::from_ulid(&ulid(level, number))?,
        limit: LIMIT,
        period: "total".parse()?,
        models: Patterns::default(),
        provider: None,
        enforcement: Enforcement::Hard,
        holding: Holding::Strict,
        grace: None,
        contact: Arc::default(),
    };
    Ok(Some(Arc::new(Quota { budgets: vec![Arc::new(budget)], ..Quota::default() })))
}

// As an installation's own: of about the same time, and of any random part.
fn ulid(level: u64, number: usize) -> String {
    let picks = Picks::new((level << 32) | number as u64);
    let random = (u128::from(picks.draw()) << 64) | u128::from(picks.draw());
    Ulid::from_parts(1_760_000_000_000 + level, random).to_string()
}

fn hash(number: usize) -> KeyHash {
    let mut bytes = [0; 32];
    let picks = Picks::new(number as u64 + 1);
    bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&picks.draw().to_le_bytes()));
    KeyHash::new(bytes)
}

// === impl Lender ===

impl Lender {
    fn answer(&self, ask: LeaseAsk) -> LeaseAnswer {
        let LeaseAsk { budget, window_ms: _, granted, returned: _, need: _, wish, mean_hold: _ } = ask;
        let mut lent = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let total = lent.entry(budget).or_default();
        *total = (*total).max(granted.saturating_add(wish));
        let standing = LeaseStanding::Ample.into();
        LeaseAnswer { window_ms: 0, granted: *total, valid_ms: -1, standing, limit: LIMIT.get(), settled: 0 }
    }
}

#[tonic::async_trait]
impl LeaseService for Lender {
    async fn exchange(&self, request: Request<ExchangeRequest>) -> Result<Response<ExchangeResponse>, Status> {
        let answers = request.into_inner().asks.into_iter().map(|ask| self.answer(ask)).collect();
        Ok(Response::new(ExchangeResponse { answers }))
    }
}

// === impl Picks ===

impl Picks {
    const fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    fn draw(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn next(&self, below: usize) -> usize {
        usize::try_from(self.draw() % below as u64).unwrap_or_default()
    }
}
