//! What is true in Wakeful. Pure: no async, no I/O, no clock, no chance of its own;
//! `now` and random draws are arguments. State and event in, new state out.
//!
//! Glossary, from the outside in:
//! - [`company`]: the tenant that everything belongs to.
//! - [`agent`]: whom Wakeful wakes; how it is started is its *adapter's* business.
//! - [`active_hours`]: when an agent's timers may start it.
//! - [`budget`]: what may be spent, by whom and in which time.
//! - [`task`]: what an agent works on; [`goal`]: what tasks are for; [`project`]: where they are worked on.
//! - [`comment`]: what somebody said about a task; [`mention`]: whom it names; [`mail`]: what is written to somebody.
//! - [`wakeup`]: one reason to wake one agent; a durable row with exactly one fate.
//! - [`schedule`]: what wakes agents, makes tasks or does something by the clock; each nominal time is a *slot*.
//! - [`subscription`]: who is woken when something happens; its *filter* says which of what happens.
//! - [`webhook`]: where others tell Wakeful what happens.
//! - [`lane`]: (agent, task) or (agent, no task): pending wakeups and at most one live run.
//! - [`run`]: one execution of an agent for one lane, with a *batch* of wakeups and a *fence*.
//! - [`session`]: whether a run resumes what its lane has; the note to a fresh one.
//! - [`secret`]: a value that agents are given and nobody is shown.
//! - [`worktree`]: a git worktree of a lane's own, and when it may go.
//! - [`outcome`]: how an execution ended, as its adapter judges it.
//! - [`failure`]: every failure code and its class.
//! - [`silence`]: what is done about a live run from which nothing is heard.
//! - [`settle`]: the end of a run, decided.
//! - [`retry`]: when a failed wakeup is tried again.
//! - [`retention`]: what is kept for how long.
//! - [`waiting`]: why a pending wakeup waits.
//! - [`escalation`]: what a person has to know or decide.
//! - [`notification`]: what people are told, quiet unless there is something to say.
//! - [`channel`]: where notifications go besides the inbox; [`delivery`]: one on its way through one channel.
//! - [`quiet`]: whether an agent that a timer woke has anything to tell.
//! - [`hex`]: checksums and hashes as text; [`url`]: text in URLs.
//! - [`hmac`], [`signature`]: codes that only the holder of a key can make, and signed requests.
//! - [`invariant`]: what is always true, by name.

pub mod active_hours;
pub mod actor;
pub mod agent;
pub mod budget;
pub mod channel;
pub mod comment;
pub mod company;
pub mod delivery;
pub mod escalation;
pub mod failure;
pub mod goal;
pub mod hex;
pub mod hmac;
pub mod id;
pub mod invariant;
pub mod lane;
pub mod mail;
pub mod mention;
pub mod notification;
pub mod outcome;
pub mod project;
pub mod quiet;
pub mod retention;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod session;
pub mod settle;
pub mod signature;
pub mod silence;
pub mod subscription;
pub mod task;
pub mod time;
pub mod url;
pub mod usage;
pub mod waiting;
pub mod wakeup;
pub mod webhook;
pub mod worktree;
