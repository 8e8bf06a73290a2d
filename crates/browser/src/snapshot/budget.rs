//! Fitting a snapshot into a number of tokens.

use super::{
    format::Format,
    node::{Node, Tier},
};

/// Roughly how many tokens a text costs in a format: prose runs at four characters a token, JSON at three.
pub fn estimate_tokens(chars: usize, format: Format) -> usize {
    match format {
        Format::Compact | Format::Text => chars.div_ceil(4),
        Format::Json | Format::Yaml => chars.div_ceil(3),
    }
}

const TIERS: [Tier; 3] = [Tier::Actionable, Tier::Context, Tier::Rest];

/// The nodes that fit into `tokens_max`, in their order, and whether any had to be left out.
///
/// The budget is spent on what can be acted on before what can only be read, wherever it stands on the page. A node
/// too large for what remains is passed over; smaller ones after it are not.
pub fn within_tokens(nodes: &[Node], format: Format, tokens_max: Option<u32>) -> (Vec<&Node>, bool) {
    let Some(tokens_max) = tokens_max.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX)) else {
        return (nodes.iter().collect(), false);
    };
    let mut rendered = String::new();
    let costs: Vec<usize> = nodes
        .iter()
        .map(|node| {
            rendered.clear();
            format.write_node(&mut rendered, node);
            rendered.chars().count()
        })
        .collect();
    if estimate_tokens(costs.iter().sum(), format) <= tokens_max {
        return (nodes.iter().collect(), false);
    }
    let mut kept = vec![false; nodes.len()];
    let mut spent = 0;
    for wanted in TIERS {
        for ((node, cost), keep) in nodes.iter().zip(&costs).zip(&mut kept) {
            if node.tier == wanted && estimate_tokens(spent + cost, format) <= tokens_max {
                *keep = true;
                spent += cost;
            }
        }
    }
    let kept = nodes.iter().zip(kept).filter_map(|(node, keep)| keep.then_some(node)).collect();
    (kept, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: usize, role: &str, name: &str) -> Node {
        let tier = match role {
            "button" => Tier::Actionable,
            "heading" => Tier::Context,
            _ => Tier::Rest,
        };
        Node {
            r#ref: format!("e{number}"),
            role: role.to_owned(),
            name: name.to_owned(),
            tier,
            ..Node::default()
        }
    }

    #[test]
    fn controls_below_the_prose_survive_a_small_budget() {
        let prose = "what a page says before one can do something with it";
        let mut nodes: Vec<Node> = (0..50).map(|number| node(number, "StaticText", prose)).collect();
        nodes.push(node(50, "button", "Buy"));
        nodes.push(node(51, "heading", "Shop"));
        let (kept, truncated) = within_tokens(&nodes, Format::Compact, Some(12));
        assert!(truncated);
        let refs: Vec<_> = kept.iter().map(|node| node.r#ref.as_str()).collect();
        assert_eq!(refs, ["e50", "e51"]);
    }

    #[test]
    fn what_fits_is_left_alone() {
        let nodes = [node(0, "button", "Buy")];
        assert_eq!(within_tokens(&nodes, Format::Json, Some(100)), (vec![&nodes[0]], false));
        assert_eq!(within_tokens(&nodes, Format::Json, None), (vec![&nodes[0]], false));
        assert_eq!(within_tokens(&nodes, Format::Json, Some(1)), (vec![], true));
    }

    proptest! {
        #[test]
        fn a_budget_is_kept_and_nothing_is_left_on_the_table(
            names in proptest::collection::vec(("button|heading|paragraph", "[a-z\"é]{0,30}"), 0..30),
            tokens_max in 0_u32..200,
            format in prop_oneof![Just(Format::Json), Just(Format::Compact), Just(Format::Text), Just(Format::Yaml)],
        ) {
            let nodes: Vec<Node> =
                names.iter().enumerate().map(|(number, (role, name))| node(number, role, name)).collect();
            let (kept, truncated) = within_tokens(&nodes, format, Some(tokens_max));
            let mut rendered = String::new();
            format.write_nodes(&mut rendered, &kept);
            let spent = rendered.chars().count();
            prop_assert!(estimate_tokens(spent, format) <= tokens_max as usize);
            prop_assert_eq!(truncated, kept.len() < nodes.len());
            for left in nodes.iter().filter(|node| !kept.contains(node)) {
                let mut alone = String::new();
                format.write_node(&mut alone, left);
                prop_assert!(estimate_tokens(spent + alone.chars().count(), format) > tokens_max as usize);
            }
            let positions: Vec<_> = kept.iter().map(|kept| nodes.iter().position(|node| node == *kept)).collect();
            prop_assert!(positions.is_sorted());
        }
    }
}
