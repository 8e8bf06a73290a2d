//! Finds what is wrong with a scenario before anything starts, and where in the file.

use std::collections::{BTreeMap, BTreeSet};

use paddock_platform::{config::nearest, units::HumanDuration};

use super::{DifferenceFile, FormFile, Scenario, SetupFile, StepFile, VariableFile, VariableTable, data};
use crate::{
    driver::{BuildContext, Options as _},
    engine::{IN_FLIGHT_MAX, Load, LoadError, Pattern, WORKERS_MAX},
    quantity::Unit,
    record::Form,
    variables::{Source, Template, Variables},
};

/// Resources whose growth may be bounded.
pub const GROWING: [&str; 4] = ["pss_mib", "rss_mib", "threads", "descriptors"];

/// What is wrong, and the byte offset of where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Byte offset in the text.
    pub offset: usize,
    /// One line.
    pub message: String,
}

impl Placed {
    fn at(offset: usize, message: impl std::fmt::Display) -> Self {
        Self { offset, message: message.to_string() }
    }
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), Placed> {
        let file = &self.file;
        check_name("name", &file.name).map_err(|message| Placed::at(self.offset_of("name"), message))?;
        if file.steps.is_empty() {
            return Err(Placed::at(self.offset_of("steps"), "a scenario needs at least one step"));
        }
        let weights = file.steps.iter().map(|step| u64::from(step.get_ref().weight)).sum();
        for form in [&file.short, &file.full] {
            check_form(form.get_ref(), weights).map_err(|message| Placed::at(form.span().start, message))?;
        }
        for threshold in &file.thresholds {
            let valid = threshold.get_ref().validate();
            valid.map_err(|error| Placed::at(threshold.span().start, error))?;
        }
        for (name, DifferenceFile { of, less }) in &file.differences {
            let unit = Unit::of_metric(name);
            if let Some(other) = [of, less].into_iter().find(|other| Unit::of_metric(other) != unit) {
                let message =
                    format!("`{name}` is a difference of figures with its unit, and `{other}` has another");
                return Err(Placed::at(self.offset_of("differences"), message));
            }
        }
        for growth in &file.resources.growth_max {
            if !GROWING.contains(&growth.resource.as_str()) {
                let message = match nearest(&growth.resource, GROWING.into_iter()) {
                    Some(meant) => format!("unknown resource `{}`; did you mean `{meant}`?", growth.resource),
                    None => format!("unknown resource `{}`; there are {GROWING:?}", growth.resource),
                };
                return Err(Placed::at(self.offset_of("growth_max"), message));
            }
        }
        if file
            .resources
            .every
            .is_some_and(|every| every.get().is_zero() || every > HumanDuration::from_secs(1))
        {
            return Err(Placed::at(self.offset_of("every"), "`every` must be above zero and at most 1 s"));
        }
        let mut variables = self.variables(&BTreeMap::new(), Environment::Ignored)?;
        self.check_setup(&mut variables)?;
        self.check_steps(variables)
    }

    /// A key's place: for what has no span of its own.
    fn offset_of(&self, key: &str) -> usize {
        let mut offset = 0;
        for line in self.text.split_inclusive('\n') {
            let start = line.len() - line.trim_start().len();
            let rest = line.trim_start().trim_start_matches('[');
            if rest.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']'])) {
                return offset + start;
            }
            offset += line.len();
        }
        0
    }

    fn check_setup(&self, variables: &mut Variables) -> Result<(), Placed> {
        let mut names = BTreeSet::new();
        for part in &self.file.setup {
            let error = |message: String| Placed::at(part.span().start, message);
            let (templates, provides): (Vec<&Template>, Option<(&str, &str)>) = match part.get_ref() {
                SetupFile::Server(server) => {
                    check_name("name", &server.name).map_err(error)?;
                    if server.run.is_empty() {
                        return Err(error("`run` needs at least a program".to_owned()));
                    }
                    if server.name == "lab" || !names.insert(server.name.clone()) {
                        return Err(error(format!("the name `{}` is taken", server.name)));
                    }
                    let all = server.run.iter().chain(server.env.values()).chain(&server.dir);
                    (all.chain([&server.ready]).collect(), None)
                }
                SetupFile::Command(command) => {
                    if command.run.is_empty() {
                        return Err(error("`run` needs at least a program".to_owned()));
                    }
                    (command.run.iter().chain(command.env.values()).chain(&command.dir).collect(), None)
                }
                SetupFile::Site(site) => {
                    if !self.dir().join(&site.dir).is_dir() {
                        return Err(error(format!(
                            "there is no directory `{}`",
                            self.dir().join(&site.dir).display()
                        )));
                    }
                    (Vec::new(), Some((&site.variable, "http://127.0.0.1:1")))
                }
                SetupFile::TempDir(name) => (Vec::new(), Some((&name.variable, "/tmp/placeholder"))),
                SetupFile::FreePort(name) => (Vec::new(), Some((&name.variable, "1"))),
            };
            for template in templates {
                template.bind(variables).map_err(|missing| error(missing.to_string()))?;
            }
            if let Some((name, placeholder)) = provides {
                check_name("variable", name).map_err(error)?;
                variables.fix(name, placeholder);
            }
        }
        Ok(())
    }

    /// Builds every driver once, with placeholders for what set-up will provide.
    fn check_steps(&self, variables: Variables) -> Result<(), Placed> {
        let mut context = BuildContext::new(variables, 1);
        self.dir().clone_into(&mut context.dir);
        let mut names = BTreeSet::new();
        for step in &self.file.steps {
            let StepFile { name, weight, timeout, driver, .. } = step.get_ref();
            let error = |message: String| Placed::at(step.span().start, message);
            check_name("name", name).map_err(error)?;
            if !names.insert(name) {
                return Err(error(format!("there are two steps called `{name}`")));
            }
            if !(1..=1_000_000).contains(weight) {
                return Err(error(format!("`weight` is {weight}; it must be between 1 and 1000000")));
            }
            if timeout.get().is_zero() {
                return Err(error("`timeout` must be above zero".to_owned()));
            }
            driver.get_ref().build(&context).map_err(|source| Placed::at(driver.span().start, source))?;
        }
        for part in &self.file.teardown {
            let error = |message: String| Placed::at(part.span().start, message);
            match part.get_ref() {
                super::TeardownFile::Command(command) => {
                    for template in command.run.iter().chain(command.env.values()).chain(&command.dir) {
                        template.bind(&context.variables).map_err(|missing| error(missing.to_string()))?;
                    }
                }
                super::TeardownFile::Measure(command) if command.figures.is_empty() => {
                    return Err(error("`measure` needs `figures`".to_owned()));
                }
                super::TeardownFile::Measure(command) => {
                    command.build(&context).map_err(|source| error(source.to_string()))?;
                }
            }
        }
        Ok(())
    }

    /// The form's load, without its steps.
    pub(crate) fn load(&self, form: Form) -> Result<Load, String> {
        let form = match form {
            Form::Short => self.file.short.get_ref(),
            Form::Full => self.file.full.get_ref(),
        };
        let pattern = form.schedule.to_pattern().map_err(|error| error.to_string())?;
        let mut load = Load::new(pattern, Vec::new());
        load.in_flight_max = form.in_flight_max.unwrap_or(load.in_flight_max);
        load.workers = form.workers.unwrap_or(load.workers);
        load.seed = form.seed.unwrap_or(load.seed);
        load.warm_up = form.warm_up.map(HumanDuration::get).unwrap_or_default();
        load.abort_after = form.abort_after.map_or(load.abort_after, HumanDuration::get);
        Ok(load)
    }

    /// The variables that the file declares, with those given on the command line in their place. What set-up provides
    /// is not there yet.
    pub(crate) fn variables(
        &self,
        given: &BTreeMap<String, String>,
        environment: Environment,
    ) -> Result<Variables, Placed> {
        let offset = self.offset_of("variables");
        for name in given.keys() {
            if !self.file.variables.contains_key(name) {
                let known = self.file.variables.keys().map(String::as_str);
                let hint =
                    nearest(name, known).map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
                return Err(Placed::at(offset, format!("the scenario has no variable `{name}`{hint}")));
            }
        }
        let mut variables = Variables::new(1);
        let mut texts = Vec::new();
        for (name, value) in &self.file.variables {
            let offset = self.offset_of(name).max(offset);
            check_name("variable", name).map_err(|message| Placed::at(offset, message))?;
            match (given.get(name), value) {
                (Some(given), _) => variables.fix(name, given),
                (None, VariableFile::Text(text)) => texts.push((name, text, offset)),
                (None, VariableFile::Table(table)) => {
                    let source = self.source(table, environment);
                    let source =
                        source.map_err(|message| Placed::at(offset, format!("`{name}`: {message}")))?;
                    variables.insert(name, source);
                }
            }
        }
        self.resolve_texts(texts, &mut variables)?;
        Ok(variables)
    }

    /// Texts may refer to each other in any order, and to nothing that varies or that set-up provides.
    fn resolve_texts(
        &self,
        mut texts: Vec<(&String, &Template, usize)>,
        variables: &mut Variables,
    ) -> Result<(), Placed> {
        while !texts.is_empty() {
            let before = texts.len();
            let mut open = Vec::new();
            for (name, text, offset) in texts {
                if text.names().all(|wanted| variables.contains(wanted)) {
                    let bound = text.bind(variables).map_err(|missing| Placed::at(offset, missing))?;
                    if !bound.is_fixed() {
                        let message =
                            format!("`{name}` refers to a variable that changes; write that one in the step");
                        return Err(Placed::at(offset, message));
                    }
                    variables.fix(name.clone(), bound.text(variables, 0).into_owned());
                } else {
                    open.push((name, text, offset));
                }
            }
            if open.len() == before
                && let Some((name, text, offset)) = open.first()
            {
                let declared = &self.file.variables;
                let missing = text.names().find(|wanted| !declared.contains_key(*wanted));
                return Err(Placed::at(
                    *offset,
                    match missing {
                        Some(wanted) => {
                            let hint = nearest(wanted, declared.keys().map(String::as_str))
                                .map_or(String::new(), |meant| format!("; did you mean `{meant}`?"));
                            format!(
                                "`{name}`: there is no variable `{wanted}`{hint} (what set-up provides can be used in set-up and steps only)"
                            )
                        }
                        None => format!("`{name}` refers to itself, directly or through others"),
                    },
                ));
            }
            texts = open;
        }
        Ok(())
    }

    fn source(&self, table: &VariableTable, environment: Environment) -> Result<Source, String> {
        let chosen =
            [table.env.is_some(), table.random.is_some(), table.sequence.is_some(), table.file.is_some()];
        if chosen.iter().filter(|chosen| **chosen).count() != 1 {
            return Err("needs exactly one of `env`, `random`, `sequence` and `file`".to_owned());
        }
        if table.file.is_none() && (table.column.is_some() || table.order.is_some()) {
            return Err("`column` and `order` belong to `file`".to_owned());
        }
        if table.env.is_none() && table.default.is_some() {
            return Err("`default` belongs to `env`".to_owned());
        }
        if let Some(name) = &table.env {
            return match (environment, std::env::var(name), &table.default) {
                (Environment::Read, Ok(value), _) => Ok(Source::Fixed(value)),
                (_, _, Some(default)) => Ok(Source::Fixed(default.clone())),
                (Environment::Ignored, _, None) => Ok(Source::Fixed("1".to_owned())),
                (Environment::Read, Err(_), None) => {
                    Err(format!("the environment variable `{name}` is not set"))
                }
            };
        }
        if let Some(random) = &table.random {
            if random.min > random.max {
                return Err(format!("`min` ({}) must not be above `max` ({})", random.min, random.max));
            }
            return Ok(Source::Random { min: random.min, max: random.max });
        }
        if let Some(sequence) = &table.sequence {
            return Ok(Source::Sequence { from: sequence.from, step: sequence.step });
        }
        let (Some(file), Some(column)) = (&table.file, &table.column) else {
            return Err("`file` needs a `column`".to_owned());
        };
        let values = data::column(&self.dir().join(file), column).map_err(|error| error.to_string())?;
        Ok(Source::Rows { values, order: table.order.unwrap_or_default() })
    }
}

