//! What is measured after the load, while the servers still run: what it left behind.

use std::time::Duration;

use super::process::SetupError;
use crate::{
    driver::{BuildContext, Call, Options as _, Seat, command::CommandOptions},
    scenario::Scenario,
    variables::Variables,
};

/// How long it may take.
const MEASURE_WITHIN: Duration = Duration::from_mins(1);

/// Runs the command and returns the figures that it was asked for. What the command itself used is not the run's.
pub(super) async fn measure(
    scenario: &Scenario,
    options: &CommandOptions,
    variables: &Variables,
) -> Result<Vec<(String, f64)>, SetupError> {
    let failed = |reason: String| SetupError::Measure { reason };
    let mut context = BuildContext::new(variables.clone(), 1);
    scenario.dir().clone_into(&mut context.dir);
    let driver = options.build(&context).map_err(|error| failed(error.to_string()))?;
    let mut session = driver.session(Seat { number: 0 });
    let call = Call { index: 0, variables: &context.variables, keep_body: false };
    let executed = tokio::time::timeout(MEASURE_WITHIN, session.execute(call)).await;
    let outcome =
        executed.map_err(|_| failed(format!("the command did not end within {MEASURE_WITHIN:?}")))?;
    if let Some(failure) = outcome.failure {
        return Err(failed(failure.detail));
    }
    if outcome.refusal.is_some() {
        return Err(failed(outcome.detail.unwrap_or_default()));
    }
    let mut figures = outcome.figures;
    figures.retain(|(name, _)| options.figures.contains_key(name));
    Ok(figures)
}
