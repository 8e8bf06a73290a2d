//! A configuration, compiled: names to routes, routes to targets, targets to lanes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use http::Uri;
use paddock_platform::config::nearest;

use super::{Ask, RouteOptions, Strategy, TargetOptions, matches};
use crate::{
    config::{LlmOptions, ProviderOptions},
    dialect::Dialect,
    error::{ErrorKind, LlmError},
    govern::{
        Guards, Limits, PICO_PER_DOLLAR, Pico,
        prices::{self, Price},
    },
    resilience::{BreakerSettings, Credential, Lane, LaneSettings},
    upstream::{Endpoint, HttpClient, Provider},
};

/// Routes that one request may fall back to.
const FALLBACKS_MAX: usize = 8;
/// Names without a route that are known at a time.
const DIRECT_MAX: usize = 1000;
/// Lanes that are kept: a caller may name any model of a provider that lists none. Those beyond are made for the call, and
/// share their metrics.
const LANES_MAX: usize = 1000;
/// The name of the simulated provider and its model that `sim = true` brings.
pub(crate) const SIM: &str = "sim";

/// Every lane there is, kept over reloads.
#[derive(Debug, Default)]
pub(crate) struct Lanes(RwLock<HashMap<LaneKey, Arc<Lane>>>);

/// Provider, credential, model.
type LaneKey = (Arc<str>, Arc<str>, Arc<str>);

impl Lanes {
    /// The lane of a credential and a model; a credential that was changed has another.
    fn get(&self, provider: &Arc<str>, credential: &Arc<Credential>, model: &Arc<str>) -> Arc<Lane> {
        let key = (Arc::clone(provider), Arc::clone(&credential.name), Arc::clone(model));
        let mut lanes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match lanes.get(&key) {
            Some(lane) if Arc::ptr_eq(&lane.credential, credential) => Arc::clone(lane),
            _ if lanes.len() >= LANES_MAX => {
                let label = Arc::from("other");
                Arc::new(Lane::new(provider, credential, model, &label))
            }
            _ => {
                let lane = Arc::new(Lane::new(provider, credential, model, model));
                lanes.insert(key, Arc::clone(&lane));
                lane
            }
        }
    }

    /// All of them, in order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Lane>> {
        let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<Lane>> = lanes.values().cloned().collect();
        let name = |lane: &Arc<Lane>| {
            (Arc::clone(&lane.provider), Arc::clone(&lane.model), Arc::clone(&lane.credential.name))
        };
        all.sort_by_key(name);
        all
    }
}

/// A model at a provider, with its credentials.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: Arc<str>,
    pub(crate) weight: f64,
    pub(crate) quality: f64,
    pub(crate) price: Option<Price>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// The address that was asked for first, which is the one that is always asked for.
    uri: OnceLock<(Endpoint, Uri)>,
}

impl Target {
    /// The address of an endpoint.
    pub(crate) fn uri(&self, endpoint: Endpoint) -> Result<Uri, String> {
        if let Some((known, uri)) = self.uri.get()
            && *known == endpoint
        {
            return Ok(uri.clone());
        }
        let uri = self.provider.uri(endpoint, &self.model)?;
        let _ = self.uri.set((endpoint, uri.clone()));
        Ok(uri)
    }

    /// What a call may cost here.
    pub(crate) fn estimate(&self, ask: &Ask<'_>) -> Pico {
        self.price.map_or(0, |price| price.estimate(ask.tokens_in, ask.tokens_out))
    }

    /// Why a request cannot go here, whoever has a place.
    pub(crate) fn unfit(&self, ask: &Ask<'_>, cost_max: Option<Pico>) -> Option<&'static str> {
        let price = self.price.as_ref();
        let window = price.and_then(|price| price.window);
        if window.is_some_and(|window| ask.tokens_in > u64::from(window)) {
            return Some("context window");
        }
        if let Some(can) = price.and_then(|price| price.can) {
            let needs = ask.needs;
            if (needs.tools && !can.tools) || (needs.vision && !can.vision) {
                return Some("ability");
            }
        }
        let cost_max = [cost_max, ask.cost_max].into_iter().flatten().min();
        if cost_max.is_some_and(|max| self.estimate(ask) > max) {
            return Some("cost");
        }
        None
    }
}

/// A route, compiled.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) options: RouteOptions,
    pub(crate) strategy: Strategy,
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) hedge_after: Duration,
    pub(crate) cost_max: Option<Pico>,
}

