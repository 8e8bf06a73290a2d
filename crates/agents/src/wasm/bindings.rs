//! The host's side of `sdk/wit/agent.wit`, generated when this crate is compiled.

wasmtime::component::bindgen!({
    path: "../../sdk/wit",
    world: "agent",
    imports: { "paddock:agent/tools.call": async | trappable, default: trappable },
    exports: { default: async },
});
