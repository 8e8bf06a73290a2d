//! Scopes of routes: declared where the routes are, checked before the handler.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::future::Either;
use http::Method;
use tower::{Layer, Service};

use crate::{
    identity::{Caller, Scope, Verb},
    problem::{Problem, UNAUTHENTICATED},
};

/// A route layer: `GET` and `HEAD` need `area:read`, every other method `area:write`.
pub const fn require(area: &'static str) -> Require {
    Require(Needed::ByMethod(area))
}

/// A route layer: every method needs this scope.
pub const fn require_scope(scope: Scope) -> Require {
    Require(Needed::Fixed(scope))
}

/// See [`require`] and [`require_scope`].
#[derive(Clone, Copy, Debug)]
pub struct Require(Needed);

#[derive(Clone, Copy, Debug)]
enum Needed {
    ByMethod(&'static str),
    Fixed(Scope),
}

impl Require {
    fn check(self, request: &Request) -> Result<(), Problem> {
        let needed = match self.0 {
            Needed::Fixed(scope) => scope,
            Needed::ByMethod(area) => {
                let reads = matches!(*request.method(), Method::GET | Method::HEAD);
                Scope { area, verb: if reads { Verb::Read } else { Verb::Write } }
            }
        };
        // Without the edge there is no caller: closed rather than open.
        let caller = request.extensions().get::<Caller>();
        caller.ok_or_else(|| Problem::new(UNAUTHENTICATED, "this route needs a key"))?.require(needed)
    }
}

impl<S> Layer<S> for Require {
    type Service = RequireService<S>;

    fn layer(&self, inner: S) -> RequireService<S> {
        RequireService { require: *self, inner }
    }
}

/// The service that [`Require`] makes.
#[derive(Clone, Debug)]
pub struct RequireService<S> {
    require: Require,
    inner: S,
}

impl<S> Service<Request> for RequireService<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.require.check(&request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(problem) => Either::Left(ready(Ok(problem.into_response()))),
        }
    }
}
