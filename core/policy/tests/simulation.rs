//! The simulation: replicas, control planes and a database play thousands of seeded stories with the real state machines.
//!
//! What is real: [`lend`](tollgate_policy::lend), [`lease`](tollgate_policy::lease), [`borrow`](tollgate_policy::borrow) and
//! [`window`](tollgate_policy::window). What is played: SQL's transactions, the spool's disk, the network, processes and machines that end, clocks that
//! jump, providers that bill. A seed is a whole story:
//!
//! ```text
//! cargo test -p tollgate-policy --test simulation          thousands of seeds
//! make simulate SEEDS=100000                               more of them
//! make simulate SEED=42                                    one, with every event printed
//! ```
//!
//! The invariants, by their numbers: I1 settled and leased within the limit at grant; I2 spent and held within what was lent;
//! I3 providers bill at most the limit; I4 repeated and overtaken messages change nothing; I5 at rest nothing is held or lent, and
//! leased is the sum of the loans; I6 funds of a dead run stay spent until replay or release; I7 a stale run obtains and
//! frees nothing; I8 and I11 what is settled is the sum of the charges, each in the window of its hold; I9 all levels or
//! none; I10 a revoked key is not admitted; I12 nobody waits long while there is enough, and little is stranded. I13 is a
//! type: who calls a provider must show a hold, and here as there only an attempt has one.

#[cfg(test)]
mod simulation {
    mod rng;
    mod plan;
    mod spool;
    mod bank;
    mod world;
    mod replica;
    mod checks;
    mod figures;

    use std::sync::atomic::{AtomicU64, Ordering};

    use self::{figures::Figures, plan::Fault, world::play};

    /// So many seeds each run of the tests plays.
    const SEEDS: u64 = 3_000;
    /// After so many broken seeds a worker stops.
    const BROKEN_MAX: usize = 10;

    #[expect(clippy::disallowed_methods, reason = "which seeds to play is for who runs the test")]
    fn setting(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    // The figures of all seeds, and what was broken.
    fn play_all(seeds: u64) -> (Figures, Vec<String>) {
        let next = AtomicU64::new(1);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let play_some = || {
            let (mut figures, mut broken) = (Figures::default(), Vec::new());
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > seeds || broken.len() >= BROKEN_MAX {
                    return (figures, broken);
                }
                match play(seed, Fault::None, false) {
                    Ok(played) => figures.add(&played),
                    Err(what) => broken.push(what),
                }
            }
        };
        let (mut all, mut broken) = (Figures::default(), Vec::new());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(play_some)).collect();
            for worker in workers {
                let (figures, found) = worker.join().unwrap();
                all.merge(&figures);
                broken.extend(found);
            }
        });
        (all, broken)
    }

    #[test]
    fn no_seed_breaks_an_invariant() {
        if let Some(seed) = setting("SEED") {
            println!("{}", play(seed, Fault::None, true).unwrap());
            return;
        }
        let (figures, broken) = play_all(setting("SEEDS").unwrap_or(SEEDS));
        println!("{figures}");
        assert!(broken.is_empty(), "replay with SEED=..\n{}", broken.join("\n"));
    }

    /// Each fault that is planted around the state machines, and what must break first.
    const FAULTS: &[(Fault, &[&str])] = &[
        (Fault::NoSpoolFsync, &["I6", "I3"]),
        (Fault::NoFence, &["I7"]),
        (Fault::DeadLeaseRegranted, &["I6"]),
        (Fault::HoldForgotten, &["I9"]),
        (Fault::WindowZeroed, &["I11"]),
        (Fault::AncestorSkipped, &["I9"]),
        (Fault::AncestorUncharged, &["I11"]),
        (Fault::CountedTwice, &["I4"]),
        (Fault::WrongRun, &["I6", "I3", "I1", "I11"]),
        (Fault::WrongWindow, &["I11"]),
        (Fault::WindowBackwards, &["I3", "I8", "I5", "I1"]),
        (Fault::IntentNotRaised, &["I6", "I3"]),
        (Fault::AttemptForgotten, &["I6", "I3", "I5"]),
        (Fault::ReplayedTooEarly, &["I6", "I3"]),
        (Fault::RevokedAdmitted, &["I10"]),
    ];
    /// Within so many seeds each of them must be noticed.
    const FAULTY_SEEDS: u64 = 400;

    #[test]
    fn each_planted_fault_is_noticed() {
        for (fault, invariants) in FAULTS {
            let noticed = (1..=FAULTY_SEEDS).find_map(|seed| play(seed, *fault, false).err());
            let noticed = noticed.unwrap_or_else(|| panic!("{fault:?} was not noticed"));
            println!("{fault:?}: {noticed}");
            let named = |invariant: &&str| noticed.contains(&format!(": {invariant} "));
            assert!(invariants.iter().any(named), "{fault:?} broke something else: {noticed}");
        }
    }
}
