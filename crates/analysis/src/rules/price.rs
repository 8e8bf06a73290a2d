//! Product pages: the price and what it comes with.

use super::{
    Applies, Hit, Rule, View,
    source::{BAYMARD_CHECKOUT, GOOGLE_PLAYBOOK, GOOGLE_PRODUCT, LIFT},
    words::{Text, Token, list},
};
use crate::{Category, Severity, page_type::PageType};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "price.missing",
        category: Category::Price,
        severity: Severity::High,
        title: "The product page shows no price",
        why: "The price is the first thing shoppers look for. Who has to put a product into the cart to learn it goes elsewhere.",
        recommendation: "Show the price next to the product's name and the buy button, in the first screen, with what it includes.",
        impact: 10,
        effort: 2,
        confidence: 8,
        sources: &[GOOGLE_PLAYBOOK, BAYMARD_CHECKOUT],
        applies: Applies::ToProducts,
        check: missing,
    },
    Rule {
        id: "shipping.missing",
        category: Category::Price,
        severity: Severity::High,
        title: "Nothing is said about delivery",
        why: "Extra costs that come late are the most given reason for leaving a cart; shoppers want cost and date before they decide.",
        recommendation: "State cost and expected day of delivery beside the buy button.",
        impact: 8,
        effort: 2,
        confidence: 7,
        sources: &[BAYMARD_CHECKOUT, GOOGLE_PLAYBOOK],
        applies: Applies::ToProductsInEnglish,
        check: shipping,
    },
    Rule {
        id: "returns.missing",
        category: Category::Price,
        severity: Severity::Medium,
        title: "Nothing is said about returns",
        why: "Being able to send a thing back takes the risk out of buying it unseen.",
        recommendation: "Say beside the buy button how long and at whose cost the product can be returned.",
        impact: 6,
        effort: 2,
        confidence: 7,
        sources: &[BAYMARD_CHECKOUT, LIFT],
        applies: Applies::ToProductsInEnglish,
        check: returns,
    },
    Rule {
        id: "schema.no_product",
        category: Category::Seo,
        severity: Severity::Low,
        title: "Machines are not told about the product",
        why: "Without schema.org Product data search results show no price, stock and stars, and shopping agents do not find the offer.",
        recommendation: "Add JSON-LD of type Product with Offer (price, currency, availability) and AggregateRating.",
        impact: 4,
        effort: 2,
        confidence: 9,
        sources: &[GOOGLE_PRODUCT],
        applies: Applies::ToProducts,
        check: no_product_schema,
    },
];

/// Amounts of money in a text: a currency beside a number.
pub(crate) fn amounts(text: &Text) -> usize {
    let currency = list("price_currency");
    let is_currency =
        |token: Option<&Token>| token.is_some_and(|t| currency.find(std::slice::from_ref(t)).is_some());
    let tokens = &text.tokens;
    (0..tokens.len())
        .filter(|&i| {
            let sign_before = i > 0 && is_currency(tokens.get(i - 1));
            matches!(tokens[i], Token::Number(_)) && (sign_before || is_currency(tokens.get(i + 1)))
        })
        .count()
}

/// Where the offer stands: the form that buys, else the main action, else the page.
fn buy_box(view: &View<'_>) -> String {
    let form = view
        .primary
        .filter(|p| p.form >= 0)
        .and_then(|p| view.facts.forms.iter().find(|f| f.index == p.form));
    form.and_then(|f| view.element(f.element))
        .or_else(|| view.element(view.primary?.element))
        .map_or_else(|| "body".to_owned(), |e| e.selector.clone())
}

fn missing(view: &View<'_>) -> Vec<Hit> {
    if view.page_type != PageType::EcommerceProduct || view.facts.truncated {
        return Vec::new();
    }
    if view.facts.blocks.iter().any(|b| {
        !matches!(b.region.as_str(), "header" | "nav" | "footer") && amounts(&Text::new(&b.text)) > 0
    }) {
        return Vec::new();
    }
    // What the page tells search engines it also shows, in a currency or a form that is not known here.
    if view.facts.page.schema.price.is_some() && !list("price_hidden").is_in(&view.everything) {
        return Vec::new();
    }
    // Amounts split over boxes, in alternative texts, or beyond the bound are still amounts.
    if amounts(&view.everything) > 0 {
        return Vec::new();
    }
    let withheld = view.copy().find(|b| list("price_hidden").is_in(&Text::new(&b.text)));
    match withheld {
        Some(block) => {
            vec![Hit::on(block.element, format!("instead of a price the page says \"{}\"", block.text))]
        }
        None => vec![Hit::absent(buy_box(view), "no amount of money is shown on the page")],
    }
}

fn shipping(view: &View<'_>) -> Vec<Hit> {
    if view.page_type != PageType::EcommerceProduct
        || list("shipping").is_in(&view.everything)
        || view.facts.truncated
        || view.links_to(list("shipping"))
    {
        return Vec::new();
    }
    vec![Hit::absent(buy_box(view), "neither cost nor time of delivery is mentioned")]
}

fn returns(view: &View<'_>) -> Vec<Hit> {
    if view.page_type != PageType::EcommerceProduct
        || list("returns").is_in(&view.everything)
        || view.facts.truncated
        || view.links_to(list("returns"))
    {
        return Vec::new();
    }
    vec![Hit::absent(buy_box(view), "returns are not mentioned")]
}

fn no_product_schema(view: &View<'_>) -> Vec<Hit> {
    let has = view.facts.page.schema.types.iter().any(|t| {
        matches!(
            t.as_str(),
            "Product" | "ProductGroup" | "IndividualProduct" | "ProductModel" | "Vehicle" | "Book"
        )
    });
    if view.page_type != PageType::EcommerceProduct || has {
        return Vec::new();
    }
    let broken = view.facts.page.schema.broken;
    let statement = if broken > 0 {
        format!("{broken} JSON-LD block is not valid JSON, and none describes the product")
    } else {
        "there is no schema.org Product in the page".to_owned()
    };
    vec![Hit::absent("head", statement)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_in_any_notation() {
        for text in ["$24.00", "GBP 89 for two days", "24,00 €", "1 299 kr", "from £9/mo", "US$ 5"] {
            assert!(amounts(&Text::new(text)) > 0, "{text}");
        }
        for text in ["350 ml", "EAN 0000000000000", "Price shown in cart", "24/7", "2-3 days"] {
            assert_eq!(amounts(&Text::new(text)), 0, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_amount_in_dollars_is_seen(value in 0_u32..100_000, cents in 0_u32..100) {
            let text = format!("now ${value}.{cents:02} only");
            prop_assert_eq!(amounts(&Text::new(&text)), 1);
        }
    }
}
