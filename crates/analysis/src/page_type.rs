//! What kind of page it is, told from evidence; rules that only make sense for a kind ask here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    facts::{Facts, Group},
    rules::{
        plans::PlanTable,
        words::{Text, list},
    },
};

/// Kinds of pages that are judged differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PageType {
    /// One product that can be bought.
    EcommerceProduct,
    /// A shop's home or list of products.
    EcommerceHome,
    /// Plans with prices side by side.
    Pricing,
    /// A form that asks for the visitor's details.
    LeadGen,
    /// Software to sign up for.
    Saas,
    /// A service to book or ask for.
    Service,
    /// Something to read: an article, answers, a contact page.
    Content,
    /// A page with something to offer that fits no other kind.
    #[default]
    Landing,
}

impl PageType {
    /// The kind as reports name it, for example `ecommerce_product`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcommerceProduct => "ecommerce_product",
            Self::EcommerceHome => "ecommerce_home",
            Self::Pricing => "pricing",
            Self::LeadGen => "lead_gen",
            Self::Saas => "saas",
            Self::Service => "service",
            Self::Content => "content",
            Self::Landing => "landing",
        }
    }

    /// Whether the page wants the visitor to act, so that action, proof and promise are expected on it.
    pub fn sells(self) -> bool {
        self != Self::Content
    }

    /// Whether the page presents an offer of one business, as opposed to a product, a list or a text.
    pub fn is_landing(self) -> bool {
        matches!(self, Self::LeadGen | Self::Saas | Self::Service | Self::Landing | Self::EcommerceHome)
    }
}

/// Tells the kind of a page from its facts.
pub fn classify(facts: &Facts) -> PageType {
    let evidence = Evidence::gather(facts);
    let schema = |name: &str| facts.page.schema.types.iter().any(|t| t == name);
    let open_graph = facts.page.open_graph.kind.as_deref().unwrap_or_default();
    let product_markup = schema("Product") || schema("ProductGroup") || open_graph.starts_with("product");
    if evidence.plans >= 2 && evidence.plans_lead {
        return PageType::Pricing;
    }
    if evidence.product_cards >= 3 && !product_markup && !evidence.lone_buy {
        return PageType::EcommerceHome;
    }
    if evidence.cart_actions >= 1
        || evidence.cart_form
        || (product_markup && (evidence.prices > 0 || evidence.buy_actions > 0))
        || (evidence.buy_now && evidence.prices > 0)
    {
        return PageType::EcommerceProduct;
    }
    if evidence.personal_fields >= 3 && !evidence.form_is_an_afterthought {
        return PageType::LeadGen;
    }
    if schema("Article")
        || schema("BlogPosting")
        || schema("NewsArticle")
        || schema("FAQPage")
        || open_graph == "article"
        || evidence.reads_like_text
        || is_about_content(facts)
    {
        return PageType::Content;
    }
    if evidence.shop_words {
        return PageType::EcommerceHome;
    }
    match (evidence.signup_words, evidence.booking_words) {
        (true, _) => PageType::Saas,
        (false, true) => PageType::Service,
        (false, false) => PageType::Landing,
    }
}

#[derive(Debug, Default)]
struct Evidence {
    plans: usize,
    plans_lead: bool,
    product_cards: usize,
    buy_actions: usize,
    cart_actions: usize,
    /// "Buy now" sells a product only beside a price: tickets and courses are bought too.
    buy_now: bool,
    /// A button that buys outside of any card.
    lone_buy: bool,
    cart_form: bool,
    prices: usize,
    personal_fields: usize,
    form_is_an_afterthought: bool,
    reads_like_text: bool,
    shop_words: bool,
    signup_words: bool,
    booking_words: bool,
}