/// Whether environment variables have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Environment {
    /// Before a run.
    Read,
    /// While checking a file on another machine than the one it will run on.
    Ignored,
}

/// Names become metrics, file names and variables.
fn check_name(field: &str, name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(format!("`{field}` is `{name}`; it must be 1 to 64 letters, digits, `-` and `_`"));
    }
    Ok(())
}

fn check_form(form: &FormFile, weights: u64) -> Result<(), String> {
    let pattern = form.schedule.to_pattern().map_err(|error| format!("`schedule`: {error}"))?;
    if let Pattern::Closed { users, duration, iterations, .. } = &pattern {
        if duration.is_none() && iterations.is_none() {
            return Err(LoadError::Endless.to_string());
        }
        if *users == 0 || *users > IN_FLIGHT_MAX {
            return Err(format!("`users` is {users}; it must be between 1 and {IN_FLIGHT_MAX}"));
        }
        if *iterations == Some(0) || duration.is_some_and(|duration| duration.is_zero()) {
            return Err("`iterations` and `duration` must be above zero".to_owned());
        }
        let few = iterations.filter(|iterations| duration.is_none() && *iterations < weights);
        if let Some(iterations) = few {
            return Err(format!(
                "`iterations` is {iterations}, and the weights of the steps sum up to {weights}: not all would be \
                 carried out"
            ));
        }
    }
    for (field, value, max) in
        [("in_flight_max", form.in_flight_max, IN_FLIGHT_MAX), ("workers", form.workers, WORKERS_MAX)]
    {
        if let Some(value) = value
            && !(1..=max).contains(&value)
        {
            return Err(format!("`{field}` is {value}; it must be between 1 and {max}"));
        }
    }
    if form.abort_after.is_some_and(|abort_after| abort_after.get().is_zero()) {
        return Err("`abort_after` must be above zero".to_owned());
    }
    Ok(())
}
