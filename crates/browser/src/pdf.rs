//! Pages on paper.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use paddock_cdp::protocol::{
    io::{Close, Read},
    page::PrintToPdf,
};
use paddock_platform::{
    problem::{Problem, ProblemKind},
    units::ByteSize,
};

use crate::{error::call_problem, tab::Tab};

/// The document is larger than may be.
pub const PDF_TOO_LARGE: ProblemKind =
    ProblemKind::new("pdf-too-large", StatusCode::UNPROCESSABLE_ENTITY, "PDF too large");
/// Chrome does not print the page as asked.
pub const PDF_FAILED: ProblemKind =
    ProblemKind::new("pdf-failed", StatusCode::UNPROCESSABLE_ENTITY, "PDF failed");

/// How long printing may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Bytes of a document.
const SIZE_MAX: usize = 32 << 20;
/// Bytes read at a time.
const CHUNK_SIZE: u64 = 1 << 20;

/// A page that was not printed.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The document is larger than may be.
    #[error("the document has over {}; print fewer pages (`pageRanges`)", ByteSize::bytes(SIZE_MAX as u64))]
    TooLarge,
    /// Chrome refuses, for example page ranges that are not there.
    #[error("the page is not printed that way: {0}")]
    Refused(String),
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[source] paddock_cdp::CallError),
}

impl From<paddock_cdp::CallError> for PdfError {
    fn from(error: paddock_cdp::CallError) -> Self {
        match error {
            paddock_cdp::CallError::Protocol { message, .. } => Self::Refused(message),
            error => Self::Call(error),
        }
    }
}

impl From<PdfError> for Problem {
    fn from(error: PdfError) -> Self {
        match &error {
            PdfError::TooLarge => Self::new(PDF_TOO_LARGE, error.to_string()),
            PdfError::Refused(_) => Self::new(PDF_FAILED, error.to_string()),
            PdfError::Call(call) => call_problem(call),
        }
    }
}

impl Tab {
    /// Prints the page as a PDF.
    pub async fn pdf(&self, mut command: PrintToPdf) -> Result<Bytes, PdfError> {
        self.touch();
        command.transfer_mode = "ReturnAsStream";
        let printed = self.session().send_within(&command, DEADLINE).await?;
        let Some(handle) = printed.stream else {
            return Err(PdfError::Refused("Chrome gave no document".to_owned()));
        };
        let read = self.read_stream(&handle, SIZE_MAX).await;
        self.session().send(&Close { handle: &handle }).await.ok();
        read?.ok_or(PdfError::TooLarge)
    }

    /// All of a stream; none if it has more than `size_max` bytes.
    async fn read_stream(&self, handle: &str, size_max: usize) -> Result<Option<Bytes>, PdfError> {
        let mut bytes = BytesMut::new();
        loop {
            let chunk = self.session().send(&Read { handle, size: CHUNK_SIZE }).await?;
            if chunk.base64_encoded {
                let part = BASE64_STANDARD.decode(&chunk.data);
                bytes.extend_from_slice(&part.map_err(|_| PdfError::Refused("unreadable data".to_owned()))?);
            } else {
                bytes.extend_from_slice(chunk.data.as_bytes());
            }
            if bytes.len() > size_max {
                return Ok(None);
            }
            if chunk.eof {
                return Ok(Some(bytes.freeze()));
            }
        }
    }
}
