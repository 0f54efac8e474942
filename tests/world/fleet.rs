//! A control plane and several replicas as processes, so that each can be killed, stopped and started again under its old
//! address and files.

use std::path::PathBuf;

use tempfile::TempDir;
use tollgate_proto::admin::v1::{
    AdjustBudgetRequest, Budget, BudgetStatus, Lease, ListBudgetsRequest, ListLeasesRequest, Model, Price,
    SetModelRequest,
};
use tollgate_simulator::{Options, Running, Simulator};

use crate::{
    admin::Admin,
    client::{self, MODEL},
    cluster::{FLEET_TOKEN, PROVIDER_SECRET},
    database::{self, Kind},
    must,
    process::{Program, answers, free_port},
    until,
};

/// Dollars per million tokens, in nano-dollars: input, output.
pub const PRICE: (i64, i64) = (3_000_000_000, 15_000_000_000);

/// The processes.
#[derive(Debug)]
pub struct Fleet {
    /// The provider.
    pub simulator: Running,
    /// The administrator.
    pub admin: Admin,
    /// A client.
    pub http: reqwest::Client,
    /// The control plane.
    pub control_plane: Seat,
    /// The replicas.
    pub replicas: Vec<Seat>,
    /// Where everything is kept.
    pub directory: TempDir,
}

/// A process with what it needs to start again.
#[derive(Debug)]
pub struct Seat {
    /// Where agents send, or administrators call: `http://…`.
    pub url: String,
    name: &'static str,
    arguments: Vec<String>,
    settings: Vec<(&'static str, String)>,
    ready: String,
    log: PathBuf,
    program: Option<Program>,
}

// === impl Seat ===

impl Seat {
    fn new(
        name: &'static str,
        url: String,
        ready: String,
        settings: Vec<(&'static str, String)>,
        log: PathBuf,
    ) -> Self {
        let mut seat = Self { url, name, arguments: Vec::new(), settings, ready, log, program: None };
        seat.begin();
        seat
    }

    fn begin(&mut self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.program = Some(Program::start(self.name, &arguments, &self.settings, &self.log));
    }

    /// Kills it, as a power cut would.
    pub fn kill(&self) {
        if let Some(program) = &self.program {
            program.kill();
        }
    }

    /// Asks it to end, and waits until it has.
    pub async fn end(&self) {
        if let Some(program) = &self.program {
            program.terminate();
            program.ended().await;
        }
    }

    /// Starts it again, and waits until it is ready.
    pub async fn restart(&mut self, http: &reqwest::Client) {
        self.begin();
        self.ready(http).await;
    }

    /// Where it tells its metrics.
    #[must_use]
    pub fn status_url(&self) -> String {
        self.ready.replace("/readyz", "/metrics")
    }

    /// Where its health listener is, at which a control plane also signs people in.
    #[must_use]
    pub fn http_url(&self) -> String {
        self.ready.replace("/readyz", "")
    }

    /// Starts it again under another setting.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    /// Starts it again with these arguments.
    pub fn argue(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// Waits until it is ready.
    pub async fn ready(&self, http: &reqwest::Client) {
        answers(http, &self.ready).await;
    }

    /// What it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.program.as_ref().map(Program::said).unwrap_or_default()
    }
}

// === impl Fleet ===

impl Fleet {
    /// Starts a control plane and so many replicas, with a customer, a team, a price and the simulator as provider.
    pub async fn start(kind: Kind, replicas: usize) -> Self {
        Self::start_with(kind, replicas, &[]).await
    }

