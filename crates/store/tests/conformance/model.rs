//! A model of wakes.md, as small as it gets: what each step must answer and leave behind. It keeps everything in
//! vectors and looks through all of it every time; it shares no decision with the domain it is compared with.

use wakeful_domain::time::Timestamp;
use wakeful_domain::wakeup::WakeupStatus;

use crate::world::{START, seconds};

/// Seconds before each retry; the last repeats.
const DELAYS_S: [u64; 4] = [120, 600, 1_800, 7_200];
const ATTEMPTS_DEFAULT: i64 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Succeed,
    Transient,
    Quota(u64),
    Drained,
    TimedOut,
    Permanent,
    Cancelled,
}

pub struct Company {
    pub cap: usize,
    pub is_paused: bool,
}

pub struct Agent {
    pub company: usize,
    pub cap: usize,
    pub is_paused: bool,
    pub is_gone: bool,
    pub parked_until: Option<Timestamp>,
}

/// An agent and a task of its company, or none.
pub type Lane = (usize, Option<usize>);

pub struct Wakeup {
    pub lane: Lane,
    pub is_timer: bool,
    pub priority: i64,
    pub due_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub attempt: i64,
    pub max_attempts: i64,
    pub status: WakeupStatus,
    pub run: Option<usize>,
}

pub struct Run {
    pub lane: Lane,
    pub is_live: bool,
    pub stop_puts_back: Option<bool>,
}

#[derive(Default)]
pub struct Model {
    passed_s: u64,
    pub companies: Vec<Company>,
    pub agents: Vec<Agent>,
    pub wakeups: Vec<Wakeup>,
    pub runs: Vec<Run>,
}

impl Model {
    pub fn now(&self) -> Timestamp {
        START + seconds(self.passed_s)
    }

    pub fn pass(&mut self, count: u64) {
        self.passed_s += count;
    }

    /// What time does by itself.
    pub fn tick(&mut self) {
        let now = self.now();
        for wakeup in self.wakeups.iter_mut().filter(|wakeup| wakeup.status == WakeupStatus::Pending) {
            if wakeup.expires_at.is_some_and(|at| at <= now) {
                wakeup.status = WakeupStatus::Expired;
            }
        }
        for agent in &mut self.agents {
            agent.parked_until = agent.parked_until.filter(|until| *until > now);
        }
    }

    pub fn live_on(&self, lane: Lane) -> Option<usize> {
        self.runs.iter().position(|run| run.is_live && run.lane == lane)
    }

    /// Whether a timer's lane has another one that waits or is with a run.
    pub fn has_other_timer(&self, place: usize) -> bool {
        let timer = &self.wakeups[place];
        let is_open = |wakeup: &Wakeup| matches!(wakeup.status, WakeupStatus::Pending | WakeupStatus::Claimed);
        let mut of_lane = self.wakeups.iter().filter(|wakeup| wakeup.lane == timer.lane && wakeup.is_timer);
        timer.is_timer && of_lane.any(is_open)
    }

    fn task_of(&self, lane: Lane) -> Option<(usize, usize)> {
        lane.1.map(|task| (self.agents[lane.0].company, task))
    }

    fn live(&self, counts: impl Fn(&Run) -> bool) -> usize {
        self.runs.iter().filter(|run| run.is_live && counts(run)).count()
    }

    pub fn live_of_agent(&self, agent: usize) -> usize {
        self.live(|run| run.lane.0 == agent)
    }

    pub fn live_of_company(&self, company: usize) -> usize {
        self.live(|run| self.agents[run.lane.0].company == company)
    }

    /// The pending wakeups of a lane that are due, in the order of their acceptance.
    pub fn due(&self, lane: Lane) -> Vec<usize> {
        let is_due = |wakeup: &Wakeup| {
            wakeup.lane == lane && wakeup.status == WakeupStatus::Pending && wakeup.due_at <= self.now()
        };
        (0..self.wakeups.len()).filter(|place| is_due(&self.wakeups[*place])).collect()
    }

    fn rank(&self, lane: Lane) -> i64 {
        let ranks = self.due(lane).into_iter().map(|place| {
            let wakeup = &self.wakeups[place];
            wakeup.due_at.as_micros() + (100 - wakeup.priority) * 36_000_000
        });
        ranks.min().unwrap_or(i64::MAX)
    }

    fn is_ready(&self, lane: Lane) -> bool {
        let agent = &self.agents[lane.0];
        let company = &self.companies[agent.company];
        let task = self.task_of(lane);
        let is_held = task.is_some() && self.live(|run| self.task_of(run.lane) == task) > 0;
        !self.due(lane).is_empty()
            && self.live_on(lane).is_none()
            && !is_held
            && [agent.is_paused, agent.is_gone, company.is_paused, agent.parked_until.is_some()] == [false; 4]
            && self.live_of_agent(lane.0) < agent.cap
            && self.live_of_company(agent.company) < company.cap
    }