impl Evidence {
    fn gather(facts: &Facts) -> Self {
        let mut evidence = Self::default();
        let buy = list("cta_buy");
        for action in
            facts.actions.iter().filter(|a| a.region != "nav" && a.region != "header" && a.region != "footer")
        {
            let label = Text::new(&action.label);
            evidence.cart_actions += usize::from(list("cta_cart").begins(&label));
            evidence.buy_now |= list("cta_buy_now").begins(&label);
            if buy.begins(&label) {
                evidence.buy_actions += 1;
            }
        }
        evidence.cart_form = facts.forms.iter().any(|f| {
            f.method == "post"
                && f.repeats < 3
                && ["cart", "basket", "checkout", "/bag"]
                    .iter()
                    .any(|word| f.action.to_lowercase().contains(word))
        });
        if let Some(table) = PlanTable::find(facts) {
            evidence.plans = table.plans.len();
            // Plans further down are a part of a landing page.
            let near = facts
                .element(table.group.element)
                .and_then(|e| e.rect)
                .is_some_and(|r| r.y < facts.viewport.fold * 1.2);
            let named = [facts.page.title.as_str(), facts.url.as_str()]
                .iter()
                .any(|t| ["pricing", "plans", "prices"].iter().any(|w| t.to_lowercase().contains(w)));
            evidence.plans_lead = near || named;
        }
        let cards: Vec<_> = facts.groups.iter().filter(|g| is_card_list(g, facts.viewport.fold)).collect();
        evidence.product_cards = cards.iter().map(|g| g.count as usize).max().unwrap_or(0);
        let in_card =
            |rect: &crate::Rect| cards.iter().flat_map(|g| &g.members).any(|m| encloses(&m.rect, rect));
        evidence.lone_buy = facts.actions.iter().any(|a| {
            a.repeats < 4
                && a.region != "nav"
                && a.region != "header"
                && buy.begins(&Text::new(&a.label))
                && !in_card(&a.rect)
        });
        evidence.prices = facts.blocks.iter().filter(|b| has_price(&b.text)).count();
        evidence.gather_forms(facts);
        evidence.gather_words(facts);
        evidence
    }

    fn gather_forms(&mut self, facts: &Facts) {
        for form in
            facts.forms.iter().filter(|f| f.region != "footer" && f.layer.is_none() && f.role != "search")
        {
            let personal = form
                .fields
                .iter()
                .filter(|f| {
                    let text = Text::new(&format!(
                        "{}. {}. {}",
                        f.label,
                        f.placeholder,
                        f.name.replace(['_', '-', '[', ']'], " ")
                    ));
                    f.kind == "email"
                        || f.kind == "tel"
                        || ["field_email", "field_phone", "field_name", "field_company", "field_address"]
                            .iter()
                            .any(|l| list(l).is_in(&text))
                })
                .count();
            if personal > self.personal_fields {
                self.personal_fields = personal;
                // A contact form at the end of a long page does not make it a page about that form.
                self.form_is_an_afterthought = form.rect.y > facts.viewport.fold * 1.5 && personal < 6;
            }
        }
    }

    fn gather_words(&mut self, facts: &Facts) {
        let read: usize = facts
            .blocks
            .iter()
            .filter(|b| !b.interactive && b.heading == 0 && b.text.len() > 200)
            .map(|b| b.text.len())
            .sum();
        let strong = facts
            .actions
            .iter()
            .filter(|a| a.look == crate::facts::Look::Filled && !a.toggles && a.region != "nav")
            .count();
        self.reads_like_text = (read > 2500 && strong == 0) || (read > 6000 && strong < 2);
        let first: String = facts
            .blocks
            .iter()
            .filter(|b| b.above_fold)
            .map(|b| b.text.as_str())
            .collect::<Vec<_>>()
            .join(". ");
        let actions: String = facts.actions.iter().map(|a| a.label.as_str()).collect::<Vec<_>>().join(". ");
        let (first, actions) = (Text::new(&first), Text::new(&actions));
        self.shop_words = list("page_shop").is_in(&actions)
            || facts
                .links
                .iter()
                .any(|l| ["/cart", "/basket", "/shop"].iter().any(|way| l.href.to_lowercase().contains(way)));
        self.signup_words = list("page_saas").is_in(&actions) || list("page_saas").is_in(&first);
        self.booking_words = list("page_service").is_in(&actions) || list("page_service").is_in(&first);
    }
}

/// Headings of pages that answer and inform.
fn is_about_content(facts: &Facts) -> bool {
    facts
        .headings
        .iter()
        .find(|h| h.level == 1 && h.shown)
        .is_some_and(|h| list("page_content").is_all_of(&Text::new(&h.text)))
}

fn has_price(text: &str) -> bool {
    crate::rules::price::amounts(&Text::new(text)) > 0
}

/// Three or more boxes, each with a picture and a price, none as tall as the screen.
fn is_card_list(group: &Group, fold: f64) -> bool {
    let cards =
        group.members.iter().filter(|m| m.images > 0 && m.rect.height < fold && has_price(&m.text)).count();
    cards >= 3 && cards * 2 > group.members.len()
}

fn encloses(outer: &crate::Rect, inner: &crate::Rect) -> bool {
    inner.x >= outer.x - 1.0
        && inner.y >= outer.y - 1.0
        && inner.x + inner.width <= outer.x + outer.width + 1.0
        && inner.y + inner.height <= outer.y + outer.height + 1.0
}
