//! Answering JavaScript dialogs.

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, Target, WRITE};
use crate::{dialog::Dialog, ids::TabId};

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DialogVerdict {
    /// OK.
    Accept,
    /// Cancel.
    Dismiss,
}

/// Answers the dialog that is open.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DialogRequest {
    /// `accept` or `dismiss`.
    pub action: DialogVerdict,
    /// What is entered into a prompt.
    #[serde(default)]
    pub text: Option<String>,
    /// The tab; without one, the current tab.
    #[serde(default)]
    pub tab_id: Option<TabId>,
}

/// A dialog was answered.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DialogAnswered {
    /// True.
    pub success: bool,
    /// How.
    pub action: DialogVerdict,
    /// Which.
    pub dialog: Dialog,
}

impl BrowserService {
    /// Answers the dialog that is open in a tab.
    pub async fn answer_dialog(
        &self,
        target: Target,
        request: DialogRequest,
    ) -> Result<DialogAnswered, Problem> {
        let tab = self.tab(&target.or(request.tab_id), WRITE).await?;
        let accept = request.action == DialogVerdict::Accept;
        let dialog = tab.answer_dialog(accept, request.text.as_deref()).await?;
        Ok(DialogAnswered { success: true, action: request.action, dialog })
    }
}