    /// The lanes of which one must be claimed now; several if they are equal.
    pub fn best_lanes(&self) -> Vec<Lane> {
        let mut ready: Vec<Lane> =
            self.wakeups.iter().map(|wakeup| wakeup.lane).filter(|lane| self.is_ready(*lane)).collect();
        ready.sort_unstable();
        ready.dedup();
        let company = |lane: Lane| self.agents[lane.0].company;
        let place = |lane: Lane| (self.live_of_company(company(lane)), self.rank(lane));
        let best = ready.iter().map(|lane| place(*lane)).min();
        ready.into_iter().filter(|lane| Some(place(*lane)) == best).collect()
    }

    pub fn claim(&mut self, lane: Lane) -> (i64, Vec<usize>) {
        let fence = 1 + self.runs.iter().filter(|run| run.lane == lane).count() as i64;
        let batch = self.due(lane);
        self.runs.push(Run { lane, is_live: true, stop_puts_back: None });
        for place in &batch {
            self.take(*place, self.runs.len() - 1);
        }
        (fence, batch)
    }

    fn take(&mut self, place: usize, run: usize) {
        let wakeup = &mut self.wakeups[place];
        (wakeup.status, wakeup.run) = (WakeupStatus::Claimed, Some(run));
        wakeup.attempt += 1;
    }

    /// `None`: acknowledged; otherwise why not.
    pub fn acknowledge(&mut self, run: usize, place: usize) -> Option<&'static str> {
        let (mine, wakeup) = (self.runs[run].lane, &self.wakeups[place]);
        if self.agents[wakeup.lane.0].company != self.agents[mine.0].company {
            Some("not_found")
        } else if wakeup.lane != mine {
            Some("other_lane")
        } else if wakeup.status == WakeupStatus::Claimed {
            None
        } else if wakeup.status != WakeupStatus::Pending {
            Some("not_pending")
        } else if wakeup.due_at > self.now() {
            Some("not_due")
        } else {
            self.take(place, run);
            None
        }
    }

    pub fn finish(&mut self, run: usize, how: How) {
        let now = self.now();
        self.runs[run].is_live = false;
        let (agent, stop) = (self.runs[run].lane.0, self.runs[run].stop_puts_back);
        let how = match stop {
            Some(true) => How::Drained,
            Some(false) => How::Cancelled,
            None => how,
        };
        if let How::Quota(rest_s) = how {
            let until = now + seconds(rest_s);
            let company = self.agents[agent].company;
            for agent in self.agents.iter_mut().filter(|agent| agent.company == company) {
                agent.parked_until = agent.parked_until.max(Some(until));
            }
        }
        let is_gone = self.agents[agent].is_gone;
        for wakeup in &mut self.wakeups {
            if wakeup.run != Some(run) || wakeup.status != WakeupStatus::Claimed {
                continue;
            }
            let before = (wakeup.due_at, wakeup.attempt);
            wakeup.end(how, now);
            if wakeup.status == WakeupStatus::Pending {
                wakeup.run = None;
                if is_gone {
                    // It would never start again: it ends with the run that had it.
                    (wakeup.status, wakeup.run) = (WakeupStatus::Cancelled, Some(run));
                    (wakeup.due_at, wakeup.attempt) = before;
                }
            }
        }
    }

    pub fn accept(&mut self, wakeup: Wakeup) {
        self.wakeups.push(wakeup);
    }

    pub fn terminate(&mut self, agent: usize) {
        self.agents[agent].is_gone = true;
        for wakeup in &mut self.wakeups {
            if wakeup.lane.0 == agent && wakeup.status == WakeupStatus::Pending {
                wakeup.status = WakeupStatus::Cancelled;
            }
        }
    }
}

impl Wakeup {
    pub fn attempts_max(asked: Option<i64>) -> i64 {
        asked.unwrap_or(ATTEMPTS_DEFAULT)
    }

    fn end(&mut self, how: How, now: Timestamp) {
        match how {
            How::Succeed => self.status = WakeupStatus::Completed,
            How::Cancelled => self.status = WakeupStatus::Cancelled,
            How::Permanent => self.status = WakeupStatus::Failed,
            How::Drained => {
                self.attempt -= 1;
                (self.status, self.due_at) = (WakeupStatus::Pending, now);
            }
            // The draw of all ends here is one half: no jitter, half of the spread.
            How::Quota(rest_s) => {
                if self.back_by(now + seconds(rest_s + 30)) {
                    self.attempt -= 1;
                }
            }
            How::Transient => self.again(self.max_attempts, now),
            How::TimedOut => self.again(self.max_attempts.min(2), now),
        }
    }

    fn again(&mut self, attempts_max: i64, now: Timestamp) {
        let delay_s = DELAYS_S[usize::try_from(self.attempt - 1).unwrap().min(DELAYS_S.len() - 1)];
        if self.attempt >= attempts_max {
            self.status = WakeupStatus::Failed;
        } else {
            self.back_by(now + seconds(delay_s));
        }
    }

    /// Whether it goes back; a retry after its expiry is none.
    fn back_by(&mut self, due_at: Timestamp) -> bool {
        if self.expires_at.is_some_and(|expires_at| due_at >= expires_at) {
            self.status = WakeupStatus::Failed;
            return false;
        }
        (self.status, self.due_at) = (WakeupStatus::Pending, due_at);
        true
    }
}
