//! How a run ends: what it reached, what it left, and the one outcome that decides the exit code.

use super::{
    Cancel,
    execute::{Coordinator, Executed},
    timings::critical_path,
};
use crate::model::{Address, EventKind, Outcome, Report, Step, Verb};

impl Coordinator<'_> {
    pub(super) async fn finish(mut self, verb: Verb) -> Executed {
        let reached = |address: &Address| {
            let report = &self.report;
            report.done.contains_key(address)
                || report.failed.contains_key(address)
                || report.skipped.contains_key(address)
        };
        let steps = self.plan.steps.iter().enumerate();
        let (begun, left): (Vec<_>, Vec<_>) = steps
            .filter(|(_, step)| !reached(&step.address))
            .partition(|(i, _)| self.started.contains_key(i));
        let addresses =
            |steps: Vec<(usize, &Step)>| steps.into_iter().map(|(_, step)| step.address.clone()).collect();
        (self.report.begun, self.report.left) = (addresses(begun), addresses(left));
        self.report.timings = self.clock.timings(self.plan);
        let snapshot = self.ledger.snapshot.clone();
        let snapshot = if self.lost.is_some() {
            snapshot
        } else {
            match self.ledger.close().await {
                Ok(saved) => saved,
                Err(error) => {
                    self.lost = Some(error);
                    snapshot
                }
            }
        };
        let mut report = self.report;
        report.outcome = outcome(&report, &self.asked, self.lost.is_some());
        self.run.events.send(EventKind::RunFinished {
            verb,
            outcome: report.outcome,
            done: report.done.len(),
            failed: report.failed.len(),
            skipped: report.skipped.len(),
            critical_path: critical_path(&report.timings),
        });
        Executed {
            report,
            snapshot,
            lost: self.lost,
        }
    }
}

fn outcome(report: &Report, asked: &Cancel, lost: bool) -> Outcome {
    let failed = || report.failed.values();
    let ended = report.begun.is_empty() && report.left.is_empty();
    if let Some(stop) = asked.stopped().filter(|_| !ended) {
        Outcome::Stopped(stop)
    } else if lost {
        Outcome::StateLost
    } else if report.failed.is_empty() {
        Outcome::Done
    } else if failed().all(|failure| failure.refused) && report.written() == 0 {
        Outcome::Refused
    } else if failed().all(|failure| failure.deadline) {
        Outcome::Deadline
    } else {
        Outcome::Failed
    }
}
