//! What stands behind [`Host`](crate::Host): the imports in a component, a script elsewhere.
//!
//! Both have the same methods, one for each function of the interfaces, with the same signatures.

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(not(target_arch = "wasm32"))]
mod scripted;

#[cfg(target_arch = "wasm32")]
pub(crate) use component::Backend;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use scripted::Backend;
