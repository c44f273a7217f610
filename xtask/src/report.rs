//! The steps of a command: each is announced, timed and remembered, and all are listed at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::environment;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// What to do about it.
    Failed(String),
    /// Why.
    LeftOut(String),
}

impl Verdict {
    /// Passed, or failed with this remedy.
    pub fn of(is_good: bool, remedy: &str) -> Verdict {
        if is_good { Verdict::Passed } else { Verdict::Failed(remedy.to_owned()) }
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Verdict::Passed | Verdict::LeftOut(_) => ExitCode::SUCCESS,
            Verdict::Failed(_) => ExitCode::FAILURE,
        }
    }
}

/// What has been done so far.
#[derive(Debug)]
pub struct Report {
    began: Instant,
    steps: Vec<(&'static str, Verdict, Duration)>,
}

impl Report {
    pub fn begin() -> Report {
        Report { began: environment::now(), steps: Vec::new() }
    }

    /// Does a step. An error fails the step, not the command: the later steps say more.
    pub fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Verdict>) {
        println!("\n── {name}");
        let began = environment::now();
        let verdict = work().unwrap_or_else(|error| Verdict::Failed(format!("{error:#}")));
        let took = environment::now().duration_since(began);
        println!("── {}", line(name, &verdict, took));
        self.steps.push((name, verdict, took));
    }

    /// Whether no step has failed.
    pub fn is_good(&self) -> bool {
        !self.steps.iter().any(|(_, verdict, _)| matches!(verdict, Verdict::Failed(_)))
    }

    /// Lists all steps; answers with the whole.
    pub fn close(&self) -> Verdict {
        println!();
        for (name, verdict, took) in &self.steps {
            println!("{}", line(name, verdict, *took));
        }
        let verdict = Verdict::of(self.is_good(), "see above");
        println!("{}", line("total", &verdict, environment::now().duration_since(self.began)));
        verdict
    }
}

fn line(name: &str, verdict: &Verdict, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match verdict {
        Verdict::Passed => format!("{name:<14} {seconds:>7.1} s  passed"),
        Verdict::Failed(remedy) => format!("{name:<14} {seconds:>7.1} s  FAILED: {remedy}"),
        Verdict::LeftOut(why) => format!("{name:<14} {seconds:>7.1} s  left out: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fails_its_step_and_the_whole() {
        let mut report = Report::begin();
        report.step("good", || Ok(Verdict::Passed));
        report.step("absent", || Ok(Verdict::LeftOut("not here".into())));
        assert!(report.is_good());
        report.step("bad", || anyhow::bail!("no such program"));
        assert!(!report.is_good());
        assert_eq!(report.steps[2].1, Verdict::Failed("no such program".into()));
    }
}
