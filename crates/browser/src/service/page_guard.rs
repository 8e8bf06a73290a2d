//! Whether a page speaks to a model, for answers that do not show its text themselves.

use paddock_platform::problem::Problem;
use serde_json::json;

use super::{BrowserService, PageText, READ, Target, inspect::look};
use crate::guard::{self, ContentGuard};

impl BrowserService {
    /// What in the text of a page speaks to a model, if anything does. Refused where `[browser] content_guard` blocks.
    pub(crate) async fn page_warning(&self, target: &Target) -> Result<Option<String>, Problem> {
        let mode = self.options().content_guard;
        if mode == ContentGuard::Off {
            return Ok(None);
        }
        let tab = self.tab(target, READ).await?;
        let page: PageText = look(&tab, None, None, "readText", json!({ "raw": true })).await?;
        guard::guard(mode, std::iter::once(page.text.as_str()), &mut String::new(), false)
    }
}
