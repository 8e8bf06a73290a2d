//! The model gateway as the registry asks it for embeddings.

use futures_util::future::BoxFuture;
use paddock_llm::{EmbedInput, Gateway};
use paddock_platform::identity::{Caller, Scope, Tenant};
use paddock_registry::{Embed, EmbedError, EmbedRequest};

/// Asks as the server itself: what is embedded is there for everybody, and whoever searches need not be let use models.
pub(super) struct Embeddings(pub(super) Gateway);

impl Embed for Embeddings {
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        let caller = Caller::on_behalf(None, Tenant::local(), vec![Scope::write("llm")]);
        let EmbedRequest { model, dimensions, texts } = request;
        let embedded = self.0.embed(&caller, EmbedInput { model, texts, dimensions });
        Box::pin(async move { embedded.await.map_err(|problem| EmbedError(problem.detail)) })
    }
}
