//! A mission, drawn: its steps from left to right in the order in which they can run, each with its state.

mod layout;
mod svg;

use std::collections::HashMap;

use self::layout::Layout;
use super::MissionView;

/// The picture, as a file that needs nothing else.
pub(crate) fn draw(mission: &MissionView) -> String {
    let positions: HashMap<&str, usize> =
        mission.steps.iter().enumerate().map(|(index, step)| (step.name.as_str(), index)).collect();
    let needs: Vec<Vec<usize>> = mission
        .steps
        .iter()
        .map(|step| step.needs.iter().filter_map(|need| positions.get(need.as_str()).copied()).collect())
        .collect();
    svg::render(mission, &Layout::of(&needs))
}