/// A configuration, compiled.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: LlmOptions,
    pub(crate) providers: BTreeMap<String, Arc<Provider>>,
    pub(crate) lane_settings: LaneSettings,
    pub(crate) limits: Limits,
    pub(crate) guards: Guards,
    by_name: HashMap<String, Vec<Arc<Route>>>,
    by_prefix: Vec<Arc<Route>>,
    /// Routes of names that no route has: made when they are asked for.
    direct: Mutex<HashMap<String, Arc<Route>>>,
    lanes: Arc<Lanes>,
}

impl Plan {
    /// Compiles options; says what is wrong with them.
    pub(crate) fn new(
        options: LlmOptions,
        http: &HttpClient,
        lanes: &Arc<Lanes>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let mut configured = options.providers.clone();
        if options.sim && configured.iter().all(|provider| provider.name != SIM) {
            configured.push(ProviderOptions {
                name: SIM.to_owned(),
                dialect: Dialect::OpenAi,
                url: "sim:".to_owned(),
                models: vec![SIM.to_owned()],
                ..ProviderOptions::default()
            });
        }
        let mut providers = BTreeMap::new();
        for provider in &configured {
            let known = before.and_then(|before| before.providers.get(&provider.name));
            let made = match known.filter(|known| known.options == *provider) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Provider::new(provider, http, known.map(Arc::as_ref))?),
            };
            if providers.insert(provider.name.clone(), made).is_some() {
                return Err(format!("two llm providers are called `{}`", provider.name));
            }
        }
        let mut plan = Self {
            lane_settings: lane_settings(&options),
            limits: Limits::new(&options.limits, &options.teams, before.map(|before| &before.limits)),
            guards: Guards::new(&options.guards)?,
            by_name: HashMap::new(),
            by_prefix: Vec::new(),
            direct: Mutex::default(),
            lanes: Arc::clone(lanes),
            providers,
            options,
        };
        for route in plan.options.routes.clone() {
            let compiled = Arc::new(plan.compile(route)?);
            let name = compiled.options.model.clone();
            if name.ends_with('*') {
                plan.by_prefix.push(compiled);
            } else {
                plan.by_name.entry(name).or_default().push(compiled);
            }
        }
        Ok(plan)
    }

    fn compile(&self, options: RouteOptions) -> Result<Route, String> {
        let wrong = |detail: String| format!("llm route `{}`: {detail}", options.model);
        if options.model.is_empty() {
            return Err("an llm route lacks `model`".to_owned());
        }
        if options.targets.is_empty() {
            return Err(wrong("has no targets".to_owned()));
        }
        let mut targets = Vec::new();
        if !options.model.ends_with('*') {
            for target in &options.targets {
                targets.push(self.target(target, &options.model).map_err(wrong)?);
            }
        } else if let Some(unknown) =
            options.targets.iter().find(|target| !self.providers.contains_key(&target.provider))
        {
            return Err(wrong(format!("no provider `{}`", unknown.provider)));
        }
        Ok(Route {
            strategy: options.strategy.unwrap_or(self.options.strategy),
            hedge_after: options.hedge_after.unwrap_or(self.options.resilience.hedge_after).get(),
            cost_max: options.cost_max.map(|dollars| (dollars.max(0.0) * PICO_PER_DOLLAR) as Pico),
            targets,
            options,
        })
    }

    fn target(&self, options: &TargetOptions, asked: &str) -> Result<Arc<Target>, String> {
        let provider = self.providers.get(&options.provider).ok_or_else(|| {
            let near = nearest(&options.provider, self.providers.keys().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("no provider `{}`{hint}", options.provider)
        })?;
        let model: Arc<str> =
            Arc::from(if options.model.is_empty() { asked } else { options.model.as_str() });
        let is_used = |credential: &&Arc<Credential>| {
            options.credentials.is_empty()
                || options.credentials.iter().any(|name| **name == *credential.name)
        };
        let lanes: Vec<Arc<Lane>> = provider
            .credentials
            .iter()
            .filter(is_used)
            .map(|credential| self.lanes.get(&provider.name, credential, &model))
            .collect();
        if lanes.is_empty() {
            return Err(format!("provider `{}` has none of its credentials", options.provider));
        }
        if !options.weight.is_finite() || options.weight < 0.0 {
            return Err("a weight must be zero or more".to_owned());
        }
        Ok(Arc::new(Target {
            price: prices::price(&self.options.prices, &provider.name, &model),
            provider: Arc::clone(provider),
            weight: options.weight,
            quality: options.quality.clamp(0.0, 1.0),
            model,
            lanes,
            uri: OnceLock::new(),
        }))
    }

    /// The route of a request, and those that it falls back to.
    pub(crate) fn resolve(&self, ask: &Ask<'_>) -> Result<Vec<Arc<Route>>, LlmError> {
        let first = self.route(ask.model, ask).ok_or_else(|| self.unknown(ask.model))?;
        let mut routes = vec![first];
        let mut names: Vec<String> = routes[0].options.fallbacks.clone();
        let mut seen = BTreeSet::from([ask.model.to_owned()]);
        while let Some(name) = (!names.is_empty()).then(|| names.remove(0)) {
            if routes.len() > FALLBACKS_MAX {
                break;
            }
            if seen.insert(name.clone())
                && let Some(route) = self.route(&name, ask)
            {
                names.extend(route.options.fallbacks.iter().cloned());
                routes.push(route);
            }
        }
        Ok(routes)
    }

    fn route(&self, model: &str, ask: &Ask<'_>) -> Option<Arc<Route>> {
        if let Some(routes) = self.by_name.get(model)
            && let Some(route) = routes.iter().find(|route| route.options.when.holds(ask))
        {
            return Some(Arc::clone(route));
        }
        let prefix = self
            .by_prefix
            .iter()
            .enumerate()
            .find(|(_, route)| matches(&route.options.model, model) && route.options.when.holds(ask));
        let key = prefix.map_or_else(|| model.to_owned(), |(index, _)| format!("{index}\n{model}"));
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = direct.get(&key) {
            return Some(Arc::clone(known));
        }
        let options = match prefix {
            Some((_, route)) => RouteOptions { model: model.to_owned(), ..route.options.clone() },
            None => self.direct_options(model)?,
        };
        let route = Arc::new(self.compile(options).ok()?);
        if direct.len() >= DIRECT_MAX {
            direct.clear();
        }
        direct.insert(key, Arc::clone(&route));
        Some(route)
    }

    /// What a name without a route means: `provider/model`, or a model that providers list.
    fn direct_options(&self, model: &str) -> Option<RouteOptions> {
        let target = |provider: &str, model: &str| TargetOptions {
            provider: provider.to_owned(),
            model: model.to_owned(),
            weight: 1.0,
            quality: 0.5,
            credentials: Vec::new(),
        };
        let lists = |provider: &Arc<Provider>, model: &str| {
            provider.options.models.iter().any(|pattern| matches(pattern, model))
        };
        let mut targets = Vec::new();
        for (name, provider) in &self.providers {
            if lists(provider, model) {
                targets.push(target(name, model));
            }
        }
        if targets.is_empty()
            && let Some((name, rest)) = model.split_once('/')
            && let Some(provider) = self.providers.get(name)
            && !rest.is_empty()
            && (provider.options.models.is_empty() || lists(provider, rest))
        {
            targets.push(target(name, rest));
        }
        let options = RouteOptions { model: model.to_owned(), targets, ..RouteOptions::default() };
        (!options.targets.is_empty()).then_some(options)
    }

    /// That there is no such model, with the nearest that there is.
    pub(crate) fn unknown(&self, model: &str) -> LlmError {
        let known = self.models();
        let near = nearest(model, known.iter().map(|(name, _)| name.as_str()));
        let hint = match near {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => {
                "; no provider is configured: `[llm] sim = true` serves the model `sim`".to_owned()
            }
            None => String::new(),
        };
        let shown: String = model.chars().take(100).collect();
        LlmError::new(ErrorKind::UnknownModel, format!("there is no model `{shown}`{hint}"))
    }

    /// Names that callers can use, with the provider that serves each first.
    pub(crate) fn models(&self) -> Vec<(String, String)> {
        let mut models = BTreeMap::new();
        for route in self.options.routes.iter().filter(|route| !route.model.ends_with('*')) {
            let provider = route.targets.first().map(|target| target.provider.clone());
            models.entry(route.model.clone()).or_insert_with(|| provider.unwrap_or_default());
        }
        for (name, provider) in &self.providers {
            for model in provider.options.models.iter().filter(|model| !model.ends_with('*')) {
                models.entry(model.clone()).or_insert_with(|| name.clone());
            }
        }
        models.into_iter().collect()
    }
}

fn lane_settings(options: &LlmOptions) -> LaneSettings {
    let resilience = &options.resilience;
    LaneSettings {
        breaker: BreakerSettings {
            failures_max: resilience.failures_max,
            rest_ms: resilience.rest.get().as_millis() as u64,
            probes: resilience.probes,
        },
        // Beyond 1 nothing is ever ejected.
        eject_ratio: if resilience.eject_ratio > 0.0 { resilience.eject_ratio } else { 2.0 },
        eject_ms: resilience.eject_for.get().as_millis() as u64,
    }
}
