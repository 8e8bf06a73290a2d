//! Files that pages of an instance wrote.

use bytes::Bytes;
use paddock_platform::{identity::Caller, problem::Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{BrowserService, READ, WRITE};
use crate::{downloads::PageDownload, ids::InstanceId};

/// Downloads of an instance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PageDownloads {
    /// Oldest first.
    pub downloads: Vec<PageDownload>,
}

/// A download was forgotten.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DownloadForgotten {
    /// Its id.
    pub deleted: String,
}

impl BrowserService {
    /// What pages of an instance downloaded, whether the instance is awake or not.
    pub fn page_downloads(&self, caller: &Caller, id: &InstanceId) -> Result<PageDownloads, Problem> {
        caller.require(READ)?;
        Ok(PageDownloads { downloads: self.own(caller, id)?.0.downloads.list() })
    }

    /// A file that a page downloaded. Logins may be behind it: reading it needs what acting needs.
    pub async fn page_download(
        &self,
        caller: &Caller,
        id: &InstanceId,
        download: &str,
    ) -> Result<(PageDownload, Bytes), Problem> {
        caller.require(WRITE)?;
        let missing = || Problem::not_found("download", download);
        let (entry, path) = self.own(caller, id)?.downloaded_file(download).ok_or_else(missing)?;
        // Bounded when it was written.
        let bytes = tokio::fs::read(&path).await.map_err(|_| missing())?;
        Ok((entry, bytes.into()))
    }

    /// Forgets a download with its file.
    pub fn forget_page_download(
        &self,
        caller: &Caller,
        id: &InstanceId,
        download: &str,
    ) -> Result<DownloadForgotten, Problem> {
        caller.require(WRITE)?;
        if self.own(caller, id)?.forget_download(download) {
            Ok(DownloadForgotten { deleted: download.to_owned() })
        } else {
            Err(Problem::not_found("download", download))
        }
    }
}
