//! Handles to the running configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// The whole running configuration; swapped atomically by a reload. Cheap to clone.
#[derive(Debug)]
pub struct Live<C>(Arc<ArcSwap<C>>);

impl<C> Clone for Live<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Send + Sync + 'static> Live<C> {
    /// Starts with a configuration.
    pub fn new(config: C) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// The configuration in force now. Readers that need several values of one moment keep this.
    pub fn current(&self) -> Arc<C> {
        self.0.load_full()
    }

    /// Puts another configuration in force.
    pub fn replace(&self, config: C) {
        self.0.store(Arc::new(config));
    }

    /// A handle to one section of it, for the area that the section belongs to.
    pub fn section<T: Clone + 'static>(&self, of: fn(&C) -> &T) -> Section<T> {
        let live = self.clone();
        Section(Arc::new(move || of(&live.0.load()).clone()))
    }
}

/// One area's options as they are now: asked at each use, so that a reload reaches it. Cheap to clone.
pub struct Section<T>(Arc<dyn Fn() -> T + Send + Sync>);

impl<T> Clone for Section<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> std::fmt::Debug for Section<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Section")
    }
}

impl<T: Clone + Send + Sync + 'static> Section<T> {
    /// Options that never change: for tests, and for programs without a config file.
    pub fn fixed(options: T) -> Self {
        Self(Arc::new(move || options.clone()))
    }

    /// The options in force now.
    pub fn current(&self) -> T {
        (self.0)()
    }

    /// What a part of the area needs of its options, following reloads as this does.
    pub fn map<U: 'static>(&self, of: impl Fn(T) -> U + Send + Sync + 'static) -> Section<U> {
        let section = self.clone();
        Section(Arc::new(move || of(section.current())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_follows_a_reload() {
        let live = Live::new((1, "before"));
        let section = live.section(|config| &config.1);
        assert_eq!(section.current(), "before");
        live.replace((2, "after"));
        assert_eq!(section.current(), "after");
    }
}
