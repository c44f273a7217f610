//! The temper of a seed: which troubles it knows and how often. Every seed draws another one, since a world in which
//! everything goes wrong at once hides what only shows when one thing does.

use fastrand::Rng;

/// Shares are in a thousand.
#[derive(Debug, Clone)]
pub struct Temper {
    pub nodes: usize,
    pub commit_faults: u32,
    pub crashes: u32,
    pub machine_deaths: u32,
    pub clock_jumps: u32,
    /// Seconds by which clocks of nodes may differ.
    pub skew_s: u64,
    pub stalls: u32,
    pub late_writes: u32,
    /// Weights of who acts next.
    pub operators: u32,
    pub dispatch: u32,
    pub following: u32,
    pub agents: u32,
    /// Share of the operators' doings that are no wakes.
    pub meddling: u32,
    /// Share of runs that do not succeed.
    pub failing: u32,
    /// Whether failures come in bursts: short back-off, nobody waits long, and little else happens.
    pub is_hopeless: bool,
    /// Share of steps after which a long time passes.
    pub long_waits: u32,
    /// Share of wakes that fall due later, and that expire.
    pub later: u32,
    pub expiring: u32,
    /// Share of what people and agents do that is about subscriptions; some lives know none.
    pub subscribing: u32,
}

impl Temper {
    /// What is drawn from `more` leaves all else as it is.
    pub fn draw(chance: &mut Rng, more: &mut Rng) -> Temper {
        let mut maybe = |share: u32, most: u32| if chance.u32(0..100) < share { chance.u32(1..=most) } else { 0 };
        let (commit_faults, crashes, machine_deaths) = (maybe(60, 150), maybe(60, 40), maybe(30, 15));
        let (clock_jumps, skew_s, stalls) = (maybe(40, 30), u64::from(maybe(50, 40)), maybe(40, 30));
        let (late_writes, meddling) = (maybe(80, 80), maybe(85, 600));
        let (failing, long_waits) = (maybe(85, 1_000), maybe(90, 60));
        let (later, expiring) = (maybe(70, 400), maybe(60, 300));
        let is_hopeless = chance.u32(0..8) == 0;
        let (failing, long_waits, meddling) = match is_hopeless {
            true => (960, 5, meddling / 8),
            false => (failing, long_waits, meddling),
        };
        Temper {
            is_hopeless,
            nodes: chance.usize(1..=3),
            commit_faults,
            crashes,
            machine_deaths,
            clock_jumps,
            skew_s,
            stalls,
            late_writes,
            operators: if is_hopeless { 8 } else { chance.u32(10..60) },
            dispatch: chance.u32(8..25),
            following: chance.u32(25..70),
            agents: chance.u32(20..60),
            meddling,
            failing,
            long_waits,
            later,
            expiring,
            subscribing: if more.u32(0..3) == 0 { 0 } else { more.u32(100..800) },
        }
    }
}
