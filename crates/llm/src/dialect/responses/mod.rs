//! OpenAI's responses, for providers that do not have them: what the vendor would keep on its side (earlier responses,
//! its own tools) is refused.

mod answer;
mod request;
mod stream;

pub(crate) use answer::write_answer;
pub(crate) use request::read_request;
pub(crate) use stream::Writer;
