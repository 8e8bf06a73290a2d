use super::*;

const EXAMPLE: &str = r#"
sources:
  - name: catalogue
    git:
      repository: https://git.example/catalogue.git
      branch: main
      path: data/registry.json
      auth: {username: reader, passwordFile: /run/secrets/git}
    syncPolicy: {interval: "30m"}
    filter:
      names: {include: ["official/*"], exclude: ["*/deprecated"]}
      tags: {include: [production]}
    claims: {org: acme, team: [a, b]}
  - name: upstream
    api: {endpoint: "https://registry.example", timeout: 20s}
    syncPolicy: {interval: "1h"}
  - {name: here, managed: {}}
  - {name: cluster, kubernetes: {namespaces: [mcp]}}
registries:
  - {name: default, sources: [catalogue, upstream, here, cluster]}
auth: {mode: anonymous}
database: {host: postgres}
"#;

#[test]
fn a_configuration_is_taken_over_and_what_is_left_behind_is_said() {
    let Imported { options, notes } = import_toolhive(EXAMPLE).unwrap();
    let names: Vec<_> = options.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["catalogue", "upstream", "here", "cluster"]);
    let git = options.sources[0].git.as_ref().unwrap();
    assert_eq!(git.path, "data/registry.json");
    assert_eq!(git.password.as_ref().unwrap().to_string(), "file:/run/secrets/git");
    assert_eq!(options.sources[0].claims, Claims::from_pairs([("org", &["acme"]), ("team", &["a", "b"])]));
    assert_eq!(options.sources[1].api.as_ref().unwrap().timeout, HumanDuration::from_secs(20));
    assert_eq!(options.sources[3].kubernetes.as_ref().unwrap().namespaces, ["mcp"]);
    assert_eq!(options.views[0].sources, ["catalogue", "upstream", "here", "cluster"]);
    assert!(options.views[0].public);
    for word in ["anonymous", "database"] {
        assert!(notes.iter().any(|note| note.contains(word)), "{word}: {notes:?}");
    }
}

#[test]
fn a_cluster_without_namespaces_is_read_as_a_whole_and_a_wrong_source_is_left_out_by_name() {
    let text = "sources:\n  - {name: k, kubernetes: {}}\n  - {name: up, api: {endpoint: nowhere}}\n\
                registries:\n  - {name: default, sources: [k, up]}\n";
    let Imported { options, notes } = import_toolhive(text).unwrap();
    assert_eq!(options.sources[0].kubernetes.as_ref().unwrap().namespaces, ["*"]);
    assert_eq!(options.views[0].sources, ["k"]);
    for word in ["`nowhere`", "`up`"] {
        assert!(notes.iter().any(|note| note.contains(word)), "{word}: {notes:?}");
    }
}

#[test]
fn what_was_taken_over_is_a_valid_configuration() {
    let options = import_toolhive(EXAMPLE).unwrap().options;
    let text = toml::to_string(&options).unwrap();
    let again: RegistryOptions = toml::from_str(&text).unwrap();
    assert_eq!(again, options);
}

#[test]
fn a_source_that_is_named_twice_is_refused_by_name() {
    let text = "sources:\n  - {name: a, managed: {}}\n  - {name: a, file: {path: /x.json}}\n";
    assert!(import_toolhive(text).unwrap_err().to_string().contains("two sources are called `a`"));
}

#[test]
fn what_is_no_configuration_is_told() {
    for text in ["", "just words", "sources: 7", "[1, 2]", "sources: []"] {
        assert!(matches!(import_toolhive(text), Err(ImportError::Shape(_))), "{text}");
    }
}
