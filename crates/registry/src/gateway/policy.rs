//! Who may call what.

use globset::{Glob, GlobSet, GlobSetBuilder};
use paddock_platform::identity::Caller;

use super::config::{GatewayRuleOptions, ToolRules};

/// Which tools of a server there are. Compiled [`ToolRules`].
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    allow: Option<GlobSet>,
    deny: Option<GlobSet>,
}

impl Policy {
    pub(super) fn compile(rules: &ToolRules) -> Self {
        Self { allow: set_of(&rules.allow), deny: set_of(&rules.deny) }
    }

    pub(super) fn allows(&self, tool: &str) -> bool {
        !self.deny.as_ref().is_some_and(|deny| deny.is_match(tool))
            && self.allow.as_ref().is_none_or(|allow| allow.is_match(tool))
    }

    const fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_none()
    }
}

/// What callers may call. Compiled [`GatewayRuleOptions`].
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    tenants: Vec<String>,
    keys: Vec<String>,
    policy: Policy,
}

impl Rules {
    pub(super) fn compile(options: &[GatewayRuleOptions]) -> Self {
        let rule = |options: &GatewayRuleOptions| Rule {
            tenants: options.tenants.clone(),
            keys: options.keys.clone(),
            policy: Policy { allow: set_of(&options.allow), deny: set_of(&options.deny) },
        };
        Self(options.iter().map(rule).collect())
    }

    /// What one caller may call.
    pub(super) fn of<'r>(&'r self, caller: &Caller) -> Allowed<'r> {
        let names = |rule: &&Rule| {
            rule.tenants.iter().any(|tenant| tenant == caller.tenant().as_str())
                || caller.key_id().is_some_and(|key| rule.keys.iter().any(|known| known == key))
        };
        Allowed(self.0.iter().filter(names).map(|rule| &rule.policy).collect())
    }
}

/// What one caller may call.
#[derive(Debug)]
pub(super) struct Allowed<'r>(Vec<&'r Policy>);

impl Allowed<'_> {
    /// Whether it may call the tool `server__tool`.
    pub(super) fn allows(&self, name: &str) -> bool {
        if self.0.iter().any(|policy| policy.deny.as_ref().is_some_and(|deny| deny.is_match(name))) {
            return false;
        }
        let mut allows = self.0.iter().filter_map(|policy| policy.allow.as_ref()).peekable();
        allows.peek().is_none() || allows.any(|allow| allow.is_match(name))
    }

    /// Whether nothing is held back.
    pub(super) fn is_open(&self) -> bool {
        self.0.iter().all(|policy| policy.is_open())
    }
}

/// What one caller may call of one server, by the server's own names.
#[derive(Clone, Debug)]
pub(super) struct Held {
    prefix: String,
    server: Policy,
    rules: Rules,
    caller: Caller,
    is_open: bool,
}

impl Held {
    pub(super) fn new(server: &str, policy: &Policy, rules: &Rules, caller: &Caller) -> Self {
        let is_open = policy.is_open() && rules.of(caller).is_open();
        Self {
            prefix: format!("{server}__"),
            server: policy.clone(),
            rules: rules.clone(),
            caller: caller.clone(),
            is_open,
        }
    }

    pub(super) fn allows(&self, tool: &str) -> bool {
        self.is_open
            || self.server.allows(tool)
                && self.rules.of(&self.caller).allows(&format!("{}{tool}", self.prefix))
    }

    /// Whether nothing is held back.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }
}

/// Globs that were checked when the options were read.
fn set_of(globs: &[String]) -> Option<GlobSet> {
    if globs.is_empty() {
        return None;
    }
    let mut builder = GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|glob| Glob::new(glob).ok()) {
        builder.add(glob);
    }
    // A set that does not build matches nothing: what should be allowed is then refused.
    Some(builder.build().unwrap_or_else(|_| GlobSet::empty()))
}

#[cfg(test)]
mod tests {
    use paddock_platform::identity::{Scope, Tenant};

    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn caller(key: &str) -> Caller {
        Caller::with_key(key, Tenant::local(), vec![Scope::call("registry")])
    }

    #[test]
    fn what_is_denied_stays_denied_whatever_allows_it() {
        let policy =
            Policy::compile(&ToolRules { allow: owned(&["read_*", "list"]), deny: owned(&["*_secret"]) });
        assert!(policy.allows("read_file") && policy.allows("list"));
        assert!(!policy.allows("write_file") && !policy.allows("read_secret"));
    }

    #[test]
    fn a_rule_holds_for_the_keys_and_tenants_that_it_names() {
        let options = [
            GatewayRuleOptions { keys: owned(&["k1"]), allow: owned(&["files__*"]), ..Default::default() },
            GatewayRuleOptions {
                tenants: owned(&["local"]),
                deny: owned(&["*__drop"]),
                ..Default::default()
            },
        ];
        let rules = Rules::compile(&options);
        assert!(rules.of(&caller("k1")).allows("files__read"));
        assert!(!rules.of(&caller("k1")).allows("mail__send"));
        assert!(rules.of(&caller("k2")).allows("mail__send"));
        assert!(!rules.of(&caller("k2")).allows("mail__drop"));
        let elsewhere = Caller::with_key("k3", "other".parse().unwrap(), Vec::new());
        assert!(rules.of(&elsewhere).is_open());
    }

    #[test]
    fn both_the_server_and_the_rules_must_allow_a_tool() {
        let rules =
            [GatewayRuleOptions { keys: owned(&["k1"]), allow: owned(&["a__x*"]), ..Default::default() }];
        let policy = Policy::compile(&ToolRules { deny: owned(&["xb"]), ..ToolRules::default() });
        let held = Held::new("a", &policy, &Rules::compile(&rules), &caller("k1"));
        assert!(held.allows("xa"));
        assert!(!held.allows("xb") && !held.allows("y"));
        assert!(!held.is_open());
        assert!(Held::new("a", &Policy::default(), &Rules::default(), &caller("k1")).is_open());
    }
}
