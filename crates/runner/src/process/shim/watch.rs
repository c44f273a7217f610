//! The one loop of the shim: from the started agent to the empty tree. It waits for signals, output,
//! servers, the thread that writes the log and deadlines, and never for anything else: not for the disk.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, wait};

use crate::adapters::StopSignal;

use super::super::clock;
use super::super::identity::Identity;
use super::super::launch::Launch;
use super::super::log::write::{LogWriter, Position};
use super::super::protocol::{Order, Report};
use super::super::tree;
use super::agent::Agent;
use super::ending::{Action, Ending};
use super::guard::Guard;
use super::input::Input;
use super::output::{Output, READ_BYTES};
use super::patience::{Patience, beside};
use super::servers::Servers;
use super::system::{self, SignalDescriptor};

/// Hints are at least this far apart.
const HINT_INTERVAL: Duration = Duration::from_millis(20);

/// A running launch.
pub struct Watch<'a> {
    pub launch: &'a Launch,
    pub identity: Identity,
    pub servers: &'a mut Servers,
    pub log: &'a mut LogWriter,
    patience: Patience,
    signals: &'a SignalDescriptor,
    /// Until it was waited for: from then on its number may mean another process.
    leader: Option<Pid>,
    main: Pid,
    input: Input,
    outputs: [Output; 2],
    ending: Ending,
    guard: Guard,
    ended: Option<WaitStatus>,
    killed_by_us: bool,
    /// The most processes that were seen at once in a tree that had to be ended.
    members_max: usize,
    stuck: Option<Report>,
    hinted_at: Option<Instant>,
    hint_is_owed: bool,
}

/// How the tree ended.
pub struct Ended {
    pub status: Option<WaitStatus>,
    pub ending: Ending,
    /// Whether KILL was sent before the main process ended.
    pub killed_by_us: bool,
    /// How many processes had been left behind and had to be ended.
    pub held_open: Option<u32>,
    pub patience: Patience,
}

/// What can be served without waiting.
#[derive(Default)]
struct Ready {
    signals: bool,
    newcomers: bool,
    input: bool,
    outputs: [bool; 2],
    log: bool,
    connections: Vec<bool>,
}

