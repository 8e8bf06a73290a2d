//! A thin client of the Chrome DevTools Protocol.
