//! Plans side by side: which groups of equal siblings are an offer in steps, and what each plan shows.

use std::collections::HashMap;

use super::{
    price::amounts,
    words::{Text, list},
};
use crate::facts::{Facts, Group, Member};

/// Plans of one offer.
#[derive(Debug)]
pub(crate) struct PlanTable<'a> {
    /// The group of siblings.
    pub(crate) group: &'a Group,
    /// Those siblings that are plans.
    pub(crate) plans: Vec<Plan<'a>>,
}

/// One plan.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Its box.
    pub(crate) member: &'a Member,
    /// Whether it says what it costs.
    pub(crate) priced: bool,
    /// Whether it says to ask for the price.
    pub(crate) asks: bool,
    /// Whether it is for large customers, whose price is usually negotiated.
    pub(crate) enterprise: bool,
    /// Whether it is set apart in words.
    pub(crate) recommended: bool,
}

impl<'a> PlanTable<'a> {
    /// The largest table of plans on the page.
    pub(crate) fn find(facts: &'a Facts) -> Option<Self> {
        let about = is_about_plans(facts);
        facts
            .groups
            .iter()
            .filter(|g| !matches!(g.region.as_str(), "nav" | "header" | "footer"))
            .filter_map(|group| Self::read(group, about))
            .max_by_key(|table| table.plans.len())
    }

    fn read(group: &'a Group, about: bool) -> Option<Self> {
        if !(2..=12).contains(&group.count) {
            return None;
        }
        let plans: Vec<Plan<'a>> = group.members.iter().filter_map(Plan::read).collect();
        let periods = plans.iter().filter(|p| list("plan_period").is_in(&Text::new(&p.member.text))).count();
        let named = plans.iter().filter(|p| p.is_named_like_a_plan()).count();
        let with_images = plans.iter().filter(|p| p.member.images > 0).count();
        let bought = plans
            .iter()
            .filter(|p| list("cta_buy").begins(&Text::new(&p.member.action)) && p.member.images > 0)
            .count();
        let priced = plans.iter().filter(|p| p.priced).count();
        let is_offer = periods >= 2 || named >= 2 || ((periods + named >= 2 || about) && with_images == 0);
        let is_table = plans.len() >= 2
            && priced + plans.iter().filter(|p| p.asks).count() >= 2
            && (priced >= 1 || named >= 2 || about);
        (is_offer && is_table && bought == 0 && with_images * 2 <= plans.len())
            .then_some(Self { group, plans })
    }

    /// The plans set apart in words or by how they are drawn.
    pub(crate) fn recommended(&self) -> usize {
        let said = self.plans.iter().filter(|p| p.recommended).count();
        if said > 0 {
            return said;
        }
        // One plan drawn unlike all others, which are drawn alike.
        let mut styles: HashMap<&str, usize> = HashMap::new();
        for plan in &self.plans {
            *styles.entry(&plan.member.style).or_default() += 1;
        }
        let odd =
            self.plans.iter().filter(|p| p.priced && styles.get(p.member.style.as_str()) == Some(&1)).count();
        usize::from(styles.len() == 2 && odd == 1)
    }
}

impl<'a> Plan<'a> {
    fn read(member: &'a Member) -> Option<Self> {
        let text = Text::new(&member.text);
        let priced = amounts(&text) > 0 || is_free(&text);
        let asks = list("plan_price_hidden").is_in(&text) || list("price_hidden").is_in(&text);
        if !priced && !asks {
            return None;
        }
        let name = Text::new(&member.heading);
        let first: Text = Text { tokens: text.tokens.iter().take(8).cloned().collect() };
        Some(Self {
            member,
            priced,
            asks: !priced && asks,
            enterprise: list("plan_enterprise").is_in(&name) || list("plan_enterprise").is_in(&first),
            recommended: list("plan_recommended").is_affirmed_in(&text),
        })
    }

    fn is_named_like_a_plan(&self) -> bool {
        let heading = Text::new(&self.member.heading);
        let first: Text = Text { tokens: Text::new(&self.member.text).tokens.into_iter().take(6).collect() };
        (heading.word_count() <= 5 && list("plan_name").is_in(&heading)) || list("plan_name").is_in(&first)
    }
}

/// A plan that costs nothing says so in its first words.
fn is_free(text: &Text) -> bool {
    use super::words::Token;
    text.tokens.iter().take(12).any(|t| *t == Token::Word("free".to_owned()))
}

/// Whether the page says of itself that it is about plans and prices.
fn is_about_plans(facts: &Facts) -> bool {
    let says = |text: &str| list("page_pricing").is_in(&Text::new(text));
    says(&facts.page.title) || facts.headings.iter().filter(|h| h.level <= 2).any(|h| says(&h.text))
}
