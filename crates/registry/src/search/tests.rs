use std::sync::Arc;

use super::*;
use crate::{
    entry::Draft,
    testing::{draft, supply},
};

fn server(name: &str, description: &str, tags: &[&str], tools: &str) -> Draft {
    Draft {
        server: serde_json::json!({"name": name, "description": description}).to_string().into_bytes(),
        haystack: format!("{name}\n\n{description}").to_lowercase().into(),
        tags: tags.iter().map(|tag| Box::from(*tag)).collect(),
        tools: tools.to_lowercase().into(),
        ..draft(name, "1.0.0")
    }
}

fn selection() -> Selection {
    let supply = supply(
        "one",
        vec![
            server("io.example/github", "Repositories, issues and pull requests", &["git"], "create_issue\n"),
            server("io.example/gitlab", "Projects at GitLab", &["git"], ""),
            server("io.example/postgres", "Queries a PostgreSQL database", &["database", "sql"], ""),
            server("io.example/weather", "Forecasts", &[], "get_forecast\nTells tomorrow's weather\n"),
            server("io.example/tracker", "Moves tickets; can read GitHub too", &[], "list_tickets\n"),
        ],
    );
    Selection::new(supply.content.entries.iter().map(Arc::clone).collect(), 1 << 20)
}

fn found(query: &str) -> Vec<String> {
    let input = SearchInput { query: query.to_owned(), ..SearchInput::default() };
    let output = search(&selection(), &input, None).unwrap();
    output.hits.into_iter().map(|hit| hit.name.trim_start_matches("io.example/").to_owned()).collect()
}

#[test]
fn a_name_says_more_than_a_description() {
    assert_eq!(found("github"), ["github", "tracker"]);
}

#[test]
fn misspelled_words_are_found() {
    assert_eq!(found("githib")[0], "github");
    assert_eq!(found("postgers")[0], "postgres");
    assert_eq!(found("wether")[0], "weather");
}

#[test]
fn beginnings_of_words_are_found() {
    assert_eq!(found("postg"), ["postgres"]);
    assert_eq!(found("tick"), ["tracker"]);
}

#[test]
fn tools_and_tags_are_found() {
    assert_eq!(found("create_issue")[0], "github");
    assert_eq!(found("sql")[0], "postgres");
    assert_eq!(found("tomorrow"), ["weather"]);
}

#[test]
fn whoever_says_all_the_words_comes_first() {
    assert_eq!(found("read github tickets")[0], "tracker");
}

#[test]
fn nothing_is_found_for_words_that_nobody_says() {
    assert_eq!(found("submarine"), [""; 0]);
}

#[test]
fn an_empty_query_finds_everything_in_order() {
    assert_eq!(found("  ").len(), 5);
}

#[test]
fn facets_count_all_that_was_found_and_not_only_the_page() {
    let input = SearchInput { query: "git".to_owned(), limit: Some(1), ..SearchInput::default() };
    let output = search(&selection(), &input, None).unwrap();
    assert_eq!((output.hits.len(), output.total), (1, 3));
    assert_eq!(output.facets.tags["git"], 2);
    assert_eq!(output.facets.sources["one"], 3);
}

#[test]
fn a_search_is_narrowed_by_tags_and_sources() {
    let input = SearchInput { tags: vec!["database".to_owned()], ..SearchInput::default() };
    assert_eq!(search(&selection(), &input, None).unwrap().total, 1);
    let input = SearchInput { sources: vec!["two".to_owned()], ..SearchInput::default() };
    assert_eq!(search(&selection(), &input, None).unwrap().total, 0);
    let input = SearchInput { kinds: vec!["pigeon".to_owned()], ..SearchInput::default() };
    assert!(search(&selection(), &input, None).is_err());
}

#[test]
fn a_limit_out_of_bounds_is_refused() {
    for limit in [0, 101] {
        let input = SearchInput { limit: Some(limit), ..SearchInput::default() };
        assert!(search(&selection(), &input, None).unwrap_err().detail.contains("limit"));
    }
}

#[test]
fn facets_count_all_that_was_found_and_narrowing_goes_before() {
    let input = |tags: &[&str]| SearchInput {
        query: "github".to_owned(),
        limit: Some(1),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..SearchInput::default()
    };
    let selection = selection();
    let all = search(&selection, &input(&[]), None).unwrap();
    assert_eq!((all.hits.len(), all.total), (1, 2));
    assert_eq!(all.facets.sources.into_iter().collect::<Vec<_>>(), [("one".to_owned(), 2)]);
    assert_eq!(all.facets.tags.into_iter().collect::<Vec<_>>(), [("git".to_owned(), 1)]);
    assert_eq!(search(&selection, &input(&["git"]), None).unwrap().total, 1);
    assert_eq!(search(&selection, &input(&["no such tag"]), None).unwrap().total, 0);
}
