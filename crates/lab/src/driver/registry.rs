//! The drivers that scenario files may name.

use std::sync::Arc;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, de::DeserializeSeed};

use super::{
    BuildContext, BuildError, Driver, Options, command::CommandOptions, http::HttpOptions, sse::SseOptions,
    websocket::WebSocketOptions,
};

/// Declares each driver: the key in a step, the variant, the type of its options.
macro_rules! drivers {
    ($($name:literal => $variant:ident($options:ty)),* $(,)?) => {
        /// Options of a step, by driver.
        #[derive(Clone, Debug)]
        pub enum DriverOptions {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant($options),
            )*
        }

        /// Keys that choose the driver of a step.
        pub const STEP_DRIVERS: &[&str] = &[$($name),*];

        impl DriverOptions {
            /// The driver's key.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }

            /// Makes the driver; nothing is contacted yet.
            pub fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError> {
                match self {
                    $(Self::$variant(options) => options.build(context),)*
                }
            }

            /// JSON Schema of each driver's options, by key.
            pub(crate) fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($name, generator.subschema_for::<$options>())),*]
            }
        }

        impl<'de> DeserializeSeed<'de> for OptionsOf<'_> {
            type Value = DriverOptions;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<DriverOptions, D::Error> {
                match self.0 {
                    $($name => <$options>::deserialize(deserializer).map(DriverOptions::$variant),)*
                    other => Err(serde::de::Error::unknown_field(other, STEP_DRIVERS)),
                }
            }
        }
    };
}

/// Reads the options of the driver with this key.
pub(crate) struct OptionsOf<'a>(pub(crate) &'a str);

drivers! {
    "http" => Http(HttpOptions),
    "sse" => Sse(SseOptions),
    "websocket" => WebSocket(WebSocketOptions),
    "command" => Command(CommandOptions),
}
