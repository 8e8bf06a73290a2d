mod caching;
mod containing;
mod deploying;
mod guests;
mod keeping;
mod support;
