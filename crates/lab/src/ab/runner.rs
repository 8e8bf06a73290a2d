//! One side of a trial, as often as it is wanted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Side, Trial, TrialError};
use crate::{
    driver::{BuildContext, BuildError, Call, Options as _, Seat, Session, command::CommandOptions},
    variables::Variables,
};

/// Runs one side, again and again.
pub(super) struct Runner<'a> {
    side: &'a Side,
    session: Box<dyn Session>,
    variables: Arc<Variables>,
}

impl<'a> Runner<'a> {
    pub(super) fn new(side: &'a Side, trial: &Trial) -> Result<Self, TrialError> {
        let build = |source| TrialError::Build { label: side.label.clone(), source };
        // Words go in as values of variables, so that nothing in them is taken for a template.
        let mut variables = Variables::new(1);
        let mut run = Vec::with_capacity(side.command.len());
        for (index, word) in side.command.iter().enumerate() {
            let name = format!("word{index}");
            variables.fix(&name, word);
            let template =
                format!("${{{name}}}").parse().map_err(|error| build(BuildError::field("run", error)))?;
            run.push(template);
        }
        let options = CommandOptions { run, env: BTreeMap::new(), dir: None, figures: trial.figures.clone() };
        let mut context = BuildContext::new(variables, 1);
        context.dir.clone_from(&trial.dir);
        let driver = options.build(&context).map_err(build)?;
        Ok(Self { side, session: driver.session(Seat { number: 0 }), variables: context.variables })
    }

    /// One run; `None` if it was interrupted.
    pub(super) async fn run(
        &mut self,
        place: &str,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<(String, f64)>>, TrialError> {
        let failed = |detail: String| TrialError::Run {
            label: self.side.label.clone(),
            place: place.to_owned(),
            detail,
        };
        let call = Call { index: 0, variables: &self.variables, keep_body: false };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(timeout, self.session.execute(call)) => outcome,
            () = stop.cancelled() => return Ok(None),
        };
        let outcome =
            outcome.map_err(|_| failed(format!("not finished after {} s", timeout.as_secs_f64())))?;
        if let Some(failure) = outcome.failure {
            return Err(failed(failure.detail));
        }
        match outcome.status {
            Some(0) => Ok(Some(outcome.figures)),
            status => Err(failed(outcome.detail.unwrap_or_else(|| format!("status {status:?}")))),
        }
    }
}
