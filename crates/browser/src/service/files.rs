//! Files out of pages and into them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_platform::problem::{NOT_IMPLEMENTED, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, Target, WRITE};
use crate::{files::upload, ids::TabId};

/// The input that files are put into when the request names none.
const FILE_INPUT: &str = "input[type=file]";

/// Fetches a file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct DownloadQuery {
    /// The tab whose cookies are sent; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Where it is: http or https.
    pub url: String,
    /// `file`: into a file of the server instead of the answer.
    pub output: Option<String>,
    /// Name of that file; that of the address if absent.
    pub path: Option<String>,
    /// The file itself instead of JSON.
    pub raw: bool,
}

/// A file in JSON.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownloadedFile {
    /// The file in base64.
    pub data: String,
    /// Its media type, as its host says.
    pub content_type: String,
    /// Its bytes.
    pub size: usize,
    /// Where it is, after all redirects.
    pub url: String,
}

/// A file that was saved on the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SavedDownload {
    /// `saved`.
    pub status: &'static str,
    /// Where.
    pub path: String,
    /// Its bytes.
    pub size: usize,
    /// Its media type, as its host says.
    pub content_type: String,
}

/// A file, or where it is.
#[derive(Debug)]
pub enum Download {
    /// The file itself.
    Raw(String, Bytes),
    /// In JSON.
    Document(DownloadedFile),
    /// On the server.
    Saved(SavedDownload),
}

/// Puts files into a page's file input.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UploadRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// The input: a reference (`e5`) or CSS; the first of the page if absent.
    #[serde(default)]
    pub selector: Option<String>,
    /// As `selector`.
    #[serde(rename = "ref", default)]
    pub reference: Option<String>,
    /// Files as `data:` addresses or base64.
    #[serde(default)]
    pub files: Vec<String>,
    /// Files of the server, within `[browser] uploads_dir`.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// Files were chosen.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Uploaded {
    /// `ok`.
    pub status: &'static str,
    /// How many.
    pub files: usize,
}

impl BrowserService {
    /// Fetches a file with the cookies of a tab.
    pub async fn download(&self, target: &Target, query: DownloadQuery) -> Result<Download, Problem> {
        let url: Url = query.url.parse().map_err(|error| Problem::invalid_field("url", error))?;
        let tab = self.tab(target, WRITE).await?;
        let size_max = self.fleet.0.options.current().download_size_max;
        let fetched = self.fleet.0.fetcher.fetch(&tab, url, size_max).await?;
        let size = fetched.bytes.len();
        if query.output.as_deref() == Some("file") {
            let name =
                query.path.filter(|path| !path.is_empty()).unwrap_or_else(|| upload::name_of(&fetched.url));
            let exports = &self.fleet.0.exports;
            let tenant = target.caller.tenant();
            let path = exports.write(tenant, Some(&name), ("download", "bin"), fetched.bytes).await?;
            return Ok(Download::Saved(SavedDownload {
                status: "saved",
                path: path.to_string_lossy().into_owned(),
                size,
                content_type: fetched.mime,
            }));
        }
        Ok(if query.raw {
            Download::Raw(fetched.mime, fetched.bytes)
        } else {
            Download::Document(DownloadedFile {
                data: BASE64_STANDARD.encode(&fetched.bytes),
                content_type: fetched.mime,
                size,
                url: fetched.url.into(),
            })
        })
    }

    /// Puts files into a page's file input.
    pub async fn upload(&self, target: &Target, request: UploadRequest) -> Result<Uploaded, Problem> {
        let count = request.files.len() + request.paths.len();
        if count == 0 {
            return Err(Problem::invalid_field("files", "give files here, or `paths` within `uploads_dir`"));
        }
        if count > upload::FILES_MAX {
            let detail = format!("too many files: at most {}", upload::FILES_MAX);
            return Err(Problem::invalid_field("files", detail));
        }
        let mut paths = Vec::new();
        if !request.paths.is_empty() {
            let Some(directory) = self.fleet.0.options.current().uploads_dir else {
                let detail = "files of the server are not uploaded unless `[browser] uploads_dir` is set";
                return Err(Problem::new(NOT_IMPLEMENTED, detail).with("field", "paths"));
            };
            for path in &request.paths {
                paths.push(upload::within(&directory, path)?);
            }
        }
        let files = request.files.iter().enumerate().map(|(index, file)| upload::parse(index, file));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let tab = self.tab(target, WRITE).await?;
        if !files.is_empty() {
            paths.extend(self.own(&target.caller, tab.instance_id())?.stage(files).await?);
        }
        let selector = request.reference.or(request.selector).filter(|selector| !selector.is_empty());
        tab.choose_files(selector.as_deref().unwrap_or(FILE_INPUT), &paths).await?;
        Ok(Uploaded { status: "ok", files: paths.len() })
    }
}
