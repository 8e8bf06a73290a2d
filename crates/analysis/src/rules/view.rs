//! One screen's facts, prepared for rules: the words, the actions that matter, what floats over the page.

use super::{
    plans::PlanTable,
    words::{List, Text, list},
};
use crate::{
    Screen,
    facts::{Action, Block, Element, ElementIndex, Facts, Hiding, Layer, Look},
    page_type::PageType,
};

/// What a rule's check looks at.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The facts themselves.
    pub(crate) facts: &'a Facts,
    /// The kind of page; the same on both screens.
    pub(crate) page_type: PageType,
    /// Everything the page says, also behind accordions and in alternative texts: what "missing" is judged by.
    pub(crate) everything: Text,
    /// Calls to action outside of layers, in document order.
    pub(crate) ctas: Vec<&'a Action>,
    /// The one that the page is about.
    pub(crate) primary: Option<&'a Action>,
    /// Layers that interrupt.
    pub(crate) popups: Vec<&'a Layer>,
    /// Plans side by side.
    pub(crate) plans: Option<PlanTable<'a>>,
}

/// A layer smaller than this share of the screen interrupts nobody.
const POPUP_SHARE_MIN: f64 = 0.02;

impl<'a> View<'a> {
    /// Prepares facts.
    pub(crate) fn new(facts: &'a Facts, page_type: PageType) -> Self {
        let popups: Vec<&Layer> = facts
            .layers
            .iter()
            .filter(|l| {
                !l.holds_page
                    && !l.navigates
                    && l.share >= POPUP_SHARE_MIN
                    && l.covers > 0.2
                    && l.position != "sticky"
            })
            .collect();
        let ctas: Vec<&Action> = facts
            .actions
            .iter()
            .filter(|a| is_cta(facts, a) && !popups.iter().any(|l| a.layer.is_some() && l.element == a.layer))
            .collect();
        let mut view = Self {
            facts,
            page_type,
            everything: everything(facts),
            primary: None,
            ctas,
            popups,
            plans: PlanTable::find(facts),
        };
        view.primary = view.find_primary();
        view
    }

    /// The screen.
    pub(crate) fn screen(&self) -> Screen {
        self.facts.screen.into()
    }

    /// The element behind an index.
    pub(crate) fn element(&self, index: Option<ElementIndex>) -> Option<&'a Element> {
        self.facts.element(index)
    }

    /// Whether the page says any of the list, wherever; a page that was not read to its end may say anything.
    pub(crate) fn says(&self, name: &str) -> bool {
        self.facts.truncated || list(name).is_affirmed_in(&self.everything)
    }

    /// Whether a link or its destination says any of the list.
    pub(crate) fn links_to(&self, list: &List) -> bool {
        self.facts.links.iter().any(|link| {
            let way =
                link.href.split(['?', '#']).next().unwrap_or_default().replace(['/', '-', '_', '.'], " ");
            list.is_in(&Text::new(&link.text)) || list.is_in(&Text::new(&way))
        })
    }

    /// Readable blocks of the page's own copy: no navigation, no footer, no labels of controls.
    pub(crate) fn copy(&self) -> impl Iterator<Item = &'a Block> {
        self.facts.blocks.iter().filter(|b| !b.interactive && !matches!(b.region.as_str(), "nav" | "footer"))
    }

    /// The footer, else the body: where what is absent would stand.
    pub(crate) fn footer_selector(&self) -> &'a str {
        self.element(self.facts.page.footer).map_or("body", |footer| footer.selector.as_str())
    }

    /// Whether something belongs to a layer that interrupts.
    pub(crate) fn is_in_popup(&self, layer: Option<ElementIndex>) -> bool {
        layer.is_some() && self.popups.iter().any(|p| p.element == layer)
    }

    fn find_primary(&self) -> Option<&'a Action> {
        let buy = list("cta_buy");
        let in_cart_form = |a: &Action| {
            a.form >= 0
                && self.facts.forms.iter().any(|f| {
                    f.index == a.form
                        && ["cart", "basket", "checkout", "order"]
                            .iter()
                            .any(|w| f.action.to_lowercase().contains(w))
                })
        };
        let score = |a: &Action| {
            let mut score = 0.0;
            if self.page_type == PageType::EcommerceProduct
                && (in_cart_form(a) || buy.begins(&Text::new(&a.label)))
            {
                // The buttons of related products buy something else.
                score += if a.repeats >= 3 { 300.0 } else { 1000.0 };
            }
            if self.page_type == PageType::LeadGen && a.form >= 0 && a.kind == "submit" {
                score += 500.0;
            }
            score += if a.above_fold { 60.0 } else { 0.0 };
            score +=
                if matches!(a.region.as_str(), "nav" | "header" | "footer" | "aside") { -50.0 } else { 0.0 };
            score += match a.look {
                Look::Filled => 30.0,
                Look::Outlined => 10.0,
                Look::Text => 0.0,
            };
            // Only clearly larger counts as larger: of equals the first leads.
            score + ((a.rect.width * a.rect.height).min(30_000.0) / 6000.0).floor()
        };
        let mut best: Option<(f64, &Action)> = None;
        for action in &self.ctas {
            let points = score(action);
            if best.is_none_or(|(most, _)| points > most + 1e-9) {
                best = Some((points, action));
            }
        }
        best.map(|(_, action)| action)
    }
}

/// Whether an action asks for something the page wants, as opposed to working the page.
fn is_cta(facts: &Facts, action: &Action) -> bool {
    let label = Text::new(&action.label);
    let in_search = facts.forms.iter().any(|f| f.index >= 0 && f.index == action.form && is_search(f));
    !(action.label.is_empty()
        || action.toggles
        || in_search
        || action.kind == "reset"
        || label.word_count() == 0
        || label.word_count() > 12
        || action.region == "footer"
        || (action.region == "nav" && action.look != Look::Filled)
        || list("cta_control").is_all_of(&label)
        || (action.visible_text.is_empty() && action.kind != "image")
        || action.visible_text.chars().filter(|c| c.is_alphabetic()).count() < 2)
}

/// Whether a form searches or filters the site.
pub(crate) fn is_search(form: &crate::facts::Form) -> bool {
    form.role == "search"
        || form.action.to_lowercase().contains("search")
        || (!form.fields.is_empty()
            && form.fields.iter().all(|f| {
                f.kind == "search"
                    || list("field_search").begins(&Text::new(&format!("{} {}", f.placeholder, f.name)))
            }))
}

/// What is hidden from visitors, or speaks to machines, is no evidence of what the page tells them.
fn everything(facts: &Facts) -> Text {
    let hidden: Vec<_> = facts
        .hidden
        .iter()
        .filter(|h| matches!(h.how, Hiding::Tiny | Hiding::OffScreen | Hiding::SameColour))
        .filter_map(|h| h.element)
        .collect();
    let mut text = Text::default();
    for block in facts.blocks.iter().filter(|b| !b.element.is_some_and(|e| hidden.contains(&e))) {
        text.push(&block.text);
    }
    for label in facts.labels.iter().filter(|l| !list("machine_address").is_in(&Text::new(l))) {
        text.push(label);
    }
    text.push(&facts.rest);
    text.push(&facts.collapsed);
    for link in &facts.links {
        text.push(&link.text);
    }
    text
}
