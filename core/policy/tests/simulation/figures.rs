//! What is counted while seeds play.

use std::fmt;

#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) seeds: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) waited: u64,
    pub(crate) calls: u64,
    pub(crate) checks: u64,
    /// The most that providers billed beyond a limit, in nano-dollars.
    pub(crate) excess: i64,
    /// Without faults and with enough for all: requests, those that waited, and the calls.
    pub(crate) calm: (u64, u64, u64),
    /// The longest wait there, in milliseconds.
    pub(crate) longest_wait_ms: i64,
    /// Looks at scarce budgets, the sum and the most of what was stranded then, in thousandths of the limit.
    pub(crate) stranded: (u64, i64, i64),
    /// What was spent of scarce budgets in the end.
    pub(crate) used_percent: Vec<i64>,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += 1;
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.waited += other.waited;
        self.calls += other.calls;
        self.checks += other.checks;
        self.excess = self.excess.max(other.excess);
        self.calm.0 += other.calm.0;
        self.calm.1 += other.calm.1;
        self.calm.2 += other.calm.2;
        self.longest_wait_ms = self.longest_wait_ms.max(other.longest_wait_ms);
        self.stranded.0 += other.stranded.0;
        self.stranded.1 += other.stranded.1;
        self.stranded.2 = self.stranded.2.max(other.stranded.2);
        self.used_percent.extend(&other.used_percent);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let seeds = self.seeds + other.seeds;
        self.add(other);
        self.seeds = seeds;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: u64, whole: u64| (part * 1_000).checked_div(whole).unwrap_or_default();
        let shown = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
        let Self { seeds, admitted, refused, waited, calls, checks, excess, .. } = self;
        writeln!(f, "{seeds} seeds without a break, {checks} checks; overshoot {excess} nano-dollars")?;
        let at_once = shown(percent(admitted - waited, *admitted));
        writeln!(f, "all:    {admitted} admitted ({at_once} % at once), {refused} refused, {calls} lease calls")?;
        let (requests, waited, calls) = self.calm;
        let (at_once, each) = (shown(percent(requests - waited, requests)), percent(calls, requests));
        let each = format!("{}.{:03}", each / 1_000, each % 1_000);
        let longest = self.longest_wait_ms;
        writeln!(f, "calm:   {at_once} % at once, {each} lease calls a request, longest wait {longest} ms")?;
        let (looks, sum, most) = self.stranded;
        let mean = sum.checked_div(i64::try_from(looks).unwrap_or(i64::MAX)).unwrap_or_default();
        let used: i64 =
            self.used_percent.iter().sum::<i64>() / i64::try_from(self.used_percent.len().max(1)).unwrap_or(1);
        let least = self.used_percent.iter().min().copied().unwrap_or_default();
        write!(
            f,
            "scarce: stranded {mean} thousandths of the limit on average, {most} at most; used {used} % in the end, {least} % at least"
        )
    }
}