impl<'a> Watch<'a> {
    pub fn new(
        launch: &'a Launch,
        identity: Identity,
        agent: Agent,
        guard: Guard,
        servers: &'a mut Servers,
        log: &'a mut LogWriter,
        signals: &'a SignalDescriptor,
    ) -> Watch<'a> {
        Watch {
            launch,
            identity,
            servers,
            log,
            patience: Patience::default(),
            signals,
            leader: Some(agent.pid),
            main: agent.pid,
            input: agent.stdin,
            outputs: agent.outputs,
            ending: Ending::new(launch, clock::monotonic()),
            guard,
            ended: None,
            killed_by_us: false,
            members_max: 0,
            stuck: None,
            hinted_at: None,
            hint_is_owed: false,
        }
    }

    /// Serves until no descendant is left and all their output is in the log.
    pub fn run(mut self) -> io::Result<Ended> {
        let mut buffer = vec![0; READ_BYTES];
        // Orders may have come together with the description.
        let all = vec![true; self.servers.connections.len()];
        self.serve_servers(&all);
        loop {
            let ready = self.wait_for_something()?;
            if ready.input {
                let answers = self.input.hung_up_or_ready();
                self.answer(&answers);
            }
            let before = self.log.position();
            if ready.log {
                self.log.collect();
            }
            self.take_output(ready.outputs, &mut buffer);
            self.hint(before);
            if ready.newcomers {
                let slow = self.patience.present(clock::monotonic());
                let present: Vec<Report> = self.present().into_iter().chain(slow).collect();
                self.servers.accept(&present);
            }
            self.serve_servers(&ready.connections);
            if ready.signals && self.take_signals()? {
                break;
            }
            let now = clock::monotonic();
            if let Some(limit) = self.guard.due(now) {
                let action = self.ending.exceed(limit, now);
                self.act(action);
            }
            let action = self.ending.due(now);
            self.act(action);
        }
        self.ending.limit = self.ending.limit.or_else(|| self.guard.last_look());
        self.guard.remove();
        drop(buffer);
        let present = self.present();
        beside(self.servers, &mut self.patience, &present, || {
            for output in &mut self.outputs {
                output.drain(self.log);
            }
            self.log.flush();
            self.log.wait();
        });
        self.hint_is_owed = true;
        self.hint_now();
        let answers = self.input.close("the agent has ended");
        self.answer(&answers);
        let left = u32::try_from(self.members_max).unwrap_or(u32::MAX);
        let held_open = self.ending.was_held_open.then_some(left);
        Ok(Ended {
            status: self.ended,
            ending: self.ending,
            killed_by_us: self.killed_by_us,
            held_open,
            patience: self.patience,
        })
    }

    fn wait_for_something(&mut self) -> io::Result<Ready> {
        let hint_at = self.hinted_at.filter(|_| self.hint_is_owed).map(|at| at + HINT_INTERVAL);
        let [out_at, err_at] = [self.outputs[0].release_at, self.outputs[1].release_at];
        let now = clock::monotonic();
        let slow_at = self.patience.due_at(self.log.busy_since());
        let rested_at = self.outputs.iter().filter_map(|output| output.rests_until).min();
        let due_at = [self.ending.due_at(), self.guard.look_at, hint_at, out_at, err_at, slow_at, rested_at];
        let due_at = due_at.into_iter().flatten().min();
        let timeout = due_at.map(|at| timespec(at.saturating_duration_since(now)));
        let has_room = self.log.has_room();
        let is_read = self.outputs.each_ref().map(|output| has_room && output.is_open_at(now));
        let mut waited =
            vec![PollFd::new(self.signals, PollFlags::IN), PollFd::new(&self.servers.listener, PollFlags::IN)];
        for connection in &self.servers.connections {
            let flags = if connection.is_behind() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            waited.push(PollFd::new(connection, flags));
        }
        let connections = waited.len();
        let pipes = self.outputs.iter().zip(is_read).filter(|(_, is_read)| *is_read);
        let pipes = pipes.filter_map(|(output, _)| output.pipe.as_ref().map(AsFd::as_fd)).chain(self.log.bell());
        waited.extend(pipes.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        if let Some(pipe) = self.input.pipe() {
            // With nothing to write we only hear that the agent has closed its end.
            let flags = if self.input.is_waiting() { PollFlags::OUT } else { PollFlags::empty() };
            waited.push(PollFd::new(pipe, flags));
        }
        match poll(&mut waited, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(Ready::default()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut found = waited.iter().map(|waited| !waited.revents().is_empty());
        let mut next = || found.next().unwrap_or(false);
        Ok(Ready {
            signals: next(),
            newcomers: next(),
            connections: (2..connections).map(|_| next()).collect(),
            outputs: is_read.map(|is_read| is_read && next()),
            log: self.log.bell().is_some() && next(),
            input: self.input.pipe().is_some() && next(),
        })
    }

    fn take_output(&mut self, ready: [bool; 2], buffer: &mut [u8]) {
        for (output, _) in self.outputs.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
            if output.read(self.log, buffer) > 0 {
                self.ending.output_came();
            }
        }
        let now = clock::monotonic();
        for output in &mut self.outputs {
            output.release(self.log, now);
        }
        self.log.flush_if_idle();
        let told = self.patience.look(self.log.busy_since(), now);
        told.iter().for_each(|report| self.servers.send(report));
    }

    /// Says how far the log has grown since, unless that was said a moment ago.
    fn hint(&mut self, before: Position) {
        self.hint_is_owed |= self.log.position() != before;
        let now = clock::monotonic();
        if self.hinted_at.is_none_or(|at| now.saturating_duration_since(at) >= HINT_INTERVAL) {
            self.hint_now();
        }
    }

    fn hint_now(&mut self) {
        if std::mem::take(&mut self.hint_is_owed) {
            self.hinted_at = Some(clock::monotonic());
            let report = self.grown();
            self.servers.hint(&report);
        }
    }

    fn grown(&self) -> Report {
        let Position { bytes: log_bytes, lines } = self.log.position();
        Report::Output { log_bytes, lines }
    }

    fn present(&self) -> Vec<Report> {
        [Report::Started(self.identity.clone()), self.grown()].into_iter().chain(self.stuck.clone()).collect()
    }

    fn serve_servers(&mut self, ready: &[bool]) {
        if ready.contains(&true) {
            for order in self.servers.serve(ready) {
                self.obey(order);
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop { reason, grace_ms } => self.stop(reason, grace_ms.map(Duration::from_millis)),
            Order::Input { id, text } => {
                let answers = self.input.add(id, text);
                self.answer(&answers);
            }
            Order::CloseInput => {
                let answers = self.input.close_when_written();
                self.answer(&answers);
            }
            Order::Finish { within_ms } => {
                let answers = self.input.close("the agent has said its last word");
                self.answer(&answers);
                self.ending.order_finish(Duration::from_millis(within_ms), clock::monotonic());
            }
        }
    }

    fn answer(&mut self, answers: &[Report]) {
        answers.iter().for_each(|answer| self.servers.send(answer));
    }

    fn stop(&mut self, reason: String, grace: Option<Duration>) {
        let action = self.ending.order_stop(reason, grace, clock::now(), clock::monotonic());
        self.act(action);
    }

    /// True when the tree is proven empty.
    fn take_signals(&mut self) -> io::Result<bool> {
        let taken = self.signals.take();
        let is_empty = taken.contains(&libc::SIGCHLD) && self.collect()?;
        for signal in taken {
            match signal {
                libc::SIGTERM => self.stop("the shim was told to end (SIGTERM)".into(), None),
                libc::SIGINT => self.stop("the shim was told to end (SIGINT)".into(), None),
                _ => {}
            }
        }
        Ok(is_empty)
    }

    /// Collects who has ended; true when there is nobody left: every orphan below us becomes our child.
    fn collect(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.main && self.leader.is_some() => {
                    self.leader = None;
                    self.ended = Some(status);
                    self.killed_by_us = self.ending.is_killing();
                }
                Ok(Some(_)) => self.ending.some_ended(clock::monotonic()),
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.leader.is_none() {
            self.ending.main_ended(clock::monotonic());
        }
        Ok(false)
    }

    fn act(&mut self, action: Action) {
        let stop_signal = match self.launch.stop_signal {
            StopSignal::Terminate => Signal::TERM,
            StopSignal::Interrupt => Signal::INT,
        };
        // What cannot be signalled now is tried again: by KILL, then by KILL again.
        let signal = match action {
            Action::Wait => return,
            Action::AskToStop => stop_signal,
            Action::Kill | Action::KillAndReport => Signal::KILL,
        };
        if signal == Signal::KILL {
            system::hurry();
            self.guard.kill();
        }
        let members = tree::signal_all(self.leader, signal).unwrap_or_default();
        self.members_max = self.members_max.max(members.len());
        if action == Action::KillAndReport {
            let report = Report::Stuck { pids: members.iter().map(|member| member.pid).collect() };
            self.servers.send(&report);
            self.stuck = Some(report);
        }
    }
}

pub fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        // In nanoseconds, so that the loop does not wake a little too early and spin.
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
