//! A completion piece by piece, for areas that stand on this one.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as _;
use http_body_util::BodyExt;
use paddock_platform::{
    identity::Caller,
    problem::{Problem, ProblemKind},
};

use super::{
    Gateway,
    complete::{CompleteInput, Completion, Head, refused},
};
use crate::{
    dialect::{
        Dialect,
        canonical::{Answer, Part, Step, Stop},
        sse::{Event, SseParser},
        translate::StreamReader,
        usage::Usage,
    },
    error::PROVIDER_FAILED,
};

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// More of the text.
    Text(String),
    /// More of what the model thinks before it answers.
    Thinking(String),
    /// The whole, and the end: the calls of tools are here alone.
    Whole(Box<Completion>),
}

/// An answer on its way. Dropped, it ends the provider's work.
pub struct CompletionStream {
    body: Body,
    head: Head,
    parser: SseParser,
    reader: StreamReader,
    answer: Answer,
    ready: VecDeque<Result<Piece, Problem>>,
    ended: bool,
}

impl std::fmt::Debug for CompletionStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompletionStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Gateway {
    /// As [`Gateway::complete`], piece by piece as they come. The last is the whole, or why there is none.
    pub async fn stream(&self, caller: &Caller, input: CompleteInput) -> Result<CompletionStream, Problem> {
        let response = self.ask(caller, input, true).await?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let read = body.collect().await;
            let bytes = read.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
            return Err(refused(&parts, &bytes));
        }
        let event_max = self.inner().plan.load().options.event_max;
        let (id, model) = (String::new(), String::new());
        Ok(CompletionStream {
            body,
            head: Head::of(&parts),
            parser: SseParser::new(event_max.as_usize()),
            reader: StreamReader::new(Dialect::OpenAi),
            answer: Answer { id, model, parts: Vec::new(), stop: Stop::End, usage: Usage::default() },
            ready: VecDeque::new(),
            ended: false,
        })
    }
}

impl CompletionStream {
    fn feed(&mut self, bytes: &Bytes) {
        self.parser.push(bytes);
        while !self.ended {
            match self.parser.next() {
                Ok(Some(event)) => self.take(&event),
                Ok(None) => return,
                Err(error) => self.fail(error.to_string()),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        if event.is_done() {
            self.ended = true;
            let answer = self.answer.clone();
            let whole = Completion::new(answer, &self.head);
            return self.ready.push_back(Ok(Piece::Whole(Box::new(whole))));
        }
        match self.reader.read(event) {
            Some(steps) => steps.into_iter().for_each(|step| self.step(step)),
            None => self.fail("the model sent something that is no part of an answer".to_owned()),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Start { model, .. } => self.answer.model = model,
            Step::Text(text) | Step::Refusal(text) => {
                match self.answer.parts.last_mut() {
                    Some(Part::Text { text: before, .. }) => before.push_str(&text),
                    _ => self.answer.parts.push(Part::text(text.clone())),
                }
                self.ready.push_back(Ok(Piece::Text(text)));
            }
            Step::Thinking(text) => self.ready.push_back(Ok(Piece::Thinking(text))),
            Step::ToolCall { id, name, signature } => {
                self.answer.parts.push(Part::ToolCall { id, name, arguments: String::new(), signature });
            }
            Step::ToolArguments { call, json } => {
                let mut calls = self.answer.parts.iter_mut().filter_map(|part| match part {
                    Part::ToolCall { arguments, .. } => Some(arguments),
                    _ => None,
                });
                if let Some(arguments) = calls.nth(call) {
                    arguments.push_str(&json);
                }
            }
            Step::Usage(usage) => self.answer.usage.merge(usage),
            Step::Stop(stop) => self.answer.stop = stop,
            Step::Failed { message, .. } => self.fail(message),
            Step::ThinkingSignature(_) => {}
        }
    }

    fn fail(&mut self, message: String) {
        if !std::mem::replace(&mut self.ended, true) {
            let kind = ProblemKind::new(PROVIDER_FAILED.slug, PROVIDER_FAILED.status, PROVIDER_FAILED.title);
            self.ready.push_back(Err(Problem::new(kind, message)));
        }
    }
}

impl Stream for CompletionStream {
    type Item = Result<Piece, Problem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = &mut *self;
        loop {
            if let Some(ready) = stream.ready.pop_front() {
                return Poll::Ready(Some(ready));
            }
            if stream.ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut stream.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        stream.feed(&data);
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => stream.fail("the answer broke off".to_owned()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
