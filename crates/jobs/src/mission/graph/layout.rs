//! Where the steps of a graph stand: in columns by their longest way from the beginning, ordered so that edges cross
//! little. An edge that passes columns gets a place in each of them, so that it goes around what stands there.

/// How often the order in the columns is improved.
const SWEEPS: usize = 8;

/// A place in the picture, in columns and rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) column: usize,
    pub(super) row: f64,
}

/// Where everything stands.
#[derive(Debug)]
pub(super) struct Layout {
    /// By step.
    pub(super) steps: Vec<Place>,
    /// Every edge with the places that it passes, from the first step to the last.
    pub(super) edges: Vec<Edge>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) way: Vec<Place>,
}

/// What stands in a column: a step, or an edge that passes.
struct Node {
    column: usize,
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Layout {
    /// Places steps by what they need; steps of a circle, which no stored definition has, share the first column.
    pub(super) fn of(needs: &[Vec<usize>]) -> Self {
        let column = columns_of(needs);
        let mut nodes: Vec<Node> = column
            .iter()
            .map(|column| Node { column: *column, before: Vec::new(), after: Vec::new() })
            .collect();
        let mut ways = Vec::new();
        for (to, needs) in needs.iter().enumerate() {
            for from in needs {
                ways.push((*from, to, connect(&mut nodes, *from, to)));
            }
        }
        let columns = column.iter().max().map_or(0, |last| last + 1);
        let mut order: Vec<Vec<usize>> = vec![Vec::new(); columns];
        for (index, node) in nodes.iter().enumerate() {
            order[node.column].push(index);
        }
        let rows = order.iter().map(Vec::len).max().unwrap_or(0);
        let place = arrange(&nodes, &mut order, rows);
        let edges = ways
            .into_iter()
            .map(|(from, to, way)| Edge { from, to, way: way.iter().map(|node| place[*node]).collect() })
            .collect();
        Self { steps: place[..needs.len()].to_vec(), edges, columns, rows }
    }
}

/// The longest way to each step.
fn columns_of(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut column = vec![0; needs.len()];
    for _ in 0..needs.len() {
        let mut changed = false;
        for (step, needs) in needs.iter().enumerate() {
            let own = needs.iter().map(|need| column[*need] + 1).max().unwrap_or(0);
            if own > column[step] && own < column.len() {
                column[step] = own;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    column
}

/// The nodes of an edge, with new ones in the columns between.
fn connect(nodes: &mut Vec<Node>, from: usize, to: usize) -> Vec<usize> {
    let mut way = vec![from];
    for column in nodes[from].column + 1..nodes[to].column {
        nodes.push(Node { column, before: Vec::new(), after: Vec::new() });
        way.push(nodes.len() - 1);
    }
    way.push(to);
    for pair in way.windows(2) {
        nodes[pair[0]].after.push(pair[1]);
        nodes[pair[1]].before.push(pair[0]);
    }
    way
}

/// Orders the columns, there and back, by where the neighbours stand; then centres each column.
fn arrange(nodes: &[Node], order: &mut [Vec<usize>], rows: usize) -> Vec<Place> {
    let mut row = vec![0.0; nodes.len()];
    let place_column = |row: &mut Vec<f64>, column: &[usize]| {
        let top = (rows - column.len()) as f64 / 2.0;
        for (index, node) in column.iter().enumerate() {
            row[*node] = top + index as f64;
        }
    };
    for column in order.iter() {
        place_column(&mut row, column);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let indices: Vec<usize> =
            if forth { (0..order.len()).collect() } else { (0..order.len()).rev().collect() };
        for index in indices {
            let wish = |node: &usize| {
                let near = if forth { &nodes[*node].before } else { &nodes[*node].after };
                match near.len() {
                    0 => row[*node],
                    count => near.iter().map(|other| row[*other]).sum::<f64>() / count as f64,
                }
            };
            let mut wished: Vec<(f64, usize)> = order[index].iter().map(|node| (wish(node), *node)).collect();
            wished.sort_by(|left, right| left.0.total_cmp(&right.0));
            order[index] = wished.into_iter().map(|(_, node)| node).collect();
            place_column(&mut row, &order[index]);
        }
    }
    nodes.iter().zip(row).map(|(node, row)| Place { column: node.column, row }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_diamond_has_three_columns_and_an_edge_passes_between() {
        let layout = Layout::of(&[vec![], vec![0], vec![0], vec![1, 2, 0]]);
        let columns: Vec<usize> = layout.steps.iter().map(|place| place.column).collect();
        assert_eq!((columns, layout.columns, layout.rows), (vec![0, 1, 1, 2], 3, 3));
        let long = layout.edges.iter().find(|edge| (edge.from, edge.to) == (0, 3)).unwrap();
        assert_eq!(long.way.len(), 3);
    }

    proptest! {
        #[test]
        fn nothing_stands_on_anything_else(needs in prop::collection::vec(any::<u32>(), 0..24)) {
            let needs: Vec<Vec<usize>> = needs
                .iter()
                .enumerate()
                .map(|(index, bits)| (0..index).filter(|need| bits & (1 << need) != 0 && need % 3 == 0).collect())
                .collect();
            let layout = Layout::of(&needs);
            for (left, one) in layout.steps.iter().enumerate() {
                prop_assert!(one.column < layout.columns && one.row >= 0.0 && one.row <= layout.rows as f64 - 1.0);
                for other in &layout.steps[left + 1..] {
                    prop_assert!(one.column != other.column || (one.row - other.row).abs() >= 1.0);
                }
            }
            for (step, needs) in needs.iter().enumerate() {
                prop_assert!(needs.iter().all(|need| layout.steps[*need].column < layout.steps[step].column));
            }
            for edge in &layout.edges {
                prop_assert!(edge.way.windows(2).all(|pair| pair[1].column == pair[0].column + 1));
            }
        }
    }
}