    /// The same, with further settings of the replicas.
    pub async fn start_with(kind: Kind, replicas: usize, further: &[(&'static str, String)]) -> Self {
        let directory = must("directory", tempfile::tempdir());
        let database_url = database::fresh(kind, &directory).await;
        Self::start_over(database_url, directory, replicas, further).await
    }

    /// The same, over that database.
    pub async fn start_over(
        database_url: String,
        directory: TempDir,
        replicas: usize,
        further: &[(&'static str, String)],
    ) -> Self {
        let http = client::http();
        let options = Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() };
        let simulator = must("simulator", Simulator::start(options).await);
        let local = || format!("127.0.0.1:{}", free_port());
        let (admin, fleet, plane_http) = (local(), local(), local());
        let data = directory.path().display().to_string();
        let settings = vec![
            ("DATABASE_URL", database_url),
            ("DATA_DIR", data.clone()),
            ("ADMIN_LISTEN", admin.clone()),
            ("FLEET_LISTEN", fleet.clone()),
            ("HTTP_LISTEN", plane_http.clone()),
            ("FLEET_TOKEN", FLEET_TOKEN.into()),
        ];
        let (url, ready) = (format!("http://{admin}"), format!("http://{plane_http}/readyz"));
        let log = directory.path().join("control-plane.log");
        let control_plane = Seat::new("tollgate-control-plane", url.clone(), ready, settings, log);
        control_plane.ready(&http).await;
        let token = must("token", std::fs::read_to_string(directory.path().join("admin-token")));
        let admin = Admin::new(&url, token.trim());
        admin.furnish(&format!("http://{}", simulator.addr()), PROVIDER_SECRET).await;
        price(&admin).await;
        let replica = |number: usize| {
            let (listen, status) = (local(), local());
            let name = format!("replica-{number}");
            let mut settings = vec![
                ("NAME", name.clone()),
                ("REGION", "test".into()),
                ("DATA_DIR", format!("{data}/{name}")),
                ("LISTEN", listen.clone()),
                ("STATUS_LISTEN", status.clone()),
                ("CONTROL_PLANE", format!("http://{fleet}")),
                ("FLEET_TOKEN", FLEET_TOKEN.into()),
            ];
            settings.extend(further.iter().cloned());
            let log = directory.path().join(format!("{name}.log"));
            Seat::new("tollgate-proxy", format!("http://{listen}"), format!("http://{status}/readyz"), settings, log)
        };
        let replicas: Vec<Seat> = (0..replicas).map(replica).collect();
        for replica in &replicas {
            replica.ready(&http).await;
        }
        Self { simulator, admin, http, control_plane, replicas, directory }
    }

    /// What the provider charges for everything that reached it, by its own books, in nano-dollars.
    #[must_use]
    pub fn charged(&self) -> i64 {
        let cost = |tokens: &tollgate_simulator::Tokens| {
            let part =
                |count: u64, per_million: i64| i64::try_from(count).unwrap_or(i64::MAX) * per_million / 1_000_000;
            part(tokens.input, PRICE.0) + part(tokens.output, PRICE.1)
        };
        let answered = |status: Option<u16>| status == Some(200);
        self.simulator
            .ledger()
            .iter()
            .filter(|row| answered(row.status))
            .filter_map(|row| row.tokens.as_ref().map(cost))
            .sum()
    }

    /// How the budgets stand.
    pub async fn budgets(&self) -> Vec<BudgetStatus> {
        budgets(&self.admin).await
    }

    /// Waits until nothing is lent, so that every hold was settled and everything over was given back.
    pub async fn quiet(&self) -> Vec<BudgetStatus> {
        until("everything lent to be given back", || async {
            let budgets = self.budgets().await;
            budgets.iter().all(|budget| budget.leased_nano_usd == 0).then_some(budgets)
        })
        .await
    }
}

/// A budget of so many nano-dollars that never resets.
#[must_use]
pub fn total(limit_nano_usd: i64) -> Budget {
    Budget { limit_nano_usd, window: "total".into(), ..Budget::default() }
}

/// Sets the price of the model that tests ask for: [`PRICE`], and the same for cached input.
pub async fn price(admin: &Admin) {
    let (input, output) = PRICE;
    let price = Price {
        input,
        output,
        cache_read: input,
        cache_write_5m: input,
        cache_write_1h: input,
        web_search: 10_000_000,
        long_context: None,
    };
    let model = Model { vendor: "anthropic".into(), model: MODEL.into(), price: Some(price), ..Default::default() };
    must("price", admin.models().set_model(SetModelRequest { model: Some(model) }).await);
}

/// How the budgets stand.
pub async fn budgets(admin: &Admin) -> Vec<BudgetStatus> {
    let request = ListBudgetsRequest { page_size: 1_000, ..Default::default() };
    must("budgets", admin.budgets().list_budgets(request).await).into_inner().budgets
}

/// What replicas have borrowed.
pub async fn leases(admin: &Admin) -> Vec<Lease> {
    must("leases", admin.budgets().list_leases(ListLeasesRequest::default()).await).into_inner().leases
}

/// Refunds an amount.
pub async fn refund(admin: &Admin, budget: &str, nano_usd: i64) -> BudgetStatus {
    let request = AdjustBudgetRequest {
        budget: budget.into(),
        amount_nano_usd: -nano_usd,
        reason: "a test".into(),
        ..Default::default()
    };
    must("refund", admin.budgets().adjust_budget(request).await).into_inner()
}
