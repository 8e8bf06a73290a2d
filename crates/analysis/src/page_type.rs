//! What kind of page it is, told from evidence; rules that only make sense for a kind ask here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    facts::Facts,
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
    if evidence.plans >= 2 {
        return PageType::Pricing;
    }
    if evidence.product_cards >= 3 {
        return if evidence.buy_actions >= 1
            && (product_markup || evidence.buys_in_first_screen)
            && evidence.product_cards < 9
        {
            PageType::EcommerceProduct
        } else {
            PageType::EcommerceHome
        };
    }
    if evidence.buy_actions >= 1 || evidence.cart_form || (product_markup && evidence.prices > 0) {
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
    {
        return PageType::Content;
    }
    if evidence.shop_words {
        return PageType::EcommerceHome;
    }
    if evidence.signup_words {
        return PageType::Saas;
    }
    if evidence.booking_words {
        return PageType::Service;
    }
    PageType::Landing
}

#[derive(Debug, Default)]
struct Evidence {
    plans: usize,
    product_cards: usize,
    buy_actions: usize,
    buys_in_first_screen: bool,
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
            if buy.begins(&Text::new(&action.label)) {
                evidence.buy_actions += 1;
                evidence.buys_in_first_screen |= action.above_fold;
            }
        }
        evidence.cart_form = facts.forms.iter().any(|f| {
            f.method == "post"
                && f.repeats < 3
                && ["cart", "basket", "checkout", "/bag"]
                    .iter()
                    .any(|word| f.action.to_lowercase().contains(word))
        });
        evidence.plans = PlanTable::find(facts).map_or(0, |table| table.plans.len());
        evidence.product_cards = facts
            .groups
            .iter()
            .filter(|g| {
                g.members.iter().filter(|m| m.images > 0 && has_price(&m.text)).count() * 2 > g.members.len()
            })
            .map(|g| g.count as usize)
            .max()
            .unwrap_or(0);
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
        let says = |text: &str, words: &[&str]| {
            let lower = text.to_lowercase();
            words.iter().any(|w| lower.contains(w))
        };
        self.shop_words = says(&actions, &["shop ", "shop the", "browse", "view options", "add to cart"])
            || facts.links.iter().any(|l| says(&l.href, &["/cart", "/basket", "/shop"]));
        self.signup_words = says(
            &actions,
            &["trial", "sign up", "get started", "demo", "create account", "start free", "download"],
        ) || says(
            &first,
            &["software", "platform", "app ", "enterprise", "solution", "saas", "workflow", "teams"],
        );
        self.booking_words =
            says(&actions, &["book", "reserve", "appointment", "quote", "consultation", "call"])
                || says(&first, &["lesson", "appointment", "service"]);
    }
}

fn has_price(text: &str) -> bool {
    crate::rules::price::amounts(&Text::new(text)) > 0
}
